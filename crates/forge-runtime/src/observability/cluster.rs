//! Metrics of the cluster, as this node sees it.

use std::sync::LazyLock;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::metrics::with_registry;
use crate::cluster::{LeaderRole, NodeInfo, NodeStatus};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabels {
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RoleLabels {
    role: &'static str,
}

/// Metrics of the cluster.
#[derive(Debug, Default)]
pub(crate) struct ClusterMetrics {
    nodes: Family<StatusLabels, Gauge>,
    joins: Counter,
    leaves: Counter,
    beats_failed: Counter,
    leads: Family<RoleLabels, Gauge>,
    elections: Counter,
    failovers: Counter,
}

/// Metrics of the cluster.
pub(crate) fn cluster() -> &'static ClusterMetrics {
    static METRICS: LazyLock<ClusterMetrics> = LazyLock::new(|| {
        let metrics = ClusterMetrics::default();
        for role in LeaderRole::ALL {
            let _ = metrics.leads.get_or_create(&RoleLabels { role: role.as_str() });
        }
        with_registry(|registry| {
            registry.register("cluster_nodes", "Nodes by status, as this node last saw them", metrics.nodes.clone());
            registry.register(
                "node_joins",
                "Times that this node joined: more than once when it was cut off",
                metrics.joins.clone(),
            );
            registry.register("node_leaves", "Times that this node left, or was cut off", metrics.leaves.clone());
            registry.register("node_beats_failed", "Beats of this node that failed", metrics.beats_failed.clone());
            registry.register("leader_is_leader", "Whether this node leads, by role", metrics.leads.clone());
            registry.register("leader_elections", "Elections that this node won", metrics.elections.clone());
            let failovers = "Those of them in which the leader before had not resigned";
            registry.register("leader_failovers", failovers, metrics.failovers.clone());
        });
        metrics
    });
    &METRICS
}

impl ClusterMetrics {
    pub(crate) fn seen(&self, nodes: &[NodeInfo]) {
        for status in NodeStatus::ALL {
            let count = nodes.iter().filter(|node| node.status == status).count();
            let gauge = self.nodes.get_or_create(&StatusLabels { status: status.as_str() });
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    pub(crate) fn joined(&self) {
        self.joins.inc();
    }

    pub(crate) fn left(&self) {
        self.leaves.inc();
    }

    pub(crate) fn beat_failed(&self) {
        self.beats_failed.inc();
    }

    pub(crate) fn elected(&self, role: LeaderRole, failover: bool) {
        self.elections.inc();
        if failover {
            self.failovers.inc();
        }
        self.leads.get_or_create(&RoleLabels { role: role.as_str() }).set(1);
    }

    pub(crate) fn deposed(&self, role: LeaderRole) {
        self.leads.get_or_create(&RoleLabels { role: role.as_str() }).set(0);
    }
}
