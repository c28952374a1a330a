//! What is looked after now and then: the history's partitions, dead letters that nobody wants, how deep queues are.
//!
//! One node at a time does it, whichever has the lock; the others find nothing to do.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use forge_core::function::Isolation;
use forge_core::job::DEFAULT_RETAIN;
use forge_core::{Error, Result};
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use tokio_util::sync::CancellationToken;

use super::Jobs;
use super::store::{COUNT, KEEP_CLEAN, PARTITIONS, get};
use crate::db::Shape;
use crate::db::error::from_driver;
use crate::db::transaction::{Purpose, Transaction};

/// How often partitions and dead letters are looked after.
const EVERY: Duration = Duration::from_secs(600);

/// How many days ahead there are partitions.
const AHEAD: i64 = 3;

/// How often queues are counted at most, and what part of the time that may take: one in so many.
const COUNT_EVERY: Duration = Duration::from_secs(5);
const COUNT_SHARE: u32 = 50;

/// How often they are counted while they are empty, or somebody else counts.
const COUNT_IDLE: Duration = Duration::from_secs(30);

/// How long whoever drops a partition waits for those who read it. It is tried again later.
const LOCK_MAX: &str = "SET LOCAL lock_timeout = '2s'";

static ALONE: LazyLock<Arc<Shape>> =
    LazyLock::new(|| Shape::of("SELECT pg_try_advisory_xact_lock(hashtextextended('forge_jobs ' || $1, 0))"));
static MAKE: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of("SELECT forge_jobs_done_partition($1::text::date)"));

/// Looks after the queue until told to stop.
pub(super) async fn run(jobs: Jobs, stop: CancellationToken) {
    let (mut next, mut count_at) = (Instant::now(), Instant::now() + COUNT_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep_until(next.min(count_at).into()) => {}
        }
        if next <= Instant::now() {
            next = Instant::now() + EVERY;
            if let Err(why) = keep_clean(&jobs).await {
                tracing::warn!(error = ?why, "the history of jobs could not be looked after; trying again later");
                next = Instant::now() + EVERY / 20;
            }
        }
        if count_at <= Instant::now() {
            let began = Instant::now();
            let every = match count(&jobs).await {
                Ok(true) => COUNT_EVERY,
                Ok(false) => COUNT_IDLE,
                Err(why) => {
                    tracing::debug!(error = ?why, "queues could not be counted; trying again later");
                    COUNT_EVERY
                }
            };
            count_at = Instant::now() + every.max(began.elapsed() * COUNT_SHARE);
        }
    }
}

/// A transaction of whoever has the lock.
async fn alone(jobs: &Jobs, what: &str) -> Result<Option<Transaction>> {
    let purpose = Purpose::Write {
        isolation: Isolation::ReadCommitted,
        user_id: String::new(),
        function: "forge_jobs",
        trace_id: String::new(),
    };
    let limit = Instant::now() + Duration::from_secs(60);
    let transaction = Transaction::new(jobs.pool().get().await?, purpose, limit, false);
    let answer = transaction.query(&ALONE, &[&what]).await?;
    if answer.rows.first().is_some_and(|row| row.try_get(0).unwrap_or(false)) {
        return Ok(Some(transaction));
    }
    transaction.rollback().await;
    Ok(None)
}

/// Makes partitions ahead, drops old ones, and ends dead letters. Returns how many of each.
pub(super) async fn keep_clean(jobs: &Jobs) -> Result<(usize, usize, u64)> {
    let Some(transaction) = alone(jobs, "maintenance").await? else { return Ok((0, 0, 0)) };
    transaction.query(&Shape::of(LOCK_MAX), &[]).await?;
    let today =
        (Timestamp::now() + jiff::SignedDuration::from_micros(jobs.shift())).to_zoned(jiff::tz::TimeZone::UTC).date();
    let mut made = 0;
    for ahead in 0..=AHEAD {
        let day = today.checked_add(ahead.days()).map_err(|why| Error::internal(why.to_string()))?;
        let answer = transaction.query(&MAKE, &[&day.to_string()]).await?;
        made += usize::from(answer.rows.first().is_some_and(|row| row.try_get(0).unwrap_or(false)));
    }
    let retain = jobs.registry().entries().map(|entry| entry.info.retain).max().unwrap_or(DEFAULT_RETAIN);
    let days = i64::try_from(retain.as_secs().div_ceil(86_400)).unwrap_or(i64::MAX).min(36_500);
    // A day's partition is over at its end.
    let oldest = today.checked_sub((days + 1).days()).map_err(|why| Error::internal(why.to_string()))?;
    let mut dropped = 0;
    for row in &transaction.query(&PARTITIONS, &[]).await?.rows {
        let name: String = get(row, 0)?;
        let Ok(day) = Date::strptime("%Y%m%d", &name) else { continue };
        if day < oldest {
            transaction.query(&Shape::of(&format!("DROP TABLE forge_jobs_done_{name}")), &[]).await?;
            dropped += 1;
        }
    }
    let ended = transaction.query(&KEEP_CLEAN, &[&jobs.shift()]).await?.affected;
    transaction.commit(None, jobs.pool()).await?;
    if dropped > 0 {
        tracing::info!(partitions = dropped, "old history of jobs was dropped");
    }
    Ok((made, dropped, ended))
}

/// Counts what waits. Returns whether there is anything.
async fn count(jobs: &Jobs) -> Result<bool> {
    let Some(transaction) = alone(jobs, "count").await? else { return Ok(false) };
    let answer = transaction.query(&COUNT, &[]).await?;
    transaction.commit(None, jobs.pool()).await?;
    let mut queues = Vec::new();
    for row in &answer.rows {
        let oldest: Option<f64> = get(row, 4)?;
        queues.push((get(row, 0)?, get(row, 1)?, get(row, 2)?, get(row, 3)?, oldest.unwrap_or(0.0)));
    }
    crate::observability::jobs().counted(&queues);
    Ok(!queues.is_empty())
}

/// How deep queues are that are too deep.
pub(super) async fn too_deep(jobs: &Jobs, max: i64) -> Result<Vec<(String, i64)>> {
    static DEEP: LazyLock<Arc<Shape>> = LazyLock::new(|| {
        Shape::of(
            "SELECT queue, depth FROM forge_job_queues WHERE depth >= $1 AND counted_at > clock_timestamp() - interval '5 min'",
        )
    });
    let answer = jobs.pool().get().await?.query(&DEEP, &[&max]).await.map_err(from_driver)?;
    answer.rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect()
}
