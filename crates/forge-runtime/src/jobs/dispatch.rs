//! Dispatching jobs: in a mutation's transaction, or outside of one by a commit that many share.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use forge_core::job::{Job, JobInput, Priority};
use forge_core::validate::Violations;
use forge_core::wire;
use forge_core::{Error, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Jobs;
use super::noted::Dispatched;
use super::run::owner_json;
use super::store::{NewJob, Written};
use super::wake::Wake;
use crate::db::{Db, new_uuid};
use crate::function::Caller;

/// The longest delay: a hundred years.
pub(super) const DELAY_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A job that was dispatched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JobHandle {
    /// Its id.
    pub id: Uuid,
    /// Whether this dispatch made it. It did not when the job is idempotent and one with the same key was there already: then this is that one.
    pub new: bool,
}

/// Where a job is written down.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    /// In a mutation's transaction.
    Inside(&'a Jobs, &'a Db, &'a Dispatched),
    /// By itself.
    Outside(&'a Jobs),
}

/// A job that is about to be dispatched: say what is special about it, then await it.
///
/// ```ignore
/// let job = ctx.dispatch_job(NotifyWatchers { card_id }).delay(Duration::from_secs(60)).await?;
/// ```
#[must_use = "a job is dispatched when this is awaited"]
pub struct Dispatch<'a, I> {
    place: Place<'a>,
    caller: &'a Arc<Caller>,
    input: I,
    delay: Duration,
    at: Option<Timestamp>,
    priority: Option<Priority>,
    parent: Option<Uuid>,
}

impl<I: JobInput> std::fmt::Debug for Dispatch<'_, I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dispatch")
            .field("job", &I::Job::INFO.name)
            .field("delay", &self.delay)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl<'a, I: JobInput> Dispatch<'a, I> {
    pub(crate) fn new(place: Place<'a>, caller: &'a Arc<Caller>, input: I) -> Self {
        Self { place, caller, input, delay: Duration::ZERO, at: None, priority: None, parent: None }
    }

    /// Not before this time has passed: a hundred years at most, beyond which it is refused as `INVALID_ARGUMENT`.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Not before this time. One that has passed is now.
    pub fn at(mut self, at: Timestamp) -> Self {
        self.at = Some(at);
        self
    }

    /// More or less urgent than its attribute says.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }

    pub(super) fn parent(mut self, parent: Uuid) -> Self {
        self.parent = Some(parent);
        self
    }
}

impl<'a, I: JobInput> IntoFuture for Dispatch<'a, I> {
    type Output = Result<JobHandle>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<JobHandle>> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { place, caller, input, delay, at, priority, parent } = self;
        // Looked at now, so that the future holds nothing of the input's type.
        let job = not_too_far(delay).and_then(|()| describe(place.jobs(), caller, &input)).map(|job| NewJob {
            delay,
            at,
            priority: priority.map_or(job.priority, |priority| priority as i16),
            parent,
            ..job
        });
        Box::pin(async move { Ok(place.write(vec![job?]).await?.remove(0)) })
    }
}

/// One commit writes what many dispatch, and one time that cannot be written down would fail all of it.
fn not_too_far(delay: Duration) -> Result<()> {
    if delay <= DELAY_MAX {
        return Ok(());
    }
    Err(Error::invalid_argument(format!(
        "a job cannot be dispatched with a delay of {} days; the longest is {} days",
        delay.as_secs() / 86_400,
        DELAY_MAX.as_secs() / 86_400
    )))
}

/// Dispatches many jobs of one kind.
pub(crate) async fn many<I: JobInput>(
    place: Place<'_>,
    caller: &Arc<Caller>,
    inputs: Vec<I>,
    parent: Option<Uuid>,
) -> Result<Vec<JobHandle>> {
    let of: Result<Vec<NewJob>> =
        inputs.iter().map(|input| Ok(NewJob { parent, ..describe(place.jobs(), caller, input)? })).collect();
    // Not held over the wait.
    drop(inputs);
    place.write(of?).await
}

/// A job as it is written down.
fn describe<I: JobInput>(jobs: &Jobs, caller: &Arc<Caller>, input: &I) -> Result<NewJob> {
    let info = I::Job::INFO;
    jobs.knows::<I::Job>()?;
    let mut violations = Violations::default();
    input.validate(&mut violations);
    violations.into_result()?;
    let mut json = Vec::with_capacity(64);
    wire::write_json(input, &mut json)?;
    let unkeyed = || Error::invalid_argument(format!("the input of the job `{}` has no form on the wire", info.name));
    let unique_key = if info.idempotent { Some(I::Job::idempotency_key(input).ok_or_else(unkeyed)?) } else { None };
    let concurrency_key = match info.concurrency {
        Some(concurrency) if concurrency.key => Some(I::Job::concurrency_key(input).ok_or_else(unkeyed)?),
        Some(_) => Some(String::new()),
        None => None,
    };
    Ok(NewJob {
        id: new_uuid(),
        kind: info.name,
        queue: info.queue,
        priority: info.priority as i16,
        delay: Duration::ZERO,
        at: None,
        input: String::from_utf8(json).map_err(|_| unkeyed())?,
        owner: owner_json(&caller.principal.auth)?,
        trace: Some(caller.request.trace.to_string()),
        parent: None,
        unique_key,
        concurrency_key,
    })
}

impl<'a> Place<'a> {
    fn jobs(self) -> &'a Jobs {
        match self {
            Self::Inside(jobs, ..) | Self::Outside(jobs) => jobs,
        }
    }

    async fn write(self, jobs: Vec<NewJob>) -> Result<Vec<JobHandle>> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        self.jobs().admit(&jobs)?;
        let written = match self {
            Self::Inside(queue, db, dispatched) => dispatched.dispatch(queue, db, jobs).await?,
            Self::Outside(queue) => queue.enqueue(jobs).await?,
        };
        Ok(written.iter().map(|one| JobHandle { id: one.id, new: one.new }).collect())
    }
}

/// Whom to wake for what was written.
pub(super) fn wakes<'a>(jobs: impl IntoIterator<Item = &'a NewJob>, written: &[Written]) -> Vec<Wake> {
    let mut wakes: Vec<Wake> = Vec::new();
    for (job, one) in jobs.into_iter().zip(written).filter(|(_, one)| one.new) {
        let wake = match (one.ready_at, one.run_at) {
            (Some(at), _) => Wake::Ready { kind: job.kind.into(), priority: job.priority, at },
            (None, Some(at)) => Wake::Due { at },
            (None, None) if one.held => {
                Wake::Held { kind: job.kind.to_owned(), key: job.concurrency_key.clone().unwrap_or_default() }
            }
            (None, None) => continue,
        };
        // Of many that are alike the first says it.
        let said = |before: &Wake| match (before, &wake) {
            (Wake::Ready { kind, priority, at }, Wake::Ready { kind: other, priority: its, at: later }) => {
                kind == other && priority == its && at <= later
            }
            (before, wake) => before == wake,
        };
        if !wakes.last().is_some_and(said) {
            wakes.push(wake);
        }
    }
    wakes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_that_is_no_time_is_refused() {
        for delay in [Duration::ZERO, DELAY_MAX] {
            not_too_far(delay).unwrap();
        }
        for delay in [DELAY_MAX + Duration::from_secs(1), Duration::MAX] {
            let why = not_too_far(delay).unwrap_err();
            assert!(why.message().contains("the longest is 36500 days"), "{why:?}");
        }
    }
}
