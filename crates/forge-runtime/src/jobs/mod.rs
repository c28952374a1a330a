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
//! - **A job dispatched in a mutation exists exactly if that commits**; one dispatched outside of one is written down when the dispatch returns.
//! - **A job is run at least once, and its end written by one owner.** A worker's right to its jobs is that its node is alive ([`crate::cluster`]);
//!   every write of a running job is fenced by worker and claim, so that a worker that was taken for dead and comes back writes nothing.
//! - **The end of a worker costs seconds and no attempt.** A job that has taken its worker down three times becomes a dead letter.
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
mod context;
mod depth;
mod dispatch;
mod enqueue;
mod finish;
mod follow;
mod lanes;
mod maintain;
mod paused;
mod rates;
mod registry;
mod run;
mod shelf;
mod store;
#[cfg(test)]
mod tests;
mod wake;
mod worker;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use forge_core::auth::AuthContext;
use forge_core::job::Job;
use forge_core::{Error, Result};
use serde_json::{Map, Value, json};
use tokio::sync::{Notify, broadcast, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use context::JobContext;
use context::Running;
pub(crate) use depth::Depth;
pub use dispatch::{Dispatch, JobHandle};
pub(crate) use dispatch::{Dispatched, Place, many};
pub(crate) use follow::{Standing, may_see, no_such_job};
pub(crate) use registry::JobEntry;
pub use registry::JobRegistry;
use wake::{CHANNEL, Wake, Waker};
pub(crate) use worker::Worker;

use batch::{Batcher, Batches, batcher};
use store::{IDLE, NewJob, OURS, PROGRESS, SAVE, STATUS, TRACK, WAITING, Written, get};

use crate::cluster::{Cluster, Heard};
use crate::config::JobsConfig;
use crate::db::Pool;
use crate::db::error::from_driver;

/// How often a job that is waited for is looked at, should nobody tell.
const FOLLOW_EVERY: Duration = Duration::from_secs(2);

/// How it is told on the bus that a job that somebody follows has got on.
const FOLLOWED: &str = "f ";

/// How often it is looked whether anything is left to do, should nobody tell.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How often whoever dispatches finds out which queues are full.
const MEASURE_EVERY: Duration = Duration::from_secs(5);

/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_millis(200);

/// How a job stands.
#[derive(Debug, Clone, PartialEq)]
pub struct JobResult {
    /// Its id.
    pub id: Uuid,
    /// Its kind.
    pub kind: String,
    /// `pending`, `running`, `retry`, `completed`, `dead_letter`, `cancelled` or `discarded`.
    pub status: String,
    /// How often it was begun.
    pub attempt: i32,
    /// How far it said to be, in percent.
    pub progress: Option<i16>,
    /// And the words for it.
    pub progress_message: Option<String>,
    /// Its result, once it is completed, and as long as its history is kept.
    pub output: Option<Value>,
    /// What its last attempt failed with: code, message, details.
    pub error: Option<Value>,
    /// Who dispatched it.
    pub(crate) owner: Option<String>,
    /// Whether it was asked to end.
    pub(crate) cancel_requested: bool,
}

impl JobResult {
    /// Whether nothing will become of it any more by itself.
    pub fn has_ended(&self) -> bool {
        !matches!(self.status.as_str(), "pending" | "running" | "retry")
    }
}

/// The queue, as this node uses it. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Jobs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: JobRegistry,
    pool: Pool,
    cluster: Cluster,
    waker: Waker,
    enqueue: Batcher<Vec<NewJob>, Vec<Written>>,
    /// Those with unique keys by themselves: each may have to wait for whoever has its key, and who shares its commit waits as well.
    enqueue_keyed: Batcher<Vec<NewJob>, Vec<Written>>,
    enqueued: Mutex<Option<[Batches<Vec<NewJob>, Vec<Written>>; 2]>>,
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
    /// Jobs that somebody follows and that have got on.
    told: broadcast::Sender<Arc<[Uuid]>>,
    /// Those that somebody on this node follows.
    followed: follow::Followed,
}

impl Jobs {
    /// The queue for these jobs.
    pub(crate) fn new(registry: JobRegistry, config: &JobsConfig, pool: Pool, cluster: Cluster) -> Self {
        let (enqueue, enqueued) = batcher(enqueue::BATCH_MAX, enqueue::WAITING_MAX);
        let (enqueue_keyed, enqueued_keyed) = batcher(enqueue::BATCH_MAX, enqueue::WAITING_MAX);
        Self(Arc::new(Inner {
            registry,
            pool,
            cluster,
            waker: Waker::default(),
            enqueue,
            enqueue_keyed,
            enqueued: Mutex::new(Some([enqueued, enqueued_keyed])),
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

    /// Writes jobs down by a commit that many share.
    async fn enqueue(&self, jobs: Vec<NewJob>) -> Result<Vec<Written>> {
        let keyed = jobs.iter().any(|job| job.unique_key.is_some());
        if keyed { &self.0.enqueue_keyed } else { &self.0.enqueue }.submit(jobs).await
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
            Wake::Ready { kind, .. } => here.contains(&**kind) && self.0.waker.has_room(),
            Wake::Held { kind, .. } => here.contains(kind.as_str()),
            Wake::Due { .. } => !here.is_empty(),
            Wake::Cancel { .. } | Wake::Queues | Wake::Look => false,
        };
        drop(here);
        if mine {
            self.0.waker.wake(wake);
        } else {
            let (about, at) = wake.told();
            self.0.cluster.bus().tell(CHANNEL, &about, at, i64::min);
        }
    }

    /// Hears what other nodes tell.
    async fn hear(&self) {
        let mut heard = self.0.cluster.bus().subscribe(CHANNEL);
        loop {
            match heard.recv().await {
                Heard::Everything => {
                    self.0.waker.wake(Wake::Look);
                    self.tell_here(&[]);
                }
                Heard::Told(told) => {
                    let (jobs, wakes): (Vec<_>, Vec<_>) = told.iter().partition(|(about, _)| about.starts_with(FOLLOWED));
                    wakes.into_iter().for_each(|(about, at)| self.0.waker.wake(Wake::heard(about, *at)));
                    let jobs: Vec<Uuid> =
                        jobs.iter().filter_map(|(about, _)| about[FOLLOWED.len()..].parse().ok()).collect();
                    if !jobs.is_empty() {
                        self.tell_here(&jobs);
                    }
                }
            }
        }
    }

    /// Whoever follows one of these jobs, or any when none is named, is to look.
    fn tell_here(&self, jobs: &[Uuid]) {
        drop(self.0.told.send(jobs.into()));
    }

    /// The background work of a node that dispatches: enqueues outside of transactions, and what jobs say of themselves.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let batches = self.0.enqueued.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some([plain, keyed]) = batches else { return };
        let enqueueing = async {
            tokio::join!(enqueue::run(&self, plain), enqueue::run(&self, keyed));
        };
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
            () = enqueueing => {}
            () = progressing => {}
            () = self.hear() => {}
            () = self.measure() => {}
            () = self.follow_all() => {}
        }
    }

    /// A job has said how far it is.
    fn progressed(&self, running: &Arc<Running>) {
        self.0.progressed.lock().unwrap_or_else(PoisonError::into_inner).insert(running.id, running.clone());
        self.0.progress.notify_one();
    }

    async fn write_progress(&self) -> Result<()> {
        let some: Vec<Arc<Running>> =
            self.0.progressed.lock().unwrap_or_else(PoisonError::into_inner).drain().map(|(_, running)| running).collect();
        let said: Vec<_> = some.iter().filter_map(|running| Some((running, running.take_progress()?))).collect();
        let ids: Vec<Uuid> = said.iter().map(|(running, _)| running.id).collect();
        let about: Map<String, Value> = said
            .iter()
            .map(|(running, progress)| {
                let Running { worker, claim, .. } = &***running;
                let about =
                    json!({ "worker": worker, "claim": claim, "percent": progress.percent, "message": progress.message });
                (running.id.to_string(), about)
            })
            .collect();
        let lease = self.0.pool.get().await?;
        let answer = lease.query(&PROGRESS, &[&ids, &Value::Object(about)]).await.map_err(from_driver)?;
        drop(lease);
        let mut tracked = Vec::new();
        for row in &answer.rows {
            if get(row, 1)? {
                tracked.push(get(row, 0)?);
            }
        }
        self.told(tracked);
        Ok(())
    }

    /// Something has become of jobs that somebody follows.
    fn told(&self, jobs: Vec<Uuid>) {
        for job in jobs {
            self.0.cluster.bus().tell(CHANNEL, &format!("{FOLLOWED}{job}"), 0, i64::min);
        }
    }

    async fn save(&self, running: &Running, value: &str) -> Result<()> {
        let lease = self.0.pool.get().await?;
        let answer =
            lease.query(&SAVE, &[&running.id, &running.worker, &running.claim, &value]).await.map_err(from_driver)?;
        if answer.affected == 0 { Err(lost()) } else { Ok(()) }
    }

    async fn still_ours(&self, running: &Running) -> Result<()> {
        let lease = self.0.pool.get().await?;
        let answer = lease.query(&OURS, &[&running.id, &running.worker, &running.claim]).await.map_err(from_driver)?;
        if answer.rows.first().is_some_and(|row| row.try_get(0).unwrap_or(false)) { Ok(()) } else { Err(lost()) }
    }

    /// How jobs stand; those that are nowhere (any more) are left out.
    pub(crate) async fn status(&self, ids: &[Uuid]) -> Result<Vec<JobResult>> {
        let answer = self.0.pool.get().await?.query(&STATUS, &[&ids]).await.map_err(from_driver)?;
        let json = |text: Option<String>| text.map(|text| serde_json::from_str(&text)).transpose();
        answer
            .rows
            .iter()
            .map(|row| {
                Ok(JobResult {
                    id: get(row, 0)?,
                    kind: get(row, 1)?,
                    status: get(row, 2)?,
                    attempt: get(row, 3)?,
                    progress: get(row, 4)?,
                    progress_message: get(row, 5)?,
                    output: json(get(row, 6)?)?,
                    error: json(get(row, 7)?)?,
                    owner: get(row, 8)?,
                    cancel_requested: get(row, 9)?,
                })
            })
            .collect()
    }

    /// How a job stands, for somebody who may know.
    pub(crate) async fn status_for(&self, id: Uuid, auth: &AuthContext) -> Result<JobResult> {
        let found = self.status(&[id]).await?.pop().filter(|job| may_see(self, job, auth));
        found.ok_or_else(|| no_such_job(id))
    }

    /// Marks jobs as followed, so that whoever writes of them tells. Returns those that somebody has the hands on, as a transaction that is open may for
    /// long: they are to be marked later.
    async fn track(&self, ids: &[Uuid]) -> Result<Vec<Uuid>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let answer = self.0.pool.get().await?.query(&TRACK, &[&ids]).await.map_err(from_driver)?;
        answer.rows.iter().map(|row| get(row, 0)).collect()
    }

    /// Waits until these have ended.
    async fn wait_for(&self, ids: &[Uuid]) -> Result<Vec<JobResult>> {
        let mut told = self.0.told.subscribe();
        let mut unmarked = ids.to_vec();
        loop {
            unmarked = self.track(&unmarked).await?;
            let found: HashMap<Uuid, JobResult> = self.status(ids).await?.into_iter().map(|one| (one.id, one)).collect();
            if let Some(missing) = ids.iter().find(|id| !found.contains_key(id)) {
                return Err(Error::not_found(format!("there is no job {missing} (any more)")));
            }
            if found.values().all(JobResult::has_ended) {
                return Ok(ids.iter().filter_map(|id| found.get(id).cloned()).collect());
            }
            let news = async {
                // Having missed some is news as well.
                while told.recv().await.is_ok_and(|jobs| !jobs.is_empty() && !jobs.iter().any(|job| ids.contains(job))) {}
            };
            drop(tokio::time::timeout(FOLLOW_EVERY, news).await);
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

fn lost() -> Error {
    Error::cancelled()
}
