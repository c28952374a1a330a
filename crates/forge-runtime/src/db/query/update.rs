//! Updates.

use std::fmt;

use forge_core::Result;

use super::assignment::Assignment;
use super::condition::Condition;
use super::text::Text;
use crate::db::WriteDb;
use crate::db::model::Model;
use crate::db::row::decode_all;

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
    pub(in crate::db) fn new(condition: Condition<M>) -> Self {
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
        self.text(true).fetch_one(db).await
    }

    /// Updates, and says how many rows that were.
    ///
    /// # Errors
    /// What the database says.
    pub async fn execute(self, db: &WriteDb) -> Result<u64> {
        Ok(self.text(false).run(db).await?.affected)
    }
}
