//! The part of a worker that claims: decides when to ask for jobs, and of which lanes.
//!
//! It is woken when there is something to do, and looks over everything now and then, for what nobody told of (`look.rs`). How it lets jobs in that wait
//! for a place of their key is told in `keys.rs`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use forge_core::Result;
use jiff::Timestamp;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::due::Due;
use super::finish::Ended;
use super::keys::Keys;
use super::lanes::{LaneKind, Lanes};
use super::rates::Rates;
use super::store;
use super::wake::{Wake, Waker};
use super::worker::Worker;
use crate::cluster::NodeId;

/// How many are claimed by one statement at most.
const CLAIM_MAX: usize = 1000;

/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_millis(500);

/// How long a claimed job may wait for a slot before it is handed back, as another worker may have one.
const SHELF_MAX: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Claimer<'a> {
    pub(super) worker: &'a Worker,
    pub(super) waker: Waker,
    pub(super) lanes: Lanes,
    rates: Rates,
    pub(super) look_at: Instant,
    pub(super) due: Due,
    /// Which queues are paused may have changed.
    pub(super) queues_changed: bool,
    died: broadcast::Receiver<NodeId>,
    pub(super) keys: Keys,
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
            due: Due::default(),
            queues_changed: true,
            keys: Keys::default(),
        }
    }

    pub(super) async fn run(mut self, stop: &CancellationToken, ended: &mpsc::Sender<Ended>) {
        loop {
            let next = self.due.at().unwrap_or(self.look_at).min(self.look_at);
            let waiting = self.lanes.is_awake();
            let open = self.rates.opens_at(&self.lanes).unwrap_or(self.look_at);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                wakes = self.waker.next() => self.take(wakes).await,
                () = tokio::time::sleep_until(next.into()) => {}
                () = std::future::ready(()), if self.keys.is_looking() => {}
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
                // It may be the connections: to a server that has become a standby, say.
                self.worker.jobs.pool().clear();
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(PAUSE) => self.look_at = Instant::now(),
                }
            }
            self.worker.hand_back(ended, SHELF_MAX).await;
        }
    }

    async fn take(&mut self, wakes: Vec<Wake>) {
        let mut keys = BTreeSet::new();
        for wake in wakes {
            match wake {
                Wake::Ready { kind, priority, at } => self.lanes.wake(&kind, priority, at),
                Wake::Due { at } => {
                    let shift = Duration::from_micros(self.worker.jobs.shift().unsigned_abs());
                    let left =
                        Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default().saturating_sub(shift);
                    self.due.another(left);
                }
                Wake::Held { kind, key } => drop(keys.insert((kind, key))),
                Wake::Cancel { id } => self.worker.cancel(id),
                Wake::Queues | Wake::Look => (self.queues_changed, self.look_at) = (true, Instant::now()),
            }
        }
        if let Err(why) = self.release(keys).await {
            tracing::warn!(error = ?why, "jobs that wait for a place could not be let in; trying again");
            self.look_at = self.look_at.min(Instant::now() + PAUSE);
        }
    }

    /// Whatever is to be done now.
    async fn step(&mut self, me: Uuid, stop: &CancellationToken) -> Result<()> {
        self.waker.set_room(self.worker.shelf.counts().0 < self.worker.config.concurrency as usize);
        if self.due.is_now() {
            self.promote().await?;
        }
        if self.look_at <= Instant::now() {
            self.look(me).await?;
        }
        if self.keys.is_looking() {
            self.look_for_held().await?;
        }
        if self.worker.jobs.paused().any() {
            // A look wakes them again.
            self.lanes.rest(|queue| self.worker.jobs.paused().is(queue));
        }
        while self.lanes.is_awake() && !stop.is_cancelled() {
            self.rates.fill(self.worker.jobs.pool(), &self.lanes).await?;
            let (shelf, rates) = (&self.worker.shelf, &self.rates);
            let n = shelf.room_of_all().min(CLAIM_MAX);
            let asks = self.lanes.ask(n, Timestamp::now(), |queue| shelf.room(queue), |kind| rates.left(kind));
            self.waker.set_room(!asks.is_empty());
            if asks.is_empty() {
                // No room, or nothing that may be begun yet.
                return Ok(());
            }
            let claimed = store::claim(self.worker.executor.database().claims(), me, &asks).await?;
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
            let jobs: Vec<_> = jobs.collect();
            self.worker.claims.add(jobs.iter().map(|(_, (_, job))| (job.id, job.claim)));
            self.worker.shelf.put(jobs);
        }
        Ok(())
    }
}
