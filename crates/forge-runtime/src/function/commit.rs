//! The end of a mutation: all that it has to leave behind is written with its COMMIT.

use std::time::Duration;

use forge_core::{Error, ErrorKind, Result};

use super::executor::FunctionExecutor;
use super::idempotency::MutationId;
use crate::db::transaction::Transaction;
use crate::jobs::Dispatched;

/// How long a COMMIT may take once it has been sent; it is not part of the function's own time, as giving up on it early
/// would only mean not to know how it ended.
const COMMIT_MAX: Duration = Duration::from_secs(15);

impl FunctionExecutor {
    /// Commits a mutation, with the jobs that it has dispatched and, under an id, its answer, in one round trip. One that has done nothing but
    /// dispatch has no transaction of its own, if that is `shareable`: it shares the commit of others that dispatch at the same time.
    /// Returns the transaction's number.
    pub(super) async fn commit(
        &self,
        transaction: &Transaction,
        id: Option<&MutationId>,
        answer: &[u8],
        dispatched: &Dispatched,
        shareable: bool,
    ) -> Result<Option<u64>> {
        let (queue, side) = (&self.0.world.jobs, self.0.database.side());
        let commit = async {
            let jobs = dispatched.take_jobs();
            if shareable && id.is_none() && !jobs.is_empty() && transaction.is_untouched() {
                return queue.commit(jobs).await;
            }
            let writing = queue.writing(&jobs);
            let params = writing.as_ref().map(|writing| (writing.shape(), writing.params()));
            let last = params.as_ref().map(|(shape, params)| (*shape, params.as_slice()));
            let answers = match id {
                Some(id) => id.commit(transaction, last, answer, side).await?,
                None => transaction.commit(last, side).await?,
            };
            if let Some(writing) = &writing {
                dispatched.written(writing, answers.first());
            }
            Ok(transaction.xid())
        };
        tokio::time::timeout(COMMIT_MAX, commit).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::OutcomeUnknown, "the commit was not answered in time; look before you repeat it"))
        })
    }
}
