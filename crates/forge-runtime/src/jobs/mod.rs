//! Jobs: units of work that wait in a queue, are done by a worker, and are tried again when they fail.

mod context;
mod registry;

pub use context::JobContext;
pub use registry::JobRegistry;

pub(crate) use registry::JobEntry;
