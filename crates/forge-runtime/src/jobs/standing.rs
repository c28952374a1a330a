//! How a job stands, wherever it is: waiting, running, a dead letter, or history.

use forge_core::Result;
use forge_core::auth::AuthContext;
use forge_core::job::JobStatus;
use serde_json::Value;
use tokio_postgres::Row;
use uuid::Uuid;

use super::run::Owner;
use super::store::{STATUS, get};
use super::{Jobs, may_see, no_such_job};
use crate::db::error::from_driver;

/// How a job stands.
#[derive(Debug, Clone, PartialEq)]
pub struct JobResult {
    /// Its id.
    pub id: Uuid,
    /// Its kind.
    pub kind: String,
    /// Where it is in its life.
    pub status: JobStatus,
    /// How often it was begun.
    pub attempt: i32,
    /// How far it said to be, in percent.
    pub progress: Option<i16>,
    /// And the words for it.
    pub progress_message: Option<String>,
    /// Its result, once it is completed, and as long as its history is kept.
    pub output: Option<Value>,
    /// What its last attempt failed with: code, message, details.
    pub error: Option<Value>,
    /// Who dispatched it.
    pub(crate) owner: Option<Owner>,
    /// Whether it was asked to end.
    pub(crate) cancel_requested: bool,
}

impl JobResult {
    /// Whether nothing will become of it any more by itself.
    pub fn has_ended(&self) -> bool {
        self.status.has_ended()
    }

    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            id: get(row, 0)?,
            kind: get(row, 1)?,
            status: status(row, 2)?,
            attempt: get(row, 3)?,
            progress: get(row, 4)?,
            progress_message: get(row, 5)?,
            output: json(row, 6)?,
            error: json(row, 7)?,
            owner: owner(row, 8)?,
            cancel_requested: get(row, 9)?,
        })
    }
}

impl Jobs {
    /// How jobs stand; those that are nowhere (any more) are left out.
    pub(crate) async fn status(&self, ids: &[Uuid]) -> Result<Vec<JobResult>> {
        let answer = self.pool().get().await?.query(&STATUS, &[&ids]).await.map_err(from_driver)?;
        answer.rows.iter().map(JobResult::read).collect()
    }

    /// How a job stands, for somebody who may know.
    pub(crate) async fn status_for(&self, id: Uuid, auth: &AuthContext) -> Result<JobResult> {
        let found = self.status(&[id]).await?.pop().filter(|job| may_see(self, job, auth));
        found.ok_or_else(|| no_such_job(id))
    }
}

/// A status, which statements give as its word.
pub(super) fn status(row: &Row, at: usize) -> Result<JobStatus> {
    get::<String>(row, at)?.parse().map_err(forge_core::Error::internal)
}

/// JSON that was asked for as text.
pub(super) fn json(row: &Row, at: usize) -> Result<Option<Value>> {
    Ok(get::<Option<&str>>(row, at)?.map(serde_json::from_str).transpose()?)
}

/// Whoever dispatched a job; nobody, when nobody was signed in.
pub(super) fn owner(row: &Row, at: usize) -> Result<Option<Owner>> {
    Ok(get::<Option<&str>>(row, at)?.map(serde_json::from_str).transpose()?)
}
