//! What the reader has received and the feed has not yet taken.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;

use crate::feed::{Change, Snapshot};

/// How much may wait, in bytes of messages as they came. Beyond that all of it is dropped, and everything counts as changed.
pub(super) const WAITING_MAX: usize = 32 << 20;

/// How many transactions may wait, likewise.
const TRANSACTIONS_MAX: usize = 200_000;

/// How long what concerns nobody may wait for a round.
const UNCONCERNED_MAX: Duration = Duration::from_millis(100);

/// A transaction that was decoded. It may not be visible yet.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) xid: u32,
    pub(crate) changes: Vec<Change>,
    /// Of its messages.
    pub(crate) bytes: usize,
    /// When it was committed, by the server's clock.
    pub(crate) committed: SystemTime,
}

/// How far the reader is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nobody wants it.
    Idle,
    /// On its way, since then.
    Connecting(Instant),
    /// It has everything that is committed from now on.
    Following(Stream),
}

/// One life of the replication stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stream {
    /// Which one since the process began.
    pub(crate) number: u64,
    /// The server that it comes from: when that was started.
    pub(crate) server: String,
    /// How the log is laid out: bytes of a page, and of a segment.
    pub(crate) layout: (u64, u64),
}

/// What the feed has to know before it takes a snapshot, so that it knows afterwards what it may have missed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Mark {
    pub(crate) stream: Option<Stream>,
    /// How often what waited was dropped.
    pub(crate) dropped: u64,
}

/// Between the reader and the feed.
#[derive(Debug)]
pub(crate) struct Arrivals {
    inner: Mutex<Inner>,
    /// Something that a round may have to look at.
    news: Notify,
    /// The position, or the stage.
    moved: Notify,
    /// The reader is to ask for the server's position.
    pub(super) asked: Notify,
    /// The reader is to begin another stream.
    pub(crate) renew: Notify,
    /// How many wait for news.
    waiting: AtomicUsize,
}

#[derive(Debug)]
struct Inner {
    stage: Stage,
    /// Everything before it has arrived.
    position: u64,
    transactions: VecDeque<Arrived>,
    bytes: usize,
    dropped: u64,
    /// How many of the transactions, from the first on, are no reason for a look.
    unconcerned: usize,
    /// When the first of them came since the last look.
    waiting_since: Option<tokio::time::Instant>,
    /// Something else has happened since the last look.
    fresh: bool,
    /// When somebody last had a look.
    looked: Instant,
}

/// Whether everything up to a position has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caught {
    Up,
    /// Not yet, but it is on its way.
    Behind,
    /// It never will: the stream has ended, or is another server's.
    Lost,
}

impl Default for Arrivals {
    fn default() -> Self {
        let inner = Inner {
            stage: Stage::Idle,
            position: 0,
            transactions: VecDeque::new(),
            bytes: 0,
            dropped: 0,
            unconcerned: 0,
            waiting_since: None,
            fresh: false,
            looked: Instant::now(),
        };
        Self {
            inner: Mutex::new(inner),
            news: Notify::new(),
            moved: Notify::new(),
            asked: Notify::new(),
            renew: Notify::new(),
            waiting: AtomicUsize::new(0),
        }
    }
}

impl Arrivals {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // The reader's side.

    /// Enters another stage. What waits belongs to the stream that has ended.
    pub(super) fn enter(&self, stage: Stage, position: u64) {
        {
            let mut inner = self.inner();
            inner.stage = stage;
            inner.position = position;
            inner.clear();
            inner.fresh = true;
        }
        self.news.notify_waiters();
        self.moved.notify_waiters();
    }

    /// Everything before `position` has arrived, the given transaction last.
    pub(in crate::feed) fn arrive(&self, transaction: Option<Arrived>, position: u64) {
        let mut news = false;
        {
            let mut inner = self.inner();
            inner.position = inner.position.max(position);
            if let Some(transaction) = transaction {
                inner.bytes += transaction.bytes;
                inner.transactions.push_back(transaction);
                inner.waiting_since.get_or_insert_with(tokio::time::Instant::now);
                news = true;
                if inner.bytes > WAITING_MAX || inner.transactions.len() > TRANSACTIONS_MAX {
                    inner.overflow();
                }
            }
        }
        if news {
            self.news.notify_waiters();
        }
        self.moved.notify_waiters();
    }

    /// Something has come that cannot be kept.
    pub(super) fn overflow(&self) {
        self.inner().overflow();
        self.news.notify_waiters();
    }

    pub(in crate::feed) fn position(&self) -> u64 {
        self.inner().position
    }

    /// For how long nobody has wanted anything.
    pub(super) fn unwanted_for(&self) -> Duration {
        if self.waiting.load(Ordering::Acquire) > 0 { Duration::ZERO } else { self.inner().looked.elapsed() }
    }

    // The feed's side.

    /// To be asked for before a snapshot is taken.
    pub(crate) fn mark(&self) -> Mark {
        let inner = self.inner();
        let stream = match &inner.stage {
            Stage::Following(stream) => Some(stream.clone()),
            Stage::Idle | Stage::Connecting(_) => None,
        };
        Mark { stream, dropped: inner.dropped }
    }

    /// Somebody wants what arrives, and has a look now and then.
    pub(crate) fn want(&self) {
        self.inner().looked = Instant::now();
    }

    /// Waits for the stream to begin, until then.
    pub(crate) async fn begun(&self, until: Instant) -> bool {
        self.wait(until, |inner| matches!(inner.stage, Stage::Following(_)).then_some(())).await.is_some()
    }

    /// Waits until everything before `position` of the server's log has arrived, until then.
    pub(crate) async fn catch_up(&self, stream: &Stream, position: u64, until: Instant) -> Caught {
        let target = stream.end_of_record(position);
        if self.inner().caught(stream, target) == Caught::Behind {
            self.asked.notify_one();
        }
        let caught = |inner: &Inner| Some(inner.caught(stream, target)).filter(|caught| *caught != Caught::Behind);
        self.wait(until, caught).await.unwrap_or(Caught::Behind)
    }

    async fn wait<T>(&self, until: Instant, done: impl Fn(&Inner) -> Option<T>) -> Option<T> {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            if let Some(done) = done(&self.inner()) {
                return Some(done);
            }
            if tokio::time::timeout_at(until.into(), moved).await.is_err() {
                return done(&self.inner());
            }
        }
    }

    /// Takes what the snapshot sees. The rest stays. Returns how many transactions that are, too.
    pub(crate) fn take(&self, snapshot: &Snapshot) -> (Vec<Arrived>, usize) {
        let mut inner = self.inner();
        inner.fresh = false;
        let (seen, rest): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut inner.transactions).into_iter().partition(|one| snapshot.sees(snapshot.widen(one.xid)));
        inner.bytes = rest.iter().map(|one| one.bytes).sum();
        inner.transactions = rest;
        inner.waiting_since = None;
        let rest = inner.transactions.len();
        // These are looked at again when their time comes.
        inner.unconcerned = rest;
        (seen.into(), rest)
    }

    /// Waits until something has arrived since the last [`take`](Self::take) that concerns somebody, or that cannot be told, or the stage has changed.
    /// What concerns nobody is a reason to look as well, a little later, so that it does not pile up.
    pub(crate) async fn stirred(&self, concerns: impl Fn(&Change) -> bool) {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let _leaving = Leaving(self);
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            let later = {
                let mut inner = self.inner();
                if inner.is_stirred(&concerns) {
                    return;
                }
                inner.waiting_since.map(|since| since + UNCONCERNED_MAX)
            };
            let Some(later) = later else {
                news.await;
                continue;
            };
            if tokio::time::timeout_at(later, news).await.is_err() {
                return;
            }
        }
    }
}

/// Takes one off those who wait.
struct Leaving<'a>(&'a Arrivals);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.inner().looked = Instant::now();
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Inner {
    fn caught(&self, stream: &Stream, target: u64) -> Caught {
        match &self.stage {
            Stage::Following(now) if now == stream && self.position >= target => Caught::Up,
            Stage::Following(now) if now == stream => Caught::Behind,
            _ => Caught::Lost,
        }
    }

    /// Whether there is a reason to look now.
    fn is_stirred(&mut self, concerns: impl Fn(&Change) -> bool) -> bool {
        while let Some(one) = self.transactions.get(self.unconcerned) {
            // One without changes tells of something else.
            if self.fresh || one.changes.is_empty() || one.changes.iter().any(&concerns) {
                return true;
            }
            self.unconcerned += 1;
        }
        self.fresh
    }

    fn clear(&mut self) {
        self.transactions.clear();
        self.bytes = 0;
        self.unconcerned = 0;
        self.waiting_since = None;
    }

    fn overflow(&mut self) {
        self.clear();
        self.dropped += 1;
        self.fresh = true;
        crate::observability::live().feed_dropped();
    }
}

impl Stream {
    /// Where the last record before a position ends. A server that stands at the start of a page says that its next record comes behind that
    /// page's header (24 bytes, 40 in the first page of a segment); a reader that has read everything stands before it.
    fn end_of_record(&self, position: u64) -> u64 {
        let (page, segment) = self.layout;
        match (position.checked_rem(segment), position.checked_rem(page)) {
            (Some(40), _) => position - 40,
            (_, Some(24)) => position - 24,
            _ => position,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn stream() -> Stream {
        Stream { number: 1, server: "now".into(), layout: (8192, 16 << 20) }
    }

    fn arrived(xid: u32, bytes: usize) -> Option<Arrived> {
        Some(Arrived { xid, changes: Vec::new(), bytes, committed: SystemTime::UNIX_EPOCH })
    }

    #[test]
    fn a_position_behind_the_header_of_a_page_is_the_page() {
        let end = |position| stream().end_of_record(position);
        assert_eq!([end(8192 + 24), end(8192 + 40), end(8192 + 32)], [8192, 8192 + 40, 8192 + 32]);
        assert_eq!(end((16 << 20) + 40), 16 << 20);
    }

    #[tokio::test]
    async fn what_is_not_visible_stays() {
        let arrivals = Arrivals::default();
        arrivals.enter(Stage::Following(stream()), 0);
        for xid in [10, 11, 12, 30] {
            arrivals.arrive(arrived(xid, 1), xid.into());
        }
        let snapshot: Snapshot = "11:20:11".parse().unwrap();
        let (seen, rest) = arrivals.take(&snapshot);
        assert_eq!(seen.iter().map(|one| one.xid).collect::<Vec<_>>(), [10, 12]);
        assert_eq!(rest, 2);
        let soon = Instant::now() + Duration::from_millis(10);
        assert_eq!(arrivals.catch_up(&stream(), 30, soon).await, Caught::Up);
        assert_eq!(arrivals.catch_up(&stream(), 31, soon).await, Caught::Behind);
        let other = Stream { number: 2, ..stream() };
        assert_eq!(arrivals.catch_up(&other, 1, soon).await, Caught::Lost);
        let all: Snapshot = "40:40:".parse().unwrap();
        assert_eq!(arrivals.take(&all).0.iter().map(|one| one.xid).collect::<Vec<_>>(), [11, 30]);
    }

    #[tokio::test]
    async fn what_concerns_nobody_waits_a_while() {
        let arrivals = Arrivals::default();
        let of = |table: u32| {
            let change = Change { table, shape: 0, columns: None, keys: Vec::new(), rows: None };
            Some(Arrived { xid: table, changes: vec![change], bytes: 1, committed: SystemTime::UNIX_EPOCH })
        };
        let asked = AtomicUsize::new(0);
        let concerns = |change: &Change| {
            asked.fetch_add(1, Ordering::Relaxed);
            change.table == 2
        };
        let stirred = || arrivals.stirred(concerns).now_or_never().is_some();
        let all: Snapshot = "40:40:".parse().unwrap();
        arrivals.enter(Stage::Following(stream()), 0);
        assert!(stirred(), "another stage");
        arrivals.take(&all);
        assert!(!stirred());
        arrivals.arrive(of(1), 1);
        assert!(!stirred() && !stirred());
        assert_eq!(asked.load(Ordering::Relaxed), 1, "it is looked at once");
        arrivals.arrive(of(2), 2);
        assert!(stirred() && stirred(), "until it is taken");
        assert_eq!(arrivals.take(&all).0.len(), 2, "with what came before");
        arrivals.arrive(arrived(3, 1), 3);
        assert!(stirred(), "what cannot be told");
        arrivals.take(&"3:3:".parse().unwrap());
        assert!(!stirred(), "what is not visible is waited for elsewhere");
        arrivals.take(&all);
        arrivals.arrive(of(1), 4);
        // It ends.
        arrivals.stirred(concerns).await;
        arrivals.overflow();
        assert!(stirred());
    }

    #[test]
    fn more_than_may_wait_is_dropped_and_told() {
        let arrivals = Arrivals::default();
        arrivals.enter(Stage::Following(stream()), 0);
        let before = arrivals.mark();
        arrivals.arrive(arrived(1, WAITING_MAX), 1);
        assert_eq!(arrivals.mark(), before);
        arrivals.arrive(arrived(2, 1), 2);
        assert_eq!(arrivals.mark().dropped, before.dropped + 1);
        assert_eq!(arrivals.position(), 2, "it was received nevertheless");
        assert!(arrivals.take(&"9:9:".parse().unwrap()).0.is_empty());
    }
}
