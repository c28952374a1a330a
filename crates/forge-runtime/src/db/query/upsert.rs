//! Insert, or change what is there already: one statement, `INSERT .. ON CONFLICT .. DO UPDATE`.
//!
//! ```ignore
//! Setting::upsert([Setting::USER_ID.set(user), Setting::THEME.set("dark")]).on(Setting::USER_ID).fetch_one(ctx.db()).await?;
//! ```
//!
//! Keys of several columns are not covered: `sql!` says those.

use std::fmt;

use forge_core::{Error, Result};

use super::assignment::Assignment;
use super::text::Text;
use crate::db::WriteDb;
use crate::db::model::{Column, Model, UniqueColumn};

/// An insert that becomes an update when a row with its key is there. From [`Model::upsert`].
#[must_use = "an upsert does nothing until it is fetched or executed"]
pub struct Upsert<M> {
    values: Vec<Assignment<M>>,
    key: &'static str,
    kept: Vec<&'static str>,
}

impl<M: Model> fmt::Debug for Upsert<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(false).sql)
    }
}

impl<M: Model> Upsert<M> {
    pub(in crate::db) fn new(values: Vec<Assignment<M>>) -> Self {
        Self { values, key: M::ID_COLUMN, kept: Vec::new() }
    }

    /// Sets a further column.
    pub fn set(mut self, assignment: Assignment<M>) -> Self {
        self.values.push(assignment);
        self
    }

    /// Goes by this column instead of the primary key: the row that has its value is the one that is changed. The table needs a
    /// unique key on the column, and a row in which it is NULL is always a new one.
    pub fn on(mut self, key: impl UniqueColumn<M>) -> Self {
        self.key = key.column();
        self
    }

    /// Leaves a column as it is when the row is there already; its value then serves new rows only.
    pub fn keep<T, K>(mut self, column: Column<M, T, K>) -> Self
    where
        T: postgres_types::ToSql + Send + Sync + 'static,
    {
        self.kept.push(column.name());
        self
    }

    fn has(&self, column: &str) -> bool {
        self.values.iter().any(|value| value.column == column)
    }

    /// Whether a row that is there already gets the new value of this column. Its id it keeps in any case: others refer to it.
    fn changes(&self, column: &str) -> bool {
        column != self.key && column != M::ID_COLUMN && !self.kept.contains(&column)
    }

    fn text(&self, returning: bool) -> Text<'_> {
        let mut text = Text::new();
        text.insert(&self.values);
        text.push(" ON CONFLICT (");
        text.name(self.key);
        text.push(") DO UPDATE SET ");
        let mut comma = "";
        for value in self.values.iter().filter(|value| self.changes(value.column)) {
            text.push(comma);
            text.name(value.column);
            text.push(" = EXCLUDED.");
            text.name(value.column);
            comma = ", ";
        }
        for column in M::UPDATED_AT.iter().filter(|column| self.changes(column) && !self.has(column)) {
            text.push(comma);
            text.name(column);
            text.push(" = now()");
            comma = ", ";
        }
        if comma.is_empty() {
            // Nothing to change; but a row that is not touched would not be returned.
            text.name(self.key);
            text.push(" = EXCLUDED.");
            text.name(self.key);
        }
        if returning {
            text.returning::<M>();
        }
        text
    }

    /// Makes sure that the statement can do what it is for.
    fn complete(mut self) -> Result<Self> {
        if !self.has(self.key) {
            let (table, key) = (M::TABLE.replace('"', ""), self.key);
            let also = if key == M::ID_COLUMN { ", or name another unique column with `.on(..)`" } else { "" };
            return Err(Error::internal(format!(
                "an upsert into {table} goes by `{key}`, but gives it no value, so that every row would be a new one: set `{key}`{also}"
            )));
        }
        if !self.has(M::ID_COLUMN)
            && let Some(id) = M::new_id()
        {
            self.values.push(Assignment::new(M::ID_COLUMN, id));
        }
        Ok(self)
    }

    /// Inserts or changes, and returns the row as it stands in the table now.
    ///
    /// # Errors
    /// `INTERNAL_ERROR` when the key is not among the values, `CONFLICT` when another unique key is taken or a reference leads
    /// nowhere, else what the database says.
    pub async fn fetch_one(self, db: &WriteDb) -> Result<M> {
        self.complete()?.text(true).fetch_one(db).await
    }

    /// Inserts or changes.
    ///
    /// # Errors
    /// As [`fetch_one`](Self::fetch_one).
    pub async fn execute(self, db: &WriteDb) -> Result<()> {
        let upsert = self.complete()?;
        upsert.text(false).run(db).await.map(drop)
    }
}
