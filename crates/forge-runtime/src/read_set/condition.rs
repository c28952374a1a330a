//! Conditions taken apart: into alternatives, each a list of parts that all have to hold, and parts into values.

use sqlparser::ast::{ArrayElemTypeDef, BinaryOperator, DataType, Expr, TimezoneInfo, UnaryOperator, Value};

use super::kind::KeyKind;
use super::{Fault, Term};

/// How many alternatives are told apart. What would make more of them narrows nothing.
const ALTERNATIVES_MAX: usize = 8;

/// A part of a condition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaf<'e> {
    pub(super) expr: &'e Expr,
    /// It has to be false.
    pub(super) negated: bool,
}

/// A condition's alternatives: it is true only when all parts of one of them are. Three-valued logic allows that: `NOT (a AND b)` is true
/// exactly when `NOT a` is, or `NOT b`.
pub(super) fn alternatives(expr: &Expr, negated: bool) -> Vec<Vec<Leaf<'_>>> {
    match expr {
        Expr::Nested(inner) => alternatives(inner, negated),
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => alternatives(expr, !negated),
        Expr::BinaryOp { left, op: op @ (BinaryOperator::And | BinaryOperator::Or), right } => {
            let (mut left, right) = (alternatives(left, negated), alternatives(right, negated));
            if (*op == BinaryOperator::And) != negated {
                return all(left, right);
            }
            if left.len() + right.len() > ALTERNATIVES_MAX {
                return vec![vec![Leaf { expr, negated }]];
            }
            if !Fault::OrBranch.is_planted() {
                left.extend(right);
            }
            left
        }
        _ => vec![vec![Leaf { expr, negated }]],
    }
}

/// The alternatives of two conditions that both have to hold.
pub(super) fn all<T: Clone>(left: Vec<Vec<T>>, right: Vec<Vec<T>>) -> Vec<Vec<T>> {
    if left.len() * right.len() > ALTERNATIVES_MAX {
        // Leaving a condition out only widens.
        return if left.len() <= right.len() { left } else { right };
    }
    left.iter().flat_map(|one| right.iter().map(|other| [one.as_slice(), other.as_slice()].concat())).collect()
}

/// A value that is known when the statement runs, to be compared with a column of this kind.
pub(super) fn term(expr: &Expr, kind: KeyKind) -> Option<Term> {
    match expr {
        Expr::Nested(inner) => term(inner, kind),
        Expr::Cast { expr: inner, data_type, format: None, .. } => {
            let whole = keeps_whole(data_type) || Fault::CastLength.is_planted();
            match inner_value(inner)? {
                // The argument then has the type it is cast to, and is looked at by that.
                Value::Placeholder(text) => whole.then(|| placeholder(text)).flatten(),
                Value::SingleQuotedString(text) if whole && names_kind(data_type, kind) => {
                    kind.constant(text).map(Term::Literal)
                }
                _ => None,
            }
        }
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match (inner_value(expr)?, kind) {
            (Value::Number(digits, _), KeyKind::Int) => kind.constant(&format!("-{digits}")).map(Term::Literal),
            _ => None,
        },
        Expr::Value(value) => match (&value.value, kind) {
            (Value::Placeholder(text), _) => placeholder(text),
            (Value::Number(digits, _), KeyKind::Int) => kind.constant(digits).map(Term::Literal),
            (Value::Boolean(value), KeyKind::Bool) => Some(Term::Literal(value.to_string())),
            (Value::SingleQuotedString(text), _) => kind.constant(text).map(Term::Literal),
            _ => None,
        },
        _ => None,
    }
}

/// The values of `ANY (..)`.
pub(super) fn elements(expr: &Expr, kind: KeyKind) -> Option<Vec<Term>> {
    match expr {
        Expr::Nested(inner) => elements(inner, kind),
        Expr::Array(array) => array.elem.iter().map(|element| term(element, kind)).collect(),
        Expr::Cast { expr: inner, data_type: DataType::Array(element), format: None, .. } => {
            let element = match element {
                ArrayElemTypeDef::SquareBracket(element, None) | ArrayElemTypeDef::Qualified(element, None) => element,
                _ => return None,
            };
            match &**inner {
                Expr::Array(_) if names_kind(element, kind) => elements(inner, kind),
                Expr::Value(_) if keeps_whole(element) => elements(inner, kind),
                _ => None,
            }
        }
        Expr::Value(value) => match &value.value {
            Value::Placeholder(text) => match placeholder(text)? {
                Term::Argument(n) => Some(vec![Term::Elements(n)]),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

fn inner_value(expr: &Expr) -> Option<&Value> {
    match expr {
        Expr::Nested(inner) => inner_value(inner),
        Expr::Value(value) => Some(&value.value),
        _ => None,
    }
}

fn placeholder(text: &str) -> Option<Term> {
    let number: usize = text.strip_prefix('$')?.parse().ok()?;
    Some(Term::Argument(number.checked_sub(1)?))
}

/// Whether a cast to this type leaves a value of it as it is: it has no length or precision to cut or round to.
fn keeps_whole(ty: &DataType) -> bool {
    match ty {
        DataType::Text | DataType::Uuid | DataType::Bool | DataType::Boolean | DataType::Date => true,
        DataType::Varchar(None) | DataType::CharacterVarying(None) | DataType::Timestamp(None, _) => true,
        DataType::Int2(None) | DataType::Int4(None) | DataType::Int8(None) => true,
        DataType::SmallInt(None) | DataType::Int(None) | DataType::Integer(None) | DataType::BigInt(None) => true,
        DataType::Custom(_, modifiers) => modifiers.is_empty(),
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, None)) => keeps_whole(element),
        _ => false,
    }
}

/// Whether a constant of this type is one of this kind. A type by a name of its own may be any, so it counts only for enums, whose columns
/// are equal to nothing else.
fn names_kind(ty: &DataType, kind: KeyKind) -> bool {
    match kind {
        KeyKind::Text => matches!(ty, DataType::Text | DataType::Varchar(None) | DataType::CharacterVarying(None)),
        KeyKind::Uuid => matches!(ty, DataType::Uuid),
        KeyKind::Bool => matches!(ty, DataType::Bool | DataType::Boolean),
        KeyKind::Date => matches!(ty, DataType::Date),
        KeyKind::Timestamp => {
            matches!(ty, DataType::Timestamp(None, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone))
        }
        KeyKind::Timestamptz => matches!(ty, DataType::Timestamp(None, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz)),
        KeyKind::Int => matches!(
            ty,
            DataType::Int2(None)
                | DataType::Int4(None)
                | DataType::Int8(None)
                | DataType::SmallInt(None)
                | DataType::Int(None)
                | DataType::Integer(None)
                | DataType::BigInt(None)
        ),
        KeyKind::Enum(_) => matches!(ty, DataType::Custom(_, modifiers) if modifiers.is_empty()),
    }
}
