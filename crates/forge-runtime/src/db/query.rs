//! The typed query builder.
//!
//! It builds ordinary statements with ordinary parameters and runs them where `sql!` runs its own; there is nothing it can do
//! that SQL cannot. Joins, aggregates and anything unusual are better written as SQL.
//!
//! ```ignore
//! Card::query().filter(Card::COLUMN_ID.eq(id)).order_by(Card::POSITION.asc()).fetch_all(ctx.db()).await?;
//! Card::insert([Card::TITLE.set("Milk"), Card::COLUMN_ID.set(id)]).fetch_one(ctx.db()).await?;
//! Card::update(card_id).set(Card::TITLE.set("Oat milk")).fetch_one(ctx.db()).await?;
//! ```

use std::fmt;
use std::fmt::Write as _;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use forge_core::schema::quote_identifier;
use forge_core::{Error, ErrorKind, Result};
use postgres_types::ToSql;
use sha2::{Digest as _, Sha256};

use super::model::{Model, Value};
use super::row::{decode_all, decode_one};
use super::statement::Shape;
use super::{Answer, Db, Rows, WriteDb};

/// How two values compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
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
struct Key {
    column: String,
    sql_type: String,
    descending: bool,
    value: String,
}

impl<M> fmt::Debug for Condition<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Text::new();
        self.write(&mut text);
        f.write_str(&text.sql)
    }
}

impl<M> Condition<M> {
    pub(super) fn compare(column: &'static str, operator: Operator, value: Value) -> Self {
        Self { kind: Kind::Compare(column, operator, value) }
    }

    pub(super) fn any_of(column: &'static str, values: Value) -> Self {
        Self { kind: Kind::AnyOf(column, values) }
    }

    pub(super) fn like(column: &'static str, pattern: String) -> Self {
        Self { kind: Kind::Like(column, pattern) }
    }

    pub(super) fn is_null(column: &'static str, is: bool) -> Self {
        Self { kind: Kind::IsNull(column, is) }
    }

    /// Both hold.
    pub fn and(self, other: Self) -> Self {
        Self { kind: Kind::All(vec![self, other]) }
    }

    /// At least one holds.
    pub fn or(self, other: Self) -> Self {
        Self { kind: Kind::Any(vec![self, other]) }
    }

    fn write<'a>(&'a self, text: &mut Text<'a>) {
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

/// An order of rows. Made by the column tokens: `Card::POSITION.asc()`.
pub struct Order<M> {
    column: &'static str,
    descending: bool,
    of: PhantomData<fn() -> M>,
}

impl<M> fmt::Debug for Order<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.column, if self.descending { " DESC" } else { "" })
    }
}

impl<M> Order<M> {
    pub(super) fn new(column: &'static str, descending: bool) -> Self {
        Self { column, descending, of: PhantomData }
    }
}

/// A value for a column. Made by the column tokens: `Card::TITLE.set("Milk")`.
pub struct Assignment<M> {
    pub(super) column: &'static str,
    pub(super) value: Value,
    of: PhantomData<fn() -> M>,
}

impl<M> fmt::Debug for Assignment<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = ..", self.column)
    }
}

impl<M> Assignment<M> {
    pub(super) fn new(column: &'static str, value: Value) -> Self {
        Self { column, value, of: PhantomData }
    }
}

/// What an insert takes: a whole model, or assignments.
pub trait IntoAssignments<M> {
    /// The assignments.
    fn into_assignments(self) -> Vec<Assignment<M>>;
}

impl<M: Model> IntoAssignments<M> for M {
    fn into_assignments(self) -> Vec<Assignment<M>> {
        M::COLUMNS.iter().zip(self.into_values()).map(|(column, value)| Assignment::new(column, value)).collect()
    }
}

impl<M: Model, const N: usize> IntoAssignments<M> for [Assignment<M>; N] {
    fn into_assignments(self) -> Vec<Assignment<M>> {
        self.into()
    }
}

impl<M: Model> IntoAssignments<M> for Vec<Assignment<M>> {
    fn into_assignments(self) -> Vec<Assignment<M>> {
        self
    }
}

/// A statement's text and parameters while they are being put together. This happens with every call, so it is one buffer that is
/// added to, and no small texts in between.
pub(super) struct Text<'a> {
    pub(super) sql: String,
    params: Vec<&'a (dyn ToSql + Sync)>,
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
    fn columns<M: Model>(&mut self) {
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

    fn join<M>(&mut self, parts: &'a [Condition<M>], word: &str, none: &str) {
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

    pub(super) async fn run(self, db: &Db) -> Result<Answer> {
        db.run(&Shape::of(&self.sql), &self.params).await
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

/// A page of a list: at most `limit` rows after `cursor`.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// At most so many rows: 1 to 1,000; 50 when 0.
    pub limit: u32,
    /// Where the last page ended: [`Paginated::next_cursor`] of it.
    pub cursor: Option<String>,
}

/// A page of rows.
#[derive(Debug, Clone)]
pub struct Paginated<T> {
    /// The rows.
    pub items: Vec<T>,
    /// What to ask the next page with; `None` when this is the last.
    pub next_cursor: Option<String>,
}

/// A query for rows of a model.
#[must_use = "a query does nothing until it is fetched"]
pub struct Query<M> {
    filters: Vec<Condition<M>>,
    orders: Vec<Order<M>>,
    limit: Option<i64>,
    offset: Option<i64>,
    lock: bool,
}

impl<M: Model> fmt::Debug for Query<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rows().sql)
    }
}

impl<M: Model> Query<M> {
    pub(super) fn new() -> Self {
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

    fn text(&self, what: impl FnOnce(&mut Text<'_>)) -> Text<'_> {
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

    /// The rows as they come, for a list that should not be in memory as a whole. See [`Sql::fetch`](super::Sql::fetch).
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

    /// A page, by key: it starts after the last row of the page before, so that going through a list takes the same time
    /// on every page, and rows that come or go meanwhile are neither shown twice nor skipped. The primary key decides
    /// among equals. Columns of the order must not be NULL, nor private: the cursor contains their values, and clients get it.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when the cursor is not one of this query, `INTERNAL_ERROR` when the order goes by a private column, else what
    /// the database says.
    pub async fn paginate(mut self, page: Page, db: &Db) -> Result<Paginated<M>> {
        if let Some(order) = self.orders.iter().find(|order| M::PRIVATE.contains(&order.column)) {
            return Err(Error::internal(format!(
                "pages of {} cannot go by `{}`: it is private, and clients could read it from their cursors; order by another column",
                M::TABLE.replace('"', ""),
                order.column
            )));
        }
        let limit = if page.limit == 0 { 50 } else { page.limit.min(1000) };
        if !self.orders.iter().any(|order| order.column == M::ID_COLUMN) {
            let descending = self.orders.last().is_some_and(|order| order.descending);
            self.orders.push(Order::new(M::ID_COLUMN, descending));
        }
        let keys: Vec<String> = self.orders.iter().map(|o| format!("{}::text", quote_identifier(o.column))).collect();
        let list = name_of_list(&self.orders);
        let foreign = || Error::invalid_argument("the cursor is not one of this list; start again without one");
        if let Some(cursor) = &page.cursor {
            let values =
                decode_cursor(cursor, &list).filter(|values| values.len() == self.orders.len()).ok_or_else(foreign)?;
            let definition = M::definition();
            let key = |order: &Order<M>, value: String| {
                let column = definition.columns.iter().find(|column| column.name == order.column);
                let sql_type = column.map_or_else(|| "text".to_owned(), |column| column.sql_type.to_string());
                Key { column: quote_identifier(order.column), sql_type, descending: order.descending, value }
            };
            let after = self.orders.iter().zip(values).map(|(order, value)| key(order, value)).collect();
            self.filters.push(Condition { kind: Kind::After(after, PhantomData) });
        }
        // One row more tells whether there is another page.
        self.limit = Some(i64::from(limit) + 1);
        let text = self.text(|text| {
            text.columns::<M>();
            text.push(&format!(", ARRAY[{}] AS forge_key", keys.join(", ")));
        });
        let mut rows = match text.run(db).await {
            // Somebody made it up: what it says cannot be a value of its column.
            Err(why) if page.cursor.is_some() && why.kind() == ErrorKind::Validation => {
                return Err(foreign().with_source(why));
            }
            answer => answer?.rows,
        };
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next_cursor = match rows.last() {
            Some(last) if more => {
                let key: Vec<String> = last.try_get("forge_key").map_err(super::error::from_driver)?;
                Some(encode_cursor(&list, &key)?)
            }
            _ => None,
        };
        Ok(Paginated { items: decode_all(&rows)?, next_cursor })
    }
}

/// What tells the cursors of a list from those of another table or of another order.
fn name_of_list<M: Model>(orders: &[Order<M>]) -> String {
    let mut hash = Sha256::new_with_prefix(M::TABLE);
    for order in orders {
        hash.update([0, u8::from(order.descending)]);
        hash.update(order.column);
    }
    URL_SAFE_NO_PAD.encode(&hash.finalize()[..6])
}

fn encode_cursor(list: &str, key: &[String]) -> Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(&(list, key))?))
}

/// The key that a cursor stands for, when it is one of this list.
fn decode_cursor(cursor: &str, list: &str) -> Option<Vec<String>> {
    let (of, key): (String, Vec<String>) = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    (of == list).then_some(key)
}

/// An insert of one row.
#[must_use = "an insert does nothing until it is fetched or executed"]
pub struct Insert<M> {
    values: Vec<Assignment<M>>,
}

impl<M: Model> fmt::Debug for Insert<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(false).sql)
    }
}

impl<M: Model> Insert<M> {
    pub(super) fn new(mut values: Vec<Assignment<M>>) -> Self {
        if !values.iter().any(|value| value.column == M::ID_COLUMN)
            && let Some(id) = M::new_id()
        {
            values.push(Assignment::new(M::ID_COLUMN, id));
        }
        Self { values }
    }

    /// Sets a further column.
    pub fn set(mut self, assignment: Assignment<M>) -> Self {
        self.values.push(assignment);
        self
    }

    fn text(&self, returning: bool) -> Text<'_> {
        let mut text = Text::new();
        text.insert(&self.values);
        if returning {
            text.returning::<M>();
        }
        text
    }

    /// Inserts, and returns the row as it stands in the table.
    ///
    /// # Errors
    /// `CONFLICT` when a unique key is taken or a reference leads nowhere, else what the database says.
    pub async fn fetch_one(self, db: &WriteDb) -> Result<M> {
        let answer = self.text(true).run(db).await?;
        answer.rows.first().map_or_else(|| Err(no_such_row::<M>()), decode_one)
    }

    /// Inserts.
    ///
    /// # Errors
    /// As [`fetch_one`](Self::fetch_one).
    pub async fn execute(self, db: &WriteDb) -> Result<()> {
        self.text(false).run(db).await.map(drop)
    }
}

/// An update.
#[must_use = "an update does nothing until it is fetched or executed"]
pub struct Update<M> {
    condition: Condition<M>,
    values: Vec<Assignment<M>>,
}

impl<M: Model> fmt::Debug for Update<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(false).sql)
    }
}

impl<M: Model> Update<M> {
    pub(super) fn new(condition: Condition<M>) -> Self {
        Self { condition, values: Vec::new() }
    }

    /// Sets a column.
    pub fn set(mut self, assignment: Assignment<M>) -> Self {
        self.values.push(assignment);
        self
    }

    /// Sets a column when there is something to set it to; leaves it as it is otherwise.
    pub fn set_some(self, assignment: Option<Assignment<M>>) -> Self {
        match assignment {
            Some(assignment) => self.set(assignment),
            None => self,
        }
    }

    fn text(&self, returning: bool) -> Text<'_> {
        let mut text = Text::new();
        text.push("UPDATE ");
        text.push(M::TABLE);
        text.push(" SET ");
        let mut comma = "";
        for value in &self.values {
            text.push(comma);
            text.name(value.column);
            text.push(" = ");
            text.bind(value.value.as_ref());
            comma = ", ";
        }
        for column in M::UPDATED_AT {
            if !self.values.iter().any(|value| value.column == *column) {
                text.push(comma);
                text.name(column);
                text.push(" = now()");
                comma = ", ";
            }
        }
        if comma.is_empty() {
            // Nothing to set is no mistake: all of an input's optional fields may be absent.
            text.name(M::ID_COLUMN);
            text.push(" = ");
            text.name(M::ID_COLUMN);
        }
        text.push(" WHERE ");
        self.condition.write(&mut text);
        if returning {
            text.returning::<M>();
        }
        text
    }

    /// Updates, and returns the rows as they stand in the table now.
    ///
    /// # Errors
    /// What the database says.
    pub async fn fetch_all(self, db: &WriteDb) -> Result<Vec<M>> {
        decode_all(&self.text(true).run(db).await?.rows)
    }

    /// Updates, and returns the row as it stands in the table now.
    ///
    /// # Errors
    /// `NOT_FOUND` when no row was updated, else what the database says.
    pub async fn fetch_one(self, db: &WriteDb) -> Result<M> {
        let answer = self.text(true).run(db).await?;
        answer.rows.first().map_or_else(|| Err(no_such_row::<M>()), decode_one)
    }

    /// Updates, and says how many rows that were.
    ///
    /// # Errors
    /// What the database says.
    pub async fn execute(self, db: &WriteDb) -> Result<u64> {
        Ok(self.text(false).run(db).await?.affected)
    }
}

/// A delete.
#[must_use = "a delete does nothing until it is executed"]
pub struct Delete<M> {
    condition: Condition<M>,
}

impl<M: Model> fmt::Debug for Delete<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(false).sql)
    }
}

impl<M: Model> Delete<M> {
    pub(super) fn new(condition: Condition<M>) -> Self {
        Self { condition }
    }

    fn text(&self, returning: bool) -> Text<'_> {
        let mut text = Text::new();
        text.push("DELETE FROM ");
        text.push(M::TABLE);
        text.push(" WHERE ");
        self.condition.write(&mut text);
        if returning {
            text.returning::<M>();
        }
        text
    }

    /// Deletes, and returns the row as it was.
    ///
    /// # Errors
    /// `NOT_FOUND` when no row was deleted, else what the database says.
    pub async fn fetch_one(self, db: &WriteDb) -> Result<M> {
        let answer = self.text(true).run(db).await?;
        answer.rows.first().map_or_else(|| Err(no_such_row::<M>()), decode_one)
    }

    /// Deletes, and says how many rows that were.
    ///
    /// # Errors
    /// What the database says.
    pub async fn execute(self, db: &WriteDb) -> Result<u64> {
        Ok(self.text(false).run(db).await?.affected)
    }
}
