//! Deletes.

use std::fmt;

use forge_core::Result;

use super::condition::Condition;
use super::text::Text;
use crate::db::WriteDb;
use crate::db::model::Model;

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
    pub(in crate::db) fn new(condition: Condition<M>) -> Self {
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
        self.text(true).fetch_one(db).await
    }

    /// Deletes, and says how many rows that were.
    ///
    /// # Errors
    /// What the database says.
    pub async fn execute(self, db: &WriteDb) -> Result<u64> {
        Ok(self.text(false).run(db).await?.affected)
    }
}
