//! Queries for rows.

use std::fmt;
use std::marker::PhantomData;

use forge_core::Result;

use super::condition::Condition;
use super::text::{Text, no_such_row};
use crate::db::model::Model;
use crate::db::row::{decode_all, decode_one};
use crate::db::statement::Shape;
use crate::db::{Db, Rows};

/// An order of rows. Made by the column tokens: `Card::POSITION.asc()`.
pub struct Order<M> {
    pub(super) column: &'static str,
    pub(super) descending: bool,
    of: PhantomData<fn() -> M>,
}

impl<M> fmt::Debug for Order<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.column, if self.descending { " DESC" } else { "" })
    }
}

impl<M> Order<M> {
    pub(in crate::db) fn new(column: &'static str, descending: bool) -> Self {
        Self { column, descending, of: PhantomData }
    }
}

/// A query for rows of a model.
#[must_use = "a query does nothing until it is fetched"]
pub struct Query<M> {
    pub(super) filters: Vec<Condition<M>>,
    pub(super) orders: Vec<Order<M>>,
    pub(super) limit: Option<i64>,
    offset: Option<i64>,
    lock: bool,
}

impl<M: Model> fmt::Debug for Query<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rows().sql)
    }
}

impl<M: Model> Query<M> {
    pub(in crate::db) fn new() -> Self {
        Self { filters: Vec::new(), orders: Vec::new(), limit: None, offset: None, lock: false }
    }

    /// Only rows for which the condition holds, beside those stated before.
    pub fn filter(mut self, condition: Condition<M>) -> Self {
        self.filters.push(condition);
        self
    }

    /// In this order; further calls decide among equals.
    pub fn order_by(mut self, order: Order<M>) -> Self {
        self.orders.push(order);
        self
    }

    /// At most so many rows.
    pub fn limit(mut self, rows: u32) -> Self {
        self.limit = Some(i64::from(rows));
        self
    }

    /// Without the first so many rows. For going through long lists, [`paginate`](Self::paginate) is faster and steadier.
    pub fn offset(mut self, rows: u32) -> Self {
        self.offset = Some(i64::from(rows));
        self
    }

    /// Locks the rows until the mutation ends, so that nobody else changes them meanwhile.
    pub fn for_update(mut self) -> Self {
        self.lock = true;
        self
    }

    /// The statement that returns the rows.
    fn rows(&self) -> Text<'_> {
        self.text(|text| text.columns::<M>())
    }

    pub(super) fn text(&self, what: impl FnOnce(&mut Text<'_>)) -> Text<'_> {
        let mut text = Text::new();
        text.push("SELECT ");
        what(&mut text);
        text.push(" FROM ");
        text.push(M::TABLE);
        if !self.filters.is_empty() {
            text.push(" WHERE ");
            text.join(&self.filters, " AND ", "true");
        }
        for (n, order) in self.orders.iter().enumerate() {
            text.push(if n == 0 { " ORDER BY " } else { ", " });
            text.name(order.column);
            text.push(if order.descending { " DESC" } else { "" });
        }
        if let Some(limit) = &self.limit {
            text.push(" LIMIT ");
            text.bind(limit);
        }
        if let Some(offset) = &self.offset {
            text.push(" OFFSET ");
            text.bind(offset);
        }
        if self.lock {
            text.push(" FOR UPDATE");
        }
        text
    }

    /// The rows as they come, for a list that should not be in memory as a whole. See [`Sql::fetch`](crate::db::Sql::fetch).
    pub fn fetch(self, db: &Db) -> Rows<'_, M> {
        Rows::new(async move {
            let text = self.rows();
            db.open(&Shape::of(&text.sql), &text.params).await
        })
    }

    /// All rows.
    ///
    /// # Errors
    /// What the database says.
    pub async fn fetch_all(self, db: &Db) -> Result<Vec<M>> {
        decode_all(&self.rows().run(db).await?.rows)
    }

    /// The first row, if there is one.
    ///
    /// # Errors
    /// What the database says.
    pub async fn fetch_optional(mut self, db: &Db) -> Result<Option<M>> {
        self.limit = Some(1);
        self.rows().run(db).await?.rows.first().map(decode_one).transpose()
    }

    /// The first row.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is none, else what the database says.
    pub async fn fetch_one(self, db: &Db) -> Result<M> {
        self.fetch_optional(db).await?.ok_or_else(no_such_row::<M>)
    }

    /// How many rows there are.
    ///
    /// # Errors
    /// What the database says.
    pub async fn count(mut self, db: &Db) -> Result<i64> {
        self.orders.clear();
        let answer = self.text(|text| text.push("count(*)")).run(db).await?;
        answer.rows.first().map_or(Ok(0), decode_one)
    }

    /// Whether there is a row.
    ///
    /// # Errors
    /// What the database says.
    pub async fn exists(mut self, db: &Db) -> Result<bool> {
        self.limit = Some(1);
        self.orders.clear();
        Ok(!self.text(|text| text.push("1")).run(db).await?.rows.is_empty())
    }
}
