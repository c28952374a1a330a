//! Crons: what is done at certain times of the clock.
//!
//! [`CronSchedule`] says when; a run is a job.

pub(crate) mod admin;
mod context;
mod registry;
mod schedule;
mod scheduler;

pub use context::CronContext;
pub use registry::CronRegistry;
pub use schedule::CronSchedule;

pub(crate) use registry::CronEntry;
pub(crate) use scheduler::CronRunner;

use forge_core::cron::Overlap;
use forge_core::job::Concurrency;

/// How many runs of a cron there may be at a time.
pub(crate) fn concurrency(overlap: Overlap) -> Option<Concurrency> {
    match overlap {
        Overlap::Allow => None,
        // One that is to be skipped is not dispatched in the first place; should two meet all the same, they take turns.
        Overlap::Skip | Overlap::Queue => Some(Concurrency { limit: 1, key: false }),
    }
}
