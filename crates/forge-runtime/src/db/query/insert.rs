//! Inserts of one row.

use std::fmt;

use forge_core::Result;

use super::assignment::Assignment;
use super::text::Text;
use crate::db::WriteDb;
use crate::db::model::Model;

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
    pub(in crate::db) fn new(mut values: Vec<Assignment<M>>) -> Self {
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
        self.text(true).fetch_one(db).await
    }

    /// Inserts.
    ///
    /// # Errors
    /// As [`fetch_one`](Self::fetch_one).
    pub async fn execute(self, db: &WriteDb) -> Result<()> {
        self.text(false).run(db).await.map(drop)
    }
}
