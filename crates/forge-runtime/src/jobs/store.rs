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
use crate::db::transaction::Transaction;
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
    /// From when it is written down on; negative never.
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
    /// It is another job's child.
    pub(crate) child: bool,
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
    /// In a transaction of the queue's own.
    Within(&'a Transaction),
    /// By itself.
    Alone(&'a Pool),
}

impl Way<'_> {
    pub(super) async fn run(self, shape: &Arc<Shape>, params: Params<'_>) -> Result<Answer> {
        match self {
            Self::Inside(db) => db.run(shape, params).await,
            Self::Within(transaction) => transaction.query(shape, params).await,
            Self::Alone(pool) => pool.get().await?.query(shape, params).await.map_err(from_driver),
        }
    }
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
                child: get(row, 13)?,
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

pub(super) fn no_row() -> Error {
    Error::internal("a statement of the queue answered nothing")
}
