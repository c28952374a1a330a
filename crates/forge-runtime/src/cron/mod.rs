//! Crons: what is done at certain times of the clock.
//!
//! [`CronSchedule`] says when; a run is a job.

mod context;
mod registry;
mod schedule;

pub use context::CronContext;
pub use registry::CronRegistry;
pub use schedule::CronSchedule;

pub(crate) use registry::CronEntry;
