//! What a job is given: what it is, who dispatched it, and the parts of the world it may touch.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use forge_core::auth::{AuthContext, AuthUser};
use forge_core::function::{ForgeAction, ForgeMutation, ForgeQuery};
use forge_core::job::JobInput;
use forge_core::request::RequestMetadata;
use forge_core::{Error, Result};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::dispatch::{Dispatch, JobHandle, Place};
use super::{JobResult, Jobs, Worker, storable};
use crate::cluster::ClusterInfo;
use crate::db::Db;
use crate::function::{ActionContext, Caller, FunctionExecutor, HttpClient, MutationContext, QueryContext};
use crate::mail::Mailer;

/// The longest words for how far a job is, in bytes. What is longer is cut.
const MESSAGE_MAX: usize = 1024;

/// What the worker and the job share while it runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(super) id: Uuid,
    pub(super) worker: Uuid,
    pub(super) attempt: i32,
    /// With the worker, the fence of all that it writes.
    pub(super) claim: i32,
    queue: &'static str,
    /// Somebody wants it to end.
    cancelled: CancellationToken,
    /// It is dropped: its worker stops, or it did not end in time after it was cancelled.
    dropped: CancellationToken,
    let_go: AtomicBool,
    progress: Mutex<Option<Progress>>,
}

/// How far a job says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(super) percent: u8,
    pub(super) message: String,
}

impl Running {
    pub(super) fn new(id: Uuid, worker: Uuid, (attempt, claim): (i32, i32), queue: &'static str) -> Arc<Self> {
        Arc::new(Self {
            id,
            worker,
            attempt,
            claim,
            queue,
            cancelled: CancellationToken::new(),
            dropped: CancellationToken::new(),
            let_go: AtomicBool::new(false),
            progress: Mutex::default(),
        })
    }

    /// Tells the job that it is to end, and drops it when it has not after a while.
    pub(super) fn cancel(self: &Arc<Self>, grace: Duration) {
        if self.cancelled.is_cancelled() {
            return;
        }
        self.cancelled.cancel();
        let running = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(grace).await;
            if let Some(running) = running.upgrade() {
                running.dropped.cancel();
            }
        });
    }

    /// Drops it at once: its worker stops, or it is somebody else's now.
    pub(super) fn let_go(&self) {
        self.let_go.store(true, Ordering::Release);
        self.cancelled.cancel();
        self.dropped.cancel();
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.is_cancelled()
    }

    pub(super) fn is_let_go(&self) -> bool {
        self.let_go.load(Ordering::Acquire)
    }

    /// Waits until it is dropped.
    pub(super) async fn dropped(&self) -> Error {
        self.dropped.cancelled().await;
        Error::cancelled()
    }

    fn progress(&self) -> MutexGuard<'_, Option<Progress>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It says how far it is.
    pub(super) fn say(&self, percent: u8, message: &str) {
        *self.progress() = Some(Progress { percent: percent.min(100), message: storable::text(message, MESSAGE_MAX) });
    }

    /// What it said last, to write that down.
    pub(super) fn take_progress(&self) -> Option<Progress> {
        self.progress().take()
    }

    /// It could not be written down. What it has said since counts more.
    pub(super) fn put_back(&self, progress: Progress) {
        self.progress().get_or_insert(progress);
    }
}

/// What a job is given.
///
/// It calls functions in the name of whoever dispatched it: with their roles and claims of that moment, whatever has become of their session
/// since. What a cron or a command dispatched is nobody's, and may call public functions only, unless it runs
/// as somebody.
#[derive(Debug)]
pub struct JobContext {
    pub(super) worker: Arc<Worker>,
    pub(super) jobs: Jobs,
    pub(super) executor: FunctionExecutor,
    pub(super) caller: Arc<Caller>,
    pub(super) http: HttpClient,
    pub(super) db: Db,
    pub(super) deadline: Instant,
    pub(super) kind: &'static str,
    pub(super) max_attempts: u32,
    pub(super) saved: Option<String>,
    pub(super) running: Arc<Running>,
}

impl JobContext {
    /// The same job, for what lives as long as it runs.
    pub(crate) fn share(&self) -> Self {
        Self {
            worker: self.worker.clone(),
            jobs: self.jobs.clone(),
            executor: self.executor.clone(),
            caller: self.caller.clone(),
            http: self.http.clone(),
            db: self.db.reading(),
            saved: self.saved.clone(),
            running: self.running.clone(),
            ..*self
        }
    }

    /// What time it is, by the clock of due times.
    pub(crate) fn now(&self) -> Timestamp {
        self.jobs.cluster().clock().now()
    }

    /// The job's id: what [`dispatch_job`](Self::dispatch_job) gave whoever dispatched it.
    pub fn job_id(&self) -> Uuid {
        self.running.id
    }

    /// Its kind: the function's name.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// How often it was begun, from 1. Attempts that ended with their worker do not count.
    pub fn attempt(&self) -> u32 {
        u32::try_from(self.running.attempt).unwrap_or(1)
    }

    /// How often it is begun at most.
    pub fn max_attempts(&self) -> u32 {
        self.max_attempts
    }

    /// Whether an attempt failed before.
    pub fn is_retry(&self) -> bool {
        self.attempt() > 1
    }

    /// Whether it becomes a dead letter when this attempt fails.
    pub fn is_last_attempt(&self) -> bool {
        self.attempt() >= self.max_attempts
    }

    /// Who dispatched it.
    pub fn auth(&self) -> &AuthContext {
        &self.caller.principal.auth
    }

    /// The user who dispatched it.
    ///
    /// # Errors
    /// `UNAUTHORIZED` when nobody was signed in.
    pub fn require_user(&self) -> Result<&AuthUser> {
        self.auth().require_user()
    }

    /// Its ids and its place in the trace of whoever dispatched it.
    pub fn request(&self) -> &RequestMetadata {
        &self.caller.request
    }

    /// The nodes of the app: who is there, who leads. As the node that runs the job last saw them, at most `cluster.heartbeat_interval` ago; it
    /// costs no statement.
    pub fn cluster(&self) -> ClusterInfo {
        self.jobs.cluster().info()
    }

    /// When this attempt has to be finished.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// A client for the outside world. Its requests carry the trace on.
    pub fn http(&self) -> &HttpClient {
        &self.http
    }

    /// Sends mail. A job that ends between a mail that was sent and its own end is run again, and sends it again.
    pub fn mail(&self) -> &Mailer {
        self.executor.mail()
    }

    /// The database: reads only, each by itself. What a job writes it writes by [`mutate`](Self::mutate), in one transaction.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Calls a query. Its answer comes as over the wire: private columns of a model have their type's default in it.
    ///
    /// # Errors
    /// Those of the query, and `UNAUTHORIZED` or `FORBIDDEN` when whoever dispatched the job may not call it.
    pub async fn query<F: ForgeQuery<QueryContext>>(&self, function: F, args: impl Into<F::Args>) -> Result<F::Output> {
        let _ = function;
        self.executor.call_typed::<F>(args.into(), &self.caller, self.deadline).await
    }

    /// Calls a mutation: a transaction of its own, committed when this returns. A job is run again when its worker dies after that, so what
    /// must not happen twice has to notice that it has happened.
    ///
    /// # Errors
    /// Those of the mutation, and `UNAUTHORIZED` or `FORBIDDEN` when whoever dispatched the job may not call it.
    pub async fn mutate<F: ForgeMutation<MutationContext>>(
        &self,
        function: F,
        args: impl Into<F::Args>,
    ) -> Result<F::Output> {
        let _ = function;
        self.executor.call_typed::<F>(args.into(), &self.caller, self.deadline).await
    }

    /// Calls an action.
    ///
    /// # Errors
    /// Those of the action, and `UNAUTHORIZED` or `FORBIDDEN` when whoever dispatched the job may not call it.
    pub async fn action<F: ForgeAction<ActionContext>>(&self, function: F, args: impl Into<F::Args>) -> Result<F::Output> {
        let _ = function;
        self.executor.call_typed::<F>(args.into(), &self.caller, self.deadline).await
    }

    /// Dispatches another job, in the same name. It is written down when this returns, whatever becomes of this one.
    pub fn dispatch_job<I: JobInput>(&self, input: I) -> Dispatch<'_, I> {
        Dispatch::new(Place::Outside(&self.jobs), &self.caller, input)
    }

    /// As [`dispatch_job`](Self::dispatch_job), as a child of this one: its row says so, and [`wait_for_jobs`](Self::wait_for_jobs) can wait for it. What
    /// becomes of it is kept also when its kind says `retain = "0s"`.
    pub fn dispatch_child<I: JobInput>(&self, input: I) -> Dispatch<'_, I> {
        self.dispatch_job(input).parent(self.running.id)
    }

    /// Dispatches many jobs of one kind by one statement.
    ///
    /// # Errors
    /// As [`dispatch_job`](Self::dispatch_job); then none is written down.
    pub async fn dispatch_jobs<I: JobInput>(&self, inputs: Vec<I>) -> Result<Vec<JobHandle>> {
        super::dispatch::many(Place::Outside(&self.jobs), &self.caller, inputs, None).await
    }

    /// Cancels a job: one that waits ends at once, one that runs is asked to. False when there is none that has not ended.
    ///
    /// # Errors
    /// `DATABASE_UNAVAILABLE`.
    pub async fn cancel_job(&self, id: Uuid, why: &str) -> Result<bool> {
        self.jobs.cancel(id, why).await
    }

    /// Waits until these jobs have ended, and tells how each did. The job gives its slot away meanwhile, so that children
    /// cannot starve behind the parents that wait for them.
    ///
    /// A job that is no child, and whose kind says `retain = "0s"`, can be waited for as long as it has not ended: nothing is left of it then.
    ///
    /// # Errors
    /// `CANCELLED` when this one is cancelled meanwhile, `NOT_FOUND` when one of them is not there (any more).
    pub async fn wait_for_jobs(&self, jobs: &[JobHandle]) -> Result<Vec<JobResult>> {
        let ids: Vec<Uuid> = jobs.iter().map(|job| job.id).collect();
        let _away = self.worker.without_slot(self.running.queue);
        tokio::select! {
            ended = self.jobs.wait_for(&ids) => ended,
            () = self.cancelled() => Err(Error::cancelled()),
        }
    }

    /// Says how far it is: a percentage (more than 100 is 100) and a few words, of which the first 1,024 bytes are kept. Whoever follows the job is
    /// shown the latest; what is said in quick succession is written down together.
    ///
    /// # Errors
    /// `CANCELLED` when the job is to end.
    pub fn progress(&self, percent: u8, message: impl Into<String>) -> std::future::Ready<Result<()>> {
        self.running.say(percent, &message.into());
        self.jobs.progressed(&self.running);
        std::future::ready(self.check_cancelled())
    }

    /// Keeps a value for later attempts, say how far a long list was worked through. It is written down when this returns.
    ///
    /// # Errors
    /// `CANCELLED` when the job is not this worker's any more.
    pub async fn save(&self, value: &impl Serialize) -> Result<()> {
        self.jobs.save(&self.running, &serde_json::to_string(value)?).await
    }

    /// What an earlier attempt has saved last.
    ///
    /// # Errors
    /// When it was another type's.
    pub fn saved<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        Ok(self.saved.as_deref().map(serde_json::from_str).transpose()?)
    }

    /// Whether the job is to end: somebody cancelled it, or its worker stops.
    pub fn is_cancelled(&self) -> bool {
        self.running.is_cancelled()
    }

    /// Waits until the job is to end.
    pub async fn cancelled(&self) {
        self.running.cancelled.cancelled().await;
    }

    /// Ends a job that is to end: `ctx.check_cancelled()?`.
    ///
    /// # Errors
    /// `CANCELLED` when it is.
    pub fn check_cancelled(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::cancelled()) } else { Ok(()) }
    }

    /// Makes sure that the job is still this worker's, say before something that cannot be undone. That it stays so is seen to by the
    /// worker's node, all the time; nothing has to be called for it.
    ///
    /// # Errors
    /// `CANCELLED` when it is not.
    pub async fn heartbeat(&self) -> Result<()> {
        self.check_cancelled()?;
        self.jobs.still_ours(&self.running).await
    }
}
