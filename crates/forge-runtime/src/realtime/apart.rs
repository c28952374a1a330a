//! Slow queries, apart from the rounds.
//!
//! ```text
//!  round n ──its snapshot──▶ up to 4 connections ─ each runs one slow query after the other ─▶ Finished, one by one
//!  round n+1, n+2, …         meanwhile, without them
//! ```
//!
//! A batch begins with a round and reads the round's own snapshot; the next one begins when all of it is done. What is committed meanwhile
//! is kept, up to a limit: a query's dependencies are known only after it has run, and are then compared with it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use forge_core::{ErrorKind, Result};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::group::GroupId;
use super::index;
use super::run::{Finished, Job};
use crate::db::Database;
use crate::db::transaction::Transaction;
use crate::feed::{Batch, Change};
use crate::function::FunctionExecutor;
use crate::read_set::Dependency;

/// On how many connections slow queries run.
pub(crate) const LANES: usize = 4;

/// How many changes are kept while a batch runs. After more, everything counts as changed.
const CHANGES_MAX: usize = 10_000;

/// Slow queries that run over one snapshot.
#[derive(Debug)]
pub(super) struct Apart {
    /// Not finished yet.
    running: BTreeSet<GroupId>,
    finished: mpsc::UnboundedReceiver<Finished>,
    since: Since,
    /// Dropped, they are cancelled.
    lanes: JoinSet<()>,
}

/// What was committed after a batch's snapshot.
#[derive(Debug, Default)]
pub(super) struct Since {
    changes: Vec<Change>,
    /// Something is not among them.
    gap: bool,
}

impl Since {
    fn note(&mut self, batch: &Batch) {
        self.gap |= batch.gap || self.changes.len() + batch.changes.len() > CHANGES_MAX;
        if self.gap {
            self.changes = Vec::new();
        } else {
            self.changes.extend(batch.changes.iter().cloned());
        }
    }

    /// Whether any of it can alter what these dependencies stand for.
    pub(super) fn concerns(&self, dependencies: &[Dependency]) -> bool {
        let concerned = |change: &Change, one: &Dependency| one.table.oid == change.table && index::matches(one, change);
        self.gap || self.changes.iter().any(|change| dependencies.iter().any(|one| concerned(change, one)))
    }
}

impl Apart {
    /// Begins a batch over the snapshot of a round that is still open.
    ///
    /// # Errors
    /// When there is no connection to be had; nothing has begun then.
    pub(super) async fn begin(
        jobs: Vec<Job>,
        round: &Transaction,
        database: &Database,
        executor: &FunctionExecutor,
    ) -> Result<Self> {
        let running = jobs.iter().map(|job| job.id).collect();
        let lanes = jobs.len().min(LANES);
        let snapshot = round.export().await?;
        let waiting = Arc::new(Mutex::new(VecDeque::from(jobs)));
        let (tell, finished) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        for _ in 0..lanes {
            let transaction = Arc::new(database.begin_apart(&snapshot).await?);
            tasks.spawn(lane(transaction, waiting.clone(), executor.clone(), tell.clone()));
        }
        Ok(Self { running, finished, since: Since::default(), lanes: tasks })
    }

    /// Notes what a round has found to be committed.
    pub(super) fn note(&mut self, batch: &Batch) {
        self.since.note(batch);
    }

    /// Whether a group's run is not finished.
    pub(super) fn is_running(&self, id: GroupId) -> bool {
        self.running.contains(&id)
    }

    pub(super) fn is_over(&self) -> bool {
        self.running.is_empty()
    }

    /// Ends it, and returns what has not run. Connections that are fine go back to their pool.
    pub(super) fn end(mut self) -> BTreeSet<GroupId> {
        self.lanes.detach_all();
        self.running
    }

    pub(super) fn since(&self) -> &Since {
        &self.since
    }

    /// The next run that is finished; none when nothing is left that could finish. May be dropped while it waits.
    pub(super) async fn next(&mut self) -> Option<Finished> {
        let finished = self.finished.recv().await?;
        self.running.remove(&finished.id);
        Some(finished)
    }
}

/// Runs what waits, one after the other, until nothing does or the connection is of no more use.
async fn lane(
    transaction: Arc<Transaction>,
    waiting: Arc<Mutex<VecDeque<Job>>>,
    executor: FunctionExecutor,
    tell: mpsc::UnboundedSender<Finished>,
) {
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(job) = job else { break };
        let finished = job.run(&executor, &transaction).await;
        // Its statement may be running still: it is cancelled with the connection.
        let lost = matches!(&finished.result, Err(why) if why.kind() == ErrorKind::Timeout);
        if tell.send(finished).is_err() || lost {
            return;
        }
        if transaction.has_failed() || transaction.is_stale() {
            break;
        }
    }
    transaction.rollback().await;
}
