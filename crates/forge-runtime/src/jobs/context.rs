//! What a job is given.

use uuid::Uuid;

/// What a job is given.
#[derive(Debug)]
pub struct JobContext {
    job_id: Uuid,
    attempt: u32,
}

impl JobContext {
    #[doc(hidden)]
    pub fn new(job_id: Uuid, attempt: u32) -> Self {
        Self { job_id, attempt }
    }

    /// The job's id.
    pub fn job_id(&self) -> Uuid {
        self.job_id
    }

    /// Which attempt this is; the first is 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }
}
