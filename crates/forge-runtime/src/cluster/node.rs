//! What is known of the nodes, as people, functions and other rooms see it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use uuid::Uuid;

pub use crate::config::Role as NodeRole;

/// Names a node, and one life of it: a node that was taken for dead goes on under another one. Never used again.
pub type NodeId = Uuid;

/// What becomes of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeStatus {
    /// It has begun, and takes no work yet.
    Joining,
    /// At work.
    Active,
    /// Told to stop: it finishes what it has begun.
    Draining,
    /// Gone without a word, or cut off for too long. What it had is given to others; the id never comes back.
    Dead,
}

impl NodeStatus {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Joining, Self::Active, Self::Draining, Self::Dead];

    /// The word for it, as in the table `forge_nodes`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Dead => "dead",
        }
    }
}

/// A node, as it was at its last beat.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct NodeInfo {
    /// Its id in this life.
    pub id: NodeId,
    /// The name of the machine, or of the container.
    pub hostname: String,
    /// Where it listens, if it is a gateway. It may be an address that means something on its own machine only.
    pub address: Option<String>,
    /// What it does. A role that this version does not know is left out.
    #[serde(deserialize_with = "known_roles")]
    pub roles: Vec<NodeRole>,
    /// What kinds of jobs its worker can do, if it has one.
    pub capabilities: Vec<String>,
    /// What becomes of it.
    pub status: NodeStatus,
    /// The version of the app.
    pub version: String,
    /// The version of FORGE in it.
    pub forge_version: String,
    /// When the process joined, by its own clock.
    pub started_at: Timestamp,
    /// When it last showed that it lives, by the database's clock.
    pub last_heartbeat: Timestamp,
    /// How long before the view was made that was.
    #[serde(rename = "silent_ms", deserialize_with = "milliseconds")]
    pub silent_for: Duration,
    /// HTTP connections that are open.
    pub connections: u32,
    /// Jobs that run.
    pub jobs: u32,
    /// How many may run at once.
    pub jobs_max: u32,
    /// How many processors it used since the beat before: 1.5 is one and a half.
    pub cpu: f32,
    /// How much memory it has, in bytes.
    pub memory: u64,
    /// Somebody has asked it to drain: it begins to with its next beat.
    pub drain_asked: bool,
    /// Its session has ended.
    pub(crate) gone: bool,
}

impl NodeInfo {
    /// Whether it has a role.
    pub fn has(&self, role: NodeRole) -> bool {
        self.roles.contains(&role)
    }
}

fn known_roles<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<NodeRole>, D::Error> {
    let words = Vec::<String>::deserialize(from)?;
    Ok(words.iter().filter_map(|word| NodeRole::named(word)).collect())
}

fn milliseconds<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let ms = i64::deserialize(from)?;
    Ok(Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
}

/// What only one node may do at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LeaderRole {
    /// Decides what is due. Nodes with the role [`Scheduler`](NodeRole::Scheduler) are candidates.
    Scheduler,
}

impl LeaderRole {
    /// All there are.
    pub const ALL: [Self; 1] = [Self::Scheduler];

    /// The word for it, as in the table `forge_leaders`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduler => "scheduler",
        }
    }

    /// What a node must be to lead.
    pub const fn candidates(self) -> NodeRole {
        match self {
            Self::Scheduler => NodeRole::Scheduler,
        }
    }

    /// The first half of its advisory lock's key, "FORG" and counting. The other half is the oid of `forge_leaders`, so that two apps
    /// in schemas of one database do not get in each other's way.
    pub(crate) const fn lock_class(self) -> i64 {
        0x464F_5247 + self as i64
    }

    pub(super) fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaderInfo {
    /// In what.
    pub role: LeaderRole,
    /// Which node.
    pub node: NodeId,
    /// How often the role was taken, this time included.
    pub term: i64,
    /// Since when, by the database's clock.
    pub since: Timestamp,
}

/// How this node stands. Whoever takes work takes it as the node that is active at that moment, and lets go of what it has when that ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not there yet.
    Joining,
    /// At work, under this id.
    Active(NodeId),
    /// It could not beat for too long, or was declared dead. It lets go, takes nothing, and comes back under another id.
    CutOff,
    /// Told to stop: it finishes what it has, and takes nothing.
    Draining(NodeId),
}

impl Standing {
    /// As whom work may be taken.
    pub fn takes_as(self) -> Option<NodeId> {
        match self {
            Self::Active(id) => Some(id),
            Self::Joining | Self::CutOff | Self::Draining(_) => None,
        }
    }

    /// As whom work that was taken may be finished.
    pub fn works_as(self) -> Option<NodeId> {
        match self {
            Self::Active(id) | Self::Draining(id) => Some(id),
            Self::Joining | Self::CutOff => None,
        }
    }

    /// The word for it, as `/ready` says it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Active(_) => "active",
            Self::CutOff => "cut off from the database",
            Self::Draining(_) => "draining",
        }
    }
}

/// The cluster, as this node last saw it: at its last beat, at most `cluster.heartbeat_interval` ago while the database can be reached. From
/// [`ctx.cluster()`](crate::function::QueryContext::cluster). It costs no statement, and cheap to clone.
#[derive(Debug, Clone)]
pub struct ClusterInfo(pub(super) Arc<View>);

/// What a beat has brought.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) me: Option<NodeId>,
    pub(super) nodes: Vec<NodeInfo>,
    pub(super) leaders: Vec<LeaderInfo>,
    pub(super) seen_at: Option<Timestamp>,
}

impl ClusterInfo {
    /// This node, in the life that it had at that beat.
    pub fn me(&self) -> Option<NodeId> {
        self.0.me
    }

    /// All nodes, this one too, those that died within the last hour last: at most 1,000.
    pub fn nodes(&self) -> &[NodeInfo] {
        &self.0.nodes
    }

    /// Those at work.
    pub fn active(&self) -> impl Iterator<Item = &NodeInfo> {
        self.0.nodes.iter().filter(|node| node.status == NodeStatus::Active)
    }

    /// One of them.
    pub fn node(&self, id: NodeId) -> Option<&NodeInfo> {
        self.0.nodes.iter().find(|node| node.id == id)
    }

    /// Who leads in what.
    pub fn leaders(&self) -> &[LeaderInfo] {
        &self.0.leaders
    }

    /// Who leads in something; nobody for the moment between two leaders.
    pub fn leader(&self, role: LeaderRole) -> Option<&LeaderInfo> {
        self.0.leaders.iter().find(|leader| leader.role == role)
    }

    /// Who decides what is due.
    pub fn scheduler_leader(&self) -> Option<&LeaderInfo> {
        self.leader(LeaderRole::Scheduler)
    }

    /// When this was so, by the database's clock. Nothing before the first beat.
    pub fn seen_at(&self) -> Option<Timestamp> {
        self.0.seen_at
    }
}
