//! Metrics of live queries.

use std::sync::LazyLock;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::metrics::with_registry;

/// Metrics of live queries.
#[derive(Debug)]
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
    feed_sink: Family<Vec<(&'static str, &'static str)>, Gauge>,
    feed_position: Gauge,
    feed_lag: Histogram,
    feed_streams_lost: Counter,
    feed_dropped: Counter,
    feed_behind: Counter,
    feed_flushes: Counter,
}

/// From a commit to the round that sees it, in seconds.
const LAG_BUCKETS: [f64; 12] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

impl Default for LiveMetrics {
    fn default() -> Self {
        Self {
            sessions: Gauge::default(),
            subscriptions: Gauge::default(),
            groups: Gauge::default(),
            changes: Counter::default(),
            gaps: Counter::default(),
            concerned: Counter::default(),
            runs: Counter::default(),
            unchanged: Counter::default(),
            frames: Counter::default(),
            bytes: Counter::default(),
            feed_sink: Family::default(),
            feed_position: Gauge::default(),
            feed_lag: Histogram::new(LAG_BUCKETS),
            feed_streams_lost: Counter::default(),
            feed_dropped: Counter::default(),
            feed_behind: Counter::default(),
            feed_flushes: Counter::default(),
        }
    }
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
            registry.register(
                "live_feed_sink",
                "Where changes are written to: 1 for the sink in force",
                metrics.feed_sink.clone(),
            );
            registry.register(
                "live_feed_position",
                "Up to where the log has been read, in bytes",
                metrics.feed_position.clone(),
            );
            registry.register(
                "live_feed_lag_seconds",
                "From a commit to the round that sees it, by the clocks of server and node",
                metrics.feed_lag.clone(),
            );
            registry.register(
                "live_feed_streams_lost",
                "Attempts to read the log that failed, and streams that ended",
                metrics.feed_streams_lost.clone(),
            );
            registry.register(
                "live_feed_dropped",
                "Times that more changes waited than may, so that they were dropped",
                metrics.feed_dropped.clone(),
            );
            registry.register(
                "live_feed_behind",
                "Rounds that did not wait any longer for the log",
                metrics.feed_behind.clone(),
            );
            registry.register(
                "live_feed_flushes",
                "Times that the server was asked to write out its log for a round",
                metrics.feed_flushes.clone(),
            );
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

    pub(crate) fn feed_sink(&self, name: &'static str) {
        for sink in ["changelog", "wal"] {
            self.feed_sink.get_or_create(&vec![("sink", sink)]).set(i64::from(sink == name));
        }
    }

    pub(crate) fn feed_position(&self, position: u64) {
        self.feed_position.set(i64::try_from(position).unwrap_or(i64::MAX));
    }

    pub(crate) fn feed_arrived(&self, lag: Duration) {
        self.feed_lag.observe(lag.as_secs_f64());
    }

    pub(crate) fn feed_stream_lost(&self) {
        self.feed_streams_lost.inc();
    }

    pub(crate) fn feed_dropped(&self) {
        self.feed_dropped.inc();
    }

    pub(crate) fn feed_behind(&self) {
        self.feed_behind.inc();
    }

    pub(crate) fn feed_flushed(&self) {
        self.feed_flushes.inc();
    }
}
