//! Values: few of each type, so that rows meet, and among them those by which a careless comparison is caught.

use bytes::{BufMut as _, BytesMut};
use postgres_types::{IsNull, Kind, ToSql, Type, to_sql_checked};

/// The types of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ty {
    Int,
    BigInt,
    Uuid,
    Text,
    /// `text COLLATE "C"`, whose order is that of its bytes.
    Plain,
    Bool,
    Mood,
    Date,
    Stamp,
    /// Equal numbers are not always written alike.
    Number,
    Float,
    Json,
    /// `char(4)`, where spaces at the end do not count.
    Padded,
}

impl Ty {
    /// Those that may be a primary key, with many values.
    pub(super) const IDS: &'static [Self] = &[Self::Int, Self::BigInt, Self::Uuid, Self::Text];
    pub(super) const ALL: &'static [Self] = &[
        Self::Int,
        Self::Int,
        Self::BigInt,
        Self::Uuid,
        Self::Text,
        Self::Text,
        Self::Plain,
        Self::Bool,
        Self::Mood,
        Self::Date,
        Self::Stamp,
        Self::Number,
        Self::Float,
        Self::Json,
        Self::Padded,
    ];

    /// Rows can be matched by it.
    pub(super) fn is_key(self) -> bool {
        !matches!(self, Self::Number | Self::Float | Self::Json | Self::Padded)
    }

    /// Values that are equal are the same.
    pub(super) fn is_strict(self) -> bool {
        self != Self::Number
    }

    /// Its order is known outside of PostgreSQL.
    pub(super) fn has_order(self) -> bool {
        matches!(self, Self::Int | Self::BigInt | Self::Uuid | Self::Plain | Self::Date | Self::Stamp)
    }

    pub(super) fn sql(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::BigInt => "bigint",
            Self::Uuid => "uuid",
            Self::Text => "text",
            Self::Plain => "text COLLATE \"C\"",
            Self::Bool => "boolean",
            Self::Mood => "mood",
            Self::Date => "date",
            Self::Stamp => "timestamptz",
            Self::Number => "numeric",
            Self::Float => "float8",
            Self::Json => "jsonb",
            Self::Padded => "char(4)",
        }
    }
}

const TEXTS: &[&str] = &["", "a", "B", "aa", "b", "\u{e4}"];
const MOODS: &[&str] = &["Low", "low", "it's", "High", "x y", "\u{fc}"];
const NUMBERS: &[&str] = &["1.0", "1.00", "2", "10", "-3.5", "3"];
const FLOATS: &[f64] = &[0.1, 0.100_000_000_000_000_02, -2.5, 10.0, 1e10, 9.0];
const JSONS: &[&str] = &["{}", "[1]", "{\"a\": 1}", "\"x\"", "null", "{\"a\": [1, 2]}"];
const PADDED: &[&str] = &["a", "b", "ab", "zz", "B", "x"];
/// As days and microseconds since the year 2000, which is how they travel, beside their text.
const DATES: &[(&str, i32)] = &[
    ("2000-01-01", 0),
    ("1969-12-31", -10_958),
    ("2024-02-29", 8_825),
    ("infinity", i32::MAX),
    ("-infinity", i32::MIN),
    ("2000-01-10", 9),
];
/// Two of them are the same hour of a night on which clocks are set back.
const STAMPS: &[(&str, i64)] = &[
    ("2000-01-01 00:00:00+00", 0),
    ("1999-12-31 23:59:59.25+00", -750_000),
    ("2024-10-27 00:30:00.5+00", 783_304_200_500_000),
    ("2024-10-27 01:30:00.5+00", 783_307_800_500_000),
    ("infinity", i64::MAX),
    ("1969-12-31 23:59:59.75+00", -946_684_800_250_000),
];

/// How many different values columns that are no ids have.
pub(super) const VALUES: usize = 6;

/// A value of a type: the n-th, or NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Datum {
    pub(super) ty: Ty,
    pub(super) n: Option<usize>,
}

impl Datum {
    fn text(self, n: usize) -> String {
        let small = n % VALUES;
        match self.ty {
            Ty::Int => int(n).to_string(),
            Ty::BigInt => big(n).to_string(),
            Ty::Uuid => uuid(n).to_string(),
            Ty::Text | Ty::Plain => TEXTS.get(n).map_or_else(|| format!("t{n}"), |text| (*text).to_owned()),
            Ty::Bool => (n % 2 == 1).to_string(),
            Ty::Mood => MOODS[small].to_owned(),
            Ty::Date => DATES[small].0.to_owned(),
            Ty::Stamp => STAMPS[small].0.to_owned(),
            Ty::Number => NUMBERS[small].to_owned(),
            Ty::Float => FLOATS[small].to_string(),
            Ty::Json => JSONS[small].to_owned(),
            Ty::Padded => PADDED[small].to_owned(),
        }
    }

    /// As SQL.
    pub(super) fn literal(self) -> String {
        match (self.n, self.ty) {
            (None, _) => "NULL".to_owned(),
            (Some(n), Ty::Int | Ty::BigInt | Ty::Bool) => self.text(n),
            (Some(n), _) => format!("'{}'", self.text(n).replace('\'', "''")),
        }
    }

    /// As a line of COPY has it.
    pub(super) fn copied(self) -> String {
        self.n.map_or_else(|| "\\N".to_owned(), |n| self.text(n))
    }
}

fn int(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(0) * 3 - 4
}

fn big(n: usize) -> i64 {
    (i64::try_from(n).unwrap_or(0) - 2) * 10_000_000_000
}

fn uuid(n: usize) -> uuid::Uuid {
    // The first byte alone does not decide the order, and neither do signed comparisons.
    uuid::Uuid::from_u128((u128::from(n as u64 % 3) << 126) | (n as u128 * 0x0101))
}

type Failure = Box<dyn std::error::Error + Sync + Send>;

fn put(datum: Datum, n: usize, ty: &Type, out: &mut BytesMut) -> Result<(), Failure> {
    match *ty {
        Type::INT4 => out.put_i32(int(n)),
        Type::INT8 if datum.ty == Ty::Int => out.put_i64(i64::from(int(n))),
        Type::INT8 => out.put_i64(big(n)),
        Type::UUID => out.put_slice(uuid(n).as_bytes()),
        Type::BOOL => out.put_u8(u8::from(n % 2 == 1)),
        Type::DATE => out.put_i32(DATES[n % VALUES].1),
        Type::TIMESTAMPTZ => out.put_i64(STAMPS[n % VALUES].1),
        Type::FLOAT8 => out.put_f64(FLOATS[n % VALUES]),
        Type::JSONB => {
            out.put_u8(1);
            out.put_slice(datum.text(n).as_bytes());
        }
        Type::NUMERIC => {
            let number: rust_decimal::Decimal = NUMBERS[n % VALUES].parse()?;
            number.to_sql(ty, out)?;
        }
        _ => out.put_slice(datum.text(n).as_bytes()),
    }
    Ok(())
}

/// An argument of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Arg {
    One(Datum),
    /// An array.
    Many(Vec<Datum>),
}

impl ToSql for Arg {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        match (self, ty.kind()) {
            (Self::Many(list), Kind::Array(element)) => {
                let dimension = postgres_dimension(list.len());
                out.put_slice(&dimension(list.iter().any(|datum| datum.n.is_none()), element.oid()));
                for datum in list {
                    match datum.n {
                        None => out.put_i32(-1),
                        Some(n) => {
                            let mut value = BytesMut::new();
                            put(*datum, n, element, &mut value)?;
                            out.put_i32(i32::try_from(value.len())?);
                            out.put_slice(&value);
                        }
                    }
                }
                Ok(IsNull::No)
            }
            (Self::Many(_), _) => Err("an array where a value is wanted".into()),
            (Self::One(Datum { n: None, .. }), _) => Ok(IsNull::Yes),
            (Self::One(datum), _) => {
                if let Some(n) = datum.n {
                    put(*datum, n, ty, out)?;
                }
                Ok(IsNull::No)
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// The head of an array of one dimension.
fn postgres_dimension(length: usize) -> impl Fn(bool, u32) -> Vec<u8> {
    move |nulls, element| {
        let mut head = Vec::new();
        head.extend(i32::from(length > 0).to_be_bytes());
        head.extend(i32::from(nulls).to_be_bytes());
        head.extend(element.to_be_bytes());
        if length > 0 {
            head.extend(i32::try_from(length).unwrap_or(0).to_be_bytes());
            head.extend(1_i32.to_be_bytes());
        }
        head
    }
}
