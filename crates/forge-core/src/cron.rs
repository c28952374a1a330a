//! Crons: what is done at certain times of the clock.
//!
//! `#[forge::cron("0 9 * * 1-5")]` turns a Rust function into a unit type of the same name that implements [`Cron`] (when it is
//! due and what it demands) and [`ForgeCron`] (how it runs). A run is a job: it is tried again when it fails, times out, and ends
//! as a dead letter like one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::function::BoxFuture;
use crate::job::{Priority, RetryPolicy};

/// The time zone of a cron that names none.
pub const DEFAULT_TIMEZONE: &str = "UTC";

/// How many missed runs are caught up when a cron that catches up does not say: the newest ones.
pub const DEFAULT_CATCH_UP_LIMIT: u32 = 10;

/// What happens when a cron is due while its last run is not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// This time is left out; counted and logged. The default, unless the cron catches up.
    #[default]
    Skip,
    /// It waits until the last run is finished. The default when the cron catches up.
    Queue,
    /// Both run at the same time.
    Allow,
}

impl Overlap {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Queue => "queue",
            Self::Allow => "allow",
        }
    }
}

/// Everything a cron says about itself. Built by the macros.
#[derive(Debug, Clone, Copy)]
pub struct CronInfo {
    /// Its name: the Rust function's name.
    pub name: &'static str,
    /// The doc comment.
    pub doc: &'static str,
    /// When it is due: five parts (minute, hour, day of month, month, day of week), or six with the second before them.
    pub expression: &'static str,
    /// In which time zone the expression is read, by its IANA name: [`DEFAULT_TIMEZONE`] when not said.
    pub timezone: &'static str,
    /// Whether times that passed while no scheduler ran are made up for. Otherwise they are counted and logged.
    pub catch_up: bool,
    /// How many of them at most: the newest; [`DEFAULT_CATCH_UP_LIMIT`] when not said.
    pub catch_up_limit: u32,
    /// What happens when the last run is not finished.
    pub overlap: Overlap,
    /// How long one attempt may take: [`job::DEFAULT_TIMEOUT`](crate::job::DEFAULT_TIMEOUT) when not said.
    pub timeout: Duration,
    /// What happens when it fails.
    pub retry: RetryPolicy,
    /// The queue its runs wait in.
    pub queue: &'static str,
    /// How urgent its runs are.
    pub priority: Priority,
    /// What a worker must be able to do.
    pub capability: &'static str,
    /// The module it stands in.
    pub module: &'static str,
    /// The file it stands in.
    pub file: &'static str,
    /// The line it stands on.
    pub line: u32,
}

/// A cron: when it is due, and what it demands.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a cron of FORGE",
    note = "pass the name of a function that has `#[forge::cron]`"
)]
pub trait Cron: Send + Sync + 'static {
    /// What it says about itself.
    const INFO: CronInfo;
}

/// A cron that runs with this context.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a cron",
    note = "only a function with `#[forge::cron]` can be run by the clock"
)]
pub trait ForgeCron<Ctx>: Cron {
    /// Runs one attempt.
    fn execute(ctx: &Ctx) -> BoxFuture<'_, Result<()>>;
}
