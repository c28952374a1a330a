//! Long lists page by page, each of which starts where the one before ended.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use forge_core::schema::quote_identifier;
use forge_core::{Error, ErrorKind, Result};
use sha2::{Digest as _, Sha256};

use super::condition::{Condition, Key};
use super::select::{Order, Query};
use crate::db::model::Model;
use crate::db::row::decode_all;
use crate::db::{Db, error};

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

impl<M: Model> Query<M> {
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
            self.filters.push(Condition::after(after));
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
                let key: Vec<String> = last.try_get("forge_key").map_err(error::from_driver)?;
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
