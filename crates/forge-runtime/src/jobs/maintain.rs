//! What is looked after now and then: the history's partitions, dead letters that nobody wants, how deep queues are ([`super::depth`]).
//!
//! One node at a time does it, whichever has the lock; the others find nothing to do.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use forge_core::function::Isolation;
use forge_core::job::DEFAULT_RETAIN;
use forge_core::{Error, ErrorKind, Result};
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use tokio_util::sync::CancellationToken;

use super::Jobs;
use super::store::{KEEP_CLEAN, PARTITIONS, get};
use crate::db::Shape;
use crate::db::error::from_driver;
use crate::db::transaction::{Purpose, Transaction};

/// How often partitions and dead letters are looked after.
const EVERY: Duration = Duration::from_secs(600);

/// How many days ahead there are partitions.
const AHEAD: i64 = 3;

/// How often it is looked how deep queues are, for `/metrics`.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// How often while they are empty.
const COUNT_IDLE: Duration = Duration::from_secs(30);

/// How long whoever makes or drops a partition waits for those who read any of them (a backup may, for hours): everybody else who reads or writes the
/// history waits behind it meanwhile. It is tried again later.
const LOCK_MAX: &str = "SET LOCAL lock_timeout = '50ms'";

/// How many dead letters, and how much old history, end in one transaction. While there are so many the next one follows at once.
const BATCH_MAX: u64 = 1000;

/// How soon it is tried again what could not be done.
const AGAIN: Duration = Duration::from_secs(30);

static ALONE: LazyLock<Arc<Shape>> =
    LazyLock::new(|| Shape::of("SELECT pg_try_advisory_xact_lock(hashtextextended('forge_jobs maintenance', 0))"));
static WAIT_BRIEFLY: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(LOCK_MAX));
static MAKE: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of("SELECT forge_jobs_done_partition($1::text::date)"));

static EMPTY_REST: LazyLock<Arc<Shape>> = LazyLock::new(|| {
    Shape::of(
        "DELETE FROM forge_jobs_done_rest WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM forge_jobs_done_rest WHERE finished_at < $1::text::timestamp AT TIME ZONE 'UTC' LIMIT $2))",
    )
});

/// Looks after the queue until told to stop.
pub(super) async fn run(jobs: Jobs, stop: CancellationToken) {
    let (mut next, mut count_at) = (Instant::now(), Instant::now() + COUNT_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep_until(next.min(count_at).into()) => {}
        }
        if next <= Instant::now() {
            next = Instant::now()
                + match keep_clean(&jobs).await {
                    Ok(cleaned) if cleaned.left_more() => Duration::ZERO,
                    Ok(_) => EVERY,
                    Err(why) if why.kind() == ErrorKind::Conflict => {
                        tracing::debug!(error = ?why, "somebody reads the history of jobs; it is looked after again later");
                        AGAIN
                    }
                    Err(why) => {
                        tracing::warn!(error = ?why, "the history of jobs could not be looked after; trying again later");
                        AGAIN
                    }
                };
        }
        if count_at <= Instant::now() {
            let wait = match jobs.try_depths().await {
                Ok(queues) => {
                    crate::observability::jobs().counted(&queues);
                    if queues.is_empty() { COUNT_IDLE } else { COUNT_EVERY }
                }
                Err(wait) => wait,
            };
            count_at = Instant::now() + wait;
        }
    }
}

/// A transaction of whoever has the lock. It waits for no other lock for long.
async fn alone(jobs: &Jobs) -> Result<Option<Transaction>> {
    let purpose = Purpose::Write {
        isolation: Isolation::ReadCommitted,
        user_id: String::new(),
        function: "forge_jobs",
        trace_id: String::new(),
    };
    let limit = Instant::now() + Duration::from_secs(60);
    let transaction = Transaction::new(jobs.pool().get().await?, purpose, limit, false);
    let answer = transaction.query(&ALONE, &[]).await?;
    if answer.rows.first().is_some_and(|row| row.try_get(0).unwrap_or(false)) {
        transaction.query(&WAIT_BRIEFLY, &[]).await?;
        return Ok(Some(transaction));
    }
    transaction.rollback().await;
    Ok(None)
}

/// What was done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Cleaned {
    /// Dead letters that were kept for as long as they were to be.
    pub(super) ended: u64,
    /// Old history that was in no day's partition.
    pub(super) emptied: u64,
    /// Partitions ahead.
    pub(super) made: usize,
    /// Partitions whose day is long over.
    pub(super) dropped: usize,
}

impl Cleaned {
    /// Whether there is most likely more to do than was done at once.
    fn left_more(&self) -> bool {
        self.ended.max(self.emptied) >= BATCH_MAX
    }
}

/// Ends some dead letters and some history that no partition has, makes partitions ahead, and drops old ones. What cannot be done (somebody reads what
/// is to be dropped) keeps nothing else from being done: each is a transaction of its own.
pub(super) async fn keep_clean(jobs: &Jobs) -> Result<Cleaned> {
    let today =
        (Timestamp::now() + jiff::SignedDuration::from_micros(jobs.shift())).to_zoned(jiff::tz::TimeZone::UTC).date();
    let (ended, emptied) = (end_dead_letters(jobs).await, empty_rest(jobs, today).await);
    let (made, dropped) = (make_partitions(jobs, today).await, drop_partitions(jobs, today).await);
    Ok(Cleaned { ended: ended?, emptied: emptied?, made: made?, dropped: dropped? })
}

async fn end_dead_letters(jobs: &Jobs) -> Result<u64> {
    let Some(transaction) = alone(jobs).await? else { return Ok(0) };
    let ended = transaction.query(&KEEP_CLEAN, &[&jobs.shift(), &(BATCH_MAX as i64)]).await?.affected;
    transaction.commit(None, jobs.pool()).await?;
    Ok(ended)
}

async fn make_partitions(jobs: &Jobs, today: Date) -> Result<usize> {
    let Some(transaction) = alone(jobs).await? else { return Ok(0) };
    let mut made = 0;
    for ahead in 0..=AHEAD {
        let day = today.checked_add(ahead.days()).map_err(|why| Error::internal(why.to_string()))?;
        let answer = transaction.query(&MAKE, &[&day.to_string()]).await?;
        made += usize::from(answer.rows.first().is_some_and(|row| row.try_get(0).unwrap_or(false)));
    }
    transaction.commit(None, jobs.pool()).await?;
    Ok(made)
}

/// The day before which no history is kept. A day's partition is over at its end.
fn oldest(jobs: &Jobs, today: Date) -> Result<Date> {
    let retain = jobs.registry().entries().map(|entry| entry.info.retain).max().unwrap_or(DEFAULT_RETAIN);
    let days = i64::try_from(retain.as_secs().div_ceil(86_400)).unwrap_or(i64::MAX).min(36_500);
    today.checked_sub((days + 1).days()).map_err(|why| Error::internal(why.to_string()))
}

/// Ends history that no day's partition has, as there was none for it when it was written: some at a time, which reads a table that is nearly always empty.
async fn empty_rest(jobs: &Jobs, today: Date) -> Result<u64> {
    let oldest = oldest(jobs, today)?.to_string();
    let Some(transaction) = alone(jobs).await? else { return Ok(0) };
    let emptied = transaction.query(&EMPTY_REST, &[&oldest, &(BATCH_MAX as i64)]).await?.affected;
    transaction.commit(None, jobs.pool()).await?;
    Ok(emptied)
}

async fn drop_partitions(jobs: &Jobs, today: Date) -> Result<usize> {
    let oldest = oldest(jobs, today)?;
    let mut dropped = 0;
    let partitions = jobs.pool().get().await?.query(&PARTITIONS, &[]).await.map_err(from_driver)?;
    for row in &partitions.rows {
        let name: String = get(row, 0)?;
        let Ok(day) = Date::strptime("%Y%m%d", &name) else { continue };
        if day < oldest {
            let Some(transaction) = alone(jobs).await? else { break };
            // Another node may just have done so.
            transaction.query(&Shape::of(&format!("DROP TABLE IF EXISTS forge_jobs_done_{name}")), &[]).await?;
            transaction.commit(None, jobs.pool()).await?;
            dropped += 1;
        }
    }
    if dropped > 0 {
        tracing::info!(partitions = dropped, "old history of jobs was dropped");
    }
    Ok(dropped)
}
