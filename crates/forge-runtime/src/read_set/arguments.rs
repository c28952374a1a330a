//! Arguments, as the text by which rows are matched.

use bytes::BytesMut;
use postgres_types::{FromSql as _, IsNull, Kind, ToSql, Type};
use uuid::Uuid;

use super::kind::{days_text, micros_text};
use super::{Fault, KeyKind};
use crate::db::Params;

/// An argument of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Argument {
    Null,
    One(KeyKind, String),
    /// An array; NULLs in it are left out, as nothing equals them.
    Many(KeyKind, Vec<String>),
    /// Of a type that rows are not matched by.
    Opaque,
}

/// The arguments of a statement whose parameters have these types.
pub(crate) fn capture(params: Params<'_>, types: &[Type]) -> Vec<Argument> {
    params.iter().zip(types).map(|(param, ty)| one(*param, ty).unwrap_or(Argument::Opaque)).collect()
}

/// `None` when it cannot be read: then it matches everything, and the statement itself reports what is wrong with it.
fn one(param: &(dyn ToSql + Sync), ty: &Type) -> Option<Argument> {
    let (element, array) = match ty.kind() {
        Kind::Array(element) => (element, true),
        _ => (ty, false),
    };
    let Some(kind) = KeyKind::of(element) else { return Some(Argument::Opaque) };
    let mut bytes = BytesMut::new();
    match param.to_sql_checked(ty, &mut bytes).ok()? {
        IsNull::Yes => Some(Argument::Null),
        IsNull::No if array => many(kind, ty, element, &bytes).map(|list| Argument::Many(kind, list)),
        IsNull::No => text(kind, element, &bytes).map(|value| Argument::One(kind, value)),
    }
}

fn text(kind: KeyKind, ty: &Type, bytes: &[u8]) -> Option<String> {
    match kind {
        KeyKind::Int => match *ty {
            Type::INT2 => i16::from_sql(ty, bytes).ok().map(|n| n.to_string()),
            Type::INT4 => i32::from_sql(ty, bytes).ok().map(|n| n.to_string()),
            _ => i64::from_sql(ty, bytes).ok().map(|n| n.to_string()),
        },
        KeyKind::Uuid => Uuid::from_sql(ty, bytes).ok().map(|id| id.to_string()),
        KeyKind::Bool => bool::from_sql(ty, bytes).ok().map(|b| b.to_string()),
        KeyKind::Enum(_) if Fault::EnumKey.is_planted() => std::str::from_utf8(bytes).ok().map(str::to_lowercase),
        KeyKind::Text | KeyKind::Enum(_) => std::str::from_utf8(bytes).ok().map(str::to_owned),
        KeyKind::Date => Days::from_sql(ty, bytes).ok().map(|days| days.to_string()),
        KeyKind::Timestamp | KeyKind::Timestamptz => Micros::from_sql(ty, bytes).ok().map(|micros| micros.to_string()),
    }
}

/// A date as it travels, infinities included.
struct Days(i32);

/// A time as it travels.
struct Micros(i64);

macro_rules! travelling {
    ($name:ident, $number:ty, $text:path) => {
        impl<'a> postgres_types::FromSql<'a> for $name {
            fn from_sql(_: &Type, bytes: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
                Ok(Self(<$number>::from_be_bytes(bytes.try_into()?)))
            }

            fn accepts(_: &Type) -> bool {
                true
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&$text(self.0))
            }
        }
    };
}

travelling!(Days, i32, days_text);
travelling!(Micros, i64, micros_text);

fn many(kind: KeyKind, ty: &Type, element: &Type, bytes: &[u8]) -> Option<Vec<String>> {
    fn all<'a, T: postgres_types::FromSql<'a> + ToString>(ty: &Type, bytes: &'a [u8]) -> Option<Vec<String>> {
        let list = Vec::<Option<T>>::from_sql(ty, bytes).ok()?;
        Some(list.into_iter().flatten().map(|value| value.to_string()).collect())
    }
    match kind {
        KeyKind::Int if *element == Type::INT2 => all::<i16>(ty, bytes),
        KeyKind::Int if *element == Type::INT4 => all::<i32>(ty, bytes),
        KeyKind::Int => all::<i64>(ty, bytes),
        KeyKind::Uuid => all::<Uuid>(ty, bytes),
        KeyKind::Bool => all::<bool>(ty, bytes),
        KeyKind::Text | KeyKind::Enum(_) => all::<String>(ty, bytes),
        KeyKind::Date => all::<Days>(ty, bytes),
        KeyKind::Timestamp | KeyKind::Timestamptz => all::<Micros>(ty, bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_become_the_text_that_rows_have() {
        let id = Uuid::from_u128(7);
        let params: Params<'_> = &[&5_i64, &id, &"x", &None::<i32>, &vec![Some(1_i32), None, Some(-2)], &1.5_f64];
        let types = [Type::INT8, Type::UUID, Type::TEXT, Type::INT4, Type::INT4_ARRAY, Type::FLOAT8];
        assert_eq!(
            capture(params, &types),
            [
                Argument::One(KeyKind::Int, "5".into()),
                Argument::One(KeyKind::Uuid, "00000000-0000-0000-0000-000000000007".into()),
                Argument::One(KeyKind::Text, "x".into()),
                Argument::Null,
                Argument::Many(KeyKind::Int, vec!["1".into(), "-2".into()]),
                Argument::Opaque,
            ]
        );
    }
}
