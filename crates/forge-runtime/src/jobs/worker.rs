//! A worker: claims jobs, runs them, and says how they ended.
//!
//! ```text
//!  wake-ups ─▶ claimer ──claim: lanes──▶ shelf ──slots──▶ runners ──▶ finisher ──one statement for all that ended──▶
//!     ▲           └ now and then: a look over all lanes                  │
//!     └──────────────────── given back, due, a place of a key free ◀─────┘
//! ```
//!
//! The three go on beside each other, each on a connection of its own: while one batch is claimed, the last one runs and the one before is
//! written down. Told to stop, it claims nothing more, hands back what it has not begun, gives what runs time to end, and
//! then drops it and hands it back as well, without an attempt being spent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use forge_core::Result;
use forge_core::function::Isolation;
use jiff::Timestamp;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::context::{JobContext, Running};
use super::finish::{End, Ended, Finisher, WAITING_MAX};
use super::lanes::{LaneKind, Lanes};
use super::registry::JobEntry;
use super::run::{self, CANCEL_GRACE};
use super::shelf::{Shelf, Slots};
use super::store::{self, Claimed, HELD, LOOK, PROMOTE, PROMOTE_MAX, RELEASE, RELEASE_LOCK, TAKE_OVER, get, micros};
use super::wake::{Wake, Waker};
use super::{Jobs, rates::Rates};
use crate::cluster::{NodeId, Standing};
use crate::config::WorkerConfig;
use crate::db::Db;
use crate::db::error::from_driver;
use crate::db::transaction::{Purpose, Transaction};
use crate::function::FunctionExecutor;

/// How often all lanes are looked over, for what nobody told of. When a look takes long it is done less often.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What part of the time looks may take: one in so many.
const LOOK_SHARE: u32 = 20;

/// How long a claimed job may wait for a slot before it is handed back, as another worker may have one.
const SHELF_MAX: Duration = Duration::from_secs(2);

/// How many are claimed by one statement at most.
const CLAIM_MAX: usize = 1000;

/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_millis(500);

/// How many of its attempts may end with their worker before a job is taken for what ends them.
const CRASHES_MAX: i32 = 3;

/// The code of what such a job failed with.
const POISON: &str = "JOB_POISON";

/// How many keys that jobs wait for are looked at in one go.
const HELD_MAX: i32 = 200;

/// A worker. See the module.
#[derive(Debug)]
pub(crate) struct Worker {
    jobs: Jobs,
    executor: FunctionExecutor,
    config: WorkerConfig,
    entries: HashMap<&'static str, Arc<JobEntry>>,
    shelf: Shelf<(Arc<JobEntry>, Claimed)>,
    running: Mutex<HashMap<Uuid, Arc<Running>>>,
    /// Who it is, as long as its node is known to be alive: nothing is claimed otherwise.
    standing: watch::Receiver<Standing>,
}

impl Worker {
    /// A worker for what this node can do of the app's jobs.
    pub(crate) fn new(jobs: &Jobs, executor: FunctionExecutor, config: &WorkerConfig) -> Arc<Self> {
        let entries: HashMap<_, _> = jobs
            .registry()
            .entries()
            .filter(|entry| config.capabilities.iter().any(|one| one == entry.info.capability))
            .map(|entry| (entry.info.name, entry.clone()))
            .collect();
        let size = config.concurrency as usize;
        let slots = |queue: &'static str| {
            let said = config.queues.iter().find(|one| one.name == queue);
            let max = said.and_then(|one| one.max).map_or(size, |max| max as usize);
            (queue, Slots { max, reserved: said.map_or(0, |one| one.reserved as usize) })
        };
        let shelf = Shelf::new(size, entries.values().map(|entry| slots(entry.info.queue)));
        jobs.worked_here(entries.keys().copied());
        let standing = jobs.cluster().standing();
        jobs.cluster().set_capabilities(config.capabilities.clone());
        Arc::new(Self {
            jobs: jobs.clone(),
            executor,
            config: config.clone(),
            entries,
            shelf,
            running: Mutex::default(),
            standing,
        })
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Arc<Running>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works until told to stop, and returns when everything it had is written down.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        if self.entries.is_empty() {
            return;
        }
        let mut standing = self.standing.clone();
        tokio::select! {
            () = stop.cancelled() => return,
            known = standing.wait_for(|standing| standing.takes_as().is_some()) => if known.is_err() { return },
        }
        drop(standing);
        let (sender, ended) = mpsc::channel(WAITING_MAX);
        let finishing = tokio::spawn(Finisher { jobs: self.jobs.clone(), ended }.run());
        let tasks = TaskTracker::new();
        let beginning = tokio::spawn(self.clone().begin_jobs(sender.clone(), tasks.clone()));
        let following = tokio::spawn(self.clone().follow());
        let maintaining = tokio::spawn(super::maintain::run(self.jobs.clone(), stop.clone()));
        Claimer::new(&self).run(&stop, &sender).await;
        beginning.abort();
        self.hand_back(&sender, Duration::ZERO).await;
        drop(sender);
        tasks.close();
        if tokio::time::timeout(self.config.drain_timeout, tasks.wait()).await.is_err() {
            let left: Vec<_> = self.running().values().cloned().collect();
            tracing::warn!(
                jobs = left.len(),
                "jobs did not end within worker.drain_timeout; they are handed back, for others to begin again"
            );
            left.iter().for_each(|running| running.let_go());
            tasks.wait().await;
        }
        if finishing.await.is_err() {
            tracing::error!("how jobs ended could not be written down; others will take them over");
        }
        following.abort();
        maintaining.abort();
    }

    /// Begins what may be begun.
    async fn begin_jobs(self: Arc<Self>, ended: mpsc::Sender<Ended>, tasks: TaskTracker) {
        loop {
            let (queue, (entry, job)) = self.shelf.take().await;
            let (worker, ended) = (self.clone(), ended.clone());
            tasks.spawn(async move {
                let end = worker.run_one(queue, &entry, job).await;
                worker.shelf.done(queue);
                // The finisher ends after the last of these.
                drop(ended.send(end).await);
            });
        }
    }

    async fn run_one(self: &Arc<Self>, queue: &'static str, entry: &JobEntry, job: Claimed) -> Ended {
        let running = Running::new(job.id, job.worker, (job.attempt, job.claim), queue);
        self.running().insert(job.id, running.clone());
        if self.standing.borrow().works_as() != Some(job.worker) {
            // Its lease ended between the claim and now.
            running.let_go();
        }
        let ended = run::attempt(entry, job, &running, |job| self.context(entry, job, &running)).await;
        self.running().remove(&running.id);
        ended
    }

    fn context(self: &Arc<Self>, entry: &JobEntry, job: &Claimed, running: &Arc<Running>) -> Result<JobContext> {
        let caller = run::caller_of(job.owner.as_deref(), job.trace.as_deref())?;
        let deadline = Instant::now() + entry.info.timeout;
        Ok(JobContext {
            worker: self.clone(),
            jobs: self.jobs.clone(),
            http: self.executor.http(caller.request.trace),
            db: Db::read(self.executor.database().clone(), None, deadline),
            executor: self.executor.clone(),
            caller,
            deadline,
            kind: entry.info.name,
            max_attempts: entry.info.retry.max_attempts,
            saved: job.saved.clone(),
            running: running.clone(),
        })
    }

    /// Hands back what has waited for a slot for so long, and what is of a queue that was paused.
    async fn hand_back(&self, ended: &mpsc::Sender<Ended>, longer_than: Duration) {
        let mut back = self.shelf.take_back(longer_than);
        if self.jobs.paused().any() {
            back.extend(self.shelf.take_off(|queue| self.jobs.paused().is(queue)));
        }
        for (entry, job) in back {
            let end = End::Again { delay: Duration::ZERO, error: None, unspent: true };
            let Claimed { id, worker, claim, concurrency_key, .. } = job;
            drop(ended.send(Ended { id, kind: entry.info.name, worker, claim, concurrency_key, end }).await);
        }
    }

    /// Lets go of what runs as soon as this node may be taken for dead: others begin it again.
    async fn follow(self: Arc<Self>) {
        let mut standing = self.standing.clone();
        loop {
            let me = standing.borrow_and_update().works_as();
            self.running().values().filter(|running| Some(running.worker) != me).for_each(|running| running.let_go());
            if standing.changed().await.is_err() {
                return;
            }
        }
    }

    /// Gives a job's slot away as long as the guard lives.
    pub(super) fn without_slot(&self, queue: &'static str) -> impl Drop + '_ {
        struct Away<'a>(&'a Worker, &'static str);
        impl Drop for Away<'_> {
            fn drop(&mut self) {
                self.0.shelf.back(self.1);
            }
        }
        self.shelf.done(queue);
        Away(self, queue)
    }

    fn cancel(&self, id: Uuid) {
        if let Some(running) = self.running().get(&id) {
            running.cancel(CANCEL_GRACE);
        }
    }
}

/// The part that claims.
struct Claimer<'a> {
    worker: &'a Worker,
    waker: Waker,
    lanes: Lanes,
    rates: Rates,
    look_at: Instant,
    due_at: Option<Instant>,
    /// Which queues are paused may have changed.
    queues_changed: bool,
    died: broadcast::Receiver<NodeId>,
    /// From which key on held jobs are looked for.
    held_from: (String, String),
}

impl<'a> Claimer<'a> {
    fn new(worker: &'a Worker) -> Self {
        let kinds = worker.entries.values().map(|entry| LaneKind { kind: entry.info.name, queue: entry.info.queue });
        Self {
            waker: worker.jobs.waker().clone(),
            lanes: Lanes::new(kinds),
            rates: Rates::new(worker.entries.values().filter_map(|entry| Some((entry.info.name, entry.info.rate_limit?)))),
            died: worker.jobs.cluster().died(),
            worker,
            look_at: Instant::now(),
            due_at: None,
            queues_changed: true,
            held_from: Default::default(),
        }
    }

    async fn run(mut self, stop: &CancellationToken, ended: &mpsc::Sender<Ended>) {
        loop {
            let due_at = self.due_at.unwrap_or(self.look_at).min(self.look_at);
            let waiting = self.lanes.is_awake();
            let open = self.rates.opens_at().unwrap_or(self.look_at);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                wakes = self.waker.next() => self.take(wakes).await,
                () = tokio::time::sleep_until(due_at.into()) => {}
                () = tokio::time::sleep_until(open.into()), if waiting => {}
                () = self.worker.shelf.roomier(), if waiting => {}
                // Whoever it was: what it ran is looked for.
                _ = self.died.recv() => self.look_at = Instant::now(),
            }
            let mut open = self.worker.jobs.0.open.subscribe();
            if !*open.borrow_and_update() {
                tokio::select! {
                    () = stop.cancelled() => return,
                    changed = open.wait_for(|open| *open) => if changed.is_err() { return },
                }
                self.look_at = Instant::now();
                continue;
            }
            let me = self.worker.standing.borrow().takes_as();
            let Some(me) = me else {
                // Not known to be alive: nothing is claimed until it is.
                let mut standing = self.worker.standing.clone();
                tokio::select! {
                    () = stop.cancelled() => return,
                    changed = standing.wait_for(|standing| standing.takes_as().is_some()) => if changed.is_err() { return },
                }
                self.look_at = Instant::now();
                continue;
            };
            if let Err(why) = self.step(me, stop).await {
                tracing::warn!(error = ?why, "jobs could not be claimed; trying again");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(PAUSE) => self.look_at = Instant::now(),
                }
            }
            self.worker.hand_back(ended, SHELF_MAX).await;
        }
    }

    async fn take(&mut self, wakes: Vec<Wake>) {
        for wake in wakes {
            match wake {
                Wake::Ready { kind, priority, at } => self.lanes.wake(&kind, priority, at),
                Wake::Due { at } => {
                    let shift = Duration::from_micros(self.worker.jobs.shift().unsigned_abs());
                    let left =
                        Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default().saturating_sub(shift);
                    let at = Instant::now() + left;
                    self.due_at = Some(self.due_at.map_or(at, |before| before.min(at)));
                }
                Wake::Held { kind, key } => {
                    if let Err(why) = self.release(&kind, &key).await {
                        tracing::warn!(error = ?why, job = kind, "jobs that wait for a place could not be let in; trying again");
                    }
                }
                Wake::Cancel { id } => self.worker.cancel(id),
                Wake::Queues | Wake::Look => (self.queues_changed, self.look_at) = (true, Instant::now()),
            }
        }
    }

    /// Whatever is to be done now.
    async fn step(&mut self, me: Uuid, stop: &CancellationToken) -> Result<()> {
        self.waker.set_room(self.worker.shelf.counts().0 < self.worker.config.concurrency as usize);
        if self.due_at.is_some_and(|at| at <= Instant::now()) {
            self.due_at = None;
            self.promote().await?;
        }
        if self.look_at <= Instant::now() {
            self.look(me).await?;
        }
        if self.worker.jobs.paused().any() {
            // A look wakes them again.
            self.lanes.rest(|queue| self.worker.jobs.paused().is(queue));
        }
        while self.lanes.is_awake() && !stop.is_cancelled() {
            self.rates.fill(self.worker.jobs.pool(), &self.lanes).await?;
            let (shelf, rates) = (&self.worker.shelf, &self.rates);
            let asks = self.lanes.ask(CLAIM_MAX, Timestamp::now(), |queue| shelf.room(queue), |kind| rates.left(kind));
            self.waker.set_room(!asks.is_empty());
            if asks.is_empty() {
                // No room, or nothing that may be begun yet.
                return Ok(());
            }
            let claimed = store::claim(self.worker.jobs.pool(), me, &asks).await?;
            for ask in &asks {
                let these = || claimed.iter().filter(|job| job.kind == ask.of.kind && job.priority == ask.priority);
                let count = these().count();
                self.rates.took(ask.of.kind, count);
                self.lanes.gave(ask, count, these().map(|job| job.ready_at).max());
            }
            let followed: Vec<Uuid> = claimed.iter().filter(|job| job.tracked).map(|job| job.id).collect();
            self.worker.jobs.begun(followed);
            let mut claimed = claimed;
            // What came back in the order of the update goes on in that of the lanes.
            claimed.sort_by_key(|job| (std::cmp::Reverse(job.priority), job.ready_at));
            let jobs = claimed.into_iter().filter_map(|job| {
                let entry = self.worker.entries.get(job.kind.as_str())?;
                Some((entry.info.queue, (entry.clone(), job)))
            });
            self.worker.shelf.put(jobs);
        }
        Ok(())
    }

    /// Looks over all lanes, and for whatever else nobody may have told of.
    async fn look(&mut self, me: Uuid) -> Result<()> {
        let began = Instant::now();
        if self.queues_changed || self.worker.jobs.paused().any() {
            self.worker.jobs.look_for_paused().await?;
            self.queues_changed = false;
        }
        let (kinds, priorities): (Vec<&str>, Vec<i16>) = self.lanes.all().unzip();
        let shift = self.worker.jobs.shift();
        let answer = self
            .worker
            .jobs
            .pool()
            .get()
            .await?
            .query(&LOOK, &[&kinds, &priorities, &shift, &me])
            .await
            .map_err(from_driver)?;
        let (mut lost, mut held) = (false, false);
        for row in &answer.rows {
            if let Some(n) = get::<Option<i64>>(row, 0)? {
                self.lanes.wake_nth(usize::try_from(n).unwrap_or(1) - 1, get(row, 1)?);
                continue;
            }
            self.due_in(get(row, 2)?);
            (lost, held) = (get(row, 4)?, get(row, 5)?);
            get::<Option<Vec<Uuid>>>(row, 3)?.into_iter().flatten().for_each(|id| self.worker.cancel(id));
        }
        if lost {
            self.take_over().await?;
        }
        if held {
            self.look_for_held().await?;
        }
        let (running, _) = self.worker.shelf.counts();
        self.worker.jobs.cluster().set_jobs(u32::try_from(running).unwrap_or(u32::MAX), self.worker.config.concurrency);
        self.look_at = Instant::now() + LOOK_EVERY.max(began.elapsed() * LOOK_SHARE);
        Ok(())
    }

    /// Gives the jobs of workers that are gone back.
    async fn take_over(&mut self) -> Result<()> {
        let lease = self.worker.jobs.pool().get().await?;
        let retain = micros(forge_core::job::DEFAULT_RETAIN);
        let answer = lease.query(&TAKE_OVER, &[&CRASHES_MAX, &retain, &POISON]).await.map_err(from_driver)?;
        drop(lease);
        for row in &answer.rows {
            let kind: String = get(row, 1)?;
            if get(row, 6)? {
                tracing::error!(job = kind, job_id = %get::<Uuid>(row, 0)?, "a job has taken its worker down too often; it is a dead letter now");
            }
            match (get::<Option<String>>(row, 4)?, get(row, 3)?) {
                (Some(key), _) => self.worker.jobs.wake(Wake::Held { kind, key }),
                (None, Some(at)) => self.worker.jobs.wake(Wake::Ready { kind: kind.into(), priority: get(row, 2)?, at }),
                (None, None) => {}
            }
            if get(row, 5)? {
                self.worker.jobs.told(vec![get(row, 0)?]);
            }
        }
        if !answer.rows.is_empty() {
            tracing::warn!(jobs = answer.rows.len(), "jobs of workers that are gone were taken from them");
        }
        Ok(())
    }

    fn due_in(&mut self, micros: Option<i64>) {
        self.due_at = micros.map(|micros| Instant::now() + Duration::from_micros(u64::try_from(micros).unwrap_or(0)));
    }

    /// Makes ready what is due.
    async fn promote(&mut self) -> Result<()> {
        let shift = self.worker.jobs.shift();
        let lease = self.worker.jobs.pool().get().await?;
        let answer = lease.query(&PROMOTE, &[&shift, &PROMOTE_MAX]).await.map_err(from_driver)?;
        let mut next = None;
        for row in &answer.rows {
            match get::<Option<String>>(row, 0)? {
                Some(kind) if get::<i16>(row, 2)? == 0 => {
                    self.waker.wake(Wake::Ready { kind: kind.into(), priority: get(row, 1)?, at: get(row, 3)? })
                }
                Some(kind) => self.waker.wake(Wake::Held { kind, key: get::<Option<String>>(row, 4)?.unwrap_or_default() }),
                None => next = get(row, 5)?,
            }
        }
        self.due_in(next);
        Ok(())
    }

    async fn look_for_held(&mut self) -> Result<()> {
        let lease = self.worker.jobs.pool().get().await?;
        let answer = lease.query(&HELD, &[&self.held_from.0, &self.held_from.1, &HELD_MAX]).await.map_err(from_driver)?;
        drop(lease);
        self.held_from = Default::default();
        for row in &answer.rows {
            let (kind, key): (String, String) = (get(row, 0)?, get(row, 1)?);
            self.release(&kind, &key).await?;
            if answer.rows.len() >= HELD_MAX as usize {
                self.held_from = (kind, key);
            }
        }
        Ok(())
    }

    /// Lets jobs of a key in.
    async fn release(&mut self, kind: &str, key: &str) -> Result<()> {
        let Some(limit) = self.worker.entries.get(kind).and_then(|entry| entry.info.concurrency) else { return Ok(()) };
        let purpose = Purpose::Write {
            isolation: Isolation::ReadCommitted,
            user_id: String::new(),
            function: "forge_jobs",
            trace_id: String::new(),
        };
        let transaction = Transaction::new(
            self.worker.jobs.pool().get().await?,
            purpose,
            Instant::now() + Duration::from_secs(10),
            false,
        );
        transaction.query(&RELEASE_LOCK, &[&kind, &key]).await?;
        let answer = transaction.query(&RELEASE, &[&kind, &key, &i64::from(limit.limit)]).await?;
        transaction.commit(None, self.worker.executor.database().side()).await?;
        for row in &answer.rows {
            self.lanes.wake(kind, get(row, 0)?, get(row, 1)?);
        }
        Ok(())
    }
}
