//! The cluster: which nodes there are, who leads, what time it is, and what nodes tell each other.
//!
//! ```text
//!  schema found ─▶ joining ── ready ──▶ active ── told to stop, or asked to drain ──▶ draining ── all is finished ──▶ row deleted
//!                                         │
//!               declared dead, or no beat for long ─▶ cut off ── database back ──▶ active, under another id (the old one stays dead)
//! ```
//!
//! Everything goes through the database. A node beats: one statement each `cluster.heartbeat_interval`, on a session of its own past any
//! pooler, which says that it lives, renews what it leads, marks others dead, and brings back what there is ([`heart`], `sql/beat.sql`). The
//! others see that its process has ended when that session has; that its machine or network has gone, by its silence.
//!
//! What holds under which failure:
//!
//! - **The process ends**: the server sees the session end. Marked dead by the next beat of another node that is at least 1¼ intervals after its last one.
//! - **The machine, or the network, is gone; the process is frozen**: marked dead after `dead_threshold`. The node itself has let go one interval before
//!   that, by its own clock, unless it was frozen: then it finds out when it wakes, and until then whatever it writes is fenced.
//! - **The database is away** for shorter than that: nothing happens. For longer: every node lets go, and joins anew. Nobody is marked dead because a
//!   session ended that ended for all: who judges must have been connected since the other last beat.
//! - **The database's clock is set**: not taken for silence (`jump` in the statement).
//!
//! Rooms hook in by channels: [`Cluster::standing`] (as whom may this node take work now; a node's id is never a constant), [`Cluster::died`],
//! [`Cluster::election`], [`Cluster::info`]. **What died says may be missed** (the one that marks may die itself): whoever gives the work
//! of the dead to others does so idempotently, and also sweeps, for what belongs to no node that lives: `SELECT id FROM forge_nodes WHERE status <> 'dead'`.
//!
//! Not here: what work there is, and its fencing (a job by its worker and claim; a leader's writes by the term, see [`leader`]).

pub(crate) mod admin;
mod bus;
mod clock;
mod heart;
mod leader;
mod load;
mod node;
mod pace;
mod seats;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

#[cfg(test)]
pub(crate) use bus::BusReceiver;
pub(crate) use bus::{Bus, Heard};
pub use clock::Clock;
pub(crate) use heart::Heart;
#[cfg(test)]
pub(crate) use leader::LEADS;
pub(crate) use leader::{LeaderElection, LeaderGuard};
pub use node::{ClusterInfo, LeaderInfo, LeaderRole, NodeId, NodeInfo, NodeRole, NodeStatus, Standing};

use load::Jobs;
use node::View;
use pace::Pace;

/// The nodes that live, as statements have it that look for what belongs to none of them. Whoever is about to be marked dead counts as living.
#[cfg(test)]
pub(crate) const LIVING: &str = "SELECT id FROM forge_nodes WHERE status <> 'dead'";

/// How many deaths may wait for a slow listener; it is told then that some are missing, and sweeps.
const DEATHS_MAX: usize = 256;

/// What a node knows of its cluster, and says to it. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Cluster(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    standing: watch::Sender<Standing>,
    view: watch::Sender<Arc<View>>,
    died: broadcast::Sender<NodeId>,
    seats: Vec<(LeaderRole, watch::Sender<Option<LeaderGuard>>)>,
    jobs: Jobs,
    pace: Pace,
    capabilities: Mutex<Vec<String>>,
    /// Somebody has asked this node to drain.
    drain: CancellationToken,
    clock: Clock,
    bus: Bus,
}

impl Cluster {
    /// Of a node that has not joined; a [`Heart`] does that.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            standing: watch::Sender::new(Standing::Joining),
            view: watch::Sender::default(),
            died: broadcast::Sender::new(DEATHS_MAX),
            seats: LeaderRole::ALL.iter().map(|role| (*role, watch::Sender::new(None))).collect(),
            jobs: Jobs::default(),
            pace: Pace::default(),
            capabilities: Mutex::default(),
            drain: CancellationToken::new(),
            clock: Clock::default(),
            bus: Bus::new(),
        }))
    }

    /// Who is there and who leads, as of the last beat.
    pub(crate) fn info(&self) -> ClusterInfo {
        ClusterInfo(self.0.view.borrow().clone())
    }

    /// Waits until a beat brings something that is looked for.
    pub(crate) async fn seen(&self, wanted: impl Fn(&ClusterInfo) -> bool) {
        let mut view = self.0.view.subscribe();
        // The sender lives as long as this does.
        let _ = view.wait_for(|view| wanted(&ClusterInfo(view.clone()))).await;
    }

    /// How this node stands, and when that changes.
    pub(crate) fn standing(&self) -> watch::Receiver<Standing> {
        self.0.standing.subscribe()
    }

    /// As whom work may be taken now.
    #[cfg(test)]
    pub(crate) fn takes_as(&self) -> Option<NodeId> {
        self.0.standing.borrow().takes_as()
    }

    /// Whether it was told to stop: it takes nothing more, for good.
    pub(crate) fn is_draining(&self) -> bool {
        matches!(*self.0.standing.borrow(), Standing::Draining(_))
    }

    /// Nodes that have died: those that this node has marked dead, and its own former id when it has joined anew. Each death is told on one
    /// node of all, at most once; see the module.
    pub(crate) fn died(&self) -> broadcast::Receiver<NodeId> {
        self.0.died.subscribe()
    }

    /// Whether this node leads in something, and when it does.
    pub(crate) fn election(&self, role: LeaderRole) -> LeaderElection {
        LeaderElection(self.seat(role).subscribe())
    }

    fn seat(&self, role: LeaderRole) -> &watch::Sender<Option<LeaderGuard>> {
        // There is one for each, in the order of the roles.
        &self.0.seats[role as usize].1
    }

    /// The time by which things are due.
    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// What nodes tell each other.
    pub(crate) fn bus(&self) -> &Bus {
        &self.0.bus
    }

    /// How many jobs run here, of how many: said with the next beat.
    pub(crate) fn set_jobs(&self, running: u32, max: u32) {
        self.0.jobs.running.store(running, Ordering::Relaxed);
        self.0.jobs.max.store(max, Ordering::Relaxed);
    }

    /// So many jobs of a queue were completed here.
    pub(crate) fn completed(&self, queue: &'static str, count: u64) {
        self.0.pace.add(queue, count);
    }

    /// How many were completed here within the last minute, by queue. Said with every beat.
    pub(crate) fn last_minute(&self) -> BTreeMap<&'static str, u64> {
        self.0.pace.last_minute()
    }

    /// Becomes cancelled when somebody asks this node to drain.
    pub(crate) fn asked_to_drain(&self) -> &CancellationToken {
        &self.0.drain
    }

    /// What kinds of jobs this node can do: said with the next beat.
    pub(crate) fn set_capabilities(&self, capabilities: Vec<String>) {
        *self.0.capabilities.lock().unwrap_or_else(PoisonError::into_inner) = capabilities;
    }

    fn capabilities(&self) -> Vec<String> {
        self.0.capabilities.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
