//! A statement while it is put together.

use std::fmt::Write as _;

use forge_core::schema::quote_identifier;
use forge_core::{Error, Result};
use postgres_types::ToSql;

use super::assignment::Assignment;
use crate::db::model::Model;
use crate::db::row::decode_one;
use crate::db::statement::Shape;
use crate::db::{Answer, Db};

/// A statement's text and parameters while they are being put together. This happens with every call, so it is one buffer that is
/// added to, and no small texts in between.
pub(super) struct Text<'a> {
    pub(super) sql: String,
    pub(super) params: Vec<&'a (dyn ToSql + Sync)>,
}

impl<'a> Text<'a> {
    /// Empty, with room for an ordinary statement.
    pub(super) fn new() -> Self {
        Self { sql: String::with_capacity(256), params: Vec::with_capacity(8) }
    }

    pub(super) fn push(&mut self, sql: &str) {
        self.sql.push_str(sql);
    }

    /// Adds a name, quoted.
    pub(super) fn name(&mut self, name: &str) {
        quote_onto(&mut self.sql, name);
    }

    /// Adds the names of all columns of a model.
    pub(super) fn columns<M: Model>(&mut self) {
        for (n, column) in M::COLUMNS.iter().enumerate() {
            self.push(if n == 0 { "" } else { ", " });
            self.name(column);
        }
    }

    /// Adds ` RETURNING` all columns of a model.
    pub(super) fn returning<M: Model>(&mut self) {
        self.push(" RETURNING ");
        self.columns::<M>();
    }

    pub(super) fn bind(&mut self, value: &'a (dyn ToSql + Sync)) {
        self.params.push(value);
        // Writing into a String cannot fail.
        let _ = write!(self.sql, "${}", self.params.len());
    }

    /// Adds `INSERT INTO` a table and the values.
    pub(super) fn insert<M: Model>(&mut self, values: &'a [Assignment<M>]) {
        self.push("INSERT INTO ");
        self.push(M::TABLE);
        if values.is_empty() {
            return self.push(" DEFAULT VALUES");
        }
        for (n, value) in values.iter().enumerate() {
            self.push(if n == 0 { " (" } else { ", " });
            self.name(value.column);
        }
        for (n, value) in values.iter().enumerate() {
            self.push(if n == 0 { ") VALUES (" } else { ", " });
            self.bind(value.value.as_ref());
        }
        self.push(")");
    }

    pub(super) async fn run(self, db: &Db) -> Result<Answer> {
        db.run(&Shape::of(&self.sql), &self.params).await
    }

    /// Runs it for the one row that it returns.
    ///
    /// # Errors
    /// `NOT_FOUND` when it returns none, else what the database says.
    pub(super) async fn fetch_one<M: Model>(self, db: &Db) -> Result<M> {
        self.run(db).await?.rows.first().map_or_else(|| Err(no_such_row::<M>()), decode_one)
    }
}

/// Adds a name to a text as [`quote_identifier`] writes it.
fn quote_onto(sql: &mut String, name: &str) {
    if name.bytes().any(|byte| byte == b'"') {
        return sql.push_str(&quote_identifier(name));
    }
    sql.push('"');
    sql.push_str(name);
    sql.push('"');
}

pub(super) fn no_such_row<M: Model>() -> Error {
    Error::not_found(format!("there is no such row in {}", M::TABLE.replace('"', "")))
}
