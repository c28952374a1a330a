//! Arguments, as the text by which rows are matched.

use bytes::BytesMut;
use postgres_types::{FromSql as _, IsNull, Kind, ToSql, Type};
use uuid::Uuid;

use super::KeyKind;
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
        KeyKind::Text | KeyKind::Enum(_) => std::str::from_utf8(bytes).ok().map(str::to_owned),
    }
}

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
    }
}

impl KeyKind {
    /// The kind of a type, when rows can be matched by it. Not `citext`, `numeric` or `char(n)`: there different texts are equal.
    pub(crate) fn of(ty: &Type) -> Option<Self> {
        match *ty {
            Type::INT2 | Type::INT4 | Type::INT8 => Some(Self::Int),
            Type::UUID => Some(Self::Uuid),
            Type::TEXT | Type::VARCHAR => Some(Self::Text),
            Type::BOOL => Some(Self::Bool),
            _ if matches!(ty.kind(), Kind::Enum(_)) => Some(Self::Enum(ty.oid())),
            _ => None,
        }
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
