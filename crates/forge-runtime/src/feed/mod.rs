//! The change feed: what was committed, by whomever.
//!
//! ```text
//!  a statement changes a watched table ─▶ its trigger ─▶ the sink, in the writer's own transaction
//!      changelog: a row of forge_changes ──────────────────────────────────┐
//!      wal: a logical message in the log ─▶ Reader ─▶ Arrivals ────────────┴▶ ChangeFeed::read: what has become visible since
//! ```
//!
//! What it promises: every committed change of a watched table is in exactly one batch of every reader, or the reader is told that it
//! has missed something (`gap`) and has to take everything as changed. What was rolled back is never seen. A batch is read inside of a
//! transaction over one snapshot: it holds all changes that this snapshot sees, and none that it does not see, so whatever else is read in
//! that transaction stands at exactly the batch's place in history.
//!
//! By what:
//!
//! - **Rows**: a reader asks for those that its snapshot sees and its previous one did not. Neither ids nor times order commits, and a
//!   watermark would stall behind one idle writer; the comparison of two snapshots does neither. It looks at those rows and no others, so what
//!   reading costs does not grow with what lies there, dead, unswept or uncommitted.
//! - **Messages**: those of transactions that the snapshot sees belong to the batch, others stay. A batch is closed only once everything
//!   has arrived that was in the log when the snapshot was taken. (A transaction is in the log before any snapshot sees it.)
//!
//! Both are looked at in every batch, so that a change of the sink loses nothing; see [`settling`].
//!
//! Beside changes it carries notes ([`Note`]), which code says in a transaction: they too are heard by every node, of what committed only. They
//! are rows whatever the sink.
//!
//! Not seen: what no trigger sees (`session_replication_role = replica`, the apply of logical replication).
//!
//! Nobody is notified inside a writer's transaction: that would serialise all commits. This node's own commits wake its reader at once. Those of
//! other nodes and other programs arrive with the log; rows are noticed by asking again, and only while somebody is subscribed.

mod capture;
mod keeper;
mod note;
mod settling;
mod sink;
mod snapshot;
mod survey;
mod sweep;
mod trigger;
mod wal;

#[cfg(test)]
mod doubts;
#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use forge_core::{Error, Result};
use serde::Deserialize;
use tokio::sync::{Notify, watch};

pub(crate) use capture::Capture;
pub(crate) use keeper::FeedKeeper;
pub(crate) use note::{EventNote, Note, TELL};
pub(crate) use sink::told;
pub(crate) use snapshot::Snapshot;
pub(crate) use survey::{Survey, Verdict};
pub(crate) use sweep::ChangeSweep;

use crate::config::ReactivityConfig;
use crate::db::error::from_driver;
use crate::db::transaction::Transaction;
use crate::db::{Answer, Database, Shape};
use crate::observability;
use crate::read_set::Fault;
use note::{Item, Said};
use settling::Settling;
use sink::{Recorded, Sink};
use wal::{Arrivals, Caught, Mark, Reader};

/// How long rows of changes are kept at least. A reader that pauses for half of that takes everything as changed.
const KEPT: Duration = Duration::from_secs(60);

/// How soon rows are noticed that other nodes and programs have committed.
const POLL_EVERY: Duration = Duration::from_millis(20);

/// How long a round waits for the log to be read at all, when that begins. It goes on without, and everything counts as changed.
const BEGIN_WITHIN: Duration = Duration::from_millis(500);

/// How often everything counts as changed while changes are in the log and the log is not read.
const BLIND_EVERY: Duration = Duration::from_secs(1);

/// How long a round waits for what is in the log, before the server is asked to write out what it still holds back (the commits of
/// sessions with `synchronous_commit = off`).
const FLUSH_AFTER: Duration = Duration::from_millis(2);

/// How long a round waits for what is in the log. It goes on without, and everything counts as changed.
const BEHIND_MAX: Duration = Duration::from_secs(1);

/// How soon to look again for a transaction that is in the log and not visible yet, at first and at most.
const INVISIBLE_EVERY: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(250));

static CHANGES: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(include_str!("sql/changes.sql")));

/// What has become visible since the last batch.
#[derive(Debug)]
pub(crate) struct Batch {
    /// In which all of it is visible.
    pub(crate) snapshot: Snapshot,
    pub(crate) changes: Vec<Change>,
    /// What was said, in that order.
    pub(crate) notes: Vec<Note>,
    /// Notes from before it may have been swept away: they are rows whatever the sink.
    pub(crate) unheard: bool,
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
    /// The columns whose values changed, and one without a name that ends the list; none for rows that came or went, or when it may be any.
    #[serde(rename = "c")]
    pub(crate) columns: Option<Vec<String>>,
    /// The columns whose values follow.
    #[serde(rename = "k")]
    pub(crate) keys: Vec<String>,
    /// Old and new values of those columns; none when there were too many of them.
    #[serde(rename = "r")]
    pub(crate) rows: Option<Vec<Vec<Option<String>>>>,
}

/// What the parts of a node's feed share.
#[derive(Debug)]
pub(crate) struct Shared {
    arrivals: Arc<Arrivals>,
    /// Somebody wants the log to be read.
    wanted: Arc<Notify>,
    /// The sink as it was last seen.
    recorded: watch::Sender<Option<Recorded>>,
}

impl Shared {
    fn note(&self, recorded: Recorded) {
        self.recorded.send_if_modified(|known| {
            let new = *known != Some(recorded);
            *known = Some(recorded);
            new
        });
        observability::live().feed_sink(recorded.sink.name());
    }

    fn sink(&self) -> Option<Sink> {
        self.recorded.borrow().map(|recorded| recorded.sink)
    }
}

/// The parts of a node's feed. The reader and the keeper have to run for the log to be read; without them changes are rows, or everything
/// counts as changed.
pub(crate) fn feed(database: &Database, config: &ReactivityConfig) -> (ChangeFeed, Reader, FeedKeeper) {
    let (arrivals, wanted) = (Arc::new(Arrivals::default()), Arc::new(Notify::new()));
    let shared =
        Arc::new(Shared { arrivals: arrivals.clone(), wanted: wanted.clone(), recorded: watch::Sender::new(None) });
    let (trouble, troubled) = watch::channel(None);
    let reader = Reader::new(database.log_connector().clone(), arrivals, wanted, trouble);
    let keeper = FeedKeeper::new(database.clone(), shared.clone(), config.capture, troubled);
    (ChangeFeed::new(database.clone(), shared), reader, keeper)
}

/// A node's reader of the change feed.
#[derive(Debug)]
pub(crate) struct ChangeFeed {
    database: Database,
    shared: Arc<Shared>,
    seen: Option<Seen>,
    /// The stream of the log that the last batch was read with.
    mark: Mark,
    /// Transactions that were open when the stream began, or when something of it was dropped. They may have committed before and become visible
    /// since, so that they will not arrive.
    unsure: Vec<u64>,
    /// Something was dropped, perhaps of theirs: nothing will arrive to tell when it becomes visible.
    dropped: bool,
    settling: Option<Settling>,
    /// When to look again for what is in the log and was not visible yet, and after how long the time after.
    invisible: Option<(Instant, Duration)>,
    /// Until when the next batch waits for the log to be read.
    blind_until: Option<Instant>,
}

/// Where the last batch ended.
#[derive(Debug)]
struct Seen {
    snapshot: String,
    at: Instant,
    /// The server's life: after a crash it has forgotten the rows of the last one.
    life: String,
    epoch: i64,
}

/// What the database told of itself, and the rows.
struct Looked {
    snapshot: String,
    /// Where the log stood after the snapshot was taken.
    position: u64,
    /// When the server was started.
    server: String,
    recorded: Recorded,
    settled: bool,
    changes: Vec<Change>,
    said: Vec<Said>,
    /// There is a row that is not understood.
    unheard: bool,
}

impl ChangeFeed {
    fn new(database: Database, shared: Arc<Shared>) -> Self {
        Self {
            database,
            shared,
            seen: None,
            mark: Mark::default(),
            unsure: Vec::new(),
            dropped: false,
            settling: None,
            invisible: None,
            blind_until: None,
        }
    }

    /// What has been committed since the last batch, as the transaction's snapshot has it. Nothing may have been read in the transaction before.
    /// The first batch is a gap.
    ///
    /// # Errors
    /// When the database is away; the batch is then still to come.
    pub(crate) async fn read(&mut self, transaction: &Transaction) -> Result<Batch> {
        let settled = self.settle().await?;
        let before = self.follow().await;
        let (at, life) = (Instant::now(), transaction.life().await?);
        let rows_in_time = at_rest(self.shared.sink(), self.settling.is_some());
        let late = self.seen.as_ref().is_some_and(|seen| seen.at.elapsed() >= KEPT / 2);
        let fits = |seen: &&Seen| seen.life == life && (rows_in_time || seen.at.elapsed() < KEPT / 2);
        let since = self.seen.as_ref().filter(fits);
        let answer = transaction.query(&faulty(&CHANGES), &[&since.map(|seen| &*seen.snapshot)]).await?;
        let looked = Looked::read(&answer)?;
        let snapshot: Snapshot = looked.snapshot.parse()?;
        let mut gap = since.is_none() || looked.unheard;
        if self.seen.as_ref().is_none_or(|seen| seen.epoch != looked.recorded.epoch) {
            gap = true;
            self.settling = (!looked.settled).then(Settling::new);
        } else if settled {
            // This snapshot is the first that sees all of what they wrote.
            self.settling = None;
        }
        self.shared.note(looked.recorded);
        let mut changes = looked.changes;
        let logged = looked.recorded.sink == Sink::Wal || self.settling.is_some() || settled;
        let caught = if logged { self.catch_up(&before, &looked.server, looked.position).await } else { Caught::Up };
        gap |= caught != Caught::Up;
        let (arrived, invisible) = self.shared.arrivals.take(&snapshot);
        let mut moved = false;
        if logged {
            // Nor may anything have been dropped meanwhile. The next batch then finds out what is unsure.
            moved = self.shared.arrivals.mark() != before;
            gap |= moved || !self.is_sure(before, &snapshot, &arrived);
        }
        let now = SystemTime::now();
        for one in arrived {
            observability::live().feed_arrived(now.duration_since(one.committed).unwrap_or_default());
            changes.extend(one.changes);
        }
        let unseen = invisible > 0 || moved || (self.dropped && !self.unsure.is_empty());
        self.invisible = unseen.then(|| {
            let pause = self.invisible.map_or(INVISIBLE_EVERY.0, |(_, pause)| (pause * 2).min(INVISIBLE_EVERY.1));
            (Instant::now() + pause, pause)
        });
        self.blind_until = (caught == Caught::Lost).then(|| {
            self.shared.wanted.notify_one();
            Instant::now() + BLIND_EVERY
        });
        self.seen = Some(Seen { snapshot: looked.snapshot, at, life, epoch: looked.recorded.epoch });
        Ok(Batch { snapshot, changes, notes: Said::in_order(looked.said), unheard: late, gap })
    }

    /// Waits until there may be something new that concerns somebody. What `concerns` nobody, as far as that can be said of it beforehand, is left
    /// for the next batch, for a short while.
    pub(crate) async fn stirred(&self, concerns: impl Fn(&Change) -> bool) {
        let arrivals = &self.shared.arrivals;
        let alarm = match (&self.seen, self.shared.sink(), &self.settling) {
            (Some(_), Some(Sink::Wal), None) => match self.blind_until.or(self.invisible.map(|(at, _)| at)) {
                Some(at) => at,
                None => return arrivals.stirred(concerns).await,
            },
            (_, _, Some(_)) => Instant::now() + POLL_EVERY,
            _ => return tokio::time::sleep(POLL_EVERY).await,
        };
        tokio::select! {
            () = arrivals.stirred(concerns) => {}
            () = tokio::time::sleep_until(alarm.into()) => {}
        }
    }

    /// After a change of the sink: whether nobody can write to the old one any more.
    async fn settle(&mut self) -> Result<bool> {
        let Some(settling) = self.settling.as_mut().filter(|settling| settling.is_due()) else { return Ok(false) };
        let lease = self.database.side().get().await?;
        lease.busy();
        let settled = settling.look(lease.client()).await?;
        lease.clean();
        Ok(settled)
    }

    /// Has the log read, when there is something in it.
    async fn follow(&self) -> Mark {
        let arrivals = &self.shared.arrivals;
        if self.shared.sink() == Some(Sink::Wal) || self.settling.is_some() {
            arrivals.want();
            if arrivals.mark().stream.is_none() {
                self.shared.wanted.notify_one();
                arrivals.begun(self.blind_until.unwrap_or_else(|| Instant::now() + BEGIN_WITHIN)).await;
            }
        }
        arrivals.mark()
    }

    /// Waits until everything has arrived that was in the log then.
    async fn catch_up(&self, mark: &Mark, server: &str, position: u64) -> Caught {
        let (arrivals, began) = (&self.shared.arrivals, Instant::now());
        let Some(stream) = &mark.stream else { return Caught::Lost };
        if stream.server != server {
            // After a failover one of the two has yet to notice.
            arrivals.renew.notify_one();
            return Caught::Lost;
        }
        let mut caught = arrivals.catch_up(stream, position, began + FLUSH_AFTER).await;
        if caught == Caught::Behind {
            // What this cannot do, time does.
            if let Err(why) = self.flush().await {
                tracing::debug!(error = ?why, "the server could not be asked to write out its log");
            }
            let mut step = FLUSH_AFTER;
            while caught == Caught::Behind && began.elapsed() < BEHIND_MAX {
                caught = arrivals.catch_up(stream, position, Instant::now() + step).await;
                step *= 2;
            }
        }
        if caught == Caught::Behind {
            observability::live().feed_behind();
        }
        caught
    }

    /// Has the server write out its log as far as it goes, by a commit that waits for that (and for no standby).
    async fn flush(&self) -> Result<()> {
        let lease = self.database.side().get().await?;
        lease.busy();
        let text =
            "BEGIN; SET LOCAL synchronous_commit = local; SELECT pg_logical_emit_message(true, 'forge_flush', ''); COMMIT";
        lease.client().batch_execute(text).await.map_err(from_driver)?;
        lease.clean();
        observability::live().feed_flushed();
        Ok(())
    }

    /// Whether all that the snapshot sees, and that of before did not, has arrived.
    fn is_sure(&mut self, mark: Mark, snapshot: &Snapshot, arrived: &[wal::Arrived]) -> bool {
        if mark != self.mark {
            self.dropped = self.mark.dropped != mark.dropped;
            self.mark = mark;
            self.unsure = snapshot.open().to_vec();
            return false;
        }
        let mut sure = true;
        self.unsure.retain(|xid| {
            let ended = snapshot.sees(*xid);
            sure &= !ended || arrived.iter().any(|one| snapshot.widen(one.xid) == *xid);
            !ended
        });
        sure
    }
}

/// The same statement, unless a test has planted a fault in it.
fn faulty(changes: &Arc<Shape>) -> Arc<Shape> {
    const SINCE: &str = "forge_changes_since($1::text::pg_snapshot)";
    let instead = if Fault::Savepoint.is_planted() {
        "(SELECT change FROM forge_changes WHERE NOT pg_visible_in_snapshot(xmin::text::xid8, $1::text::pg_snapshot))"
    } else if Fault::Watermark.is_planted() {
        "forge_changes_since(regexp_replace($1::text, '^.*:(.*):.*$', '\\1:\\1:')::pg_snapshot)"
    } else {
        return changes.clone();
    };
    Shape::of(&changes.text.replace(SINCE, instead))
}

/// Whether no rows are written, so that none can have been swept away.
fn at_rest(sink: Option<Sink>, settling: bool) -> bool {
    sink == Some(Sink::Wal) && !settling
}

impl Looked {
    fn read(answer: &Answer) -> Result<Self> {
        let first = answer.rows.first().ok_or_else(|| Error::internal("forge_feed has no row; was it emptied by hand?"))?;
        let sink: String = first.try_get(3).map_err(from_driver)?;
        let position: i64 = first.try_get(1).map_err(from_driver)?;
        let (mut changes, mut said, mut unheard) = (Vec::with_capacity(answer.rows.len()), Vec::new(), false);
        for row in &answer.rows {
            if let Some(change) = row.try_get::<_, Option<&str>>(6).map_err(from_driver)? {
                match Item::parse(change.as_bytes()) {
                    Ok(Item::Change(change)) => changes.push(change),
                    Ok(Item::Said(one)) => said.push(one),
                    // It will not be understood later either.
                    Err(why) => {
                        tracing::error!(error = %why, "a row of forge_changes is not understood; was it written by a newer version? Everything counts as changed");
                        unheard = true;
                    }
                }
            }
        }
        Ok(Self {
            snapshot: first.try_get(0).map_err(from_driver)?,
            position: u64::try_from(position).unwrap_or(u64::MAX),
            server: first.try_get(2).map_err(from_driver)?,
            recorded: Recorded { sink: Sink::named(&sink)?, epoch: first.try_get(4).map_err(from_driver)? },
            settled: first.try_get(5).map_err(from_driver)?,
            changes,
            said,
            unheard,
        })
    }
}
