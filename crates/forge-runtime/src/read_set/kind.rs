//! The types by whose values rows are matched, and their order.
//!
//! Values travel as text: as the trigger writes it and as arguments are turned into it. For each kind, equal values have one text,
//! whatever the session's settings are; times are therefore seconds since 1970, as `extract(epoch ..)` has them.

use postgres_types::{Kind, Type};
use uuid::Uuid;

use super::Fault;

/// A type whose equality is that of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum KeyKind {
    Int,
    Uuid,
    Text,
    Bool,
    Date,
    Timestamp,
    Timestamptz,
    /// By the type's oid.
    Enum(u32),
}

/// A value where an order is needed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Point {
    Int(i64),
    Uuid(u128),
    /// Microseconds since 1970; beyond all of them are the infinities.
    Time(i128),
    /// Under a collation that is the order of bytes.
    Text(String),
}

impl KeyKind {
    /// The kind of a type, when rows can be matched by it. Not `citext`, `numeric` or `char(n)`: there different texts are equal.
    pub(crate) fn of(ty: &Type) -> Option<Self> {
        match *ty {
            Type::INT2 | Type::INT4 | Type::INT8 => Some(Self::Int),
            Type::UUID => Some(Self::Uuid),
            Type::TEXT | Type::VARCHAR => Some(Self::Text),
            Type::BOOL => Some(Self::Bool),
            Type::DATE => Some(Self::Date),
            Type::TIMESTAMP => Some(Self::Timestamp),
            Type::TIMESTAMPTZ => Some(Self::Timestamptz),
            _ if matches!(ty.kind(), Kind::Enum(_)) => Some(Self::Enum(ty.oid())),
            _ => None,
        }
    }

    /// Whether `<` and its kin can be decided by [`point`](Self::point). (Of text, only under some collations.)
    pub(crate) fn has_order(self) -> bool {
        !matches!(self, Self::Bool | Self::Enum(_))
    }

    /// A text's place in the order.
    pub(crate) fn point(self, text: &str) -> Option<Point> {
        match self {
            Self::Int if Fault::RangeOrder.is_planted() => Some(Point::Text(text.to_owned())),
            Self::Int => text.parse().ok().map(Point::Int),
            Self::Uuid => text.parse::<Uuid>().ok().map(|id| Point::Uuid(id.as_u128())),
            Self::Text => Some(Point::Text(text.to_owned())),
            Self::Date | Self::Timestamp | Self::Timestamptz => micros(text).map(Point::Time),
            Self::Bool | Self::Enum(_) => None,
        }
    }

    /// The text of a constant that is written in a statement.
    pub(crate) fn constant(self, text: &str) -> Option<String> {
        match self {
            Self::Int => text.trim().parse::<i64>().ok().map(|n| n.to_string()),
            Self::Uuid => text.parse::<Uuid>().ok().map(|id| id.to_string()),
            Self::Text | Self::Enum(_) => Some(text.to_owned()),
            Self::Bool => matches!(text, "true" | "false").then(|| text.to_owned()),
            Self::Date => match text {
                "infinity" => Some(days_text(i32::MAX)),
                "-infinity" => Some(days_text(i32::MIN)),
                _ => {
                    let date: jiff::civil::Date = text.parse().ok()?;
                    let days = (date - jiff::civil::date(2000, 1, 1)).get_days();
                    // Only what is written as PostgreSQL writes it: other forms depend on settings.
                    (date.to_string() == text).then(|| days_text(days))
                }
            },
            Self::Timestamp | Self::Timestamptz => match text {
                "infinity" => Some(micros_text(i64::MAX)),
                "-infinity" => Some(micros_text(i64::MIN)),
                _ => None,
            },
        }
    }
}

/// Seconds from 1970 to 2000, where PostgreSQL begins to count.
const EPOCH: i128 = 946_684_800;

/// The text of a date, which travels as days since 2000.
pub(super) fn days_text(days: i32) -> String {
    match days {
        i32::MAX => "Infinity".to_owned(),
        i32::MIN => "-Infinity".to_owned(),
        days => (i128::from(days) * 86_400 + EPOCH).to_string(),
    }
}

/// The text of a time, which travels as microseconds since 2000.
pub(super) fn micros_text(micros: i64) -> String {
    match micros {
        i64::MAX => "Infinity".to_owned(),
        i64::MIN => "-Infinity".to_owned(),
        micros => {
            let micros = i128::from(micros) + EPOCH * 1_000_000;
            let (sign, size) = (if micros < 0 { "-" } else { "" }, micros.unsigned_abs());
            format!("{sign}{}.{:06}", size / 1_000_000, size % 1_000_000)
        }
    }
}

/// Microseconds, of seconds with or without a fraction.
fn micros(text: &str) -> Option<i128> {
    match text {
        "Infinity" => return Some(i128::MAX),
        "-Infinity" => return Some(i128::MIN),
        _ => {}
    }
    let (sign, size) = text.strip_prefix('-').map_or((1, text), |size| (-1, size));
    let (seconds, fraction) = size.split_once('.').unwrap_or((size, ""));
    if fraction.len() > 6 {
        return None;
    }
    let seconds: i128 = seconds.parse().ok()?;
    let fraction: i128 = format!("{fraction:0<6}").parse().ok()?;
    Some(sign * (seconds * 1_000_000 + fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_one_text_and_an_order() {
        assert_eq!(micros_text(-946_684_800_000_000), "0.000000");
        assert_eq!(micros_text(-946_684_800_250_000), "-0.250000");
        assert_eq!(days_text(-10_957), "0");
        assert_eq!(KeyKind::Date.constant("2000-01-02"), Some("946771200".into()));
        for other in ["02.01.2000", "2000-1-2", "today"] {
            assert_eq!(KeyKind::Date.constant(other), None, "{other}");
        }
        let order = ["-Infinity", "-1.500000", "-0.250000", "0", "0.000001", "2", "10.5", "Infinity"];
        let points: Vec<_> = order.iter().map(|text| KeyKind::Timestamptz.point(text).unwrap()).collect();
        assert!(points.is_sorted());
        assert!(KeyKind::Int.point("9") < KeyKind::Int.point("10"));
    }
}
