//! The cluster, as it is shown outside: what this node saw at its last beat. It costs no statement.

use jiff::Timestamp;
use serde::Serialize;

use super::{ClusterInfo, NodeId};

/// The cluster.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClusterView {
    /// The node that answers.
    me: Option<NodeId>,
    /// When it was so; nothing before the first beat.
    seen_at: Option<Timestamp>,
    nodes: Vec<NodeView>,
    leaders: Vec<LeaderView>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeView {
    id: NodeId,
    hostname: String,
    address: Option<String>,
    roles: Vec<&'static str>,
    capabilities: Vec<String>,
    status: &'static str,
    version: String,
    forge_version: String,
    started_at: Timestamp,
    last_heartbeat: Timestamp,
    silent_ms: u64,
    connections: u32,
    jobs: u32,
    jobs_max: u32,
    /// In processors.
    cpu: f32,
    memory_bytes: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LeaderView {
    role: &'static str,
    node: NodeId,
    term: i64,
    since: Timestamp,
}

impl ClusterView {
    pub(crate) fn of(cluster: &ClusterInfo) -> Self {
        let nodes = cluster.nodes().iter().map(|node| NodeView {
            id: node.id,
            hostname: node.hostname.clone(),
            address: node.address.clone(),
            roles: node.roles.iter().map(|role| role.as_str()).collect(),
            capabilities: node.capabilities.clone(),
            status: node.status.as_str(),
            version: node.version.clone(),
            forge_version: node.forge_version.clone(),
            started_at: node.started_at,
            last_heartbeat: node.last_heartbeat,
            silent_ms: u64::try_from(node.silent_for.as_millis()).unwrap_or(u64::MAX),
            connections: node.connections,
            jobs: node.jobs,
            jobs_max: node.jobs_max,
            cpu: node.cpu,
            memory_bytes: node.memory,
        });
        let leaders = cluster.leaders().iter().map(|leader| LeaderView {
            role: leader.role.as_str(),
            node: leader.node,
            term: leader.term,
            since: leader.since,
        });
        Self { me: cluster.me(), seen_at: cluster.seen_at(), nodes: nodes.collect(), leaders: leaders.collect() }
    }
}
