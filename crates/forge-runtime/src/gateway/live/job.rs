//! `subscribeJob`: how a job stands, told to whoever may know.

use std::sync::Arc;
use std::time::Duration;

use forge_core::auth::AuthContext;
use forge_core::job::JobStatus;
use forge_core::{Error, ErrorKind, Result};
use serde_json::{Value, json};
use tokio::task::AbortHandle;
use uuid::Uuid;

use crate::jobs::{JobResult, Jobs, Standing, may_see, no_such_job};
use crate::realtime::{JobNews, Outbox};

/// How long to wait while the database is away.
const PAUSE: Duration = Duration::from_secs(1);

/// A session's subscription to a job. Ends when it is dropped.
#[derive(Debug)]
pub(super) struct Following {
    /// The job.
    pub(super) job: Uuid,
    /// Which of the session's subscriptions under this number it is.
    pub(super) turn: u64,
    task: AbortHandle,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What it takes to follow a job.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) jobs: Jobs,
    pub(super) outbox: Arc<Outbox>,
    /// The session's number for it.
    pub(super) id: u64,
    pub(super) auth: AuthContext,
    /// How large an output may be, in bytes.
    pub(super) output_max: usize,
}

impl Follower {
    /// Begins to tell the session how a job stands: the newest each time that it takes something.
    pub(super) fn begin(self, job: Uuid) -> Following {
        let turn = self.outbox.follow(self.id);
        let task = tokio::spawn(async move {
            if let Err(why) = self.tell(job, turn).await {
                self.outbox.job(self.id, turn, JobNews::Failed(Arc::new(why)));
            }
        });
        Following { job, turn, task: task.abort_handle() }
    }

    async fn tell(&self, job: Uuid, turn: u64) -> Result<()> {
        // Asked before it is marked as followed: nobody leaves a trace at a job that is not theirs to see.
        self.look(job).await?;
        let mut standing = self.jobs.follow(job);
        loop {
            let now = standing.borrow_and_update().clone();
            match now {
                Standing::Unknown => {}
                Standing::Known(now) => {
                    let (text, over) = (self.message(&now)?, now.has_ended());
                    self.outbox.job(self.id, turn, JobNews::Stands { text, over });
                    if over {
                        return Ok(());
                    }
                }
                Standing::Gone => return Err(no_such_job(job)),
            }
            if standing.changed().await.is_err() {
                return Err(no_such_job(job));
            }
        }
    }

    /// Whether there is such a job for this caller. An outage is sat out: it says nothing about the job.
    async fn look(&self, job: Uuid) -> Result<()> {
        loop {
            match self.jobs.status(&[job]).await {
                Ok(found) => {
                    let theirs = found.first().is_some_and(|found| may_see(&self.jobs, found, &self.auth));
                    return if theirs { Ok(()) } else { Err(no_such_job(job)) };
                }
                Err(why) if why.kind() == ErrorKind::DatabaseUnavailable => tokio::time::sleep(PAUSE).await,
                Err(why) => return Err(why),
            }
        }
    }

    fn message(&self, job: &JobResult) -> Result<String> {
        let completed = job.status == JobStatus::Completed;
        let mut message = json!({
            "type": "job",
            "id": self.id,
            "job": job.kind,
            "status": job.status,
            "attempt": job.attempt,
            "progress": if completed { Some(100) } else { job.progress },
            "message": job.progress_message,
        });
        if completed {
            message["output"] = job.output.clone().unwrap_or_default();
        }
        if let Some(error) = &job.error {
            message["error"] = shown(error);
        }
        let text = message.to_string();
        if text.len() > self.output_max {
            return Err(Error::payload_too_large(format!(
                "the output of the job `{}` makes a message of {} bytes, more than function.max_result_size = {}; let it answer with what \
                 identifies its result, and read that by a query",
                job.kind,
                text.len(),
                self.output_max
            )));
        }
        Ok(text)
    }
}

/// Of an error that is kept with a job, what a client may read.
fn shown(error: &Value) -> Value {
    let code = error.get("code").cloned().unwrap_or_else(|| "INTERNAL_ERROR".into());
    if error.get("internal").is_some() {
        return json!({ "code": code, "message": Error::internal("").public_message() });
    }
    let mut shown = json!({ "code": code, "message": error.get("message").cloned().unwrap_or_else(|| "".into()) });
    if let Some(details) = error.get("details") {
        shown["details"] = details.clone();
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_of_the_server_is_not_told() {
        let kept = json!({"code": "INTERNAL_ERROR", "message": "no table x", "cause": "y", "internal": true});
        let told = shown(&kept);
        assert_eq!(told["code"], "INTERNAL_ERROR");
        assert!(!told.to_string().contains("table") && told.get("cause").is_none(), "{told}");
        let kept = json!({"code": "COLUMN_FULL", "message": "it is full", "details": {"limit": 3}});
        assert_eq!(shown(&kept), kept);
    }
}
