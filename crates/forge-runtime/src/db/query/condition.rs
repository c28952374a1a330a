//! What must hold for rows, and how that is written.

use std::fmt;
use std::marker::PhantomData;

use super::text::Text;
use crate::db::model::Value;

/// How two values compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::db) enum Operator {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Operator {
    fn sql(self) -> &'static str {
        match self {
            Self::Eq => " = ",
            Self::Ne => " <> ",
            Self::Lt => " < ",
            Self::Le => " <= ",
            Self::Gt => " > ",
            Self::Ge => " >= ",
        }
    }
}

/// What must hold for a row. Made by the column tokens: `Card::TITLE.eq("Milk")`.
pub struct Condition<M> {
    kind: Kind<M>,
}

enum Kind<M> {
    Compare(&'static str, Operator, Value),
    AnyOf(&'static str, Value),
    Like(&'static str, String),
    IsNull(&'static str, bool),
    All(Vec<Condition<M>>),
    Any(Vec<Condition<M>>),
    Not(Box<Condition<M>>),
    /// Rows that come after another one in an order: for keyset pages.
    After(Vec<Key>, PhantomData<fn() -> M>),
}

/// A column of an order, and the value the last page ended with, as text.
pub(super) struct Key {
    pub(super) column: String,
    pub(super) sql_type: String,
    pub(super) descending: bool,
    pub(super) value: String,
}

impl<M> fmt::Debug for Condition<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Text::new();
        self.write(&mut text);
        f.write_str(&text.sql)
    }
}

impl<M> Condition<M> {
    pub(in crate::db) fn compare(column: &'static str, operator: Operator, value: Value) -> Self {
        Self { kind: Kind::Compare(column, operator, value) }
    }

    pub(in crate::db) fn any_of(column: &'static str, values: Value) -> Self {
        Self { kind: Kind::AnyOf(column, values) }
    }

    pub(in crate::db) fn like(column: &'static str, pattern: String) -> Self {
        Self { kind: Kind::Like(column, pattern) }
    }

    pub(in crate::db) fn is_null(column: &'static str, is: bool) -> Self {
        Self { kind: Kind::IsNull(column, is) }
    }

    pub(super) fn after(keys: Vec<Key>) -> Self {
        Self { kind: Kind::After(keys, PhantomData) }
    }

    /// Both hold.
    pub fn and(self, other: Self) -> Self {
        Self { kind: Kind::All(vec![self, other]) }
    }

    /// At least one holds.
    pub fn or(self, other: Self) -> Self {
        Self { kind: Kind::Any(vec![self, other]) }
    }

    pub(super) fn write<'a>(&'a self, text: &mut Text<'a>) {
        match &self.kind {
            Kind::Compare(column, operator, value) => {
                text.name(column);
                text.push(operator.sql());
                text.bind(value.as_ref());
            }
            Kind::AnyOf(column, values) => {
                text.name(column);
                text.push(" = ANY(");
                text.bind(values.as_ref());
                text.push(")");
            }
            Kind::Like(column, pattern) => {
                text.name(column);
                text.push(" ILIKE ");
                text.bind(pattern);
            }
            Kind::IsNull(column, is) => {
                text.name(column);
                text.push(if *is { " IS NULL" } else { " IS NOT NULL" });
            }
            Kind::All(parts) => text.join(parts, " AND ", "true"),
            Kind::Any(parts) => text.join(parts, " OR ", "false"),
            Kind::Not(inner) => {
                text.push("NOT (");
                inner.write(text);
                text.push(")");
            }
            Kind::After(keys, _) => text.after(keys),
        }
    }
}

impl<M> std::ops::Not for Condition<M> {
    type Output = Self;
    fn not(self) -> Self {
        Self { kind: Kind::Not(Box::new(self)) }
    }
}

impl<'a> Text<'a> {
    /// Adds conditions with a word between them, or what is written for none.
    pub(super) fn join<M>(&mut self, parts: &'a [Condition<M>], word: &str, none: &str) {
        if parts.is_empty() {
            return self.push(none);
        }
        for (n, part) in parts.iter().enumerate() {
            self.push(if n == 0 { "(" } else { word });
            part.write(self);
        }
        self.push(")");
    }

    /// `(a > $1 OR (a = $1 AND b < $2))` and so on: right for any mix of directions. Values are text on the way, and are
    /// cast to their column's type, so that an index on the columns serves.
    fn after(&mut self, keys: &'a [Key]) {
        self.push("(");
        for (n, key) in keys.iter().enumerate() {
            if n > 0 {
                self.push(" OR (");
            }
            for earlier in &keys[..n] {
                self.compare_key(earlier, "=");
                self.push(" AND ");
            }
            self.compare_key(key, if key.descending { "<" } else { ">" });
            if n > 0 {
                self.push(")");
            }
        }
        self.push(")");
    }

    fn compare_key(&mut self, key: &'a Key, operator: &str) {
        self.push(&format!("{} {operator} (", key.column));
        self.bind(&key.value);
        self.push(&format!("::text)::{}", key.sql_type));
    }
}
