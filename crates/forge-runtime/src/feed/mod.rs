//! The change feed: what was committed, by whomever.
//!
//! ```text
//!  a statement changes a watched table ─▶ its trigger ─▶ a row of forge_changes, in the writer's own transaction
//!                                                          └▶ ChangeFeed::read, once per node: what has become visible since
//! ```
//!
//! What it promises: every committed change of a watched table is in exactly one batch of every reader, or the reader is told that it
//! has missed something (`gap`) and has to take everything as changed. What was rolled back is never seen. A batch is read inside of a
//! transaction over one snapshot: it holds all changes that this snapshot sees, and none that it does not see, so whatever else is read in
//! that transaction stands at exactly the batch's place in history.
//!
//! By what: a reader asks for rows that its snapshot sees and its previous one did not. Neither ids nor times order commits, and a
//! watermark would stall behind one idle writer; the comparison of two snapshots does neither.
//!
//! Not seen: what no trigger sees (`session_replication_role = replica`, the apply of logical replication).
//!
//! Nobody is notified inside a writer's transaction: that would serialise all commits. This node's own commits wake its reader; other
//! nodes and other programs are noticed by asking again, and only while somebody is subscribed.

mod capture;
mod snapshot;

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use forge_core::{Error, Result};
use serde::Deserialize;

pub(crate) use capture::Capture;
pub(crate) use snapshot::Snapshot;

use crate::db::error::from_driver;
use crate::db::transaction::Transaction;
use crate::db::{Database, Shape};
use crate::read_set::Fault;

/// How long rows of changes are kept at least. A reader that pauses for half of that takes everything as changed.
const KEPT: Duration = Duration::from_secs(60);

static CHANGES: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(include_str!("sql/changes.sql")));
static SWEEP: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(include_str!("sql/sweep.sql")));

/// What has become visible since the last batch.
#[derive(Debug)]
pub(crate) struct Batch {
    /// In which all of it is visible.
    pub(crate) snapshot: Snapshot,
    pub(crate) changes: Vec<Change>,
    /// Something may have been missed: everything counts as changed.
    pub(crate) gap: bool,
}

/// What one statement changed in one table, as its trigger wrote it down.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Change {
    /// The table's oid.
    #[serde(rename = "t")]
    pub(crate) table: u32,
    /// For which columns of the table it was written down: its [`shape`](crate::read_set::Table).
    #[serde(rename = "s", default)]
    pub(crate) shape: u32,
    /// The columns whose values changed; none for rows that came or went.
    #[serde(rename = "c")]
    pub(crate) columns: Option<Vec<String>>,
    /// The columns whose values follow.
    #[serde(rename = "k")]
    pub(crate) keys: Vec<String>,
    /// Old and new values of those columns, once each; none when there were too many of them.
    #[serde(rename = "r")]
    pub(crate) rows: Option<Vec<Vec<Option<String>>>>,
}

/// A node's reader of the change feed.
#[derive(Debug, Default)]
pub(crate) struct ChangeFeed {
    seen: Option<Seen>,
}

/// Where the last batch ended.
#[derive(Debug)]
struct Seen {
    snapshot: String,
    at: Instant,
    /// The server's life: after a crash it has forgotten the rows of the last one.
    life: String,
}

impl ChangeFeed {
    /// What has been committed since the last batch, as the transaction's snapshot has it. The first batch is a gap.
    ///
    /// # Errors
    /// When the database is away; the batch is then still to come.
    pub(crate) async fn read(&mut self, transaction: &Transaction) -> Result<Batch> {
        let at = Instant::now();
        let life = transaction.life().await?;
        let since = self.seen.as_ref().filter(|seen| seen.life == life && seen.at.elapsed() < KEPT / 2);
        let since = since.map(|seen| seen.snapshot.clone());
        let answer = transaction.query(&faulty(&CHANGES), &[&since]).await?;
        let mut changes = Vec::with_capacity(answer.rows.len());
        let mut snapshot = String::new();
        for row in &answer.rows {
            snapshot = row.try_get(0).map_err(from_driver)?;
            if let Some(change) = row.try_get::<_, Option<&str>>(1).map_err(from_driver)? {
                let parsed = serde_json::from_str(change);
                changes.push(parsed.map_err(|why| {
                    Error::internal(format!(
                        "a row of forge_changes is not understood: {why}; was it written by a newer version?"
                    ))
                })?);
            }
        }
        let batch = Batch { snapshot: snapshot.parse()?, changes, gap: since.is_none() };
        self.seen = Some(Seen { snapshot, at, life });
        Ok(batch)
    }
}

/// The same statement, unless a test has planted a fault in it.
fn faulty(changes: &Arc<Shape>) -> Arc<Shape> {
    if Fault::Savepoint.is_planted() {
        return Shape::of(
            &changes.text.replace("pg_visible_in_snapshot(c.xid", "pg_visible_in_snapshot(c.xmin::text::xid8"),
        );
    }
    if Fault::Watermark.is_planted() {
        return Shape::of(&changes.text.replace("pg_snapshot_xmin($1", "pg_snapshot_xmax($1"));
    }
    changes.clone()
}

/// Deletes what every reader has seen, or missed, by now.
#[derive(Debug, Default)]
pub(crate) struct ChangeSweep {
    /// What was over then.
    mark: Option<(String, Instant)>,
}

impl ChangeSweep {
    /// Sweeps, when it is time to. To be called now and then.
    ///
    /// # Errors
    /// When the database is away.
    pub(crate) async fn run(&mut self, database: &Database) -> Result<()> {
        if self.mark.as_ref().is_some_and(|(_, at)| at.elapsed() < KEPT) {
            return Ok(());
        }
        let (before, now) = (self.mark.take().map(|(xid, _)| xid), Instant::now());
        let answer = database.side().get().await?.query(&SWEEP, &[&before]).await.map_err(from_driver)?;
        let mark = answer.rows.first().map(|row| row.try_get(0)).transpose().map_err(from_driver)?;
        self.mark = mark.map(|mark| (mark, now));
        Ok(())
    }
}
