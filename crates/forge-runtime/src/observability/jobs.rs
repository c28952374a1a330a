//! Metrics of jobs.

use std::sync::LazyLock;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use forge_core::Error;
use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Unit;

use super::metrics::{Running, with_registry};
use crate::jobs::Depth;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabels {
    job: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    job: &'static str,
    code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabels {
    queue: String,
}

/// From half a millisecond to an hour.
fn seconds() -> Histogram {
    Histogram::new([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 3600.0])
}

/// Metrics of all jobs.
#[derive(Debug)]
pub(crate) struct AllJobMetrics {
    running: Family<JobLabels, Gauge>,
    completed: Family<JobLabels, Counter>,
    failed: Family<FailureLabels, Counter>,
    duration: Family<JobLabels, Histogram, fn() -> Histogram>,
    wait: Family<JobLabels, Histogram, fn() -> Histogram>,
    fenced: Counter,
    waiting: Family<QueueLabels, Gauge>,
    ready: Family<QueueLabels, Gauge>,
    oldest: Family<QueueLabels, Gauge<f64, AtomicU64>>,
}

/// Metrics of all jobs.
pub(crate) fn jobs() -> &'static AllJobMetrics {
    static METRICS: LazyLock<AllJobMetrics> = LazyLock::new(|| {
        let metrics = AllJobMetrics {
            running: Family::default(),
            completed: Family::default(),
            failed: Family::default(),
            duration: Family::new_with_constructor(seconds),
            wait: Family::new_with_constructor(seconds),
            fenced: Counter::default(),
            waiting: Family::default(),
            ready: Family::default(),
            oldest: Family::default(),
        };
        with_registry(|registry| {
            registry.register("jobs_running", "Jobs that this node runs", metrics.running.clone());
            registry.register("jobs_completed", "Attempts that ended well", metrics.completed.clone());
            registry.register("jobs_failed", "Attempts that ended with an error, by its code", metrics.failed.clone());
            registry.register_with_unit("job_duration", "How long attempts took", Unit::Seconds, metrics.duration.clone());
            registry.register_with_unit(
                "job_wait",
                "From when a job was ready until it was begun",
                Unit::Seconds,
                metrics.wait.clone(),
            );
            registry.register(
                "jobs_fenced",
                "Ends of jobs that did not count, as somebody else had the job by then",
                metrics.fenced.clone(),
            );
            registry.register(
                "job_queue_waiting",
                "Jobs that wait, as the node that counted last says",
                metrics.waiting.clone(),
            );
            registry.register("job_queue_ready", "Those of them that could be begun", metrics.ready.clone());
            registry.register_with_unit(
                "job_queue_oldest",
                "How long the one that could be begun first has waited",
                Unit::Seconds,
                metrics.oldest.clone(),
            );
        });
        metrics
    });
    &METRICS
}

impl AllJobMetrics {
    /// How many jobs of each queue wait, run and are ready, and how long the first has waited.
    pub(crate) fn counted(&self, queues: &[Depth]) {
        // What is not counted is empty.
        self.waiting.clear();
        self.ready.clear();
        self.oldest.clear();
        for Depth { queue, waiting, ready, oldest, .. } in queues {
            let labels = QueueLabels { queue: queue.clone() };
            self.waiting.get_or_create(&labels).set(*waiting);
            self.ready.get_or_create(&labels).set(*ready);
            self.oldest.get_or_create(&labels).set(*oldest);
        }
    }

    /// So many jobs were somebody else's when their end was to be written down.
    pub(crate) fn fenced(&self, n: u64) {
        self.fenced.inc_by(n);
    }
}

/// Metrics of one kind, looked up once.
#[derive(Debug)]
pub(crate) struct JobMetrics {
    job: &'static str,
    running: Gauge,
    completed: Counter,
    duration: Histogram,
    wait: Histogram,
}

impl JobMetrics {
    pub(crate) fn new(job: &'static str) -> Self {
        let (all, labels) = (jobs(), JobLabels { job });
        Self {
            job,
            running: all.running.get_or_create_owned(&labels),
            completed: all.completed.get_or_create_owned(&labels),
            duration: all.duration.get_or_create_owned(&labels),
            wait: all.wait.get_or_create_owned(&labels),
        }
    }

    /// Counts one as running until what is returned is dropped.
    pub(crate) fn running(&self) -> Running {
        self.running.inc();
        Running(self.running.clone())
    }

    /// An attempt has ended. Clocks of two machines differ: what seems to have waited less than nothing has not waited.
    pub(crate) fn ended(&self, took: Duration, ready_at: Timestamp, error: Option<&Error>) {
        let waited = Timestamp::now().duration_since(ready_at).as_secs_f64() - took.as_secs_f64();
        self.wait.observe(waited.max(0.0));
        self.duration.observe(took.as_secs_f64());
        match error {
            None => drop(self.completed.inc()),
            Some(why) => {
                let labels = FailureLabels { job: self.job, code: why.code().to_owned() };
                jobs().failed.get_or_create(&labels).inc();
            }
        }
    }
}

/// Metrics of crons.
#[derive(Debug, Default)]
pub(crate) struct CronMetrics {
    runs: Family<CronLabels, Counter>,
    skipped: Family<CronLabels, Counter>,
    missed: Family<CronLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CronLabels {
    cron: &'static str,
}

/// Metrics of crons.
pub(crate) fn crons() -> &'static CronMetrics {
    static METRICS: LazyLock<CronMetrics> = LazyLock::new(|| {
        let metrics = CronMetrics::default();
        with_registry(|registry| {
            registry.register("cron_runs", "Runs that this node has dispatched", metrics.runs.clone());
            registry.register("cron_skipped", "Times left out, as the last run was not finished", metrics.skipped.clone());
            registry.register("cron_missed", "Times that passed without a run", metrics.missed.clone());
        });
        metrics
    });
    &METRICS
}

impl CronMetrics {
    pub(crate) fn dispatched(&self, cron: &'static str) {
        self.runs.get_or_create(&CronLabels { cron }).inc();
    }

    pub(crate) fn skipped(&self, cron: &'static str) {
        self.skipped.get_or_create(&CronLabels { cron }).inc();
    }

    pub(crate) fn missed(&self, cron: &'static str, n: u64) {
        self.missed.get_or_create(&CronLabels { cron }).inc_by(n);
    }
}
