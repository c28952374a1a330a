//! The sweep of the rows that every reader has read, or missed, by now.
//!
//! A reader that pauses for half of [`KEPT`] takes everything as changed, so what a snapshot of that long ago has seen nobody asks for any more. As
//! the reading does, the sweep compares two snapshots: it is not held up by a transaction that stays open, and does not pass over what it has
//! deleted before.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use forge_core::{Error, Result};

use super::KEPT;
use crate::db::error::from_driver;
use crate::db::{Database, Shape};

static SWEEP: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(include_str!("sql/sweep.sql")));

/// A node's sweep.
#[derive(Debug, Default)]
pub(crate) struct ChangeSweep {
    /// Snapshots of the last [`KEPT`], oldest first.
    marks: VecDeque<(String, Instant)>,
    /// What it sees has been swept.
    swept: Option<String>,
}

impl ChangeSweep {
    /// Sweeps what has become old enough since the last time. To be called now and then; the first time it only looks.
    ///
    /// # Errors
    /// When the database is away; the next time makes up for it.
    pub(crate) async fn run(&mut self, database: &Database) -> Result<()> {
        self.run_at(database, Instant::now()).await.map(drop)
    }

    /// Returns how many rows it has deleted.
    pub(super) async fn run_at(&mut self, database: &Database, now: Instant) -> Result<i64> {
        let due = self.marks.iter().take_while(|(_, at)| now.duration_since(*at) >= KEPT).count();
        let until = due.checked_sub(1).map(|last| self.marks[last].0.clone());
        let answer = database.side().get().await?.query(&SWEEP, &[&self.swept, &until]).await.map_err(from_driver)?;
        let row = answer.rows.first().ok_or_else(|| Error::internal("the sweep says nothing"))?;
        let deleted = row.try_get(0).map_err(from_driver)?;
        self.marks.drain(..due);
        self.swept = until.or(self.swept.take());
        self.marks.push_back((row.try_get(1).map_err(from_driver)?, now));
        Ok(deleted)
    }
}
