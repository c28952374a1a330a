//! Slow queries, apart from the rounds.
//!
//! ```text
//!  round n ──its snapshot──▶ a batch: some of 4 connections ─ each runs one slow query after the other ─▶ one by one, done
//!  round n+1, n+2, …         meanwhile, without them; others may begin another batch
//! ```
//!
//! A batch begins with a round and reads the round's own snapshot. What is committed meanwhile is kept, up to a limit: a query's dependencies are
//! known only after it has run, and are then compared with it.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use forge_core::{ErrorKind, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use super::group::GroupId;
use super::index;
use super::outbox::SessionId;
use super::run::{Finished, Job};
use crate::db::Database;
use crate::db::transaction::Transaction;
use crate::feed::{Batch as Changes, Change};
use crate::function::FunctionExecutor;
use crate::read_set::Dependency;

/// On how many connections slow queries run.
pub(crate) const LANES: usize = 4;

/// How many changes are kept while a batch runs. After more, everything counts as changed.
const CHANGES_MAX: usize = 10_000;

/// Slow queries that run.
#[derive(Debug)]
pub(super) struct Apart {
    batches: HashMap<u64, Batch>,
    next: u64,
    free: Arc<Semaphore>,
    tell: mpsc::UnboundedSender<(u64, Event)>,
    told: mpsc::UnboundedReceiver<(u64, Event)>,
    /// Dropped, they are cancelled.
    lanes: JoinSet<()>,
}

/// Those that run over one snapshot.
#[derive(Debug)]
struct Batch {
    /// Not done yet.
    running: BTreeSet<GroupId>,
    lanes: usize,
    since: Since,
}

/// What was committed after a batch's snapshot.
#[derive(Debug, Default)]
struct Since {
    changes: Vec<Change>,
    /// Something is not among them.
    gap: bool,
}

#[derive(Debug)]
enum Event {
    Finished(Box<Finished>),
    LaneEnded,
}

/// News of slow queries.
#[derive(Debug)]
pub(super) enum Done {
    /// One of a batch is done.
    One(u64, Box<Finished>),
    /// The connections of these were lost.
    Lost(BTreeSet<GroupId>),
}

impl Since {
    fn note(&mut self, changes: &Changes) {
        self.gap |= changes.gap || self.changes.len() + changes.changes.len() > CHANGES_MAX;
        if self.gap {
            self.changes = Vec::new();
        } else {
            self.changes.extend(changes.changes.iter().cloned());
        }
    }
}

impl Apart {
    pub(super) fn new() -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        let (batches, free) = (HashMap::new(), Arc::new(Semaphore::new(LANES)));
        Self { batches, next: 0, free, tell, told, lanes: JoinSet::new() }
    }

    /// Whether another batch can begin.
    pub(super) fn has_room(&self) -> bool {
        self.free.available_permits() > 0
    }

    /// Begins a batch over the snapshot of a round that is still open.
    ///
    /// # Errors
    /// When there is no connection to be had; nothing has begun then.
    pub(super) async fn begin(
        &mut self,
        jobs: Vec<Job>,
        round: &Transaction,
        database: &Database,
        executor: &FunctionExecutor,
    ) -> Result<()> {
        let running: BTreeSet<GroupId> = jobs.iter().map(|job| job.id).collect();
        let snapshot = round.export().await?;
        let mut lanes = Vec::new();
        while lanes.len() < jobs.len()
            && let Ok(room) = self.free.clone().try_acquire_owned()
        {
            lanes.push((Arc::new(database.begin_apart(&snapshot).await?), room));
        }
        while self.lanes.try_join_next().is_some() {}
        self.next += 1;
        self.batches.insert(self.next, Batch { running, lanes: lanes.len(), since: Since::default() });
        let waiting = Arc::new(Mutex::new(VecDeque::from(jobs)));
        for (transaction, room) in lanes {
            let lane = Lane { batch: self.next, waiting: waiting.clone(), tell: self.tell.clone(), _room: room };
            self.lanes.spawn(lane.run(transaction, executor.clone()));
        }
        Ok(())
    }

    /// Notes what a round has found to be committed.
    pub(super) fn note(&mut self, changes: &Changes) {
        self.batches.values_mut().for_each(|batch| batch.since.note(changes));
    }

    /// Whether anything that was committed after a batch's snapshot can alter what these dependencies stand for.
    pub(super) fn is_outdated(&self, batch: u64, dependencies: &[Dependency]) -> bool {
        let Some(Batch { since, .. }) = self.batches.get(&batch) else { return true };
        let concerned = |change: &Change, one: &Dependency| one.table.oid == change.table && index::matches(one, change);
        since.gap || since.changes.iter().any(|change| dependencies.iter().any(|one| concerned(change, one)))
    }

    /// Whether a group's run is not done.
    pub(super) fn is_running(&self, id: GroupId) -> bool {
        self.batches.values().any(|batch| batch.running.contains(&id))
    }

    /// The groups whose runs are not done.
    pub(super) fn running(&self) -> impl Iterator<Item = GroupId> {
        self.batches.values().flat_map(|batch| batch.running.iter().copied())
    }

    /// The next news. Waits for ever when nothing runs; may be dropped while it waits.
    pub(super) async fn next(&mut self) -> Done {
        loop {
            let Some((number, event)) = self.told.recv().await else { std::future::pending().await };
            let Some(batch) = self.batches.get_mut(&number) else { continue };
            match event {
                Event::Finished(run) => {
                    batch.running.remove(&run.id);
                    return Done::One(number, run);
                }
                Event::LaneEnded => batch.lanes -= 1,
            }
            if batch.lanes == 0
                && let Some(batch) = self.batches.remove(&number)
            {
                return Done::Lost(batch.running);
            }
        }
    }
}

/// One connection of a batch.
struct Lane {
    batch: u64,
    waiting: Arc<Mutex<VecDeque<Job>>>,
    tell: mpsc::UnboundedSender<(u64, Event)>,
    _room: OwnedSemaphorePermit,
}

impl Lane {
    /// Runs what waits, one after the other, until nothing does or the connection is of no more use.
    async fn run(self, transaction: Arc<Transaction>, executor: FunctionExecutor) {
        loop {
            let job = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(job) = job else { break };
            let finished = job.run(&executor, &transaction).await;
            // Its statement may be running still: it is cancelled with the connection.
            let lost = matches!(&finished.result, Err(why) if why.kind() == ErrorKind::Timeout);
            // Whoever is not there any more does not need to know.
            let _ = self.tell.send((self.batch, Event::Finished(Box::new(finished))));
            if lost {
                return;
            }
            if transaction.has_failed() || transaction.is_stale() {
                break;
            }
        }
        transaction.rollback().await;
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // As above.
        let _ = self.tell.send((self.batch, Event::LaneEnded));
    }
}

/// Those of the groups that may begin together: no session is shown one of them together with one of `others`, which run already or cannot run
/// yet, or with one that is to wait. Its frame would have to be of two snapshots.
pub(super) fn that_may_begin(
    mut candidates: Vec<GroupId>,
    others: impl Iterator<Item = GroupId>,
    sessions: impl Fn(GroupId) -> Vec<SessionId>,
) -> Vec<GroupId> {
    let mut taken: HashSet<SessionId> = others.flat_map(&sessions).collect();
    loop {
        let (free, waits): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|id| sessions(*id).iter().all(|session| !taken.contains(session)));
        if waits.is_empty() {
            return free;
        }
        taken.extend(waits.into_iter().flat_map(&sessions));
        candidates = free;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_together_begins_together() {
        // By group: the sessions that are shown it.
        let sessions = |id: GroupId| match id.0 {
            1 => vec![10, 11],
            2 => vec![11, 12],
            3 => vec![12, 13],
            4 => vec![14],
            _ => vec![15, 14],
        };
        let ids = |list: &[u64]| list.iter().map(|id| GroupId(*id)).collect::<Vec<_>>();
        let begin = |candidates: &[u64], running: &[u64]| {
            that_may_begin(ids(candidates), ids(running).into_iter(), sessions).iter().map(|id| id.0).collect::<Vec<_>>()
        };
        assert_eq!(begin(&[1, 2, 3, 4], &[]), [1, 2, 3, 4]);
        // 2 is shown with 1, which runs, so it waits; 3 is shown with 2.
        assert_eq!(begin(&[2, 3, 4], &[1]), [4]);
        assert_eq!(begin(&[1, 2], &[5]), [1, 2]);
        assert_eq!(begin(&[4], &[5]), [0; 0]);
    }
}
