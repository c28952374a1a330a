//! The engine: round by round from what was committed to what clients are told.

mod slow;
mod telling;
mod verdict;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use forge_core::Result;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::slow::timed_out;
use super::apart::{Apart, Done};
use super::definitions::Definitions;
use super::holds::Holds;
use super::live::{Expected, Live, Wish, Wishes};
use super::run::{Finished, Job};
use super::subscriptions::{Deliveries, SubscriptionManager};
use super::version::Versions;
use super::watches::{Watched, Watches};
use crate::db::Database;
use crate::db::transaction::Transaction;
use crate::feed::{Change, ChangeFeed};
use crate::function::FunctionExecutor;
use crate::read_set::{Reading, Unfollowable};

/// How many queries of a round are on their way at a time. PostgreSQL runs them one after the other, without waiting in between.
const AT_A_TIME: usize = 16;

/// What a statement, and a whole query, may take as part of a round. Those that take longer run apart, under their own limit.
const STATEMENT_MAX: Duration = Duration::from_millis(250);
const QUICK_MAX: Duration = Duration::from_secs(1);

/// How long to wait after a round that failed, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Runs live queries when what they read has changed.
#[derive(Debug)]
pub(crate) struct InvalidationEngine {
    live: Live,
    wishes: mpsc::Receiver<Wish>,
    database: Database,
    executor: FunctionExecutor,
    subscriptions: SubscriptionManager,
    feed: ChangeFeed,
    readings: HashMap<u64, Arc<std::result::Result<Reading, Unfollowable>>>,
    definitions: Definitions,
    watches: Watches,
    /// Slow queries.
    apart: Apart,
    /// Some of them cannot begin before others are done.
    apart_waits: bool,
    /// Frames that wait for them.
    holds: Holds,
    /// The schema has changed under a statement: nothing that was prepared before is used.
    fresh: bool,
}

/// What there is to do.
enum Occasion {
    /// Something may have been committed, or somebody is to be told something.
    Look,
    Wished(Option<Wish>),
    Done(Done),
    Watched(Option<Watched>),
    /// It is time to see whether names still stand for what they stood for.
    Named,
}

/// Whether a round's snapshot can be ended in order.
enum Snapshots {
    Whole,
    Lost,
}

impl InvalidationEngine {
    pub(crate) fn new(
        live: Live,
        wishes: Wishes,
        database: Database,
        executor: FunctionExecutor,
        feed: ChangeFeed,
        versions: Versions,
    ) -> Self {
        let subscriptions = SubscriptionManager::new(live.roll().clone(), versions);
        Self {
            live,
            wishes: wishes.0,
            database,
            executor,
            subscriptions,
            feed,
            readings: HashMap::new(),
            definitions: Definitions::new(),
            watches: Watches::default(),
            apart: Apart::new(),
            apart_waits: false,
            holds: Holds::default(),
            fresh: false,
        }
    }

    /// Runs until told to stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut pause = PAUSE.0;
        loop {
            let occasion = tokio::select! {
                () = stop.cancelled() => return,
                occasion = self.occasion() => occasion,
            };
            match self.attend(occasion).await {
                Ok(()) => pause = PAUSE.0,
                Err(why) => {
                    tracing::warn!(error = ?why, "live queries could not be brought up to date; trying again");
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(pause) => {}
                    }
                    pause = (pause * 2).min(PAUSE.1);
                }
            }
        }
    }

    /// Waits for something to do.
    async fn occasion(&mut self) -> Occasion {
        if self.subscriptions.has_work(self.apart_waits) {
            return Occasion::Look;
        }
        let idle = self.subscriptions.is_empty();
        let watching = !self.watches.is_idle();
        let due = self.subscriptions.next_due();
        let concerns = |change: &Change| self.subscriptions.concerns(change);
        tokio::select! {
            wish = self.wishes.recv() => Occasion::Wished(wish),
            done = self.apart.next() => Occasion::Done(done),
            watched = self.watches.next(&self.database), if watching => Occasion::Watched(watched),
            () = self.live.0.wake.notified() => Occasion::Look,
            () = until(due) => Occasion::Look,
            () = until(self.definitions.due()), if !idle => Occasion::Named,
            () = self.feed.stirred(concerns), if !idle => Occasion::Look,
        }
    }

    async fn attend(&mut self, occasion: Occasion) -> Result<()> {
        match occasion {
            Occasion::Done(Done::One(batch, run)) => return self.done_apart(batch, *run).await,
            Occasion::Done(Done::Lost(left)) => {
                self.apart_waits = false;
                left.into_iter().for_each(|id| self.again(id));
                self.release();
                return Ok(());
            }
            Occasion::Watched(watched) => {
                self.apart_waits = false;
                watched.into_iter().for_each(|watched| self.watched(watched));
                return Ok(());
            }
            Occasion::Named => {
                if self.definitions.have_changed(&self.database).await? {
                    tracing::info!("a view or a table that live queries read was redefined: all of them run again");
                    self.forget_schema();
                }
                return Ok(());
            }
            Occasion::Wished(wish) => wish.into_iter().for_each(|wish| self.grant(wish)),
            Occasion::Look => {}
        }
        while let Ok(wish) = self.wishes.try_recv() {
            self.grant(wish);
        }
        self.live.0.active.store(!self.subscriptions.is_empty(), Ordering::Relaxed);
        let (subscriptions, groups) = self.subscriptions.counts();
        crate::observability::live().subscribed(subscriptions, groups);
        self.acknowledge_idle();
        if self.subscriptions.is_empty() { Ok(()) } else { self.round().await }
    }

    fn grant(&mut self, wish: Wish) {
        match wish {
            Wish::Subscribe(wish) => {
                self.holds.forget(wish.outbox.id, Some(wish.id));
                self.subscriptions.subscribe(*wish);
            }
            Wish::Unsubscribe(wish) => {
                self.holds.forget(wish.session, wish.id);
                self.subscriptions.unsubscribe(&wish);
                self.release();
            }
        }
    }

    /// One round. What it leaves undone is still marked, and done by the next.
    async fn round(&mut self) -> Result<()> {
        let snapshot = Arc::new(self.database.begin_live(self.fresh).await?);
        let done = self.round_in(&snapshot).await;
        // After a time-out something may still run there: it is cancelled with the connection.
        if !matches!(done, Ok(Snapshots::Lost)) {
            snapshot.rollback().await;
        }
        self.fresh = snapshot.is_stale();
        if self.fresh {
            self.forget_schema();
        }
        done.map(drop)
    }

    /// A table has changed under a statement: what was known of statements and tables may not be so any more.
    fn forget_schema(&mut self) {
        self.readings.clear();
        self.definitions.forget();
        self.watches.forget();
        self.subscriptions.mark_all();
    }

    async fn round_in(&mut self, snapshot: &Arc<Transaction>) -> Result<Snapshots> {
        let batch = self.feed.read(snapshot).await?;
        let concerned = self.subscriptions.mark(&batch);
        self.subscriptions.mark_due(Instant::now());
        // Before anything of this snapshot is shown.
        for session in self.subscriptions.take_signed_out() {
            self.executor.signed_out(session);
        }
        crate::observability::live().batch(batch.changes.len(), batch.gap, concerned);
        self.apart.note(&batch);
        self.line_up();
        let began = Instant::now();
        let finished = self.run_quick(snapshot, began).await;
        let lost = finished.iter().any(|run| timed_out(&run.result));
        if lost || snapshot.has_failed() {
            // Nothing more can be read in this snapshot. Whoever it was runs apart from now on, where that harms nobody and shows whether it
            // was their fault; the others run again, together, in the next.
            if !snapshot.is_stale() {
                self.set_apart(finished)?;
            }
            return Ok(if lost { Snapshots::Lost } else { Snapshots::Whole });
        }
        let mut deliveries = Deliveries::default();
        let begun = match self.judge_all(finished, &mut deliveries).await {
            // Of what is right already, nothing is shown before the rest is.
            Ok(()) if self.subscriptions.has_dirty() => Ok(None),
            Ok(()) => self.begin_apart(snapshot, began).await.map(Some),
            Err(why) => Err(why),
        };
        let begun = match begun {
            Ok(Some(begun)) => begun,
            undone => {
                // What has failed has no subscribers any more, so that nobody would tell them later.
                deliveries.send(0);
                return undone.map(|_| Snapshots::Whole);
            }
        };
        let position = batch.snapshot.position();
        self.subscriptions.tell(&mut deliveries);
        let due = |one: &Expected| batch.snapshot.sees(one.xid) && self.subscriptions.has_session(one.outbox.id);
        self.acknowledge(due, &mut deliveries).await;
        self.deliver(deliveries, position, &begun);
        Ok(Snapshots::Whole)
    }

    /// Runs those of the marked groups that are quick, a few at a time, on the round's own connection.
    async fn run_quick(&self, snapshot: &Arc<Transaction>, began: Instant) -> Vec<Finished> {
        let (quick, _) = self.subscriptions.to_run();
        if quick.is_empty() {
            return Vec::new();
        }
        let jobs: Vec<Job> = quick.into_iter().filter_map(|id| self.subscriptions.job(id, began)).collect();
        let run = async |job: Job| job.run_within(QUICK_MAX, &self.executor, snapshot).await;
        let all = futures_util::stream::iter(jobs.into_iter().map(run)).buffer_unordered(AT_A_TIME);
        // Sent first, as it is polled first.
        let (limited, finished) = futures_util::join!(snapshot.limit_statements(STATEMENT_MAX), all.collect());
        if let Err(why) = limited {
            tracing::debug!(error = ?why, "the statements of a round could not be limited");
        }
        finished
    }
}

/// Waits for a time; for ever, when there is none.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
