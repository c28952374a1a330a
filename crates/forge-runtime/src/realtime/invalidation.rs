//! The engine: round by round from what was committed to what clients are told.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forge_core::{Error, ErrorKind, Result};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::group::GroupId;
use super::outbox::Outbox;
use super::roll::Roll;
use super::subscriptions::{Deliveries, Ran, Subscribe, SubscriptionManager, Unsubscribe, not_live};
use crate::db::transaction::Transaction;
use crate::db::{Database, Recorder, Shape};
use crate::feed::{Capture, ChangeFeed, Snapshot};
use crate::function::FunctionExecutor;
use crate::read_set::{Argument, Catalogue, Dependency, Reading, Unfollowable};

/// How soon the commits of other nodes and programs are noticed while somebody is subscribed.
const POLL_EVERY: Duration = Duration::from_millis(20);

/// How long to wait after a round that failed, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How long to wait for the answer to a COMMIT that has taken effect.
const KNOWN_WITHIN: Duration = Duration::from_secs(1);

/// How many wishes may wait for the engine; whoever has another one waits with it.
const WISHES_MAX: usize = 1024;

/// How many statements' readings are remembered.
const READINGS_MAX: usize = 10_000;

/// The engine as others see it. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Live(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    wishes: mpsc::Sender<Wish>,
    wake: Notify,
    roll: Roll,
    /// Whether anybody is subscribed.
    active: AtomicBool,
    /// Mutations whose effect sessions wait for. Not among the wishes: what is said before a COMMIT has to be known to a round that begins after
    /// it.
    expected: Mutex<Vec<Expected>>,
}

#[derive(Debug)]
enum Wish {
    Subscribe(Box<Subscribe>),
    Unsubscribe(Unsubscribe),
}

/// A session that waits for the effect of a mutation.
#[derive(Debug, Clone)]
struct Expected {
    outbox: Arc<Outbox>,
    mutation: String,
    xid: u64,
    /// Whether it was committed, once that is known.
    committed: watch::Receiver<Option<bool>>,
}

/// Whom to acknowledge a mutation to.
#[derive(Debug, Clone)]
pub(crate) struct Acknowledge {
    pub(crate) live: Live,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) mutation: String,
}

impl Acknowledge {
    /// Said before COMMIT is sent, so that no frame shows the effect without the acknowledgement.
    pub(crate) fn expect(&self, xid: u64) -> Pledge {
        let (pledge, committed) = watch::channel(None);
        let expected = Expected { outbox: self.outbox.clone(), mutation: self.mutation.clone(), xid, committed };
        self.live.expected().push(expected);
        Pledge { live: self.live.clone(), committed: pledge }
    }
}

/// A commit that is on its way. Dropped, it has come to nothing.
#[derive(Debug)]
pub(crate) struct Pledge {
    live: Live,
    committed: watch::Sender<Option<bool>>,
}

impl Pledge {
    /// What it did write is there.
    pub(crate) fn kept(self) {
        self.committed.send_replace(Some(true));
        self.live.0.wake.notify_one();
    }
}

impl Live {
    /// An engine's two ends.
    pub(crate) fn new() -> (Self, Wishes) {
        let (wishes, waiting) = mpsc::channel(WISHES_MAX);
        (
            Self(Arc::new(Shared {
                wishes,
                wake: Notify::new(),
                roll: Roll::new(),
                active: AtomicBool::new(false),
                expected: Mutex::default(),
            })),
            Wishes(waiting),
        )
    }

    fn expected(&self) -> MutexGuard<'_, Vec<Expected>> {
        self.0.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the other nodes have to know of this one's sessions.
    pub(crate) fn roll(&self) -> &Roll {
        &self.0.roll
    }

    /// A session takes messages by POST. Once this returns, they may be sent to any node.
    pub(crate) async fn open(&self, session: &str, user: Option<&str>) -> Result<()> {
        self.0.roll.open(session, user).await?;
        self.0.wake.notify_one();
        Ok(())
    }

    /// This node has committed something.
    pub(crate) fn committed(&self) {
        if self.0.active.load(Ordering::Relaxed) {
            self.0.wake.notify_one();
        }
    }

    pub(crate) async fn subscribe(&self, wish: Subscribe) {
        self.wish(Wish::Subscribe(Box::new(wish))).await;
    }

    pub(crate) async fn unsubscribe(&self, wish: Unsubscribe) {
        self.wish(Wish::Unsubscribe(wish)).await;
    }

    async fn wish(&self, wish: Wish) {
        // It fails only when the node stops, and with it every session.
        let _ = self.0.wishes.send(wish).await;
    }
}

/// What is wished of an engine that is not running yet.
#[derive(Debug)]
pub(crate) struct Wishes(mpsc::Receiver<Wish>);

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
    /// Tables whose changes are in the feed, with the columns by which rows are matched.
    watched: HashMap<u32, BTreeSet<String>>,
    /// The schema has changed under a statement: nothing that was prepared before is used.
    fresh: bool,
}

/// Whether a round's snapshot can be ended in order.
enum Snapshots {
    Whole,
    Lost,
}

/// What a group's run showed.
enum Outcome {
    Ran(Ran),
    /// One of its tables was not watched while it ran.
    Again,
    Failed(Error),
}

impl InvalidationEngine {
    pub(crate) fn new(live: Live, wishes: Wishes, database: Database, executor: FunctionExecutor) -> Self {
        let subscriptions = SubscriptionManager::new(live.roll().clone());
        Self {
            live,
            wishes: wishes.0,
            database,
            executor,
            subscriptions,
            feed: ChangeFeed::default(),
            readings: HashMap::new(),
            watched: HashMap::new(),
            fresh: false,
        }
    }

    /// Runs until told to stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut pause = PAUSE.0;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.occasion() => {}
            }
            while let Ok(wish) = self.wishes.try_recv() {
                self.grant(wish);
            }
            self.live.0.active.store(!self.subscriptions.is_empty(), Ordering::Relaxed);
            let (subscriptions, groups) = self.subscriptions.counts();
            crate::observability::live().subscribed(subscriptions, groups);
            self.acknowledge_idle().await;
            if self.subscriptions.is_empty() {
                continue;
            }
            match self.round().await {
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
    async fn occasion(&mut self) {
        if self.subscriptions.has_work() {
            return;
        }
        let idle = self.subscriptions.is_empty();
        let live = self.live.clone();
        let wish = tokio::select! {
            wish = self.wishes.recv() => wish,
            () = live.0.wake.notified() => None,
            () = tokio::time::sleep(POLL_EVERY), if !idle => None,
        };
        if let Some(wish) = wish {
            self.grant(wish);
        }
    }

    fn grant(&mut self, wish: Wish) {
        match wish {
            Wish::Subscribe(wish) => self.subscriptions.subscribe(*wish),
            Wish::Unsubscribe(wish) => self.subscriptions.unsubscribe(&wish),
        }
    }

    /// A session that is subscribed to nothing is shown nothing, so there is no effect to wait for.
    async fn acknowledge_idle(&mut self) {
        let idle = |expected: &Expected| !self.subscriptions.has_session(expected.outbox.id);
        let mut deliveries = Deliveries::default();
        self.acknowledge(idle, &mut deliveries).await;
        deliveries.send(0);
    }

    /// Acknowledges those of the expected mutations that are due, once it is known whether they were committed. That is on its way when a
    /// snapshot sees that they have ended.
    async fn acknowledge(&self, due: impl Fn(&Expected) -> bool, deliveries: &mut Deliveries) {
        let mut expected: Vec<Expected> = self.live.expected().extract_if(.., |expected| due(expected)).collect();
        for one in &mut expected {
            let known = tokio::time::timeout(KNOWN_WITHIN, one.committed.wait_for(Option::is_some)).await;
            match known.map(|known| known.is_ok()) {
                Ok(true) => deliveries.of(&one.outbox).acks.push(one.mutation.clone()),
                // It came to nothing.
                Ok(false) => {}
                // The answer to COMMIT was lost and is being looked for.
                Err(_) => self.live.expected().push(one.clone()),
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
            self.readings.clear();
            self.watched.clear();
            self.subscriptions.mark_all();
        }
        done.map(drop)
    }

    async fn round_in(&mut self, snapshot: &Arc<Transaction>) -> Result<Snapshots> {
        let batch = self.feed.read(snapshot).await?;
        let concerned = self.subscriptions.mark(&batch);
        crate::observability::live().batch(batch.changes.len(), batch.gap, concerned);
        let mut outcomes = Vec::new();
        for id in self.subscriptions.dirty() {
            let outcome = self.run_group(id, snapshot).await?;
            let lost = matches!(&outcome, Outcome::Failed(why) if why.kind() == ErrorKind::Timeout);
            outcomes.push((id, outcome));
            if lost || snapshot.has_failed() {
                // Nothing more can be read in this snapshot. Whose fault it was is told, unless a table had changed; the others run again,
                // together, in the next.
                if !snapshot.is_stale() {
                    outcomes.retain(|(_, outcome)| matches!(outcome, Outcome::Failed(_)));
                    self.settle(outcomes, None).await;
                }
                return Ok(if lost { Snapshots::Lost } else { Snapshots::Whole });
            }
        }
        self.settle(outcomes, Some(&batch.snapshot)).await;
        Ok(Snapshots::Whole)
    }

    /// Takes what the runs showed, and tells everybody.
    async fn settle(&mut self, outcomes: Vec<(GroupId, Outcome)>, snapshot: Option<&Snapshot>) {
        let mut deliveries = Deliveries::default();
        for (id, outcome) in outcomes {
            match outcome {
                Outcome::Ran(ran) => {
                    let known = self.subscriptions.group(id).is_some_and(|group| group.result.is_some());
                    let new = self.subscriptions.ran(id, ran);
                    crate::observability::live().ran(known && !new);
                }
                Outcome::Again => {}
                Outcome::Failed(why) => self.subscriptions.failed(id, why, &mut deliveries),
            }
        }
        let Some(snapshot) = snapshot.filter(|_| !self.subscriptions.has_dirty()) else {
            // Of what is right already, nothing is shown before the rest is.
            deliveries.send(0);
            return;
        };
        self.subscriptions.tell(&mut deliveries);
        self.acknowledge(|expected| snapshot.sees(expected.xid), &mut deliveries).await;
        deliveries.send(snapshot.position());
    }

    /// Runs a group's query. An error of this is the round's; one of the query is its outcome.
    async fn run_group(&mut self, id: GroupId, snapshot: &Arc<Transaction>) -> Result<Outcome> {
        let Some(group) = self.subscriptions.group(id) else { return Ok(Outcome::Again) };
        let (entry, args, caller) = (group.entry.clone(), group.args.clone(), group.runner.for_run());
        let recorder = Arc::new(Recorder::default());
        let run = self.executor.run_live(&entry, &args, caller.clone(), snapshot.clone(), recorder.clone());
        let json = match run.await {
            Ok(json) => json,
            Err(why) if why.is_retryable() => return Err(why),
            Err(why) => return Ok(Outcome::Failed(why)),
        };
        let mut dependencies = Vec::new();
        for (shape, arguments) in recorder.take() {
            match &*self.reading(&shape).await? {
                Ok(reading) => bind(reading, &arguments, &mut dependencies),
                Err(why) => {
                    return Ok(Outcome::Failed(not_live(&entry, &format!("{}. The statement: {}", why.0, shape.text))));
                }
            }
        }
        if self.watch(&dependencies).await? {
            return Ok(Outcome::Again);
        }
        Ok(Outcome::Ran(Ran { json, looked: caller.looked.at(), dependencies }))
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
        self.readings.insert(shape.id, reading.clone());
        Ok(reading)
    }

    /// Makes sure that changes of these tables are in the feed. True when one of them was not.
    async fn watch(&mut self, dependencies: &[Dependency]) -> Result<bool> {
        let mut began = false;
        for dependency in dependencies {
            let keys = dependency.keys.iter().map(|(column, _)| column.clone());
            let mut wanted: BTreeSet<String> = keys.collect();
            if let Some(written) = self.watched.get(&dependency.table.oid) {
                if wanted.is_subset(written) {
                    continue;
                }
                wanted.extend(written.iter().cloned());
            }
            let lease = self.database.live().get().await?;
            lease.busy();
            began |= Capture { table: &dependency.table, keys: &wanted }.ensure(lease.client()).await?;
            lease.clean();
            self.watched.insert(dependency.table.oid, wanted);
        }
        Ok(began)
    }
}

fn bind(reading: &Reading, arguments: &[Argument], into: &mut Vec<Dependency>) {
    for dependency in reading.bind(arguments) {
        if !into.contains(&dependency) {
            into.push(dependency);
        }
    }
}
