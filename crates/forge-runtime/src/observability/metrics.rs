//! The metrics of a node, in the text format that Prometheus reads.
//!
//! Names are fixed: dashboards and alerts of users depend on them. Labels have few values (function names, routes, status
//! codes), never ids.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock};
use std::time::Duration;

use forge_core::function::FunctionInfo;
use forge_core::{Error, Result};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::db::{Database, Shape, Verb};

/// All metrics of the process.
static REGISTRY: LazyLock<Mutex<Registry>> = LazyLock::new(Mutex::default);

/// Adds metrics of a feature, or of the app itself, to what `/metrics` prints.
pub fn with_registry<T>(add: impl FnOnce(&mut Registry) -> T) -> T {
    add(&mut REGISTRY.lock().unwrap_or_else(PoisonError::into_inner))
}

/// All metrics as text.
///
/// # Errors
/// When a metric cannot be written, which would be a bug.
pub fn render() -> Result<String> {
    // Touch the groups, so that each is listed before its first event.
    let _ = (
        http(),
        functions(),
        statements(),
        super::live(),
        super::query_cache(),
        super::jobs(),
        super::crons(),
        super::cluster(),
    );
    let registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)
        .map_err(|why| Error::internal("the metrics cannot be written").with_source(why))?;
    Ok(text)
}

/// From half a millisecond to thirty seconds.
fn seconds() -> Histogram {
    Histogram::new([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}

/// From 64 bytes to 16 MiB.
fn bytes() -> Histogram {
    Histogram::new((3..=12).map(|power| f64::from(4_u32.pow(power))))
}

type HistogramFamily<L> = Family<L, Histogram, fn() -> Histogram>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct HttpLabels {
    pub(crate) method: &'static str,
    /// The route, such as `/rpc/{function}`, never the path itself.
    pub(crate) path: &'static str,
    pub(crate) status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    path: &'static str,
}

/// Metrics of the gateway.
#[derive(Debug)]
pub(crate) struct HttpMetrics {
    requests: Family<HttpLabels, Counter>,
    duration: HistogramFamily<RouteLabels>,
    request_size: HistogramFamily<RouteLabels>,
    response_size: HistogramFamily<RouteLabels>,
    pub(crate) connections: Gauge,
    /// What requests of one kind count in, looked up once. There are few kinds, and the usual ones come first.
    known: RwLock<Vec<Arc<RequestKind>>>,
}

#[derive(Debug)]
struct RequestKind {
    labels: HttpLabels,
    requests: Counter,
    duration: Histogram,
    request_size: Histogram,
    response_size: Histogram,
}

/// Metrics of the gateway.
pub(crate) fn http() -> &'static HttpMetrics {
    static METRICS: LazyLock<HttpMetrics> = LazyLock::new(|| {
        let metrics = HttpMetrics {
            requests: Family::default(),
            duration: Family::new_with_constructor(seconds),
            request_size: Family::new_with_constructor(bytes),
            response_size: Family::new_with_constructor(bytes),
            connections: Gauge::default(),
            known: RwLock::default(),
        };
        with_registry(|registry| {
            registry.register("http_requests", "Requests by method, route and status", metrics.requests.clone());
            registry.register_with_unit(
                "http_request_duration",
                "Time from the request's head to the answer's",
                Unit::Seconds,
                metrics.duration.clone(),
            );
            registry.register_with_unit(
                "http_request_size",
                "Size of request bodies",
                Unit::Bytes,
                metrics.request_size.clone(),
            );
            registry.register_with_unit(
                "http_response_size",
                "Size of answers' bodies",
                Unit::Bytes,
                metrics.response_size.clone(),
            );
            registry.register("http_connections", "Connections that are open", metrics.connections.clone());
        });
        metrics
    });
    &METRICS
}

/// How many connections of the gateway are open.
pub(crate) fn http_connections() -> i32 {
    i32::try_from(http().connections.get()).unwrap_or(i32::MAX)
}

impl HttpMetrics {
    pub(crate) fn finished(&self, labels: HttpLabels, took: Duration, request_bytes: usize, response_bytes: usize) {
        let kind = self.kind(labels);
        kind.requests.inc();
        kind.duration.observe(took.as_secs_f64());
        kind.request_size.observe(request_bytes as f64);
        kind.response_size.observe(response_bytes as f64);
    }

    fn kind(&self, labels: HttpLabels) -> Arc<RequestKind> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(kind) = known.iter().find(|kind| kind.labels == labels) {
            return kind.clone();
        }
        drop(known);
        let route = RouteLabels { path: labels.path };
        let kind = Arc::new(RequestKind {
            requests: self.requests.get_or_create_owned(&labels),
            duration: self.duration.get_or_create_owned(&route),
            request_size: self.request_size.get_or_create_owned(&route),
            response_size: self.response_size.get_or_create_owned(&route),
            labels,
        });
        // Two at once may both add it: they count in the same, so nothing is lost.
        self.known.write().unwrap_or_else(PoisonError::into_inner).push(kind.clone());
        kind
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    name: &'static str,
    r#type: &'static str,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NameLabels {
    name: &'static str,
    r#type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    name: &'static str,
    code: String,
}

#[derive(Debug)]
struct FunctionFamilies {
    calls: Family<CallLabels, Counter>,
    duration: HistogramFamily<NameLabels>,
    errors: Family<ErrorLabels, Counter>,
    running: Family<NameLabels, Gauge>,
    conflicts: Family<NameLabels, Counter>,
}

fn functions() -> &'static FunctionFamilies {
    static METRICS: LazyLock<FunctionFamilies> = LazyLock::new(|| {
        let metrics = FunctionFamilies {
            calls: Family::default(),
            duration: Family::new_with_constructor(seconds),
            errors: Family::default(),
            running: Family::default(),
            conflicts: Family::default(),
        };
        with_registry(|registry| {
            registry.register("function_calls", "Calls by function and outcome", metrics.calls.clone());
            registry.register_with_unit("function_duration", "Time a call took", Unit::Seconds, metrics.duration.clone());
            registry.register("function_errors", "Failed calls by function and error code", metrics.errors.clone());
            registry.register("function_running", "Calls that run now", metrics.running.clone());
            registry.register(
                "function_conflicts",
                "Attempts of mutations that met a conflict and were rolled back",
                metrics.conflicts.clone(),
            );
        });
        metrics
    });
    &METRICS
}

/// The metrics of one function, looked up once.
#[derive(Debug)]
pub(crate) struct FunctionMetrics {
    name: &'static str,
    succeeded: Counter,
    failed: Counter,
    duration: Histogram,
    running: Gauge,
    conflicts: Counter,
}

impl FunctionMetrics {
    pub(crate) fn new(info: &FunctionInfo) -> Self {
        let families = functions();
        let (name, kind) = (info.name, info.kind.as_str());
        let calls = |status| families.calls.get_or_create_owned(&CallLabels { name, r#type: kind, status });
        let labels = NameLabels { name, r#type: kind };
        Self {
            name,
            succeeded: calls("ok"),
            failed: calls("error"),
            duration: families.duration.get_or_create_owned(&labels),
            running: families.running.get_or_create_owned(&labels),
            conflicts: families.conflicts.get_or_create_owned(&labels),
        }
    }

    /// Counts a call as running until what is returned is dropped.
    pub(crate) fn running(&self) -> Running {
        self.running.inc();
        Running(self.running.clone())
    }

    pub(crate) fn finished(&self, took: Duration, error: Option<&Error>) {
        self.duration.observe(took.as_secs_f64());
        match error {
            None => self.succeeded.inc(),
            Some(error) => {
                let code = error.code().to_owned();
                functions().errors.get_or_create(&ErrorLabels { name: self.name, code }).inc();
                self.failed.inc()
            }
        };
    }

    pub(crate) fn conflicted(&self) {
        self.conflicts.inc();
    }
}

/// A call or a job that runs.
#[derive(Debug)]
pub(crate) struct Running(pub(super) Gauge);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatementLabels {
    operation: &'static str,
}

#[derive(Debug)]
struct Statements {
    reads: Counter,
    writes: Counter,
    failed: Counter,
    read_duration: Histogram,
    write_duration: Histogram,
    slow_us: AtomicU64,
}

fn statements() -> &'static Statements {
    static METRICS: LazyLock<Statements> = LazyLock::new(|| {
        let count: Family<StatementLabels, Counter> = Family::default();
        let duration: HistogramFamily<StatementLabels> = Family::new_with_constructor(seconds);
        let errors = Counter::default();
        with_registry(|registry| {
            registry.register("db_queries", "Statements of functions", count.clone());
            registry.register("db_query_errors", "Statements of functions that failed", errors.clone());
            registry.register_with_unit(
                "db_query_duration",
                "Time a statement took, waiting for a connection included",
                Unit::Seconds,
                duration.clone(),
            );
        });
        let (read, write) = (StatementLabels { operation: "read" }, StatementLabels { operation: "write" });
        Statements {
            reads: count.get_or_create_owned(&read),
            writes: count.get_or_create_owned(&write),
            failed: errors,
            read_duration: duration.get_or_create_owned(&read),
            write_duration: duration.get_or_create_owned(&write),
            slow_us: AtomicU64::new(100_000),
        }
    });
    &METRICS
}

/// From which duration on a statement is logged as slow.
pub(crate) fn set_slow_statement(threshold: Duration) {
    let us = u64::try_from(threshold.as_micros()).unwrap_or(u64::MAX);
    statements().slow_us.store(us, std::sync::atomic::Ordering::Relaxed);
}

/// Counts a statement of a function, and logs it when it was slow. Its arguments are never logged.
pub(crate) fn statement_ran(shape: &Shape, took: Duration, succeeded: bool) {
    let metrics = statements();
    let (count, duration) = match shape.verb {
        Verb::Read | Verb::ReadAlone => (&metrics.reads, &metrics.read_duration),
        Verb::Write | Verb::Control => (&metrics.writes, &metrics.write_duration),
    };
    count.inc();
    duration.observe(took.as_secs_f64());
    if !succeeded {
        metrics.failed.inc();
    }
    if took.as_micros() as u64 >= metrics.slow_us.load(std::sync::atomic::Ordering::Relaxed) {
        tracing::warn!(target: "forge::slow_statement", duration_ms = took.as_millis() as u64, statement = %shape.text, "a statement was slow");
    }
}

/// Reads the pool's gauges whenever the metrics are asked for.
#[derive(Debug)]
struct PoolGauges(Database);

impl Collector for PoolGauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::result::Result<(), std::fmt::Error> {
        let health = self.0.health();
        let gauges: [(&str, &str, usize); 4] = [
            ("db_connections_active", "Pooled connections that are lent", health.active),
            ("db_connections_idle", "Pooled connections that are idle", health.idle),
            ("db_connections_shared", "Shared read connections that are open", health.shared),
            ("db_up", "Whether the last check of the primary succeeded", usize::from(health.primary)),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value as i64);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

/// Adds the gauges of a database.
pub(crate) fn watch_database(database: &Database) {
    let gauges = PoolGauges(database.clone());
    with_registry(|registry| registry.register_collector(Box::new(gauges)));
}
