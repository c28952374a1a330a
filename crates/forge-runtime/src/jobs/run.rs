//! One attempt at a job, from its row to how it ended.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forge_core::auth::{AuthContext, AuthUser};
use forge_core::human::format_duration;
use forge_core::job::{JobInfo, Wish};
use forge_core::request::{RequestMetadata, TraceContext};
use forge_core::{Error, ErrorKind, Result};
use futures_util::FutureExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tracing::Instrument as _;

use super::context::{JobContext, Running};
use super::dispatch::DELAY_MAX;
use super::finish::{End, Ended};
use super::registry::JobEntry;
use super::storable;
use super::store::Claimed;
use crate::auth::Principal;
use crate::function::{Caller, Looked, Written, Wrote};

/// How long a job that was told that it is cancelled may go on to tidy up before it is dropped.
pub(super) const CANCEL_GRACE: Duration = Duration::from_secs(10);

/// The longest error text that is kept with a job.
pub(super) const ERROR_MAX: usize = 8 * 1024;

/// The largest details of an error that are kept, in bytes of JSON.
const DETAILS_MAX: usize = 64 * 1024;

/// Whoever dispatched a job, as its row says: a user, or the app itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Owner {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    roles: Vec<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    claims: Map<String, Value>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    system: bool,
}

impl Owner {
    /// As people see it: a user's id, `app`, or nobody.
    pub(super) fn name(self) -> Option<String> {
        self.id.or_else(|| self.system.then(|| "app".to_owned()))
    }
}

/// What is written of whoever dispatches a job: nothing when nobody is signed in.
pub(super) fn owner_json(auth: &AuthContext) -> Result<Option<Arc<str>>> {
    let owner = match auth.user() {
        Some(user) => {
            Owner { id: Some(user.id.clone()), roles: user.roles.clone(), claims: user.claims.clone(), system: false }
        }
        None if auth.is_system() => Owner { id: None, roles: Vec::new(), claims: Map::new(), system: true },
        None => return Ok(None),
    };
    Ok(Some(serde_json::to_string(&owner)?.into()))
}

/// Whoever dispatched a job, so that it calls functions in their name.
pub(super) fn caller_of(owner: Option<&str>, trace: Option<&str>) -> Result<Arc<Caller>> {
    let auth = match owner {
        Some(owner) => {
            let Owner { id, roles, claims, system } = serde_json::from_str(owner)?;
            match id {
                Some(id) => AuthContext::of(AuthUser { id, roles, claims }),
                None if system => AuthContext::system(),
                None => AuthContext::anonymous(),
            }
        }
        None => AuthContext::anonymous(),
    };
    let span_id = rand::random::<u64>().max(1);
    let trace = trace.and_then(TraceContext::parse).map_or_else(
        || TraceContext { trace_id: rand::random::<u128>().max(1), span_id, sampled: false },
        |trace| TraceContext { span_id, ..trace },
    );
    let request = RequestMetadata {
        request_id: crate::db::new_uuid().to_string(),
        correlation_id: None,
        trace,
        client_ip: None,
        user_agent: None,
    };
    Ok(Arc::new(Caller {
        principal: Arc::new(Principal { auth, expires_at: i64::MAX, session: None }),
        request: Arc::new(request),
        // It was dispatched by somebody who has written something; whatever has been committed since is to be seen, so its reads are the
        // primary's.
        written: Written::until_now(),
        wrote: Wrote::default(),
        looked: Looked::default(),
    }))
}

/// Runs an attempt. It is not begun when the job is cancelled already, and dropped when it is to be let go.
pub(super) async fn attempt(
    entry: &JobEntry,
    job: Claimed,
    running: &Arc<Running>,
    context: impl FnOnce(&Claimed) -> Result<JobContext>,
) -> Ended {
    let began = Instant::now();
    let busy = entry.metrics.running();
    let (id, worker, attempt, claim) = (job.id, job.worker, job.attempt, job.claim);
    let concurrency_key = job.concurrency_key.clone();
    let waited = job.ready_at;
    // A child's parent may ask for it later.
    let keep = job.child || !entry.info.retain.is_zero();
    let result = if job.cancel_requested {
        Err(Error::cancel("it was cancelled before it was begun"))
    } else {
        match context(&job) {
            Ok(context) => {
                let trace = context.request().trace;
                let span = tracing::info_span!("job", job = entry.info.name, job_id = %id, attempt, trace_id = %format_args!("{:032x}", trace.trace_id));
                body(entry, &context, &job.input, running).instrument(span).await
            }
            Err(why) => Err(why),
        }
    };
    drop(busy);
    entry.metrics.ended(began.elapsed(), waited, result.as_ref().err());
    let end = match result {
        Ok(output) => End::Completed { output: Ok(output), keep },
        Err(why) => failed(&entry.info, attempt, &why, running, id),
    };
    Ended { id, kind: entry.info.name, worker, claim, concurrency_key, end }
}

async fn body(entry: &JobEntry, context: &JobContext, input: &str, running: &Running) -> Result<String> {
    let limit = entry.info.timeout;
    let run = AssertUnwindSafe((entry.run)(context, input.as_bytes())).catch_unwind();
    let json = tokio::select! {
        biased;
        done = tokio::time::timeout(limit, run) => match done {
            Ok(Ok(result)) => result?,
            Ok(Err(panic)) => return Err(Error::internal(format!("the job `{}` panicked: {}", entry.info.name, crate::function::panic_text(&*panic)))),
            Err(_) => return Err(Error::timeout(format!("the job `{}` took longer than its {}", entry.info.name, format_duration(limit)))),
        },
        why = running.dropped() => return Err(why),
    };
    String::from_utf8(json).map_err(|_| Error::internal("a job's result is no text"))
}

/// What becomes of a job whose attempt failed.
pub(super) fn failed(info: &JobInfo, attempt: i32, why: &Error, running: &Running, id: uuid::Uuid) -> End {
    let error = error_json(why);
    let attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
    if running.is_let_go() {
        // The worker stops, or has lost the job: nothing that the job did wrong.
        return End::Again { delay: Duration::ZERO, error: None, unspent: true };
    }
    if running.is_cancelled() || why.wish() == Some(Wish::Cancel) {
        tracing::info!(job = info.name, job_id = %id, attempt, reason = %why.message(), "a job was cancelled");
        return End::Over { error, retain: None };
    }
    if let Some(Wish::RetryIn(delay)) = why.wish() {
        return End::Again { delay: delay.clamp(Duration::from_millis(1), DELAY_MAX), error: None, unspent: true };
    }
    let retryable = info.retry.on.is_empty() || info.retry.on.contains(&why.code());
    if retryable && attempt < info.retry.max_attempts {
        let delay = info.retry.delay(attempt, rand::random());
        tracing::warn!(job = info.name, job_id = %id, attempt, error = ?why, again_in_ms = delay.as_millis() as u64, "a job failed; it is tried again");
        return End::Again { delay: delay.max(Duration::from_millis(1)), error: Some(error), unspent: false };
    }
    tracing::error!(job = info.name, job_id = %id, attempt, error = ?why, "a job failed for good; it is a dead letter now");
    End::Over { error, retain: Some(info.dead_letter_retain) }
}

/// What is kept of an error: all of it, as who reads it operates the app.
pub(super) fn error_json(why: &Error) -> String {
    let mut error = json!({ "code": why.code(), "message": storable::text(why.message(), ERROR_MAX) });
    if let (Some(details), Some(error)) = (why.details(), error.as_object_mut()) {
        let size = details.to_string().len();
        let details = if size > DETAILS_MAX { format!("left out: {size} bytes").into() } else { details.clone() };
        error.insert("details".into(), details);
    }
    if why.public_message() != why.message()
        && let Some(error) = error.as_object_mut()
    {
        // Not for whoever dispatched the job.
        error.insert("internal".into(), true.into());
    }
    if why.kind() == ErrorKind::Internal
        && let (Some(source), Some(error)) = (why.source(), error.as_object_mut())
    {
        error.insert("cause".into(), storable::text(&source.to_string(), 1000).into());
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_dispatched_a_job_is_who_it_calls_for() {
        let mut user = AuthUser::new("ada");
        user.roles = vec!["editor".into()];
        user.claims.insert("tenant".into(), json!(7));
        let auth = AuthContext::of(user);
        let owner = owner_json(&auth).unwrap().unwrap();
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let caller = caller_of(Some(&owner), Some(trace)).unwrap();
        assert_eq!(caller.principal.auth, auth);
        let parent = TraceContext::parse(trace).unwrap();
        assert_eq!((caller.request.trace.trace_id, caller.request.trace.sampled), (parent.trace_id, true));
        assert_ne!(caller.request.trace.span_id, parent.span_id);
        assert_eq!(owner_json(&AuthContext::anonymous()).unwrap(), None);
        let system = owner_json(&AuthContext::system()).unwrap().unwrap();
        assert!(caller_of(Some(&system), None).unwrap().principal.auth.is_system());
        assert!(!caller_of(None, None).unwrap().principal.auth.is_authenticated());
        assert!(caller_of(Some("{"), None).is_err());
    }

    #[test]
    fn what_is_kept_of_an_error_is_bounded() {
        let kept: Value = serde_json::from_str(&error_json(&Error::internal("\0é".repeat(5000)))).unwrap();
        let text = kept["message"].as_str().unwrap();
        assert!(text.len() <= ERROR_MAX * 2 && text.starts_with("\u{fffd}é"), "{}", text.len());
        let details = |size: usize| error_json(&Error::internal("").with_details(json!({ "rows": "x".repeat(size) })));
        assert!(details(1000).contains("xxx") && details(DETAILS_MAX).contains("left out"));
    }
}
