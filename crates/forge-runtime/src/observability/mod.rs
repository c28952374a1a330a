//! What a node tells about itself: metrics, logs, and one span per request.
//!
//! - [`registry`] holds every metric of the process; `/metrics` prints it. Features add theirs to it.
//! - [`init_logging`] sets up `tracing` for a program that has not done so itself.
//! - The request log is one line per request, written by [`request_finished`].
//!
//! Nothing here waits: a log line goes into a buffer that a thread of its own writes out; a metric is an atomic.

mod cache;
mod cluster;
mod jobs;
mod live;
mod logging;
mod mail;
mod metrics;

pub(crate) use cache::query_cache;
pub(crate) use cluster::cluster;
pub(crate) use jobs::{JobMetrics, crons, jobs};
pub(crate) use live::live;
pub(crate) use logging::REQUEST;
pub use logging::{LogGuard, init_logging};
pub(crate) use mail::mail;
pub use metrics::{render, with_registry};

pub(crate) use metrics::{
    FunctionMetrics, HttpLabels, http, http_connections, set_slow_statement, statement_ran, watch_database,
};
