//! One run of a group's query.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forge_core::{Error, Result};

use super::group::{GroupId, Sight, Subscribed};
use crate::db::transaction::Transaction;
use crate::db::{Asked, Recorder};
use crate::function::{Entry, FunctionExecutor};

/// A group's query, to be run.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: GroupId,
    pub(super) entry: Arc<Entry>,
    pub(super) args: Arc<[u8]>,
    /// On whose behalf.
    pub(super) of: Arc<Subscribed>,
    /// When the runs of its round began.
    pub(super) began: Instant,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) id: GroupId,
    pub(super) entry: Arc<Entry>,
    pub(super) result: Result<Vec<u8>>,
    pub(super) sight: Sight,
    /// Its statements with their arguments.
    pub(super) asked: Asked,
    /// One of its statements failed, whatever the function made of that.
    pub(super) stumbled: bool,
    /// A table had changed under a plan.
    pub(super) stale: bool,
    /// When the runs of its round began.
    pub(super) began: Instant,
    pub(super) took: Duration,
}

impl Job {
    /// Runs it in a transaction over one snapshot.
    pub(super) async fn run(self, executor: &FunctionExecutor, snapshot: &Arc<Transaction>) -> Finished {
        self.run_within(Duration::MAX, executor, snapshot).await
    }

    /// The same, given up with `TIMEOUT` after some time.
    pub(super) async fn run_within(
        self,
        limit: Duration,
        executor: &FunctionExecutor,
        snapshot: &Arc<Transaction>,
    ) -> Finished {
        let from = Instant::now();
        let Self { id, entry, args, of, began } = self;
        let caller = of.for_run();
        let recorder = Arc::new(Recorder::default());
        let result = if snapshot.has_failed() {
            Err(Error::database_unavailable("another query's statement has failed"))
        } else {
            let run = executor.run_live(&entry, &args, caller.clone(), snapshot.clone(), recorder.clone());
            let late = |_| Err(Error::timeout("it took too long for a round"));
            tokio::time::timeout(limit, run).await.unwrap_or_else(late)
        };
        let (asked, stumbled) = recorder.take();
        let (sight, stale) = (Sight { of, looked: caller.looked.at() }, snapshot.is_stale());
        Finished { id, entry, result, sight, asked, stumbled, stale, began, took: from.elapsed() }
    }
}
