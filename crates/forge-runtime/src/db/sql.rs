//! Statements written as SQL, with `sql!`.

use std::marker::PhantomData;

use forge_core::{Error, Result};
use postgres_types::ToSql;

use super::row::Field;
use super::row::{decode_all, decode_one};
use super::{Db, FromRow, Rows, Statement};

/// A statement with its arguments, ready to run. Made by `sql!`.
#[must_use = "a statement does nothing until it is fetched or executed"]
pub struct Sql<'a, R> {
    statement: &'static Statement,
    params: Vec<&'a (dyn ToSql + Sync)>,
    row: PhantomData<fn() -> R>,
}

impl<R> std::fmt::Debug for Sql<'_, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The arguments may be secrets.
        f.debug_struct("Sql").field("text", &self.statement.text()).finish_non_exhaustive()
    }
}

impl<'a, R> Sql<'a, R> {
    /// Called by `sql!`.
    pub fn new(statement: &'static Statement, params: Vec<&'a (dyn ToSql + Sync)>) -> Self {
        Self { statement, params, row: PhantomData }
    }
}

impl<'a, R: FromRow> Sql<'a, R> {
    /// The rows as they come, for a result that should not be in memory as a whole. Only of a `SELECT`.
    ///
    /// ```ignore
    /// let mut cards = sql!(Card, "SELECT * FROM cards WHERE board_id = {board_id}").fetch(ctx.db());
    /// while let Some(card) = cards.try_next().await? { .. }
    /// ```
    ///
    /// In a query the stream has a connection of its own, in a mutation it is part of the transaction, and the loop's body may run
    /// other statements there. It ends with the function, at the latest when the function's time is over.
    pub fn fetch<'s>(self, db: &'s Db) -> Rows<'s, R>
    where
        'a: 's,
        R: 's,
    {
        Rows::new(async move { db.open(self.statement.shape(), &self.params).await })
    }

    /// All rows.
    ///
    /// # Errors
    /// What the database says, or `DATABASE_ERROR` when a row does not fit `R`.
    pub async fn fetch_all(self, db: &Db) -> Result<Vec<R>> {
        decode_all(&db.run(self.statement.shape(), &self.params).await?.rows)
    }

    /// The first row, if there is one.
    ///
    /// # Errors
    /// As [`fetch_all`](Self::fetch_all).
    pub async fn fetch_optional(self, db: &Db) -> Result<Option<R>> {
        db.run(self.statement.shape(), &self.params).await?.rows.first().map(decode_one).transpose()
    }

    /// The first row.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is none, else as [`fetch_all`](Self::fetch_all).
    pub async fn fetch_one(self, db: &Db) -> Result<R> {
        self.fetch_optional(db).await?.ok_or_else(|| Error::not_found("there is no such row"))
    }

    /// Runs the statement and says how many rows it changed (or, for one that returns rows, returned).
    ///
    /// # Errors
    /// What the database says.
    pub async fn execute(self, db: &Db) -> Result<u64> {
        Ok(db.run(self.statement.shape(), &self.params).await?.affected)
    }
}

/// A `sql!` statement together with what it returns, collected at link time so that it can be checked against the database.
#[derive(Debug)]
pub struct CheckedSql {
    /// The statement.
    pub statement: &'static Statement,
    /// What is expected of the columns it returns.
    pub(super) fields: fn() -> Vec<Field>,
    /// The name of the type of its rows.
    pub(super) row: fn() -> &'static str,
}

impl CheckedSql {
    /// A statement whose rows are read.
    pub const fn of<R: FromRow>(statement: &'static Statement) -> Self {
        Self { statement, fields: R::fields, row: std::any::type_name::<R> }
    }

    /// A statement that is only executed.
    pub const fn execute(statement: &'static Statement) -> Self {
        Self { statement, fields: Vec::new, row: std::any::type_name::<()> }
    }

    /// Everything that its check depends on: its text, and the types that were written.
    pub(super) fn described(&self) -> String {
        let types = self.statement.params().iter().map(|param| param.ty.unwrap_or_default());
        let fields = (self.fields)();
        let fields = fields.iter().flat_map(|field| [field.name.unwrap_or_default(), field.rust]);
        let parts: Vec<&str> = std::iter::once(self.statement.text()).chain(types).chain(fields).collect();
        parts.join("\n")
    }

    /// All that are linked into this program.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        inventory::iter::<Self>.into_iter()
    }
}

inventory::collect!(CheckedSql);
