//! The engine: round by round from what was committed to what clients are told.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use forge_core::function::TrackingMode;
use forge_core::{Error, ErrorKind, Result};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::apart::{Apart, Done, that_may_begin};
use super::definitions::Definitions;
use super::group::{GroupId, Sight};
use super::holds::Holds;
use super::live::{Expected, Live, Wish, Wishes};
use super::outbox::SessionId;
use super::run::{Finished, Job};
use super::subscriptions::{Deliveries, Ran, SubscriptionManager, not_live};
use super::version::Versions;
use super::watches::{Watched, Watches};
use crate::db::transaction::Transaction;
use crate::db::{Database, Shape};
use crate::feed::{Change, ChangeFeed};
use crate::function::FunctionExecutor;
use crate::read_set::{Argument, Catalogue, Columns, Dependency, Reading, Unfollowable};

/// How many queries of a round are on their way at a time. PostgreSQL runs them one after the other, without waiting in between.
const AT_A_TIME: usize = 16;

/// What a statement, and a whole query, may take as part of a round. Those that take longer run apart, under their own limit.
const STATEMENT_MAX: Duration = Duration::from_millis(250);
const QUICK_MAX: Duration = Duration::from_secs(1);

/// A query that takes so long by itself stays apart.
const SLOW_FROM: Duration = Duration::from_millis(50);

/// How long to wait after a round that failed, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How long a round waits for the answers to COMMITs that have taken effect.
const KNOWN_WITHIN: Duration = Duration::from_secs(1);

/// How many statements' readings are remembered.
const READINGS_MAX: usize = 10_000;

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

/// What a run showed.
enum Outcome {
    Ran(Ran),
    /// It says nothing; the group is to run again.
    Again,
    /// These tables were not watched while it ran.
    Unwatched(BTreeSet<u32>),
    /// The query has failed for one who was looked at like that.
    Failed(Error, Sight),
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

    /// A session that is subscribed to nothing is shown nothing, so there is no effect to wait for. Only those of which it is known how they
    /// ended: the others wake the engine when it is.
    fn acknowledge_idle(&mut self) {
        let mut deliveries = Deliveries::default();
        for one in self.live.take_known(|session| !self.subscriptions.has_session(session)) {
            deliveries.of(&one.outbox).acks.push(one.mutation);
        }
        deliveries.send(0);
    }

    /// Acknowledges those of the expected mutations that are due, once it is known whether they were committed. That is on its way when a
    /// snapshot sees that they have ended.
    async fn acknowledge(&self, due: impl Fn(&Expected) -> bool, deliveries: &mut Deliveries) {
        let expected: Vec<Expected> = self.live.expected().extract_if(.., |expected| due(expected)).collect();
        let limit = tokio::time::Instant::now() + KNOWN_WITHIN;
        for mut one in expected {
            let known = tokio::time::timeout_at(limit, one.committed.wait_for(Option::is_some)).await;
            match known.map(|known| known.is_ok_and(|known| *known == Some(true))) {
                Ok(true) => deliveries.of(&one.outbox).acks.push(one.mutation),
                // It came to nothing.
                Ok(false) => {}
                // The answer to COMMIT was lost and is being looked for.
                Err(_) => self.live.expected().push(one),
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

    /// What the runs of a round showed. What has failed is told by `deliveries`, also when this does not get to the end.
    async fn judge_all(&mut self, finished: Vec<Finished>, deliveries: &mut Deliveries) -> Result<()> {
        for run in finished {
            let id = run.id;
            match self.judge(run).await? {
                Outcome::Ran(ran) => {
                    self.subscriptions.clean(id);
                    self.settle(id, ran);
                }
                Outcome::Again => {}
                Outcome::Unwatched(tables) => self.subscriptions.park(id, tables),
                // Those whom it was not for have new groups, to be run before anything of this round is shown.
                Outcome::Failed(why, sight) => drop(self.subscriptions.refused(id, why, &sight, deliveries)),
            }
        }
        Ok(())
    }

    /// Finds out who waits for whom.
    fn line_up(&mut self) {
        let (_, slow) = self.subscriptions.to_run();
        let slow = self.that_may_begin(slow);
        self.subscriptions.line_up(&slow);
    }

    /// Those of the slow groups that may begin to run apart. A frame that is to wait for one of them must not miss what waits for its tables.
    fn that_may_begin(&self, slow: Vec<GroupId>) -> Vec<GroupId> {
        if self.apart.has_room() {
            let others = self.apart.running().chain(self.subscriptions.parked());
            that_may_begin(slow, others, |id| self.subscriptions.shown(id))
        } else {
            Vec::new()
        }
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

    /// The groups whose fault it may be that a round came to nothing run apart from now on.
    ///
    /// # Errors
    /// When it was nobody's: the database is away.
    fn set_apart(&mut self, finished: Vec<Finished>) -> Result<()> {
        let suspect = |run: &Finished| run.stumbled || timed_out(&run.result);
        let any = finished.iter().any(suspect);
        for run in finished {
            match run.result {
                Err(why) if why.is_retryable() && !timed_out_with(&why) && run.stumbled => return Err(why),
                // When none of them says so, it may have been any.
                _ if run.stumbled || timed_out(&run.result) || !any => self.subscriptions.measured(run.id, false),
                _ => {}
            }
        }
        Ok(())
    }

    /// Begins to run what is to run apart, if anything, over the round's snapshot. Returns what that is.
    async fn begin_apart(&mut self, snapshot: &Arc<Transaction>, began: Instant) -> Result<Vec<GroupId>> {
        let (_, slow) = self.subscriptions.to_run();
        let count = slow.len();
        let begin = self.that_may_begin(slow);
        self.apart_waits = begin.len() < count;
        if !begin.is_empty() {
            let jobs = begin.iter().filter_map(|id| self.subscriptions.job(*id, began)).collect();
            self.apart.begin(jobs, snapshot, &self.database, &self.executor).await?;
            self.subscriptions.begin_apart(begin.iter().copied());
        }
        Ok(begin)
    }

    /// A slow query is done.
    async fn done_apart(&mut self, batch: u64, run: Finished) -> Result<()> {
        let (id, stale) = (run.id, run.stale);
        self.apart_waits = false;
        self.subscriptions.ended_apart(id);
        self.subscriptions.measured(id, run.took < SLOW_FROM && !run.stumbled);
        let judged = if stale { Ok(Outcome::Again) } else { self.judge(run).await };
        let mut deliveries = Deliveries::default();
        let mut failed = None;
        match judged {
            Ok(Outcome::Ran(ran)) => {
                // It may have read what it had not read before, and perhaps that has changed since.
                let outdated = self.apart.is_outdated(batch, &ran.dependencies);
                for session in self.settle(id, ran) {
                    self.holds.thaw(session);
                }
                if outdated {
                    self.subscriptions.mark_one(id);
                }
                self.subscriptions.tell_waiting(id, &mut self.holds);
            }
            Ok(Outcome::Failed(why, sight)) => {
                for session in self.subscriptions.refused(id, why, &sight, &mut deliveries) {
                    self.holds.thaw(session);
                }
            }
            Ok(Outcome::Unwatched(tables)) => {
                self.again(id);
                self.subscriptions.park(id, tables);
            }
            Ok(Outcome::Again) => self.again(id),
            Err(why) => {
                self.again(id);
                failed = Some(why);
            }
        }
        if stale {
            self.forget_schema();
        }
        self.deliver(deliveries, 0, &[]);
        failed.map_or(Ok(()), Err)
    }

    /// A group that ran apart has to do so again, and the frames that wait for it with it.
    fn again(&mut self, id: GroupId) {
        self.subscriptions.ended_apart(id);
        self.subscriptions.mark_one(id);
        for session in self.subscriptions.sessions(id) {
            self.holds.thaw(session);
        }
    }

    /// A group has a new result. Returns the sessions that it is not for.
    fn settle(&mut self, id: GroupId, ran: Ran) -> Vec<SessionId> {
        let known = self.subscriptions.group(id).is_some_and(|group| group.result.is_some());
        let settled = self.subscriptions.ran(id, ran);
        crate::observability::live().ran(known && !settled.new);
        settled.moved
    }

    /// Tells the sessions that need not wait. What has begun to run apart is waited for by those who have been shown it before.
    fn deliver(&mut self, deliveries: Deliveries, position: u64, begun: &[GroupId]) {
        let unsettled = self.subscriptions.unsettled();
        for (outbox, delivery) in deliveries.into_each() {
            if self.holds.has(outbox.id) || unsettled.contains(&outbox.id) {
                self.holds.keep(&outbox, position, delivery);
            } else {
                outbox.put(position, delivery);
            }
        }
        for group in begun.iter().filter_map(|id| Some((*id, self.subscriptions.group(*id)?))) {
            let (id, group) = group;
            if group.result.is_some() {
                group.subscribers.values().for_each(|one| self.holds.freeze(&one.outbox, position, id));
            }
        }
        self.release();
    }

    /// Sends the frames that need not wait any more.
    fn release(&mut self) {
        if self.holds.is_empty() {
            return;
        }
        let unsettled = self.subscriptions.unsettled();
        let (apart, subscriptions) = (&self.apart, &self.subscriptions);
        let runs = |session, id| apart.is_running(id) && subscriptions.is_subscribed(session, id);
        self.holds.release(runs, |session| unsettled.contains(&session));
    }

    /// A table is watched, or cannot be: those who wait for that go on.
    fn watched(&mut self, watched: Watched) {
        let Err(why) = watched.result else {
            self.subscriptions.watched(watched.table);
            return;
        };
        let mut deliveries = Deliveries::default();
        for id in self.subscriptions.waiting_for(watched.table) {
            let copy = Error::new(why.kind(), why.message().to_owned()).with_code(why.code().to_owned());
            self.subscriptions.failed(id, copy, &mut deliveries);
        }
        tracing::error!(error = ?why, "a table cannot be watched");
        self.deliver(deliveries, 0, &[]);
    }

    /// What a run showed. An error of this is the round's; one of the query is its outcome.
    async fn judge(&mut self, run: Finished) -> Result<Outcome> {
        let json = match run.result {
            Ok(json) => json,
            // A connection was lost, or a table has changed.
            Err(why) if run.stumbled && why.is_retryable() => return Ok(Outcome::Again),
            Err(why) => return Ok(Outcome::Failed(why, run.sight)),
        };
        let mut dependencies = Vec::new();
        let info = &run.entry.info;
        for (shape, arguments) in run.asked {
            if info.tracking == TrackingMode::None {
                break;
            }
            match &*self.reading(&shape).await? {
                Ok(reading) => bind(reading, &arguments, info.tracking, &mut dependencies),
                // What changes by itself is asked again and again.
                Err(_) if info.refresh_every.is_some() => {}
                Err(why) => {
                    let text = format!("{}. The statement: {}", why.0, shape.text);
                    return Ok(Outcome::Failed(not_live(&run.entry, &text), run.sight));
                }
            }
        }
        let unwatched = self.watches.missing(&dependencies);
        if !unwatched.is_empty() {
            return Ok(Outcome::Unwatched(unwatched));
        }
        Ok(Outcome::Ran(Ran { json, sight: run.sight, dependencies, began: run.began }))
    }

    async fn reading(&mut self, shape: &Shape) -> Result<Arc<std::result::Result<Reading, Unfollowable>>> {
        if let Some(reading) = self.readings.get(&shape.id) {
            return Ok(reading.clone());
        }
        if self.readings.len() >= READINGS_MAX {
            self.readings.clear();
        }
        let lease = self.database.live().get().await?;
        let reading = Arc::new(Catalogue::read(lease.client(), &shape.text).await?);
        if let Ok(reading) = &*reading {
            self.definitions.note(reading);
        }
        self.readings.insert(shape.id, reading.clone());
        Ok(reading)
    }
}

fn timed_out(result: &Result<Vec<u8>>) -> bool {
    result.as_ref().is_err_and(timed_out_with)
}

fn timed_out_with(why: &Error) -> bool {
    why.kind() == ErrorKind::Timeout
}

fn bind(reading: &Reading, arguments: &[Argument], tracking: TrackingMode, into: &mut Vec<Dependency>) {
    for mut dependency in reading.bind(arguments) {
        if tracking == TrackingMode::Table {
            dependency.keys.clear();
            dependency.columns = Columns::All;
        }
        if !into.contains(&dependency) {
            into.push(dependency);
        }
    }
}

/// Waits for a time; for ever, when there is none.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
