//! Writes down how jobs ended: all that end while one statement is under way, by the next one.
//!
//! What is not written is lost only together with its worker, whose jobs others then take over; so this goes on trying while the
//! database is away. A job that is no longer this worker's is left alone: it is somebody else's, or was cancelled.

use std::collections::HashSet;
use std::time::Duration;

use forge_core::{Error, ErrorKind, Result};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::store::{AGAIN, BURY, COMPLETE, get, micros};
use super::Jobs;
use super::wake::Wake;
use crate::db::error::from_driver;

/// How many are written by one statement at most.
const BATCH_MAX: usize = 1000;

/// How many may wait to be written before those that end wait themselves.
pub(super) const WAITING_MAX: usize = 4096;

/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_millis(200);

/// How a job ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) id: Uuid,
    pub(super) kind: &'static str,
    /// With the attempt, the fence.
    pub(super) worker: Uuid,
    pub(super) attempt: i32,
    /// Others wait for its place.
    pub(super) concurrency_key: Option<String>,
    pub(super) end: End,
}

/// See [`Ended`].
#[derive(Debug)]
pub(super) enum End {
    Completed {
        /// Its result as JSON.
        output: String,
        /// Whether it is kept in the history.
        keep: bool,
    },
    /// It is to run again.
    Again {
        delay: Duration,
        /// JSON: what the attempt failed with.
        error: Option<String>,
        /// It has done nothing: the attempt does not count.
        unspent: bool,
    },
    /// It is not to run again.
    Over {
        /// JSON: why.
        error: String,
        /// How long it is kept as a dead letter; nothing when it was cancelled.
        retain: Option<Duration>,
    },
}

/// Who writes.
#[derive(Debug)]
pub(super) struct Finisher {
    pub(super) jobs: Jobs,
    pub(super) ended: mpsc::Receiver<Ended>,
}

impl Finisher {
    /// Writes until nobody can hand in any more.
    pub(super) async fn run(mut self) {
        let mut batch = Vec::new();
        while self.ended.recv_many(&mut batch, BATCH_MAX).await > 0 {
            while let Err(why) = self.write(&batch).await {
                if is_away(&why) {
                    tracing::warn!(error = ?why, jobs = batch.len(), "how jobs ended could not be written down; trying again");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                // One of them does not fit; the others are not to suffer for it.
                for one in batch.drain(..) {
                    self.write_alone(one).await;
                }
                break;
            }
            batch.clear();
        }
    }

    async fn write_alone(&self, one: Ended) {
        let one = [one];
        loop {
            match self.write(&one).await {
                Ok(()) => return,
                Err(why) if is_away(&why) => tokio::time::sleep(PAUSE).await,
                Err(why) => {
                    tracing::error!(job_id = %one[0].id, job = one[0].kind, error = ?why, "how a job ended cannot be written down");
                    let error = super::run::error_json(&why);
                    let [Ended { id, kind, worker, attempt, ref concurrency_key, .. }] = one;
                    let end = End::Over { error, retain: Some(forge_core::job::DEFAULT_RETAIN) };
                    let over = Ended { id, kind, worker, attempt, concurrency_key: concurrency_key.clone(), end };
                    if let Err(why) = self.write(&[over]).await {
                        // It stays this worker's until that ends, and is then taken for crashed.
                        tracing::error!(job_id = %id, job = kind, error = ?why, "nor that it failed");
                    }
                    return;
                }
            }
        }
    }

    /// Writes a batch. All of it is written or nothing, so that it can be written again.
    async fn write(&self, batch: &[Ended]) -> Result<()> {
        let lease = self.jobs.pool().get().await?;
        let mut workers: Vec<Uuid> = batch.iter().map(|one| one.worker).collect();
        workers.sort_unstable();
        workers.dedup();
        for worker in workers {
            let these = || batch.iter().filter(|one| one.worker == worker);
            let mut left: HashSet<Uuid> = HashSet::new();
            let (mut ids, mut attempts, mut outputs, mut keep) = (vec![], vec![], vec![], vec![]);
            let mut again = (vec![], vec![], vec![], vec![], vec![]);
            let mut over = (vec![], vec![], vec![], vec![]);
            for one in these() {
                match &one.end {
                    End::Completed { output, keep: kept } => {
                        ids.push(one.id);
                        attempts.push(one.attempt);
                        outputs.push(output.as_str());
                        keep.push(*kept);
                    }
                    End::Again { delay, error, unspent } => {
                        left.insert(one.id);
                        again.0.push(one.id);
                        again.1.push(one.attempt);
                        again.2.push(micros(*delay));
                        again.3.push(error.as_deref());
                        again.4.push(*unspent);
                    }
                    End::Over { error, retain } => {
                        left.insert(one.id);
                        over.0.push(one.id);
                        over.1.push(one.attempt);
                        over.2.push(error.as_str());
                        over.3.push(retain.map(micros));
                    }
                }
            }
            let mut lost = 0;
            if !ids.is_empty() {
                let answer = lease.query(&COMPLETE, &[&worker, &ids, &attempts, &outputs, &keep]).await.map_err(from_driver)?;
                if let Some(row) = answer.rows.first() {
                    lost += ids.len() - usize::try_from(get::<i64>(row, 0)?).unwrap_or(0).min(ids.len());
                    let tracked: Option<Vec<Uuid>> = get(row, 1)?;
                    self.jobs.told(tracked.unwrap_or_default());
                }
            }
            if !again.0.is_empty() {
                let shift = self.jobs.shift();
                let params: crate::db::Params<'_> = &[&worker, &again.0, &again.1, &again.2, &again.3, &again.4, &shift];
                let answer = lease.query(&AGAIN, params).await.map_err(from_driver)?;
                for row in &answer.rows {
                    left.remove(&get(row, 0)?);
                    let kind: String = get(row, 1)?;
                    match get::<i16>(row, 3)? {
                        0 => self.jobs.wake(Wake::Ready { kind: kind.into(), priority: get(row, 2)?, at: get(row, 4)? }),
                        1 => self.jobs.wake(Wake::Due { at: get(row, 5)? }),
                        _ => {}
                    }
                    if get(row, 6)? {
                        self.jobs.told(vec![get(row, 0)?]);
                    }
                }
            }
            if !over.0.is_empty() {
                let answer = lease.query(&BURY, &[&worker, &over.0, &over.1, &over.2, &over.3]).await.map_err(from_driver)?;
                for row in &answer.rows {
                    left.remove(&get(row, 0)?);
                    if get(row, 1)? {
                        self.jobs.told(vec![get(row, 0)?]);
                    }
                }
            }
            lost += left.len();
            if lost > 0 {
                // Somebody else has them now, and what this worker did with them is not what counts.
                tracing::warn!(jobs = lost, "jobs had been taken from this worker before it was done with them");
                crate::observability::jobs().fenced(lost as u64);
            }
        }
        let keys: HashSet<(&'static str, &str)> =
            batch.iter().filter_map(|one| Some((one.kind, one.concurrency_key.as_deref()?))).collect();
        for (kind, key) in keys {
            self.jobs.wake(Wake::Held { kind: kind.to_owned(), key: key.to_owned() });
        }
        Ok(())
    }
}

/// Whether trying again later may help.
fn is_away(why: &Error) -> bool {
    why.kind() == ErrorKind::DatabaseUnavailable || why.is_retryable()
}
