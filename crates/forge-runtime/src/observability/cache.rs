//! Metrics of the query cache.

use std::sync::LazyLock;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Unit;

use super::metrics::with_registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    function: &'static str,
    result: &'static str,
}

/// Metrics of the query cache.
#[derive(Debug, Default)]
pub(crate) struct QueryCacheMetrics {
    calls: Family<CallLabels, Counter>,
    looks: Counter,
    invalidations: Counter,
    evictions: Counter,
    entries: Gauge,
    bytes: Gauge,
}

/// Metrics of the query cache.
pub(crate) fn query_cache() -> &'static QueryCacheMetrics {
    static METRICS: LazyLock<QueryCacheMetrics> = LazyLock::new(|| {
        let metrics = QueryCacheMetrics::default();
        with_registry(|registry| {
            let calls = "Calls of queries with `cache`: hit, miss (it ran), shared (somebody else's run), bypass";
            registry.register("query_cache_calls", calls, metrics.calls.clone());
            registry.register("query_cache_looks", "Looks at the change feed", metrics.looks.clone());
            let invalidations = "Results that were dropped because something had changed";
            registry.register("query_cache_invalidations", invalidations, metrics.invalidations.clone());
            let evictions = "Results that were dropped to make room";
            registry.register("query_cache_evictions", evictions, metrics.evictions.clone());
            registry.register("query_cache_results", "Results that are kept", metrics.entries.clone());
            let bytes = "Memory that they take, of function.cache_size";
            registry.register_with_unit("query_cache_size", bytes, Unit::Bytes, metrics.bytes.clone());
        });
        metrics
    });
    &METRICS
}

impl QueryCacheMetrics {
    pub(crate) fn called(&self, function: &'static str, result: &'static str) {
        self.calls.get_or_create(&CallLabels { function, result }).inc();
    }

    pub(crate) fn looked(&self) {
        self.looks.inc();
    }

    pub(crate) fn invalidated(&self, results: usize) {
        self.invalidations.inc_by(results as u64);
    }

    pub(crate) fn evicted(&self, results: usize) {
        self.evictions.inc_by(results as u64);
    }

    pub(crate) fn holds(&self, results: usize, bytes: usize) {
        self.entries.set(i64::try_from(results).unwrap_or(i64::MAX));
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}
