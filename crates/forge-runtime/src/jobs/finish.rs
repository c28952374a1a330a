//! Writes down how jobs ended: all that end while one statement is under way, by the next one.
//!
//! ```text
//!  ended ─▶ batch ─▶ groups, one for each statement ─▶ written ─▶ told of
//!                      ▲                                 │
//!                      ├── in halves, in the end alone ◀─┤ something of it cannot be stored
//!                      └── as it is, after a while ◀─────┘ anything else: the database is away, full, read only, busy..
//! ```
//!
//! What is not written is lost only together with its worker, whose jobs others then take over; so this goes on trying for as long as it takes.
//! How a job ended stands, also when what it says of it cannot be stored: then it is written without. A job that is no longer
//! this worker's is left alone: it is somebody else's, or was cancelled.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use forge_core::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::claims::{Claim, Claims};
use super::run::ERROR_MAX;
use super::store::{AGAIN, BURY, COMPLETE, DROP, get, micros};
use super::wake::Wake;
use super::{Jobs, storable};
use crate::db::error::{driver_of, from_driver};
use crate::db::{Answer, Lease, Params};

/// How many are written by one statement at most.
const BATCH_MAX: usize = 1000;

/// How many bytes of results and errors are written by one statement at most, unless a single one is larger.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// The largest result that is stored, in bytes of JSON. A job with a larger one is completed without it.
const OUTPUT_MAX: usize = 64 * 1024 * 1024;

/// How many may wait to be written before those that end wait themselves.
pub(super) const WAITING_MAX: usize = 4096;

/// How long to wait after a failure, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

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
        /// Its result as JSON; or why that is not stored, also JSON.
        output: Result<String, String>,
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

/// Which statement writes an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum How {
    /// Of those that were claimed so often, with or without a history: nearly all were once.
    Completed {
        claim: i32,
        keep: bool,
    },
    Again,
    Over,
}

/// What a statement has written.
#[derive(Debug, Default)]
struct Wrote {
    /// Of how many jobs: the others are somebody else's.
    count: usize,
    /// Those of them that somebody follows.
    tracked: Vec<Uuid>,
}

/// Who writes.
#[derive(Debug)]
pub(super) struct Finisher {
    pub(super) jobs: Jobs,
    pub(super) ended: mpsc::Receiver<Ended>,
    pub(super) claims: Claims,
}

impl Finisher {
    /// Writes until nobody can hand in any more.
    pub(super) async fn run(mut self) {
        let mut batch = Vec::new();
        while self.ended.recv_many(&mut batch, BATCH_MAX).await > 0 {
            for ((worker, how), groups) in grouped(batch.drain(..)) {
                self.write_all(worker, how, groups).await;
            }
            self.jobs.0.ended.notify_waiters();
        }
    }

    async fn write_all(&self, worker: Uuid, how: How, mut left: Vec<Vec<Ended>>) {
        while let Some(mut these) = left.pop() {
            match self.write(worker, how, &these).await {
                Ok(()) => self.claims.remove(these.iter().map(Ended::claim)),
                Err(_) if these.len() > 1 => {
                    // The others are not to suffer for the one that does not fit.
                    left.push(these.split_off(these.len() / 2));
                    left.push(these);
                }
                // When it cannot be written even so it stays this worker's until that ends, and is then taken for crashed.
                Err(why) => left.extend(these.pop().and_then(|one| one.without(&why)).map(|one| vec![one])),
            }
        }
    }

    /// Writes jobs down by a statement, all or none, however long that takes.
    ///
    /// # Errors
    /// When something of it cannot be stored.
    async fn write(&self, worker: Uuid, how: How, these: &[Ended]) -> Result<()> {
        let (mut pause, mut unknown) = (PAUSE.0, false);
        loop {
            let why = match self.jobs.pool().get().await {
                Ok(lease) => match self.send(&lease, worker, how, these).await {
                    Ok(wrote) => {
                        self.wrote(these, wrote, unknown);
                        return Ok(());
                    }
                    Err(why) if does_not_fit(&why) => return Err(why),
                    Err(why) => {
                        unknown |= why.kind() == ErrorKind::DatabaseUnavailable;
                        // It may be the connection: to a server that has become a standby, say.
                        drop(lease.detach());
                        self.jobs.pool().clear();
                        why
                    }
                },
                Err(why) => why,
            };
            tracing::warn!(
                error = ?why,
                jobs = these.len(),
                again_in_ms = pause.as_millis() as u64,
                "how jobs ended could not be written down; trying again"
            );
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    async fn send(&self, lease: &Lease, worker: Uuid, how: How, these: &[Ended]) -> Result<Wrote> {
        let ids: Vec<Uuid> = these.iter().map(|one| one.id).collect();
        match how {
            How::Completed { claim, keep: false } => counted(lease, &DROP, &[&worker, &ids, &claim]).await,
            How::Completed { claim, keep: true } => {
                let (mut outputs, mut errors) = (Map::new(), Map::new());
                for one in these {
                    match &one.end {
                        End::Completed { output: Ok(output), .. } if output != "null" => {
                            outputs.insert(one.id.to_string(), storable::json(output)?);
                        }
                        End::Completed { output: Err(why), .. } => {
                            errors.insert(one.id.to_string(), storable::json(why)?);
                        }
                        _ => {}
                    }
                }
                let some = |of: Map<String, Value>| (!of.is_empty()).then_some(Value::Object(of));
                let (outputs, errors) = (some(outputs), some(errors));
                counted(lease, &COMPLETE, &[&worker, &ids, &claim, &outputs, &errors]).await
            }
            How::Again => again(&self.jobs, lease, worker, &ids, about(these)?).await,
            How::Over => {
                let answer = lease.query(&BURY, &[&worker, &ids, &about(these)?]).await.map_err(from_driver)?;
                Wrote::of(&answer, 1)
            }
        }
    }

    /// Tells of what was written. When it is `unknown` what became of an earlier try, what is missing now was most likely written by that.
    fn wrote(&self, these: &[Ended], wrote: Wrote, unknown: bool) {
        let lost = these.len().saturating_sub(wrote.count);
        let tracked = if lost > 0 && unknown {
            self.jobs.waker().wake(Wake::Look);
            these.iter().map(|one| one.id).collect()
        } else {
            wrote.tracked
        };
        if lost > 0 && !unknown {
            // Somebody else has them now, and what this worker did with them is not what counts.
            tracing::warn!(jobs = lost, "jobs had been taken from this worker before it was done with them");
            crate::observability::jobs().fenced(lost as u64);
        }
        self.count(&these[..these.len() - lost]);
        self.jobs.told(tracked);
        let keys: HashSet<(&'static str, &str)> =
            these.iter().filter_map(|one| Some((one.kind, one.concurrency_key.as_deref()?))).collect();
        for (kind, key) in keys {
            self.jobs.wake(Wake::Held { kind: kind.to_owned(), key: key.to_owned() });
        }
    }

    /// Tells how many were completed, by queue. Which of a group were lost is not known, and nearly always none was.
    fn count(&self, these: &[Ended]) {
        let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
        for one in these.iter().filter(|one| matches!(one.end, End::Completed { .. })) {
            *counts.entry(one.kind).or_default() += 1;
        }
        for (kind, count) in counts {
            if let Some(info) = self.jobs.registry().info(kind) {
                self.jobs.cluster().completed(info.queue, count);
            }
        }
    }
}

/// Ends by the statement that writes them, and each statement's in parts of a bounded size.
fn grouped(batch: impl Iterator<Item = Ended>) -> BTreeMap<(Uuid, How), Vec<Vec<Ended>>> {
    let mut groups: BTreeMap<(Uuid, How), Vec<Vec<Ended>>> = BTreeMap::new();
    let mut rooms: BTreeMap<(Uuid, How), usize> = BTreeMap::new();
    for one in batch.map(Ended::bounded) {
        let (of, size) = ((one.worker, one.how()), one.size());
        let (parts, room) = (groups.entry(of).or_default(), rooms.entry(of).or_default());
        match parts.last_mut() {
            Some(part) if size <= *room => part.push(one),
            _ => {
                *room = BYTES_MAX;
                parts.push(vec![one]);
            }
        }
        *room = room.saturating_sub(size);
    }
    groups
}

/// Runs a statement that answers how many there were, and whom to tell of.
async fn counted(lease: &Lease, statement: &std::sync::Arc<crate::db::Shape>, params: Params<'_>) -> Result<Wrote> {
    let answer = lease.query(statement, params).await.map_err(from_driver)?;
    let Some(row) = answer.rows.first() else { return Ok(Wrote::default()) };
    let count = usize::try_from(get::<i64>(row, 0)?).unwrap_or(0);
    Ok(Wrote { count, tracked: get::<Option<Vec<Uuid>>>(row, 1)?.unwrap_or_default() })
}

/// Gives jobs back that are to run again, and wakes whoever can do that.
async fn again(jobs: &Jobs, lease: &Lease, worker: Uuid, ids: &[Uuid], about: Value) -> Result<Wrote> {
    let answer = lease.query(&AGAIN, &[&worker, &ids, &about, &jobs.shift()]).await.map_err(from_driver)?;
    for row in &answer.rows {
        let kind: String = get(row, 1)?;
        match (get::<i16>(row, 3)?, get::<Option<String>>(row, 7)?) {
            (0, _) => jobs.wake(Wake::Ready { kind: kind.into(), priority: get(row, 2)?, at: get(row, 4)? }),
            (1, _) => jobs.wake(Wake::Due { at: get(row, 5)? }),
            (_, Some(key)) => jobs.wake(Wake::Held { kind, key }),
            (_, None) => {}
        }
    }
    Wrote::of(&answer, 6)
}

/// Gives jobs back that a worker has claimed and knows nothing of. Returns how many.
pub(super) async fn give_back(jobs: &Jobs, worker: Uuid, claims: &[Claim]) -> Result<usize> {
    let mut count = 0;
    for some in claims.chunks(BATCH_MAX) {
        let ids: Vec<Uuid> = some.iter().map(|(id, _)| *id).collect();
        let how = |claim: i32| json!({ "claim": claim, "delay": 0, "unspent": true });
        let about: Map<String, Value> = some.iter().map(|(id, claim)| (id.to_string(), how(*claim))).collect();
        let lease = jobs.pool().get().await?;
        let wrote = again(jobs, &lease, worker, &ids, Value::Object(about)).await?;
        jobs.told(wrote.tracked);
        count += wrote.count;
    }
    Ok(count)
}

/// What a statement is told of each that did not succeed, by id.
fn about(these: &[Ended]) -> Result<Value> {
    let mut about = Map::new();
    for one in these {
        let (mut what, error) = match &one.end {
            End::Completed { .. } => continue,
            End::Again { delay, error, unspent } => {
                (json!({ "claim": one.claim, "delay": micros(*delay), "unspent": unspent }), error.as_ref())
            }
            End::Over { error, retain } => (json!({ "claim": one.claim, "retain": retain.map(micros) }), Some(error)),
        };
        if let (Some(what), Some(error)) = (what.as_object_mut(), error) {
            what.insert("error".into(), storable::json(error)?);
        }
        about.insert(one.id.to_string(), what);
    }
    Ok(Value::Object(about))
}

impl Wrote {
    /// Of a statement that answers a row for each, which says at this place whether somebody follows it.
    fn of(answer: &Answer, tracked: usize) -> Result<Self> {
        let mut wrote = Self { count: answer.rows.len(), tracked: Vec::new() };
        for row in &answer.rows {
            if get(row, tracked)? {
                wrote.tracked.push(get(row, 0)?);
            }
        }
        Ok(wrote)
    }
}

impl Ended {
    fn claim(&self) -> Claim {
        (self.id, self.claim)
    }

    fn how(&self) -> How {
        match self.end {
            End::Completed { keep, .. } => How::Completed { claim: self.claim, keep },
            End::Again { .. } => How::Again,
            End::Over { .. } => How::Over,
        }
    }

    /// How many bytes it has to say.
    fn size(&self) -> usize {
        match &self.end {
            End::Completed { keep: false, .. } | End::Again { error: None, .. } => 0,
            End::Completed { output: Ok(text) | Err(text), .. } => text.len(),
            End::Again { error: Some(error), .. } | End::Over { error, .. } => error.len(),
        }
    }

    /// Itself, without a result that is larger than those that are stored.
    fn bounded(self) -> Self {
        match &self.end {
            End::Completed { output: Ok(output), keep: true } if output.len() > OUTPUT_MAX => {
                let why = format!("it has {} bytes, and {OUTPUT_MAX} are stored at most", output.len());
                let Self { id, kind, worker, claim, .. } = self;
                let end = End::Completed { output: Err(not_stored(id, kind, &Error::payload_too_large(why))), keep: true };
                Self { id, kind, worker, claim, concurrency_key: self.concurrency_key, end }
            }
            _ => self,
        }
    }

    /// Itself without what cannot be stored of it; nothing when there was nothing of that kind.
    fn without(mut self, why: &Error) -> Option<Self> {
        let (id, kind) = (self.id, self.kind);
        match &mut self.end {
            End::Completed { output: output @ Ok(_), keep: true } => *output = Err(not_stored(id, kind, why)),
            End::Again { error: Some(error), .. } | End::Over { error, .. } if *error != unknown(error) => {
                tracing::error!(job_id = %id, job = kind, error = ?why, "what a job failed with cannot be stored; it is written down without");
                *error = unknown(error);
            }
            _ => {
                tracing::error!(job_id = %id, job = kind, error = ?why, "how a job ended cannot be written down");
                return None;
            }
        }
        Some(self)
    }
}

/// What is stored, as JSON, instead of a result that cannot be.
fn not_stored(id: Uuid, kind: &str, why: &Error) -> String {
    tracing::error!(job_id = %id, job = kind, error = ?why, "a job's result cannot be stored; it is completed without");
    let message =
        storable::text(&format!("it was completed, but its result could not be stored: {}", why.message()), ERROR_MAX);
    json!({ "code": why.code(), "message": message }).to_string()
}

/// What is stored, as JSON, instead of an error that cannot be: its code, if that can.
fn unknown(error: &str) -> String {
    let code = serde_json::from_str::<Value>(error).ok().and_then(|error| Some(error["code"].as_str()?.to_owned()));
    let code = code.filter(|code| code.len() < 100).unwrap_or_else(|| ErrorKind::Internal.code().to_owned());
    json!({ "code": code, "message": "what it failed with could not be stored; see the log" }).to_string()
}

/// Whether it is what was to be stored that the database does not take, now or later: what is not data of the right kind or size. Everything
/// else passes, if only when somebody has made room on a disk.
fn does_not_fit(why: &Error) -> bool {
    if why.kind() == ErrorKind::DatabaseUnavailable {
        return false;
    }
    match driver_of(why) {
        Some(driver) => match driver.code() {
            // Data exceptions, broken constraints, limits of the program.
            Some(state) => ["22", "23", "54"].iter().any(|class| state.code().starts_with(class)),
            // It could not be sent.
            None => true,
        },
        // It was not even sent.
        None => true,
    }
}
