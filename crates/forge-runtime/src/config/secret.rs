//! A text that must not be read by accident: in the configuration, and in what clients send.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use forge_core::schema::{ColumnType, SqlType};
use forge_core::validate::HasLength;
use forge_core::wire::{TypeRef, TypeRegistry, WireType};
use postgres_types::private::BytesMut;
use postgres_types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use serde::{Deserialize as _, Deserializer, Serializer};

/// A password, key or address with a password in it. `Debug` and `Display` never show it; [`expose`](Self::expose) does.
///
/// ```
/// use forge_runtime::config::Secret;
///
/// let secret = Secret::new("correct horse");
/// assert_eq!(format!("{secret} {secret:?}"), "[redacted] [redacted]");
/// assert_eq!(secret.expose(), "correct horse");
/// ```
///
/// In a `#[forge::input]` it is a text that clients send and never get: TypeScript sees a `string`, `#[validate(length(..))]` works, and
/// the input's `Debug`, hence any log of it, does not show it. It implements no serde trait, so it is not written by accident
/// either; only a call from one function to another carries it on. A column of a model can have this type as well, `#[private]` then:
/// a password's hash, say. An app in which a function would answer with one does not start.
#[derive(Clone, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A new secret of 256 random bits, as 43 characters of base64url.
    pub fn random() -> Self {
        Self(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
    }

    /// The text itself. Where this is written is where a secret can leak.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl HasLength for Secret {
    fn length(&self) -> usize {
        self.0.chars().count()
    }
}

impl WireType for Secret {
    fn wire_type(_: &mut TypeRegistry) -> TypeRef {
        TypeRef::Secret
    }

    // For the arguments of a call from one function to another; answers with a secret are refused when the app starts.
    fn wire_serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }

    fn wire_deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

impl ColumnType for Secret {
    fn sql_type() -> SqlType {
        SqlType::Text
    }
}

impl ToSql for Secret {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        self.0.to_sql(ty, out)
    }

    fn accepts(ty: &Type) -> bool {
        <String as ToSql>::accepts(ty)
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Secret {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        String::from_sql(ty, raw).map(Self)
    }

    fn accepts(ty: &Type) -> bool {
        <String as FromSql<'_>>::accepts(ty)
    }
}
