//! Jobs in a list, and one as a whole.

use forge_core::Result;
use forge_core::job::{JobStatus, Priority};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::Row;
use uuid::Uuid;

use super::super::run::Owner;
use super::super::standing::{json, owner, status};
use super::super::store::get;
use super::super::{Jobs, no_such_job};
use super::{CHILDREN, Filter, LIST, SHOW};
use crate::admin::{Admin, Look};

/// A job, as a list has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JobView {
    pub(crate) id: Uuid,
    kind: String,
    queue: String,
    status: JobStatus,
    /// What it waits for, while it is `pending` or `retry`: a `worker`, its `time`, or a place of its `key`.
    waits_for: Option<String>,
    priority: Value,
    attempt: i32,
    /// How many there may be; nothing when this node's app does not know the kind.
    max_attempts: Option<u32>,
    crashes: i32,
    dispatched_at: Timestamp,
    due_at: Option<Timestamp>,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    /// The node that runs it, or ran it last.
    worker: Option<Uuid>,
    parent: Option<Uuid>,
    progress: Option<i16>,
    progress_message: Option<String>,
    cancel_requested: bool,
    /// Who dispatched it: a user's id, `app`, or nobody.
    owner: Option<String>,
    error: Option<Value>,
}

/// Some jobs, and where to go on.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JobPage {
    pub(crate) jobs: Vec<JobView>,
    /// What to say as `before` for the ones after these; nothing when there are none.
    next: Option<Uuid>,
}

/// All that is known of a job.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WholeJob {
    #[serde(flatten)]
    job: JobView,
    input: Value,
    output: Option<Value>,
    /// What an attempt has left to the next.
    saved: Option<Value>,
    trace: Option<String>,
    unique_key: Option<String>,
    concurrency_key: Option<String>,
    /// Until when it is kept as a dead letter.
    kept_until: Option<Timestamp>,
    /// Its children that have not ended: at most a hundred.
    children: Vec<Uuid>,
}

impl Jobs {
    /// Jobs, the newest first, before a place.
    pub(crate) async fn list(&self, admin: &Admin, filter: &Filter, before: Option<Uuid>, limit: i64) -> Result<JobPage> {
        let (begin, end) = filter.ids();
        // `before` itself was in the last page.
        let end = before.map_or(end, |before| end.min(Uuid::from_u128(before.as_u128().saturating_sub(1))));
        let look = admin.look().await?;
        // One more says whether there are any.
        let mut jobs = self.views(&look, filter, (begin, end), limit + 1).await?;
        look.end().await;
        let more = jobs.len() > usize::try_from(limit).unwrap_or(usize::MAX);
        if more {
            jobs.pop();
        }
        Ok(JobPage { next: jobs.last().map(|job| job.id).filter(|_| more), jobs })
    }

    /// One job as a whole.
    pub(crate) async fn whole(&self, admin: &Admin, id: Uuid) -> Result<WholeJob> {
        let look = admin.look().await?;
        let just_it = (before(id), id);
        let job = self.views(&look, &Filter::default(), just_it, 1).await?.pop().ok_or_else(|| no_such_job(id))?;
        let answer = look.run(&SHOW, &[&id]).await?;
        let row = answer.rows.first().ok_or_else(|| no_such_job(id))?;
        let whole = WholeJob {
            job,
            input: json(row, 0)?.unwrap_or(Value::Null),
            output: json(row, 1)?,
            saved: json(row, 2)?,
            trace: get(row, 3)?,
            unique_key: get(row, 4)?,
            concurrency_key: get(row, 5)?,
            kept_until: get(row, 6)?,
            children: look.run(&CHILDREN, &[&id]).await?.rows.iter().map(|row| get(row, 0)).collect::<Result<_>>()?,
        };
        look.end().await;
        Ok(whole)
    }

    async fn views(&self, look: &Look, filter: &Filter, ids: (Uuid, Uuid), limit: i64) -> Result<Vec<JobView>> {
        let Filter { statuses, kind, queue, code, since, until } = filter;
        let answer = look.run(&LIST, &[statuses, kind, queue, code, since, until, &ids.0, &ids.1, &limit]).await?;
        answer.rows.iter().map(|row| self.view(row)).collect()
    }

    fn view(&self, row: &Row) -> Result<JobView> {
        let (kind, priority): (String, i16) = (get(row, 1)?, get(row, 5)?);
        Ok(JobView {
            id: get(row, 0)?,
            max_attempts: self.registry().info(&kind).map(|info| info.retry.max_attempts),
            kind,
            queue: get(row, 2)?,
            status: status(row, 3)?,
            waits_for: get(row, 4)?,
            priority: Priority::of_number(priority).map_or(priority.into(), |priority| priority.as_str().into()),
            attempt: get(row, 6)?,
            crashes: get(row, 7)?,
            dispatched_at: get(row, 8)?,
            due_at: get(row, 9)?,
            started_at: get(row, 10)?,
            ended_at: get(row, 11)?,
            worker: get(row, 12)?,
            parent: get(row, 13)?,
            progress: get(row, 14)?,
            progress_message: get(row, 15)?,
            cancel_requested: get(row, 16)?,
            owner: owner(row, 17)?.and_then(Owner::name),
            error: json(row, 18)?,
        })
    }
}

/// The id before one.
pub(super) fn before(id: Uuid) -> Uuid {
    Uuid::from_u128(id.as_u128().saturating_sub(1))
}
