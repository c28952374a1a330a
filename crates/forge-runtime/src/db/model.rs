//! Models: what a table's struct knows about itself, and where its queries begin.

use std::fmt;
use std::marker::PhantomData;

use forge_core::schema::{EnumDef, TableDef};
use postgres_types::ToSql;
use uuid::Uuid;

use super::query::{Assignment, Condition, Delete, Insert, IntoAssignments, Operator, Order, Query, Update};
use super::{FromRow, Upsert};

/// A value on its way into a statement.
pub type Value = Box<dyn ToSql + Send + Sync>;

/// A new id: a version 7 UUID, so that ids made later sort later and indexes grow at one end.
pub fn new_uuid() -> Uuid {
    Uuid::now_v7()
}

/// A table's struct. Implemented by `#[forge::model]`.
pub trait Model: FromRow + Send + Sync + 'static {
    /// The table's name for SQL: quoted, with its schema if it has one.
    const TABLE: &'static str;
    /// The type of the primary key.
    type Id: ToSql + Clone + Send + Sync + 'static;
    /// The column of the primary key.
    const ID_COLUMN: &'static str;
    /// Columns that every update sets to the time of the update.
    const UPDATED_AT: &'static [&'static str];
    /// Columns that stay on the server.
    const PRIVATE: &'static [&'static str];

    /// The table, as the model declares it.
    fn definition() -> TableDef;

    /// An id for a new row, when FORGE makes it.
    fn new_id() -> Option<Value>;

    /// The values of all columns, in the order of [`FromRow::COLUMNS`].
    fn into_values(self) -> Vec<Value>;

    /// A query over all rows, to be narrowed down.
    fn query() -> Query<Self> {
        Query::new()
    }

    /// A query for the row with this id.
    fn find(id: Self::Id) -> Query<Self> {
        Query::new().filter(Condition::compare(Self::ID_COLUMN, Operator::Eq, Box::new(id)))
    }

    /// Inserts a row: a whole model, or the columns that are set (`[Card::TITLE.set(title), ..]`); the others get their
    /// defaults, and an id is made when none is given.
    fn insert(values: impl IntoAssignments<Self>) -> Insert<Self> {
        Insert::new(values.into_assignments())
    }

    /// Inserts a row or, when one with its key is there already, changes that one. The key is the primary key, or the column that
    /// [`on`](Upsert::on) names. One statement, so that two callers at once end with one row and no error.
    fn upsert(values: impl IntoAssignments<Self>) -> Upsert<Self> {
        Upsert::new(values.into_assignments())
    }

    /// Changes the row with this id.
    fn update(id: Self::Id) -> Update<Self> {
        Update::new(Condition::compare(Self::ID_COLUMN, Operator::Eq, Box::new(id)))
    }

    /// Changes all rows that a condition holds for.
    fn update_where(condition: Condition<Self>) -> Update<Self> {
        Update::new(condition)
    }

    /// Deletes the row with this id.
    fn delete(id: Self::Id) -> Delete<Self> {
        Delete::new(Condition::compare(Self::ID_COLUMN, Operator::Eq, Box::new(id)))
    }

    /// Deletes all rows that a condition holds for.
    fn delete_where(condition: Condition<Self>) -> Delete<Self> {
        Delete::new(condition)
    }
}

/// An enum type of the database. Implemented by `#[forge::forge_enum]`.
pub trait PgEnum {
    /// The type, as the enum declares it.
    fn definition() -> EnumDef;
}

/// What a token knows about its column beside the name, all of it at compile time.
type Of<M, T, K> = PhantomData<fn() -> (M, T, K)>;

/// A column of a model, as a token: `Card::TITLE`. `K` says whether it is a key: [`Plain`] or [`Unique`].
pub struct Column<M, T, K = Plain> {
    name: &'static str,
    of: Of<M, T, K>,
}

/// A column whose values may repeat.
#[derive(Debug, Clone, Copy)]
pub enum Plain {}

/// A column of which no two rows have the same value: the `#[id]`, and those with `#[unique]`.
#[derive(Debug, Clone, Copy)]
pub enum Unique {}

/// The token of a column of which no two rows have the same value.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the token of a unique column of `{M}`",
    label = "a column whose values may repeat cannot tell whether the row is there already",
    note = "name the `#[id]`, or a field with `#[unique]`: `.on(User::EMAIL)`"
)]
pub trait UniqueColumn<M> {
    /// The column's name.
    fn column(self) -> &'static str;
}

impl<M: Model, T> UniqueColumn<M> for Column<M, T, Unique> {
    fn column(self) -> &'static str {
        self.name
    }
}

impl<M, T, K> Clone for Column<M, T, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M, T, K> Copy for Column<M, T, K> {}

impl<M, T, K> fmt::Debug for Column<M, T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Column({})", self.name)
    }
}

impl<M: Model, T: ToSql + Send + Sync + 'static, K> Column<M, T, K> {
    /// Called by `#[forge::model]`.
    pub const fn new(name: &'static str) -> Self {
        Self { name, of: PhantomData }
    }

    /// The column's name.
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// The column equals a value. For a value that may be absent see [`is_null`](Self::is_null): as in SQL, nothing equals NULL.
    pub fn eq(self, value: impl Into<T>) -> Condition<M> {
        Condition::compare(self.name, Operator::Eq, Box::new(value.into()))
    }

    /// The column differs from a value.
    pub fn ne(self, value: impl Into<T>) -> Condition<M> {
        Condition::compare(self.name, Operator::Ne, Box::new(value.into()))
    }

    /// The column is less than a value.
    pub fn lt(self, value: impl Into<T>) -> Condition<M> {
        Condition::compare(self.name, Operator::Lt, Box::new(value.into()))
    }

    /// The column is at most a value.
    pub fn le(self, value: impl Into<T>) -> Condition<M> {
        Condition::compare(self.name, Operator::Le, Box::new(value.into()))
    }

    /// The column is greater than a value.
    pub fn gt(self, value: impl Into<T>) -> Condition<M> {
        Condition::compare(self.name, Operator::Gt, Box::new(value.into()))
    }

    /// The column is at least a value.
    pub fn ge(self, value: impl Into<T>) -> Condition<M> {
        Condition::compare(self.name, Operator::Ge, Box::new(value.into()))
    }

    /// The column is one of these values; of none of them, when the list is empty.
    pub fn in_(self, values: impl IntoIterator<Item = impl Into<T>>) -> Condition<M> {
        let values: Vec<T> = values.into_iter().map(Into::into).collect();
        Condition::any_of(self.name, Box::new(values))
    }

    /// The column is NULL.
    pub fn is_null(self) -> Condition<M> {
        Condition::is_null(self.name, true)
    }

    /// The column is not NULL.
    pub fn is_not_null(self) -> Condition<M> {
        Condition::is_null(self.name, false)
    }

    /// Smallest first.
    pub fn asc(self) -> Order<M> {
        Order::new(self.name, false)
    }

    /// Largest first.
    pub fn desc(self) -> Order<M> {
        Order::new(self.name, true)
    }

    /// Gives the column a value, in an insert or an update.
    pub fn set(self, value: impl Into<T>) -> Assignment<M> {
        Assignment::new(self.name, Box::new(value.into()))
    }
}

impl<M: Model, K> Column<M, String, K> {
    /// The column contains a text, whatever the case of the letters.
    pub fn contains(self, text: &str) -> Condition<M> {
        Condition::like(self.name, format!("%{}%", escape_like(text)))
    }

    /// The column begins with a text, whatever the case of the letters.
    pub fn starts_with(self, text: &str) -> Condition<M> {
        Condition::like(self.name, format!("{}%", escape_like(text)))
    }
}

fn escape_like(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}
