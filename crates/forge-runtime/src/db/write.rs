//! Who may write: a mutation, and whoever it lends its database to.
//!
//! The builder's inserts, updates, upserts and deletes take a [`WriteDb`], which a query does not have, so that one in a query does
//! not compile. What the text of a `sql!` or [`query_dyn`](Db::query_dyn) does is looked at when it runs, and the server has the
//! last word: a query's transaction is read-only.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use super::Db;
use super::transaction::Transaction;

/// The database, as a mutation may use it: its one transaction. From `ctx.db()`. Whatever takes a [`Db`] takes this as well.
///
/// ```ignore
/// async fn make_room(db: &WriteDb, column_id: Uuid) -> Result<()> { .. }    // for mutations only
/// async fn last_place(db: &Db, column_id: Uuid) -> Result<i64> { .. }       // for queries too
/// ```
#[derive(Debug)]
pub struct WriteDb(Db);

impl WriteDb {
    /// For a mutation.
    pub(crate) fn new(transaction: Arc<Transaction>, deadline: Instant) -> Self {
        Self(Db::write(transaction, deadline))
    }
}

impl Deref for WriteDb {
    type Target = Db;

    fn deref(&self) -> &Db {
        &self.0
    }
}
