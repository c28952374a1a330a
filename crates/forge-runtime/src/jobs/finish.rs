//! Writes down how jobs ended: all that end while one statement is under way, by the next one.
//!
//! What is not written is lost only together with its worker, whose jobs others then take over; so this goes on trying while the
//! database is away. A job that is no longer this worker's is left alone: it is somebody else's, or was cancelled.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use forge_core::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::Jobs;
use super::store::{AGAIN, BURY, COMPLETE, DROP, get, micros};
use super::wake::Wake;
use crate::db::error::from_driver;
use crate::db::{Lease, Params};

/// How many are written by one statement at most.
const BATCH_MAX: usize = 1000;

/// How many may wait to be written before those that end wait themselves.
pub(super) const WAITING_MAX: usize = 4096;

/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_millis(200);

/// How a job ended.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub(super) id: Uuid,
    pub(super) kind: &'static str,
    /// With the claim, the fence.
    pub(super) worker: Uuid,
    pub(super) claim: i32,
    /// Others wait for its place.
    pub(super) concurrency_key: Option<String>,
    pub(super) end: End,
}

/// See [`Ended`].
#[derive(Debug, Clone)]
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

/// Jobs that were completed.
#[derive(Default)]
struct Completed {
    ids: Vec<Uuid>,
    kinds: Vec<&'static str>,
    /// Their results, those that are not null, by id.
    outputs: Map<String, Value>,
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
            self.jobs.0.ended.notify_waiters();
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
                    let [Ended { id, kind, worker, claim, ref concurrency_key, .. }] = one;
                    let end = End::Over { error, retain: Some(forge_core::job::DEFAULT_RETAIN) };
                    let over = Ended { id, kind, worker, claim, concurrency_key: concurrency_key.clone(), end };
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
            let lost =
                self.write_completed(&lease, worker, these()).await? + self.write_others(&lease, worker, these()).await?;
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

    /// Writes down which were completed; returns how many of them were somebody else's.
    async fn write_completed<'a>(
        &self,
        lease: &Lease,
        worker: Uuid,
        these: impl Iterator<Item = &'a Ended>,
    ) -> Result<usize> {
        // Those that were claimed so often, with or without a history, by one statement: nearly all were once.
        let mut groups: BTreeMap<(i32, bool), Completed> = BTreeMap::new();
        for one in these {
            if let End::Completed { output, keep } = &one.end {
                let group = groups.entry((one.claim, *keep)).or_default();
                group.ids.push(one.id);
                group.kinds.push(one.kind);
                if *keep && output != "null" {
                    group.outputs.insert(one.id.to_string(), serde_json::from_str(output)?);
                }
            }
        }
        let mut lost = 0;
        for ((claim, keep), Completed { ids, kinds, outputs }) in groups {
            let outputs = (!outputs.is_empty()).then_some(Value::Object(outputs));
            let (complete, drop): (Params<'_>, Params<'_>) = (&[&worker, &ids, &claim, &outputs], &[&worker, &ids, &claim]);
            let (statement, params) = if keep { (&COMPLETE, complete) } else { (&DROP, drop) };
            let answer = lease.query(statement, params).await.map_err(from_driver)?;
            if let Some(row) = answer.rows.first() {
                let written = usize::try_from(get::<i64>(row, 0)?).unwrap_or(0).min(ids.len());
                lost += ids.len() - written;
                // Which of them were lost is not known, and nearly always none was.
                self.count(&kinds[..written]);
                self.jobs.told(get::<Option<Vec<Uuid>>>(row, 1)?.unwrap_or_default());
            }
        }
        Ok(lost)
    }

    /// So many were completed, of these kinds.
    fn count(&self, kinds: &[&'static str]) {
        let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
        kinds.iter().for_each(|kind| *counts.entry(kind).or_default() += 1);
        for (kind, count) in counts {
            if let Some(info) = self.jobs.registry().info(kind) {
                self.jobs.cluster().completed(info.queue, count);
            }
        }
    }

    /// Writes down which are to run again, and which failed for good; returns how many of them were somebody else's.
    async fn write_others<'a>(&self, lease: &Lease, worker: Uuid, these: impl Iterator<Item = &'a Ended>) -> Result<usize> {
        let (mut again, mut over) = ((Vec::new(), Map::new()), (Vec::new(), Map::new()));
        for one in these {
            let raw = |text: &str| serde_json::from_str::<Value>(text);
            match &one.end {
                End::Completed { .. } => {}
                End::Again { delay, error, unspent } => {
                    let error = error.as_deref().map(raw).transpose()?;
                    again.0.push(one.id);
                    let about = json!({ "claim": one.claim, "delay": micros(*delay), "unspent": unspent });
                    again.1.insert(one.id.to_string(), with_error(about, error));
                }
                End::Over { error, retain } => {
                    over.0.push(one.id);
                    let about = json!({ "claim": one.claim, "retain": retain.map(micros) });
                    over.1.insert(one.id.to_string(), with_error(about, Some(raw(error)?)));
                }
            }
        }
        let mut lost = again.0.len() + over.0.len();
        if !again.0.is_empty() {
            let (about, shift) = (Value::Object(again.1), self.jobs.shift());
            let answer = lease.query(&AGAIN, &[&worker, &again.0, &about, &shift]).await.map_err(from_driver)?;
            lost -= answer.rows.len();
            for row in &answer.rows {
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
            let answer = lease.query(&BURY, &[&worker, &over.0, &Value::Object(over.1)]).await.map_err(from_driver)?;
            lost -= answer.rows.len();
            for row in &answer.rows {
                if get(row, 1)? {
                    self.jobs.told(vec![get(row, 0)?]);
                }
            }
        }
        Ok(lost)
    }
}

fn with_error(mut about: Value, error: Option<Value>) -> Value {
    if let (Some(about), Some(error)) = (about.as_object_mut(), error) {
        about.insert("error".into(), error);
    }
    about
}

/// Whether trying again later may help.
fn is_away(why: &Error) -> bool {
    why.kind() == ErrorKind::DatabaseUnavailable || why.is_retryable()
}
