//! All that the queue says to the database. Each statement stands in a file of its own, with the index that serves it and the locks it takes.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use forge_core::{Error, Result};
use jiff::Timestamp;
use postgres_types::{FromSql, Type, accepts};
use tokio_postgres::Row;
use uuid::Uuid;

use super::lanes::Ask;
use crate::db::error::from_driver;
use crate::db::{Answer, Db, Params, Pool, Shape};

macro_rules! statements {
    ($($name:ident = $file:literal;)*) => {
        $(pub(super) static $name: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(&text($file, include_str!(concat!("sql/", $file)))));)*
    };
}

/// What a file says. In tests it may be something else.
#[cfg(test)]
pub(super) use super::tests::fault::planted as text;

#[cfg(not(test))]
pub(super) fn text(_: &str, text: &'static str) -> std::borrow::Cow<'static, str> {
    text.into()
}

statements! {
    ENQUEUE = "enqueue.sql";
    ENQUEUE_ONE = "enqueue_one.sql";
    ENQUEUE_PLAIN = "enqueue_plain.sql";
    ENQUEUE_ALIKE = "enqueue_alike.sql";
    CLAIM = "claim.sql";
    COMPLETE = "complete.sql";
    DROP = "drop.sql";
    AGAIN = "again.sql";
    BURY = "bury.sql";
    PROMOTE = "promote.sql";
    LOOK = "look.sql";
    TAKE_OVER = "take_over.sql";
    HELD = "held.sql";
    RELEASE = "release.sql";
    RELEASE_LOCK = "release_lock.sql";
    RATE = "rate.sql";
    RATE_BEGIN = "rate_begin.sql";
    PROGRESS = "progress.sql";
    SAVE = "save.sql";
    OURS = "ours.sql";
    TRACK = "track.sql";
    STATUS = "status.sql";
    CANCEL = "cancel.sql";
    IDLE = "idle.sql";
    WAITING = "waiting.sql";
    KEEP_CLEAN = "keep_clean.sql";
    PARTITIONS = "partitions.sql";
    COUNT = "count.sql";
}

/// How many scheduled jobs are made ready by one statement.
pub(super) const PROMOTE_MAX: i64 = 1000;

/// A job as it is written down.
#[derive(Debug, Clone)]
pub(crate) struct NewJob {
    pub(crate) id: Uuid,
    pub(crate) kind: &'static str,
    pub(crate) queue: &'static str,
    pub(crate) priority: i16,
    /// From now on; negative never.
    pub(crate) delay: Duration,
    /// At this time instead.
    pub(crate) at: Option<Timestamp>,
    pub(crate) input: String,
    pub(crate) owner: Option<Arc<str>>,
    pub(crate) trace: Option<String>,
    pub(crate) parent: Option<Uuid>,
    pub(crate) unique_key: Option<String>,
    pub(crate) concurrency_key: Option<String>,
}

impl NewJob {
    /// Whether nothing but the input tells them apart.
    fn is_like(&self, other: &Self) -> bool {
        (self.kind, self.queue, self.priority) == (other.kind, other.queue, other.priority)
            && self.owner == other.owner
            && self.trace == other.trace
    }

    /// Whether a short statement will do.
    fn is_plain(&self) -> bool {
        self.delay.is_zero()
            && self.at.is_none()
            && self.parent.is_none()
            && self.unique_key.is_none()
            && self.concurrency_key.is_none()
    }
}

/// What became of a job that was to be written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    /// The job's id, or that of the live job with the same key.
    pub(crate) id: Uuid,
    /// Whether this one was written.
    pub(crate) new: bool,
    /// Its place in its lane, when it is ready.
    pub(crate) ready_at: Option<Timestamp>,
    /// When it is due, when it is scheduled.
    pub(crate) run_at: Option<Timestamp>,
    /// It waits for a place of its concurrency key.
    pub(crate) held: bool,
}

/// A job that this worker has taken.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(crate) id: Uuid,
    pub(crate) kind: String,
    pub(crate) priority: i16,
    pub(crate) ready_at: Timestamp,
    pub(crate) attempt: i32,
    /// How often it was claimed.
    pub(crate) claim: i32,
    pub(crate) input: String,
    pub(crate) owner: Option<String>,
    pub(crate) trace: Option<String>,
    pub(crate) concurrency_key: Option<String>,
    pub(crate) saved: Option<String>,
    pub(crate) cancel_requested: bool,
    /// Somebody follows it.
    pub(crate) tracked: bool,
    /// Whose it is: with the claim, the fence of all that is written of it.
    pub(crate) worker: Uuid,
}

/// A `json` as it is: to have the server make a text of it is work for nothing.
struct JsonText(String);

impl<'a> FromSql<'a> for JsonText {
    fn from_sql(_: &Type, raw: &'a [u8]) -> std::result::Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(std::str::from_utf8(raw)?.to_owned()))
    }

    accepts!(JSON);
}

/// Which way a statement goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way<'a> {
    /// In a mutation's transaction.
    Inside(&'a Db),
    /// By itself.
    Alone(&'a Pool),
}

impl Way<'_> {
    pub(super) async fn run(self, shape: &Arc<Shape>, params: Params<'_>) -> Result<Answer> {
        match self {
            Self::Inside(db) => db.run(shape, params).await,
            Self::Alone(pool) => pool.get().await?.query(shape, params).await.map_err(from_driver),
        }
    }
}

/// Writes jobs down by one statement. A key that was taken by a transaction that the statement did
/// not see is asked for again, so that there is an answer for each.
pub(crate) async fn enqueue(way: Way<'_>, jobs: &[NewJob], shift: i64) -> Result<Vec<Written>> {
    if let [job] = jobs
        && job.is_plain()
    {
        let owner = job.owner.as_deref();
        let params: Params<'_> = &[&job.id, &job.kind, &job.queue, &job.priority, &job.input, &owner, &job.trace];
        let answer = way.run(&ENQUEUE_ONE, params).await?;
        let ready_at = get(answer.rows.first().ok_or_else(no_row)?, 0)?;
        return Ok(vec![Written { id: job.id, new: true, ready_at: Some(ready_at), run_at: None, held: false }]);
    }
    if jobs.iter().all(NewJob::is_plain) {
        return enqueue_plain(way, jobs).await;
    }
    let mut written: Vec<Option<Written>> = vec![None; jobs.len()];
    // A key that is taken and given back again and again in between cannot keep anybody here for ever.
    for _ in 0..20 {
        let left: Vec<usize> = (0..jobs.len()).filter(|n| written[*n].is_none()).collect();
        if left.is_empty() {
            break;
        }
        let answer = enqueue_these(way, &left.iter().map(|n| &jobs[*n]).collect::<Vec<_>>(), shift).await?;
        for row in &answer.rows {
            let n = usize::try_from(get::<i64>(row, 0)?).unwrap_or(1) - 1;
            let state: Option<i16> = get(row, 3)?;
            let place = |of: i16, at: usize| if state == Some(of) { get(row, at) } else { Ok(None) };
            let one = Written {
                id: get(row, 1)?,
                new: get(row, 2)?,
                ready_at: place(0, 4)?,
                run_at: place(1, 5)?,
                held: state == Some(3),
            };
            if let Some(slot) = left.get(n).and_then(|n| written.get_mut(*n)) {
                *slot = Some(one);
            }
        }
    }
    written
        .into_iter()
        .collect::<Option<_>>()
        .ok_or_else(|| Error::database_unavailable("a job's key changes hands too fast; try again"))
}

async fn enqueue_plain(way: Way<'_>, jobs: &[NewJob]) -> Result<Vec<Written>> {
    let Some(first) = jobs.first() else { return Ok(Vec::new()) };
    let ids: Vec<Uuid> = jobs.iter().map(|job| job.id).collect();
    let inputs: Vec<&str> = jobs.iter().map(|job| job.input.as_str()).collect();
    let answer = if jobs.iter().all(|job| job.is_like(first)) {
        let owner = first.owner.as_deref();
        way.run(&ENQUEUE_ALIKE, &[&ids, &inputs, &first.kind, &first.queue, &first.priority, &owner, &first.trace]).await?
    } else {
        let kinds: Vec<&str> = jobs.iter().map(|job| job.kind).collect();
        let queues: Vec<&str> = jobs.iter().map(|job| job.queue).collect();
        let priorities: Vec<i16> = jobs.iter().map(|job| job.priority).collect();
        let owners: Vec<Option<&str>> = jobs.iter().map(|job| job.owner.as_deref()).collect();
        let traces: Vec<Option<&str>> = jobs.iter().map(|job| job.trace.as_deref()).collect();
        way.run(&ENQUEUE_PLAIN, &[&ids, &kinds, &queues, &priorities, &inputs, &owners, &traces]).await?
    };
    // The first one's place. To begin a little early costs nothing.
    let ready_at = get(answer.rows.first().ok_or_else(no_row)?, 0)?;
    Ok(jobs
        .iter()
        .map(|job| Written { id: job.id, new: true, ready_at: Some(ready_at), run_at: None, held: false })
        .collect())
}

async fn enqueue_these(way: Way<'_>, jobs: &[&NewJob], shift: i64) -> Result<Answer> {
    let ids: Vec<Uuid> = jobs.iter().map(|job| job.id).collect();
    let kinds: Vec<&str> = jobs.iter().map(|job| job.kind).collect();
    let queues: Vec<&str> = jobs.iter().map(|job| job.queue).collect();
    let priorities: Vec<i16> = jobs.iter().map(|job| job.priority).collect();
    let delays: Vec<i64> = jobs.iter().map(|job| micros(job.delay)).collect();
    let ats: Vec<Option<Timestamp>> = jobs.iter().map(|job| job.at).collect();
    let inputs: Vec<&str> = jobs.iter().map(|job| job.input.as_str()).collect();
    let owners: Vec<Option<&str>> = jobs.iter().map(|job| job.owner.as_deref()).collect();
    let traces: Vec<Option<&str>> = jobs.iter().map(|job| job.trace.as_deref()).collect();
    let parents: Vec<Option<Uuid>> = jobs.iter().map(|job| job.parent).collect();
    let unique: Vec<Option<&str>> = jobs.iter().map(|job| job.unique_key.as_deref()).collect();
    let keys: Vec<Option<&str>> = jobs.iter().map(|job| job.concurrency_key.as_deref()).collect();
    way.run(
        &ENQUEUE,
        &[&ids, &kinds, &queues, &priorities, &delays, &ats, &inputs, &owners, &traces, &parents, &unique, &keys, &shift],
    )
    .await
}

/// Takes jobs.
pub(super) async fn claim(pool: &Pool, worker: Uuid, asks: &[Ask]) -> Result<Vec<Claimed>> {
    let kinds: Vec<&str> = asks.iter().map(|ask| ask.of.kind).collect();
    let queues: Vec<&str> = asks.iter().map(|ask| ask.of.queue).collect();
    let priorities: Vec<i16> = asks.iter().map(|ask| ask.priority).collect();
    let starts: Vec<Timestamp> = asks.iter().map(|ask| ask.start).collect();
    let counts: Vec<i32> = asks.iter().map(|ask| i32::try_from(ask.n).unwrap_or(i32::MAX)).collect();
    let answer = pool
        .get()
        .await?
        .query(&CLAIM, &[&worker, &kinds, &queues, &priorities, &starts, &counts])
        .await
        .map_err(from_driver)?;
    answer
        .rows
        .iter()
        .map(|row| {
            Ok(Claimed {
                id: get(row, 0)?,
                kind: get(row, 1)?,
                priority: get(row, 2)?,
                ready_at: get(row, 3)?,
                attempt: get(row, 4)?,
                claim: get(row, 11)?,
                input: get::<JsonText>(row, 5)?.0,
                owner: get::<Option<JsonText>>(row, 6)?.map(|json| json.0),
                trace: get(row, 7)?,
                concurrency_key: get(row, 8)?,
                saved: get::<Option<JsonText>>(row, 9)?.map(|json| json.0),
                cancel_requested: get(row, 10)?,
                tracked: get(row, 12)?,
                worker,
            })
        })
        .collect()
}

/// A duration as the database takes it.
pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}

pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, at: usize) -> Result<T> {
    row.try_get(at).map_err(from_driver)
}

fn no_row() -> Error {
    Error::internal("a statement of the queue answered nothing")
}
