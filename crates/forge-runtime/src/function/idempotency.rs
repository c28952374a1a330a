//! Mutation ids: a mutation that a client repeats with the same id takes effect once.
//!
//! The id and the answer are a row of `forge_mutations`, written in the mutation's own transaction together with its COMMIT:
//! it exists exactly when the mutation took effect. A repeat finds it and gets the same answer. Two at the same time meet
//! at the primary key: the slower one is rolled back, runs again, and finds the row.
//!
//! Promise: for 24 hours, and per caller: an id means nothing in another caller's hands. A failed mutation leaves no row, so
//! a repeat of it runs.

use std::sync::{Arc, LazyLock};

use forge_core::{Error, ErrorKind, Result};
use sha2::{Digest as _, Sha256};

use super::executor::Call;
use super::registry::Entry;
use crate::db::transaction::{Last, Transaction};
use crate::db::{Answer, Database, Params, Pool, Shape, error};

/// The longest id that is accepted, in bytes. A UUID has 36.
const ID_BYTES_MAX: usize = 128;

static FIND: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(include_str!("sql/mutation_find.sql")));
static KEEP: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(include_str!("sql/mutation_keep.sql")));
static SWEEP: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(include_str!("sql/mutation_sweep.sql")));

/// A mutation id, with what it may only ever be used for.
#[derive(Debug)]
pub(crate) struct MutationId {
    id: String,
    caller: String,
    /// Of the function's name and the arguments.
    fingerprint: Vec<u8>,
}

impl MutationId {
    pub(crate) fn new(id: &str, entry: &Entry, call: &Call<'_>) -> Result<Self> {
        if id.is_empty() || id.len() > ID_BYTES_MAX || !id.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::invalid_argument(format!("a mutation id is 1 to {ID_BYTES_MAX} visible ASCII characters")));
        }
        let mut hash = Sha256::new();
        hash.update(entry.info.name);
        hash.update([0]);
        hash.update(call.args);
        let caller = call.caller.principal.auth.user_id().unwrap_or_default().to_owned();
        Ok(Self { id: id.to_owned(), caller, fingerprint: hash.finalize().to_vec() })
    }

    /// The answer of the mutation that took effect under this id before.
    pub(crate) async fn earlier_answer(&self, transaction: &Transaction) -> Result<Option<Vec<u8>>> {
        let found = transaction.query(&FIND, &[&self.caller, &self.id]).await?;
        let Some(row) = found.rows.first() else { return Ok(None) };
        let fingerprint: Vec<u8> = row.try_get(0).map_err(error::from_driver)?;
        if fingerprint != self.fingerprint {
            return Err(Error::conflict("this mutation id was used for another call; make a new one for each call"));
        }
        row.try_get(1).map(Some).map_err(error::from_driver)
    }

    /// Whether a mutation has taken effect under this id by now.
    pub(crate) async fn is_kept(&self, side: &Pool) -> Result<bool> {
        let lease = side.get().await?;
        let found = lease.query(&FIND, &[&self.caller, &self.id]).await.map_err(error::from_driver)?;
        Ok(!found.rows.is_empty())
    }

    /// Commits, with a last statement, and keeps the answer in the same transaction.
    pub(crate) async fn commit(
        &self,
        transaction: &Transaction,
        last: Option<Last<'_>>,
        answer: &[u8],
        side: &Pool,
    ) -> Result<Vec<Answer>> {
        let params: Params<'_> = &[&self.caller, &self.id, &self.fingerprint, &answer];
        match transaction.commit(last.into_iter().chain([(&*KEEP, params)]), side).await {
            // The row is the proof. Once the server has been restarted nothing of the transaction can be under way any more, so
            // it is there or it never will be.
            Err(why)
                if why.kind() == ErrorKind::OutcomeUnknown && transaction.server_restarted(side).await.unwrap_or(false) =>
            {
                match self.is_kept(side).await {
                    Ok(true) => Ok(Vec::new()),
                    Ok(false) => {
                        Err(Error::database_unavailable("the server was restarted and nothing was written; try again")
                            .with_source(why))
                    }
                    Err(_) => Err(why),
                }
            }
            result => result,
        }
    }
}

/// Deletes answers that are older than a day, at most 1,000 at a time. Returns how many.
pub(crate) async fn sweep(database: &Database) -> Result<u64> {
    let lease = database.primary().get().await?;
    Ok(lease.query(&SWEEP, &[]).await.map_err(error::from_driver)?.affected)
}
