//! Metrics of live queries.

use std::sync::LazyLock;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use super::metrics::with_registry;

/// Metrics of live queries.
#[derive(Debug, Default)]
pub(crate) struct LiveMetrics {
    sessions: Gauge,
    subscriptions: Gauge,
    groups: Gauge,
    changes: Counter,
    gaps: Counter,
    concerned: Counter,
    runs: Counter,
    unchanged: Counter,
    frames: Counter,
    bytes: Counter,
}

/// Metrics of live queries.
pub(crate) fn live() -> &'static LiveMetrics {
    static METRICS: LazyLock<LiveMetrics> = LazyLock::new(|| {
        let metrics = LiveMetrics::default();
        with_registry(|registry| {
            registry.register("live_sessions", "Connections for live queries", metrics.sessions.clone());
            registry.register("live_subscriptions", "Subscriptions", metrics.subscriptions.clone());
            registry.register("live_queries", "Distinct queries that they share", metrics.groups.clone());
            registry.register("live_changes", "Changes read from the change feed", metrics.changes.clone());
            registry.register("live_gaps", "Times that everything had to be taken as changed", metrics.gaps.clone());
            registry.register("live_concerned", "Queries that changes concerned", metrics.concerned.clone());
            registry.register("live_runs", "Runs of live queries", metrics.runs.clone());
            registry.register("live_runs_unchanged", "Runs whose result was the same as before", metrics.unchanged.clone());
            registry.register("live_frames", "Frames sent", metrics.frames.clone());
            registry.register("live_frame_bytes", "Bytes of frames sent", metrics.bytes.clone());
        });
        metrics
    });
    &METRICS
}

impl LiveMetrics {
    pub(crate) fn subscribed(&self, subscriptions: usize, groups: usize) {
        self.subscriptions.set(i64::try_from(subscriptions).unwrap_or(i64::MAX));
        self.groups.set(i64::try_from(groups).unwrap_or(i64::MAX));
    }

    pub(crate) fn batch(&self, changes: usize, gap: bool, concerned: usize) {
        self.changes.inc_by(changes as u64);
        self.gaps.inc_by(u64::from(gap));
        self.concerned.inc_by(concerned as u64);
    }

    pub(crate) fn ran(&self, unchanged: bool) {
        self.runs.inc();
        self.unchanged.inc_by(u64::from(unchanged));
    }

    pub(crate) fn frame(&self, bytes: usize) {
        self.frames.inc();
        self.bytes.inc_by(bytes as u64);
    }

    pub(crate) fn session_began(&self) {
        self.sessions.inc();
    }

    pub(crate) fn session_ended(&self) {
        self.sessions.dec();
    }
}
