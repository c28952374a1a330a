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
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::Jobs;
use super::claimer::Claimer;
use super::claims::Claims;
use super::context::{JobContext, Running};
use super::finish::{End, Ended, Finisher, WAITING_MAX};
use super::registry::JobEntry;
use super::run::{self, CANCEL_GRACE};
use super::shelf::{Shelf, Slots};
use super::store::Claimed;
use crate::cluster::Standing;
use crate::config::WorkerConfig;
use crate::db::Db;
use crate::function::FunctionExecutor;

/// A worker. See the module.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(super) jobs: Jobs,
    pub(super) executor: FunctionExecutor,
    pub(super) config: WorkerConfig,
    pub(super) entries: HashMap<&'static str, Arc<JobEntry>>,
    pub(super) shelf: Shelf<(Arc<JobEntry>, Claimed)>,
    /// What it has: on the shelf, running, or on its way to be written down.
    pub(super) claims: Claims,
    running: Mutex<HashMap<Uuid, Arc<Running>>>,
    /// Who it is, as long as its node is known to be alive: nothing is claimed otherwise.
    pub(super) standing: watch::Receiver<Standing>,
}

impl Worker {
    /// A worker for what this node can do of the app's jobs.
    ///
    /// # Errors
    /// When places are reserved so that some of them would never be begun.
    pub(crate) fn new(jobs: &Jobs, executor: FunctionExecutor, config: &WorkerConfig) -> Result<Arc<Self>> {
        let entries: HashMap<_, _> = jobs
            .registry()
            .entries()
            .filter(|entry| config.capabilities.iter().any(|one| one == entry.info.capability))
            .map(|entry| (entry.info.name, entry.clone()))
            .collect();
        config.leaves_room_for(&entries.values().map(|entry| entry.info.queue).collect())?;
        for unknown in config.unknown_queues(&jobs.registry().queues()) {
            tracing::warn!("{unknown}");
        }
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
        Ok(Arc::new(Self {
            jobs: jobs.clone(),
            executor,
            config: config.clone(),
            entries,
            shelf,
            claims: Claims::default(),
            running: Mutex::default(),
            standing,
        }))
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
        let finishing = tokio::spawn(Finisher { jobs: self.jobs.clone(), ended, claims: self.claims.clone() }.run());
        let tasks = TaskTracker::new();
        let beginning = tokio::spawn(self.clone().begin_jobs(sender.clone(), tasks.clone()));
        let following = tokio::spawn(self.clone().follow());
        let maintaining = tokio::spawn(super::maintain::run(self.jobs.clone(), stop.clone()));
        Claimer::new(&self).run(&stop, &sender).await;
        beginning.abort();
        self.jobs.leave_to_others();
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
        // It may have been begun again here meanwhile, under another claim.
        let mut all = self.running();
        if all.get(&running.id).is_some_and(|one| Arc::ptr_eq(one, &running)) {
            all.remove(&running.id);
        }
        drop(all);
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
    pub(super) async fn hand_back(&self, ended: &mpsc::Sender<Ended>, longer_than: Duration) {
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

    pub(super) fn cancel(&self, id: Uuid) {
        if let Some(running) = self.running().get(&id) {
            running.cancel(CANCEL_GRACE);
        }
    }
}
