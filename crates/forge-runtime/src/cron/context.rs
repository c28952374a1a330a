//! What a cron is given.

use std::ops::Deref;

use forge_core::Result;
use forge_core::cron::{CronInfo, ForgeCron};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::jobs::JobContext;

/// After how long a run counts as late.
const LATE: SignedDuration = SignedDuration::from_mins(1);

/// What the scheduler writes down for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Run {
    /// The time that it is for.
    pub(super) slot: Timestamp,
    /// It makes up for one that was missed.
    #[serde(default)]
    pub(super) catch_up: bool,
    /// Somebody asked for it.
    #[serde(default)]
    pub(super) by_hand: bool,
}

/// What a cron is given: all that a [job](JobContext) is, and the time that it is for.
///
/// A run belongs to nobody, so it calls functions as the app itself: what asks for a signed-in caller or a role is open to it, and
/// [`require_user`](JobContext::require_user) finds nobody.
#[derive(Debug)]
pub struct CronContext {
    job: JobContext,
    info: &'static CronInfo,
    run: Run,
    began: Timestamp,
}

impl CronContext {
    pub(crate) fn new<C: ForgeCron<Self>>(job: &JobContext, input: &[u8]) -> Result<Self> {
        let began = job.now();
        Ok(Self { job: job.share(), info: const { &C::INFO }, run: serde_json::from_slice(input)?, began })
    }

    /// The cron's name.
    pub fn cron_name(&self) -> &'static str {
        self.info.name
    }

    /// The time zone in which its expression is read.
    pub fn timezone(&self) -> &'static str {
        self.info.timezone
    }

    /// The time that this run is for. It is the same in each attempt, whenever that is made.
    pub fn scheduled_time(&self) -> Timestamp {
        self.run.slot
    }

    /// When this attempt began, by the clock of due times.
    pub fn execution_time(&self) -> Timestamp {
        self.began
    }

    /// How long after its time this attempt began.
    pub fn delay(&self) -> SignedDuration {
        self.began.duration_since(self.run.slot).max(SignedDuration::ZERO)
    }

    /// Whether that is more than a minute.
    pub fn is_late(&self) -> bool {
        self.delay() > LATE
    }

    /// Whether it makes up for a run that was missed, as no scheduler ran at its time.
    pub fn is_catch_up(&self) -> bool {
        self.run.catch_up
    }

    /// Whether somebody asked for it, instead of the clock.
    pub fn is_by_hand(&self) -> bool {
        self.run.by_hand
    }
}

impl Deref for CronContext {
    type Target = JobContext;

    fn deref(&self) -> &JobContext {
        &self.job
    }
}
