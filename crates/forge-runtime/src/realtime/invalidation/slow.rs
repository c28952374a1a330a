//! Slow queries: which they are, when they begin to run apart from the rounds, and what becomes of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forge_core::{Error, ErrorKind, Result};

use super::InvalidationEngine;
use super::verdict::Outcome;
use crate::db::transaction::Transaction;
use crate::realtime::apart::that_may_begin;
use crate::realtime::group::GroupId;
use crate::realtime::run::Finished;
use crate::realtime::subscriptions::Deliveries;

/// A query that takes so long by itself stays apart.
const SLOW_FROM: Duration = Duration::from_millis(50);

impl InvalidationEngine {
    /// Finds out who waits for whom.
    pub(super) fn line_up(&mut self) {
        let (_, slow) = self.subscriptions.to_run();
        let slow = self.that_may_begin(slow);
        self.subscriptions.line_up(&slow);
    }

    /// Those of the slow groups that may begin to run apart. A frame that is to wait for one of them must not miss what waits for its tables.
    fn that_may_begin(&self, slow: Vec<GroupId>) -> Vec<GroupId> {
        if self.apart.has_room() {
            let others = self.apart.running().chain(self.subscriptions.parked());
            that_may_begin(slow, others, |id| self.subscriptions.shown(id))
        } else {
            Vec::new()
        }
    }

    /// The groups whose fault it may be that a round came to nothing run apart from now on.
    ///
    /// # Errors
    /// When it was nobody's: the database is away.
    pub(super) fn set_apart(&mut self, finished: Vec<Finished>) -> Result<()> {
        let suspect = |run: &Finished| run.stumbled || timed_out(&run.result);
        let any = finished.iter().any(suspect);
        for run in finished {
            match run.result {
                Err(why) if why.is_retryable() && !timed_out_with(&why) && run.stumbled => return Err(why),
                // When none of them says so, it may have been any.
                _ if run.stumbled || timed_out(&run.result) || !any => self.subscriptions.measured(run.id, false),
                _ => {}
            }
        }
        Ok(())
    }

    /// Begins to run what is to run apart, if anything, over the round's snapshot. Returns what that is.
    pub(super) async fn begin_apart(&mut self, snapshot: &Arc<Transaction>, began: Instant) -> Result<Vec<GroupId>> {
        let (_, slow) = self.subscriptions.to_run();
        let count = slow.len();
        let begin = self.that_may_begin(slow);
        self.apart_waits = begin.len() < count;
        if !begin.is_empty() {
            let jobs = begin.iter().filter_map(|id| self.subscriptions.job(*id, began)).collect();
            self.apart.begin(jobs, snapshot, &self.database, &self.executor).await?;
            self.subscriptions.begin_apart(begin.iter().copied());
        }
        Ok(begin)
    }

    /// A slow query is done.
    pub(super) async fn done_apart(&mut self, batch: u64, run: Finished) -> Result<()> {
        let (id, stale) = (run.id, run.stale);
        self.apart_waits = false;
        self.subscriptions.ended_apart(id);
        self.subscriptions.measured(id, run.took < SLOW_FROM && !run.stumbled);
        let judged = if stale { Ok(Outcome::Again) } else { self.judge(run).await };
        let mut deliveries = Deliveries::default();
        let mut failed = None;
        match judged {
            Ok(Outcome::Ran(ran)) => {
                // It may have read what it had not read before, and perhaps that has changed since.
                let outdated = self.apart.is_outdated(batch, &ran.dependencies);
                for session in self.settle(id, ran) {
                    self.holds.thaw(session);
                }
                if outdated {
                    self.subscriptions.mark_one(id);
                }
                self.subscriptions.tell_waiting(id, &mut self.holds);
            }
            Ok(Outcome::Failed(why, sight)) => {
                for session in self.subscriptions.refused(id, why, &sight, &mut deliveries) {
                    self.holds.thaw(session);
                }
            }
            Ok(Outcome::Unwatched(tables)) => {
                self.again(id);
                self.subscriptions.park(id, tables);
            }
            Ok(Outcome::Again) => self.again(id),
            Err(why) => {
                self.again(id);
                failed = Some(why);
            }
        }
        if stale {
            self.forget_schema();
        }
        self.deliver(deliveries, 0, &[]);
        failed.map_or(Ok(()), Err)
    }

    /// A group that ran apart has to do so again, and the frames that wait for it with it.
    pub(super) fn again(&mut self, id: GroupId) {
        self.subscriptions.ended_apart(id);
        self.subscriptions.mark_one(id);
        for session in self.subscriptions.sessions(id) {
            self.holds.thaw(session);
        }
    }
}

pub(super) fn timed_out(result: &Result<Vec<u8>>) -> bool {
    result.as_ref().is_err_and(timed_out_with)
}

fn timed_out_with(why: &Error) -> bool {
    why.kind() == ErrorKind::Timeout
}
