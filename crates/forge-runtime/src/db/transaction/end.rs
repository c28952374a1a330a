//! How a transaction ends: with COMMIT, in whose round trip its last statements go, or with ROLLBACK.

use std::sync::atomic::Ordering;
use std::time::Duration;

use forge_core::{Error, Result};
use futures_util::future::join_all;

use super::outcome::{Fate, nothing_written, outcome_unknown};
use super::statements::{COMMIT, NOTHING, ROLLBACK};
use super::{Last, Transaction};
use crate::db::{Answer, Params, Pool, error};

impl Transaction {
    /// Runs last statements and commits, in one round trip, and returns their answers: none at all when those were lost, but it is
    /// known that it was committed. `side` is where that is asked for.
    pub(crate) async fn commit<'l>(&self, last: impl IntoIterator<Item = Last<'l>>, side: &Pool) -> Result<Vec<Answer>> {
        let last: Vec<Last<'l>> = last.into_iter().collect();
        if self.failed.load(Ordering::Relaxed) {
            self.rollback().await;
            return Err(Error::internal(
                "a statement of the transaction failed or was not waited for, and the function went on, so nothing of it can be kept; return the error, or run what may fail in a mutation of its own with ctx.mutate",
            ));
        }
        if self.begun.load(Ordering::Relaxed) {
            return self.finish(&last, side).await;
        }
        let Some(((shape, params), others)) = last.split_first() else { return Ok(Vec::new()) };
        // Nothing ran before: the first of them brings BEGIN, and the transaction's number is known before COMMIT is sent.
        let first = self.query(shape, params).await?;
        let mut answers = self.finish(others, side).await?;
        answers.insert(0, first);
        Ok(answers)
    }

    async fn finish(&self, last: &[Last<'_>], side: &Pool) -> Result<Vec<Answer>> {
        let lease = self.lease().await?;
        // In a transaction that has failed unheard, this one says so, which COMMIT does not.
        let asks = (self.forgotten.load(Ordering::Relaxed) && self.writes()).then_some((&*NOTHING, &[] as Params<'_>));
        let last: Vec<Last<'_>> = asks.into_iter().chain(last.iter().copied()).collect();
        let commit = lease.prepare(&COMMIT).await.map_err(|why| self.failed(why, &COMMIT))?;
        let mut prepared = Vec::with_capacity(last.len());
        for (shape, _) in &last {
            prepared.push(lease.prepare(shape).await.map_err(|why| self.failed(why, shape))?);
        }
        // From here on the commit is on its way. A call that is dropped now leaves it alone: it is not cancelled, and the
        // connection is not used again.
        self.ended.store(true, Ordering::Release);
        lease.committing();
        // They are sent in the order in which they are polled first: this one, COMMIT last.
        let running = join_all(last.iter().zip(&prepared).map(|((_, params), prepared)| lease.run(prepared, params)));
        let (results, committed) = futures_util::join!(running, lease.run(&commit, &[]));
        let mut answers = Vec::with_capacity(results.len());
        for (result, (shape, _)) in results.into_iter().zip(&last) {
            match result {
                Ok(answer) => answers.push(answer),
                // When the connection was lost, nobody knows what became of COMMIT: the outcome is asked for.
                Err(why) if error::is_disconnect(&why) => break,
                // Behind a pooler that is seen by its answer: the server may have run it, and kept it.
                Err(why)
                    if lease.is_pooled()
                        && error::is_stale_plan(&why)
                        && committed.as_ref().err().is_none_or(error::is_disconnect) =>
                {
                    if committed.is_ok() {
                        lease.clean();
                    }
                    return match Box::pin(self.fate(side)).await {
                        Fate::Committed => {
                            lease.forget_statements();
                            Ok(Vec::new())
                        }
                        Fate::Lost => Err(self.failed(why, shape)),
                        Fate::Unknown => Err(outcome_unknown(why)),
                    };
                }
                // The COMMIT behind it became a ROLLBACK.
                Err(why) => {
                    if committed.is_ok() {
                        lease.clean();
                    }
                    return Err(self.failed(why, shape));
                }
            }
        }
        match committed {
            Ok(_) => {
                lease.clean();
                Ok(answers.split_off(usize::from(asks.is_some())))
            }
            Err(why) if error::is_disconnect(&why) => {
                // The lease stays marked as committing: its connection is closed, never used again.
                match Box::pin(self.fate(side)).await {
                    Fate::Committed => Ok(Vec::new()),
                    Fate::Lost => Err(nothing_written(why)),
                    Fate::Unknown => Err(outcome_unknown(why)),
                }
            }
            Err(why) => {
                // A deferred constraint or a serialization failure: the transaction has ended, the connection is fine.
                lease.clean();
                Err(self.failed(why, &COMMIT))
            }
        }
    }

    /// Ends the transaction without keeping anything.
    pub(crate) async fn rollback(&self) {
        if !self.begun.load(Ordering::Relaxed) {
            return;
        }
        /// A server that does not answer gets no more time; the connection is then discarded.
        const ANSWER_MAX: Duration = Duration::from_secs(5);
        if !self.ended.swap(true, Ordering::AcqRel)
            // What still runs is cancelled with the connection.
            && !self.unheard.load(Ordering::Relaxed)
            && let Some(lease) = self.lease.get()
            && let Ok(Ok(_)) = tokio::time::timeout(ANSWER_MAX, lease.query(&ROLLBACK, &[])).await
        {
            lease.clean();
        }
    }
}
