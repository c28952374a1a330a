//! The cluster, from outside: as it is shown, which is what this node saw at its last beat and costs no statement; and draining a node.
//!
//! A node is asked to drain by a row, which it sees with its next beat. It then does what it does when its process is told to stop.

use std::sync::{Arc, LazyLock};

use forge_core::{Error, Result};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::{Cluster, ClusterInfo, NodeId, NodeStatus};
use crate::admin::{Actor, Admin, Done};
use crate::db::error::from_driver;
use crate::db::{Answer, Shape};

static NODE: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(include_str!("sql/node.sql")));
static DRAIN: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(include_str!("sql/drain.sql")));

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
    /// It is about to drain.
    drain_asked: bool,
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
            drain_asked: node.drain_asked,
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

/// A node that is to drain, and what that means.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DrainView {
    node: NodeId,
    hostname: String,
    address: Option<String>,
    status: String,
    roles: Vec<String>,
    /// HTTP connections that are open.
    connections: i32,
    /// Jobs that it has: it finishes them, or hands them back.
    jobs: i64,
    /// What another node is to lead then.
    leads: Vec<String>,
    /// Roles that no other node has that is at work and stays.
    only_one_for: Vec<String>,
    /// Whether this has asked it; not when it was asked before, is stopping already, or nothing was to be done.
    changed: bool,
    #[serde(skip)]
    asked: bool,
}

impl DrainView {
    fn read(node: NodeId, answer: &Answer) -> Result<Option<Self>> {
        let Some(row) = answer.rows.first() else { return Ok(None) };
        let read = || {
            Ok(Self {
                node,
                hostname: row.try_get(0)?,
                address: row.try_get(1)?,
                status: row.try_get(2)?,
                roles: row.try_get(3)?,
                connections: row.try_get(4)?,
                asked: row.try_get(5)?,
                jobs: row.try_get(6)?,
                leads: row.try_get(7)?,
                only_one_for: row.try_get(8)?,
                changed: false,
            })
        };
        read().map(Some).map_err(from_driver)
    }
}

impl Cluster {
    /// Asks a node to drain, or says what that would mean.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is no such node, `CONFLICT` when it is dead.
    pub(crate) async fn drain(&self, admin: &Admin, actor: &Actor, id: NodeId, dry_run: bool) -> Result<DrainView> {
        let act = admin.act(actor).await?;
        let found = DrainView::read(id, &act.run(&NODE, &[&id]).await?)?;
        let mut view = match found {
            Some(dead) if dead.status == NodeStatus::Dead.as_str() => {
                act.undo().await;
                return Err(Error::conflict(format!(
                    "the node {id} ({}) is dead: it has nothing left to finish, and what it had is given to others",
                    dead.hostname
                )));
            }
            Some(view) => view,
            None => {
                act.undo().await;
                return Err(self.no_such_node(id));
            }
        };
        let stays = view.status == NodeStatus::Draining.as_str() || view.asked;
        if dry_run || stays || act.run(&DRAIN, &[&id]).await?.affected == 0 {
            act.undo().await;
            return Ok(view);
        }
        let target = id.to_string();
        let details = Some(json!({ "hostname": view.hostname }));
        act.done(&Done { action: "nodes.drain", target: Some(&target), count: 1, details }).await?;
        view.changed = true;
        Ok(view)
    }

    fn no_such_node(&self, id: NodeId) -> Error {
        let info = self.info();
        let living = info.nodes().iter().filter(|node| node.status != NodeStatus::Dead);
        let known: Vec<String> = living.map(|node| format!("{} ({})", node.id, node.hostname)).collect();
        Error::not_found(format!("there is no node {id} (any more); there are: {}", known.join(", ")))
    }
}
