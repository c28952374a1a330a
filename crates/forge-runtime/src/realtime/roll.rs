//! The roll of this node: what the others have to know of its live sessions. Who is present, and which sessions take messages by POST.
//!
//! ```text
//!  set, remove, open, close ─▶ Kept: how it should be ── run: what has changed, in one statement ──▶ the database
//!                                                            └ every 5 s: I live; whoever has not said so for 20 s is swept away
//! ```
//!
//! What is kept in memory is the truth, the database a copy: when the database has forgotten this node (the server crashed, or others took
//! the node for dead), everything is written again. One statement at a time is under way, with all that has changed meanwhile. An
//! idle node, one without such sessions, writes nothing.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forge_core::{Error, Result};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_postgres::error::SqlState;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::db::error::from_driver;
use crate::db::{Answer, Database, Shape};

/// How often a node shows that it lives. Whoever has not for four times as long is gone.
const BEAT: Duration = Duration::from_secs(5);

/// How many rows one statement writes at most.
const BATCH_MAX: usize = 500;

/// How many messages for a session are taken at a time.
pub(crate) const MAIL_MAX: usize = 100;

/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_millis(500);

/// How long whoever opens a session waits until the others can know of it.
const WRITTEN_WITHIN: Duration = Duration::from_secs(5);

static WRITE: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(include_str!("sql/roll_write.sql")));
static SWEEP: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(include_str!("sql/roll_sweep.sql")));
static LEAVE: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of("DELETE FROM forge_live_nodes WHERE node = $1"));
static PUT: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(include_str!("sql/mail_put.sql")));
static WAITING: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(include_str!("sql/mail_waiting.sql")));
static TAKE: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(include_str!("sql/mail_take.sql")));

/// One who is present, or watches.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) topic: String,
    pub(crate) user: Option<String>,
    /// JSON; `None` only watches.
    pub(crate) state: Option<Arc<str>>,
}

/// The roll. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Roll(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    node: Uuid,
    kept: Mutex<Kept>,
    wake: Notify,
    /// Up to which change everything is in the database.
    written: watch::Sender<u64>,
    /// Messages may wait for sessions of this node.
    mail: Notify,
}

/// How it should be.
#[derive(Debug, Default)]
struct Kept {
    members: HashMap<Uuid, Member>,
    /// Sessions that take messages by POST, with their users.
    sessions: HashMap<String, Option<String>>,
    /// What the database does not have so yet.
    changed_members: HashSet<Uuid>,
    changed_sessions: HashSet<String>,
    /// How many changes there have been.
    changes: u64,
}

/// What one statement writes.
#[derive(Debug, Default)]
struct Batch {
    left: Vec<Uuid>,
    present: Vec<(Uuid, Member)>,
    ended: Vec<String>,
    begun: Vec<(String, Option<String>)>,
    /// The last change that is in it, when it has all there are.
    up_to: Option<u64>,
}

impl Roll {
    /// An empty one, of a node that nobody has heard of.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            node: Uuid::from_u128(rand::random()),
            kept: Mutex::default(),
            wake: Notify::new(),
            written: watch::Sender::new(0),
            mail: Notify::new(),
        }))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Kept)) -> u64 {
        let mut kept = self.kept();
        change(&mut kept);
        kept.changes += 1;
        let changes = kept.changes;
        drop(kept);
        self.0.wake.notify_one();
        changes
    }

    /// Somebody is present, or present in another state.
    pub(super) fn set(&self, id: Uuid, member: Member) {
        self.change(|kept| {
            kept.members.insert(id, member);
            kept.changed_members.insert(id);
        });
    }

    /// Somebody has left.
    pub(super) fn remove(&self, id: Uuid) {
        self.change(|kept| {
            if kept.members.remove(&id).is_some() {
                kept.changed_members.insert(id);
            }
        });
    }

    /// A session takes messages by POST, as this user. Once this returns, other nodes know it.
    ///
    /// # Errors
    /// `DATABASE_UNAVAILABLE` when that cannot be written down in time.
    pub(crate) async fn open(&self, session: &str, user: Option<&str>) -> Result<()> {
        let change = self.change(|kept| {
            kept.sessions.insert(session.to_owned(), user.map(str::to_owned));
            kept.changed_sessions.insert(session.to_owned());
        });
        let mut written = self.0.written.subscribe();
        let waiting = written.wait_for(|up_to| *up_to >= change);
        match tokio::time::timeout(WRITTEN_WITHIN, waiting).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Error::database_unavailable("the session could not be written down; try again")),
        }
    }

    /// A session has ended.
    pub(crate) fn close(&self, session: &str) {
        self.change(|kept| {
            kept.sessions.remove(session);
            kept.changed_sessions.insert(session.to_owned());
        });
    }

    /// Whether any session here takes messages by POST.
    pub(super) fn has_sessions(&self) -> bool {
        !self.kept().sessions.is_empty()
    }

    /// Messages for sessions of this node may have arrived.
    pub(crate) fn mail_for(&self, node: Option<Uuid>) {
        if node.is_none_or(|node| node == self.0.node) {
            self.0.mail.notify_one();
        }
    }

    /// Waits until messages may have arrived.
    pub(crate) async fn mail(&self) {
        self.0.mail.notified().await;
    }

    /// The sessions of this node for which messages wait.
    ///
    /// # Errors
    /// When the database is away.
    pub(crate) async fn mail_waiting(&self, database: &Database) -> Result<Vec<String>> {
        let lease = database.side().get().await?;
        texts(&lease.query(&WAITING, &[&self.0.node]).await.map_err(from_driver)?)
    }

    /// Takes messages for a session, the oldest first, at most [`MAIL_MAX`] of them.
    ///
    /// # Errors
    /// When the database is away; they are then still there.
    pub(crate) async fn take_mail(&self, database: &Database, session: &str) -> Result<Vec<String>> {
        let lease = database.side().get().await?;
        texts(&lease.query(&TAKE, &[&session]).await.map_err(from_driver)?)
    }

    /// Leaves a message for a session of another node. False when there is no such session of this user.
    ///
    /// # Errors
    /// When the database is away.
    pub(crate) async fn put_mail(
        &self,
        database: &Database,
        session: &str,
        user: Option<&str>,
        body: &str,
    ) -> Result<bool> {
        let lease = database.primary().get().await?;
        match lease.query(&PUT, &[&session, &user, &body]).await {
            Ok(answer) => Ok(!answer.rows.is_empty()),
            // It ended a moment ago.
            Err(why) if why.code() == Some(&SqlState::FOREIGN_KEY_VIOLATION) => Ok(false),
            Err(why) => Err(from_driver(why)),
        }
    }

    /// Keeps the database up to date until told to stop.
    pub(crate) async fn run(self, database: Database, stop: CancellationToken) {
        let mut beat = Instant::now();
        loop {
            let idle = self.kept().is_empty();
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.0.wake.notified() => {}
                () = tokio::time::sleep_until(beat), if !idle => {}
            }
            let done = async {
                while self.write(&database).await? {}
                if Instant::now() >= beat {
                    beat = Instant::now() + BEAT;
                    let lease = database.side().get().await?;
                    lease.query(&SWEEP, &[]).await.map_err(from_driver)?;
                }
                Ok::<_, Error>(())
            };
            if let Err(why) = done.await {
                tracing::warn!(error = ?why, "who is present could not be written down; trying again");
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(PAUSE) => self.0.wake.notify_one(),
                }
            }
        }
        if self.kept().changes > 0
            && let Err(why) = self.leave(&database).await
        {
            tracing::debug!(error = ?why, "the others will find out by themselves that this node has stopped");
        }
    }

    async fn leave(&self, database: &Database) -> Result<()> {
        let lease = database.side().get().await?;
        lease.query(&LEAVE, &[&self.0.node]).await.map(drop).map_err(from_driver)
    }

    /// Writes what has changed. Returns whether there is more.
    async fn write(&self, database: &Database) -> Result<bool> {
        let batch = self.kept().batch();
        match self.write_batch(database, &batch).await {
            Ok(forgotten) => {
                let mut kept = self.kept();
                if forgotten && kept.forgotten(&batch) {
                    return Ok(true);
                }
                drop(kept);
                if let Some(up_to) = batch.up_to {
                    self.0.written.send_replace(up_to);
                }
                Ok(batch.up_to.is_none())
            }
            Err(why) => {
                self.kept().put_back(&batch);
                Err(why)
            }
        }
    }

    async fn write_batch(&self, database: &Database, batch: &Batch) -> Result<bool> {
        let ids: Vec<Uuid> = batch.present.iter().map(|(id, _)| *id).collect();
        let topics: Vec<&str> = batch.present.iter().map(|(_, member)| member.topic.as_str()).collect();
        let users: Vec<Option<&str>> = batch.present.iter().map(|(_, member)| member.user.as_deref()).collect();
        let states: Vec<&str> = batch.present.iter().map(|(_, member)| member.state.as_deref().unwrap_or("null")).collect();
        let begun: Vec<&str> = batch.begun.iter().map(|(id, _)| id.as_str()).collect();
        let owners: Vec<Option<&str>> = batch.begun.iter().map(|(_, user)| user.as_deref()).collect();
        let lease = database.side().get().await?;
        let node = &self.0.node;
        let answer = lease
            .query(&WRITE, &[node, &batch.left, &ids, &topics, &users, &states, &batch.ended, &begun, &owners])
            .await
            .map_err(from_driver)?;
        answer.rows.first().map_or(Ok(false), |row| row.try_get(0)).map_err(from_driver)
    }
}

impl Kept {
    /// Nothing of it concerns others, and they know.
    fn is_empty(&self) -> bool {
        self.members.is_empty() && self.sessions.is_empty()
    }

    fn batch(&mut self) -> Batch {
        let mut batch = Batch::default();
        for id in take(&mut self.changed_members) {
            match self.members.get(&id).filter(|member| member.state.is_some()) {
                Some(member) => batch.present.push((id, member.clone())),
                None => batch.left.push(id),
            }
        }
        for id in take(&mut self.changed_sessions) {
            match self.sessions.get(&id) {
                Some(user) => batch.begun.push((id, user.clone())),
                None => batch.ended.push(id),
            }
        }
        let all = self.changed_members.is_empty() && self.changed_sessions.is_empty();
        batch.up_to = all.then_some(self.changes);
        batch
    }

    fn put_back(&mut self, batch: &Batch) {
        self.changed_members.extend(batch.left.iter().copied().chain(batch.present.iter().map(|(id, _)| *id)));
        self.changed_sessions.extend(batch.ended.iter().cloned().chain(batch.begun.iter().map(|(id, _)| id.clone())));
    }

    /// The database knows nothing of this node but what was in this batch. Returns whether that leaves anything to write.
    fn forgotten(&mut self, batch: &Batch) -> bool {
        let (present, begun): (HashSet<_>, HashSet<_>) =
            (batch.present.iter().map(|(id, _)| id).collect(), batch.begun.iter().map(|(id, _)| id).collect());
        self.changed_members.extend(self.members.keys().filter(|id| !present.contains(id)));
        self.changed_sessions.extend(self.sessions.keys().filter(|id| !begun.contains(id)).cloned());
        !self.changed_members.is_empty() || !self.changed_sessions.is_empty()
    }
}

fn texts(answer: &Answer) -> Result<Vec<String>> {
    answer.rows.iter().map(|row| row.try_get(0).map_err(from_driver)).collect()
}

/// Some of a set, as many as one statement writes.
fn take<T: Clone + Eq + std::hash::Hash>(set: &mut HashSet<T>) -> Vec<T> {
    let some: Vec<T> = set.iter().take(BATCH_MAX).cloned().collect();
    for one in &some {
        set.remove(one);
    }
    some
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(state: Option<&str>) -> Member {
        Member { topic: "t".into(), user: None, state: state.map(Into::into) }
    }

    #[test]
    fn what_was_forgotten_is_written_again_and_what_failed_too() {
        let roll = Roll::new();
        let ids: Vec<Uuid> = (0..3).map(Uuid::from_u128).collect();
        ids.iter().for_each(|id| roll.set(*id, member(Some("1"))));
        roll.set(ids[2], member(None));
        let first = roll.kept().batch();
        assert_eq!((first.present.len(), first.left.as_slice(), first.up_to), (2, &ids[2..], Some(4)));
        roll.kept().put_back(&first);
        roll.remove(ids[0]);
        let second = roll.kept().batch();
        assert_eq!((second.present.len(), second.left.len()), (1, 2));
        assert!(roll.kept().forgotten(&Batch::default()));
        let third = roll.kept().batch();
        assert_eq!(third.present.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [ids[1]]);
    }

    #[test]
    fn a_statement_writes_only_so_much() {
        let roll = Roll::new();
        (0..BATCH_MAX as u128 + 1).for_each(|id| roll.set(Uuid::from_u128(id), member(Some("1"))));
        assert_eq!(roll.kept().batch().up_to, None);
        let rest = roll.kept().batch();
        assert_eq!((rest.present.len(), rest.up_to), (1, Some(BATCH_MAX as u64 + 1)));
    }
}
