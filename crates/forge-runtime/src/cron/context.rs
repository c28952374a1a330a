//! What a cron is given.

use jiff::Timestamp;

/// What a cron is given.
#[derive(Debug)]
pub struct CronContext {
    cron_name: &'static str,
    scheduled_time: Timestamp,
}

impl CronContext {
    #[doc(hidden)]
    pub fn new(cron_name: &'static str, scheduled_time: Timestamp) -> Self {
        Self { cron_name, scheduled_time }
    }

    /// The cron's name.
    pub fn cron_name(&self) -> &'static str {
        self.cron_name
    }

    /// The time that this run is for.
    pub fn scheduled_time(&self) -> Timestamp {
        self.scheduled_time
    }
}
