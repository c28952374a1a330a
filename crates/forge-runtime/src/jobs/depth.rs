//! How deep queues are: counted by whichever node finds the last count too old, and written down for all.
//!
//! Workers count now and then, as `/metrics` tells it; whoever dispatches does, as `jobs.max_pending` is not to depend on there being a worker. However
//! many nodes there are, one counts at a time, and the less often the longer it takes: what a count is good for is written down with it.

use std::time::{Duration, Instant};

use forge_core::Result;

use super::Jobs;
use super::store::{COUNT, get};
use crate::db::error::from_driver;

/// What part of the time counting may take: one in so many.
const SHARE: u32 = 50;

/// How long to wait after a count that failed, at least. One that took long is not tried again any sooner than if it had succeeded.
const PAUSE: Duration = Duration::from_secs(5);

/// A queue, as of the last count.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Depth {
    pub(crate) queue: String,
    pub(crate) waiting: i64,
    pub(crate) running: i64,
    pub(crate) ready: i64,
    /// How long the first of those that are ready has been so, in seconds.
    pub(crate) oldest: f64,
}

impl Jobs {
    /// The queues that have jobs: as they were counted last, or now, if that was too long ago.
    pub(super) async fn depths(&self) -> Result<Vec<Depth>> {
        let share = i32::try_from(SHARE).unwrap_or(i32::MAX);
        let answer = self.pool().get().await?.query(&COUNT, &[&share]).await.map_err(from_driver)?;
        let read = |row| {
            let oldest = get::<Option<f64>>(row, 4)?.unwrap_or(0.0);
            Ok(Depth { queue: get(row, 0)?, waiting: get(row, 1)?, running: get(row, 2)?, ready: get(row, 3)?, oldest })
        };
        answer.rows.iter().map(read).collect()
    }

    /// The same, and how long to wait before the next time when they cannot be had.
    pub(super) async fn try_depths(&self) -> std::result::Result<Vec<Depth>, Duration> {
        let began = Instant::now();
        self.depths().await.map_err(|why| {
            tracing::debug!(error = ?why, "queues could not be counted; trying again later");
            PAUSE.max(began.elapsed() * SHARE)
        })
    }
}
