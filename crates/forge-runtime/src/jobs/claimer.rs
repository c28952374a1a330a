//! The part of a worker that claims: decides when to ask for jobs, and of which lanes.
//!
//! It is woken when there is something to do, and looks over everything now and then, for what nobody told of: jobs of workers that are gone,
//! jobs that wait for a place of their key, jobs to be cancelled, queues that are paused.

use std::time::{Duration, Instant};

use forge_core::Result;
use forge_core::function::Isolation;
use jiff::Timestamp;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::finish::Ended;
use super::lanes::{LaneKind, Lanes};
use super::rates::Rates;
use super::store::{self, HELD, LOOK, PROMOTE, PROMOTE_MAX, RELEASE, RELEASE_LOCK, TAKE_OVER, get, micros};
use super::wake::{Wake, Waker};
use super::worker::Worker;
use crate::cluster::NodeId;
use crate::db::error::from_driver;
use crate::db::transaction::{Purpose, Transaction};

/// How often all lanes are looked over, for what nobody told of. When a look takes long it is done less often.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What part of the time looks may take: one in so many.
const LOOK_SHARE: u32 = 20;

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

/// How long a claimed job may wait for a slot before it is handed back, as another worker may have one.
const SHELF_MAX: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Claimer<'a> {
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
    pub(super) fn new(worker: &'a Worker) -> Self {
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

    pub(super) async fn run(mut self, stop: &CancellationToken, ended: &mpsc::Sender<Ended>) {
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
