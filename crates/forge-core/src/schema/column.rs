//! Which PostgreSQL type a Rust type is stored as.

use std::fmt;
use std::ops::{Deref, DerefMut};

use postgres_types::private::BytesMut;
use postgres_types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::validate::Violations;
use crate::wire::{TypeRef, TypeRegistry, WireType};

/// A PostgreSQL type, as far as models use them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum SqlType {
    /// `text`, for `String`: no hidden limit. `#[max_length = N]` makes it [`Varchar`](Self::Varchar).
    Text,
    /// `varchar(N)`.
    Varchar {
        /// At most so many characters.
        length: u32,
    },
    /// `smallint`, for `i16`.
    SmallInt,
    /// `integer`, for `i32`.
    Integer,
    /// `bigint`, for `i64`.
    BigInt,
    /// `real`, for `f32`.
    Real,
    /// `double precision`, for `f64`.
    Double,
    /// `boolean`.
    Boolean,
    /// `uuid`.
    Uuid,
    /// `timestamptz`, for `Timestamp`.
    TimestampTz,
    /// `date`.
    Date,
    /// `time`.
    Time,
    /// `numeric`, for `Decimal`.
    Numeric,
    /// `jsonb`, for [`Json`] and `serde_json::Value`.
    Jsonb,
    /// `bytea`, for `Vec<u8>`.
    Bytea,
    /// An enum type of the app.
    Enum {
        /// Its name in the database.
        name: String,
    },
    /// An array.
    Array {
        /// The type of its items.
        of: Box<SqlType>,
    },
}

impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Varchar { length } => return write!(f, "varchar({length})"),
            Self::SmallInt => "smallint",
            Self::Integer => "integer",
            Self::BigInt => "bigint",
            Self::Real => "real",
            Self::Double => "double precision",
            Self::Boolean => "boolean",
            Self::Uuid => "uuid",
            Self::TimestampTz => "timestamptz",
            Self::Date => "date",
            Self::Time => "time",
            Self::Numeric => "numeric",
            Self::Jsonb => "jsonb",
            Self::Bytea => "bytea",
            Self::Enum { name } => return f.write_str(&super::quote_identifier(name)),
            Self::Array { of } => return write!(f, "{of}[]"),
        })
    }
}

/// A Rust type that a column can have.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the type of a column",
    label = "no PostgreSQL type is known for this",
    note = "columns are String, bool, i16, i32, i64, f32, f64, Decimal, Uuid, Timestamp, Date, Time, Vec<u8>, Json<T>, a `#[forge::forge_enum]`, an Option or a Vec of one"
)]
pub trait ColumnType {
    /// The PostgreSQL type.
    fn sql_type() -> SqlType;

    /// Whether the column may be NULL.
    const NULLABLE: bool = false;
}

macro_rules! column_types {
    ($($ty:ty => $sql:ident),* $(,)?) => {$(
        impl ColumnType for $ty {
            fn sql_type() -> SqlType {
                SqlType::$sql
            }
        }
    )*};
}

column_types! {
    String => Text,
    bool => Boolean,
    i16 => SmallInt,
    i32 => Integer,
    i64 => BigInt,
    f32 => Real,
    f64 => Double,
    uuid::Uuid => Uuid,
    jiff::Timestamp => TimestampTz,
    jiff::civil::Date => Date,
    jiff::civil::Time => Time,
    rust_decimal::Decimal => Numeric,
    serde_json::Value => Jsonb,
    Vec<u8> => Bytea,
}

impl<T: ColumnType> ColumnType for Option<T> {
    fn sql_type() -> SqlType {
        T::sql_type()
    }
    const NULLABLE: bool = true;
}

impl<T: ColumnType> ColumnType for Vec<T> {
    fn sql_type() -> SqlType {
        SqlType::Array { of: Box::new(T::sql_type()) }
    }
}

impl<T> ColumnType for Json<T> {
    fn sql_type() -> SqlType {
        SqlType::Jsonb
    }
}

/// A value stored as `jsonb`, typed on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Json<T>(pub T);

impl<T> Deref for Json<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Json<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: WireType> WireType for Json<T> {
    fn wire_type(types: &mut TypeRegistry) -> TypeRef {
        T::wire_type(types)
    }
    fn wire_serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.wire_serialize(serializer)
    }
    fn wire_deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::wire_deserialize(deserializer).map(Json)
    }
    fn validate(&self, violations: &mut Violations) {
        self.0.validate(violations);
    }
}

impl<'a, T: WireType> FromSql<'a> for Json<T> {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        // The binary form of jsonb is a version byte and the text; json is the text alone.
        let text = match (ty, raw) {
            (&Type::JSONB, [1, text @ ..]) => text,
            (&Type::JSONB, _) => return Err("this version of the jsonb format is not known".into()),
            (_, text) => text,
        };
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        Ok(Json(T::wire_deserialize(&mut deserializer)?))
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::JSON | Type::JSONB)
    }
}

impl<T: WireType + fmt::Debug> ToSql for Json<T> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        if *ty == Type::JSONB {
            out.extend_from_slice(&[1]);
        }
        let mut text = Vec::new();
        crate::wire::write_json(&self.0, &mut text)?;
        out.extend_from_slice(&text);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::JSON | Type::JSONB)
    }

    to_sql_checked!();
}
