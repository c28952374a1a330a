//! What crosses the wire, and in which form.
//!
//! A type that is an argument or a result of a function implements [`WireType`]: it says what it looks like (for
//! the manifest, hence for TypeScript), and how it is written and read. Most types simply use their serde form; the
//! trait exists for those that must not:
//!
//! - 64-bit integers and decimals are strings, because a JavaScript number is exact only up to 2^53;
//! - bytes are base64 text;
//! - a NaN or an infinity is refused, where JSON would make a `null` of it.
//!
//! `#[forge::input]`, `#[forge::model]` and `#[forge::forge_enum]` implement it for an app's types. Names are camelCase,
//! times are RFC 3339 in UTC, `null` is spelt out.

mod impls;
mod path;
mod types;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use path::path_to;
pub use types::{FieldDef, TypeDef, TypeRef, TypeRegistry, TypeShape, VariantDef};

use crate::validate::Violations;
use crate::{Error, Result};

/// A type that may be an argument or a result of a function.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot cross the wire",
    label = "this type is an argument or a result of a function, or a field of one",
    note = "put `#[forge::input]` on your own struct or enum (or `#[forge::model]` if it is a table)",
    note = "for a type of another crate, use one that can: text, numbers, Uuid, Timestamp, Decimal, serde_json::Value"
)]
pub trait WireType: Sized {
    /// Whether this is a `#[forge::input]` struct: a function's only parameter of such a type *is* the arguments' object.
    const OBJECT: bool = false;

    /// What it looks like; named types add their definition to `types`.
    fn wire_type(types: &mut TypeRegistry) -> TypeRef;

    /// Writes the value.
    ///
    /// # Errors
    /// When the value has no form on the wire (NaN), or the serializer fails.
    fn wire_serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

    /// Reads a value.
    ///
    /// # Errors
    /// When the input is not of this form.
    fn wire_deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;

    /// Checks the stated rules, here and in everything below.
    fn validate(&self, violations: &mut Violations) {
        let _ = violations;
    }
}

/// The pair of functions for `#[serde(with = "..")]` on a field: the field is written and read in its wire form.
pub mod field {
    use super::{Deserializer, Serializer, WireType};

    /// See [`WireType::wire_serialize`].
    ///
    /// # Errors
    /// As there.
    pub fn serialize<T: WireType, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        value.wire_serialize(serializer)
    }

    /// See [`WireType::wire_deserialize`].
    ///
    /// # Errors
    /// As there.
    pub fn deserialize<'de, T: WireType, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        T::wire_deserialize(deserializer)
    }
}

/// What a private field of a model has in a value that was read from the wire, where there is no such field: its type's default.
pub fn private_default<T: Default>() -> T {
    T::default()
}

/// Lets a value be written by serde in its wire form.
pub(crate) struct AsWire<'a, T>(pub(crate) &'a T);

impl<T: WireType> Serialize for AsWire<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.wire_serialize(serializer)
    }
}

/// Lets a value be read by serde from its wire form.
pub(crate) struct FromWire<T>(pub(crate) T);

impl<'de, T: WireType> Deserialize<'de> for FromWire<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::wire_deserialize(deserializer).map(FromWire)
    }
}

/// Appends the value's JSON to a buffer.
///
/// # Errors
/// `INTERNAL_ERROR` when the value has no form on the wire, such as NaN.
pub fn write_json<T: WireType>(value: &T, buffer: &mut Vec<u8>) -> Result<()> {
    let mut serializer = serde_json::Serializer::new(buffer);
    value
        .wire_serialize(&mut serializer)
        .map_err(|source| Error::internal("a result could not be written as JSON").with_source(source))
}

/// Reads a value from JSON and checks its rules.
///
/// # Errors
/// `INVALID_ARGUMENT` when the text is not JSON of this form, `VALIDATION_ERROR` when rules are broken.
pub fn read_json<T: WireType>(json: &[u8]) -> Result<T> {
    let value: T = read(json).map_err(|source| Error::invalid_argument(format!("the arguments do not fit: {source}")))?;
    let mut violations = Violations::default();
    value.validate(&mut violations);
    violations.into_result()?;
    Ok(value)
}

/// Reads what a function of this app has answered. Rules are for what comes from outside: they do not count here.
///
/// # Errors
/// `INTERNAL_ERROR` when the text is not JSON of this form.
pub fn read_answer<T: WireType>(json: &[u8]) -> Result<T> {
    read(json).map_err(|source| Error::internal("the answer of a function could not be read").with_source(source))
}

fn read<T: WireType>(json: &[u8]) -> serde_json::Result<T> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    T::wire_deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value))
}

/// The arguments of a function with exactly one parameter: that parameter alone when it is an input object, else an object
/// with one field. The macros call this for [`WireType`] of the arguments they generate.
pub mod single {
    use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
    use serde::ser::SerializeMap;

    use super::{AsWire, Deserializer, FromWire, Serializer, WireType};

    /// Writes the parameter.
    ///
    /// # Errors
    /// As [`WireType::wire_serialize`].
    pub fn serialize<T: WireType, S: Serializer>(name: &str, value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        if T::OBJECT {
            return value.wire_serialize(serializer);
        }
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(name, &AsWire(value))?;
        map.end()
    }

    /// Reads the parameter. A parameter that accepts `null` may be missing.
    ///
    /// # Errors
    /// As [`WireType::wire_deserialize`].
    pub fn deserialize<'de, T: WireType, D: Deserializer<'de>>(name: &'static str, deserializer: D) -> Result<T, D::Error> {
        if T::OBJECT {
            return T::wire_deserialize(deserializer);
        }
        deserializer.deserialize_map(One::<T>(name, std::marker::PhantomData))
    }

    struct One<T>(&'static str, std::marker::PhantomData<T>);

    impl<'de, T: WireType> Visitor<'de> for One<T> {
        type Value = T;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "an object with the field `{}`", self.0)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
            let mut found = None;
            while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
                if key != self.0 {
                    map.next_value::<IgnoredAny>()?;
                    return Err(A::Error::custom(format!("unknown field `{key}`, expected `{}`", self.0)));
                }
                if found.is_some() {
                    return Err(A::Error::duplicate_field(self.0));
                }
                found = Some(map.next_value::<FromWire<T>>()?.0);
            }
            // Only a type that reads `null` (an Option, a unit) accepts that the field is not there.
            found.map_or_else(
                || {
                    let null = serde::de::value::UnitDeserializer::<A::Error>::new();
                    T::wire_deserialize(null).map_err(|_| A::Error::missing_field(self.0))
                },
                Ok,
            )
        }
    }
}

/// What is given to something that takes nothing: an object without fields, so that fields may come later. The macros call this
/// for [`WireType`] of the input they generate for a job without parameters.
pub mod empty {
    use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
    use serde::ser::SerializeMap;

    use super::{Deserializer, Serializer};

    /// Writes `{}`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_map(Some(0))?.end()
    }

    /// Reads `{}` or `null`.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(Nothing)
    }

    struct Nothing;

    impl<'de> Visitor<'de> for Nothing {
        type Value = ();

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object without fields")
        }

        fn visit_unit<E>(self) -> Result<(), E> {
            Ok(())
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            match map.next_key::<std::borrow::Cow<'de, str>>()? {
                Some(key) => {
                    map.next_value::<IgnoredAny>()?;
                    Err(A::Error::custom(format!("unknown field `{key}`: it takes nothing")))
                }
                None => Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
