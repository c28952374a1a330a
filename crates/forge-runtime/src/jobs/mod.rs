//! The durable queue: jobs, from their dispatch to their end.
//!
//! ```text
//!              ┌────────────────────────── again: failed, snoozed, handed back, its worker gone ────────────┐
//!  dispatch ─▶ scheduled ──due──▶ held ──a place of its key free──▶ ready ──claimed──▶ running ──▶ completed │
//!              └──due now────────────────────────────────────────────┘                   ├──────────────────┘
//!                                                                                        ├──▶ cancelled
//!                                                                                        └──▶ dead letter ──retried──▶ ready
//! ```
//!
//! What it promises, and under which failure:
//!
//! - **A job dispatched in a mutation exists exactly if that commits** ([`noted`]); one dispatched outside of one is written down when the dispatch
//!   returns.
//! - **A job is run at least once, and its end written by one owner.** A worker's right to its jobs is that its node is alive ([`crate::cluster`]);
//!   every write of a running job is fenced by worker and claim, so that a worker that was taken for dead and comes back writes nothing.
//! - **The end of a worker costs seconds and no attempt.** A job that has taken its worker down three times in a row becomes a dead letter.
//! - **What waits does not slow down what runs.** Finished rows are elsewhere, and a claim does not walk over rows that are gone but cannot
//!   be vacuumed yet ([`lanes`]).
//! - **No NOTIFY in anybody's transaction.** This node's worker is woken in memory once a dispatch has committed, others by the bus, and a look
//!   every five seconds finds what nobody told of.
//!
//! Bounded: what a worker claims ahead ([`shelf`]), what waits to be written ([`finish`]), how deep a queue may be (`jobs.max_pending`).
//! How it is stored, and why so, is told in `docs/queue-storage.md`.

pub(crate) mod admin;
mod batch;
mod cancel;
mod claimer;
mod claims;
mod context;
mod depth;
mod dispatch;
mod due;
mod enqueue;
mod finish;
mod follow;
mod keys;
mod lanes;
mod look;
mod maintain;
mod noted;
mod paused;
mod progress;
mod rates;
mod registry;
mod run;
mod shelf;
mod standing;
mod storable;
mod store;
#[cfg(test)]
mod tests;
mod wait;
mod wake;
mod worker;
mod write;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use forge_core::job::Job;
use forge_core::{Error, Result};
use tokio::sync::{Notify, broadcast, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use context::JobContext;
use context::Running;
pub(crate) use depth::Depth;
pub use dispatch::{Dispatch, JobHandle};
pub(crate) use dispatch::{Place, many};
pub(crate) use follow::{Standing, may_see, no_such_job};
pub(crate) use noted::Dispatched;
pub(crate) use registry::JobEntry;
pub use registry::JobRegistry;
pub use standing::JobResult;
use wake::{CHANNEL, Wake, Waker};
pub(crate) use worker::Worker;

use follow::News;
use store::{IDLE, NewJob, WAITING, get};

use crate::cluster::{Cluster, Heard};
use crate::config::JobsConfig;
use crate::db::Pool;
use crate::db::error::from_driver;

/// How often it is looked whether anything is left to do, should nobody tell.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How often whoever dispatches finds out which queues are full.
const MEASURE_EVERY: Duration = Duration::from_secs(5);

/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_millis(200);

/// The queue, as this node uses it. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Jobs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: JobRegistry,
    pool: Pool,
    cluster: Cluster,
    waker: Waker,
    desk: enqueue::Desk,
    backroom: Mutex<Option<enqueue::Backroom>>,
    max_pending: u64,
    /// Queues that are full, as of the last count.
    deep: RwLock<Vec<(String, i64)>>,
    /// Something was dispatched since they were last asked for.
    dispatching: AtomicBool,
    /// The kinds that this node's worker can do.
    here: Mutex<HashSet<&'static str>>,
    /// Jobs that have said how far they are.
    progressed: Mutex<HashMap<Uuid, Arc<Running>>>,
    progress: Notify,
    /// Whether this node's worker works; a test may want to look before it does.
    open: watch::Sender<bool>,
    paused: paused::Paused,
    /// It has been written down how jobs ended.
    ended: Notify,
    /// What jobs that somebody follows have come to.
    told: broadcast::Sender<News>,
    /// Those that somebody on this node follows.
    followed: follow::Followed,
}

impl Jobs {
    /// The queue for these jobs.
    pub(crate) fn new(registry: JobRegistry, config: &JobsConfig, pool: Pool, cluster: Cluster) -> Self {
        let (desk, backroom) = enqueue::desk();
        Self(Arc::new(Inner {
            registry,
            pool,
            cluster,
            waker: Waker::default(),
            desk,
            backroom: Mutex::new(Some(backroom)),
            max_pending: config.max_pending,
            deep: RwLock::default(),
            dispatching: AtomicBool::new(false),
            here: Mutex::default(),
            progressed: Mutex::default(),
            progress: Notify::new(),
            open: watch::Sender::new(true),
            paused: paused::Paused::default(),
            ended: Notify::new(),
            told: broadcast::Sender::new(256),
            followed: follow::Followed::default(),
        }))
    }

    pub(crate) fn registry(&self) -> &JobRegistry {
        &self.0.registry
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.0.cluster
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.0.pool
    }

    pub(crate) fn waker(&self) -> &Waker {
        &self.0.waker
    }

    fn paused(&self) -> &paused::Paused {
        &self.0.paused
    }

    /// How far the clock of due times is ahead, in microseconds.
    pub(crate) fn shift(&self) -> i64 {
        self.0.cluster.clock().offset_us()
    }

    /// This node's worker does these.
    fn worked_here(&self, kinds: impl IntoIterator<Item = &'static str>) {
        self.0.here.lock().unwrap_or_else(PoisonError::into_inner).extend(kinds);
    }

    /// This node's worker takes nothing more: what it has not yet heard is told to the others. What it has, they find themselves.
    fn leave_to_others(&self) {
        self.0.here.lock().unwrap_or_else(PoisonError::into_inner).clear();
        for wake in self.0.waker.take() {
            match wake {
                Wake::Ready { .. } | Wake::Held { .. } | Wake::Due { .. } | Wake::Look => self.wake_others(&wake),
                // Those are told to everybody to begin with.
                Wake::Cancel { .. } | Wake::Queues => {}
            }
        }
    }

    fn knows<J: Job>(&self) -> Result<()> {
        if self.0.registry.has::<J>() {
            return Ok(());
        }
        let name = J::INFO.name;
        Err(Error::internal(format!(
            "the job `{name}` is dispatched but not registered in this app; leave `register = false` out of its attribute, or name it where the app is put together"
        )))
    }

    /// Whether there is room for more.
    fn admit(&self, jobs: &[NewJob]) -> Result<()> {
        self.0.dispatching.store(true, Ordering::Relaxed);
        let deep = self.0.deep.read().unwrap_or_else(PoisonError::into_inner);
        // Nearly always there is none.
        match jobs.iter().find_map(|job| deep.iter().find(|(queue, _)| queue == job.queue)) {
            Some((queue, depth)) => {
                let max = self.0.max_pending;
                let text = format!(
                    "the queue `{queue}` is full: {depth} jobs wait in it, and jobs.max_pending = {max}; see whether its workers keep up"
                );
                Err(Error::rate_limited(text, 5).with_code("QUEUE_FULL"))
            }
            None => Ok(()),
        }
    }

    /// Keeps an eye on how deep queues are, as long as something is dispatched.
    async fn measure(&self) {
        loop {
            tokio::time::sleep(MEASURE_EVERY).await;
            if !self.0.dispatching.swap(false, Ordering::Relaxed) {
                continue;
            }
            let max = i64::try_from(self.0.max_pending).unwrap_or(i64::MAX);
            match self.try_depths().await {
                Ok(queues) => {
                    let deep = queues.into_iter().filter(|queue| queue.waiting >= max);
                    let deep = deep.map(|queue| (queue.queue, queue.waiting)).collect();
                    *self.0.deep.write().unwrap_or_else(PoisonError::into_inner) = deep;
                }
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    /// Tells of what a transaction that has committed has dispatched.
    pub(crate) fn committed(&self, dispatched: &Dispatched) {
        let noted = dispatched.take();
        noted.wakes.into_iter().for_each(|wake| self.wake(wake));
        self.told(noted.followed);
    }

    /// A run of a cron was written down.
    pub(crate) fn dispatched(&self, kind: &'static str, priority: i16, at: jiff::Timestamp, key: Option<&str>) {
        self.wake(match key {
            Some(key) => Wake::Held { kind: kind.to_owned(), key: key.to_owned() },
            None => Wake::Ready { kind: kind.into(), priority, at },
        });
    }

    /// Something is to be done: by this node's worker if that can, at once, else by whoever can.
    fn wake(&self, wake: Wake) {
        let here = self.0.here.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = match &wake {
            _ if self.0.cluster.is_draining() => false,
            Wake::Ready { kind, .. } => here.contains(&**kind) && self.0.waker.has_room(),
            Wake::Held { kind, .. } => here.contains(kind.as_str()),
            Wake::Due { .. } => !here.is_empty(),
            Wake::Cancel { .. } | Wake::Queues | Wake::Look => false,
        };
        if mine {
            // Before anybody can say that this node works no more.
            self.0.waker.wake(wake);
        } else {
            drop(here);
            self.wake_others(&wake);
        }
    }

    fn wake_others(&self, wake: &Wake) {
        let (about, at) = wake.told();
        self.0.cluster.bus().tell(CHANNEL, &about, at, i64::min);
    }

    /// Hears what other nodes tell.
    async fn hear(&self) {
        let mut heard = self.0.cluster.bus().subscribe(CHANNEL);
        loop {
            match heard.recv().await {
                Heard::Everything => {
                    self.0.waker.wake(Wake::Look);
                    self.hear_everything();
                }
                Heard::Told(told) => {
                    let (news, wakes): (Vec<_>, Vec<_>) = told.iter().partition(|(about, _)| follow::is_news(about));
                    wakes.into_iter().for_each(|(about, at)| self.0.waker.wake(Wake::heard(about, *at)));
                    self.hear_news(news.into_iter().map(|(about, _)| about.as_str()));
                }
            }
        }
    }

    /// The background work of a node that dispatches: enqueues outside of transactions, and what jobs say of themselves.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let backroom = self.0.backroom.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(backroom) = backroom else { return };
        let progressing = async {
            loop {
                self.0.progress.notified().await;
                if let Err(why) = self.write_progress().await {
                    tracing::debug!(error = ?why, "how far jobs are could not be written down; trying again");
                    tokio::time::sleep(PAUSE).await;
                    self.0.progress.notify_one();
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = enqueue::run(&self, backroom) => {}
            () = progressing => {}
            () = self.hear() => {}
            () = self.measure() => {}
            () = self.follow_all() => {}
        }
    }

    /// Holds this node's worker back, or lets it go on.
    pub(crate) fn open(&self, open: bool) {
        self.0.open.send_replace(open);
    }

    /// Whether this node's worker works.
    pub(crate) fn is_open(&self) -> watch::Receiver<bool> {
        self.0.open.subscribe()
    }

    /// Lets this node's worker work until nothing is left that is due; whatever that dispatches is done as well.
    pub(crate) async fn run_due(&self) -> Result<()> {
        let held = !self.0.open.send_replace(true);
        let idle = async {
            loop {
                let ended = self.0.ended.notified();
                self.0.waker.wake(Wake::Look);
                let answer = self.pool().get().await?.query(&IDLE, &[&self.shift()]).await.map_err(from_driver)?;
                if answer.rows.first().is_none_or(|row| row.try_get(0).unwrap_or(false)) {
                    return Ok(());
                }
                drop(tokio::time::timeout(LOOK_AGAIN, ended).await);
            }
        };
        let done = idle.await;
        if held {
            self.open(false);
        }
        done
    }

    /// The inputs of all jobs of a kind that have not ended, the oldest first.
    pub(crate) async fn waiting(&self, kind: &str) -> Result<Vec<String>> {
        let answer = self.pool().get().await?.query(&WAITING, &[&kind]).await.map_err(from_driver)?;
        answer.rows.iter().map(|row| get(row, 0)).collect()
    }
}
