//! What a node consists of, and what its program and its tests do with it from within.

use std::sync::Arc;

use forge_core::auth::AuthContext;
use forge_core::function::Function;
use forge_core::job::{Job, JobInput};
use forge_core::request::{RequestMetadata, TraceContext};
use forge_core::{Error, Result, wire};
use tokio::sync::watch;
use uuid::Uuid;

use super::Stage;
use crate::admin::{Actor, Admin};
use crate::app::App;
use crate::auth::{Accounts, Principal};
use crate::cluster::{Clock, Cluster, ClusterInfo};
use crate::config::Config;
use crate::cron::CronRunner;
use crate::db::Database;
use crate::function::{Call, Caller, FunctionExecutor, Looked, Written};
use crate::gateway::{Authenticator, Page};
use crate::jobs::{JobResult, Jobs};
use crate::mail::{Inbox, Mailer, SentMail};
use crate::realtime::{Live, Outbox, Subscribe, Subscription};

/// What a node consists of; the gateway and the tests work with it.
#[derive(Debug, Clone)]
pub struct NodeParts {
    pub(crate) config: Arc<Config>,
    pub(crate) app: Arc<App>,
    pub(crate) page: Arc<Page>,
    /// The database.
    pub database: Database,
    /// Runs functions.
    pub executor: FunctionExecutor,
    /// Knows who calls.
    pub authenticator: Arc<Authenticator>,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) live: Live,
    pub(crate) cluster: Cluster,
    pub(crate) jobs: Jobs,
    pub(crate) crons: CronRunner,
    pub(crate) mail: Mailer,
    pub(crate) stage: watch::Receiver<Stage>,
}

impl NodeParts {
    /// The cluster, as this node last saw it.
    pub fn cluster(&self) -> ClusterInfo {
        self.cluster.info()
    }

    /// See [`Node::asked_to_drain`](super::Node::asked_to_drain).
    pub fn asked_to_drain(&self) -> impl Future<Output = ()> + Send + 'static {
        self.cluster.asked_to_drain().clone().cancelled_owned()
    }

    /// The clock by which things are due on this node. Tests travel with it.
    pub fn clock(&self) -> &Clock {
        self.cluster.clock()
    }

    /// How a job stands.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is none (any more).
    pub async fn job(&self, id: Uuid) -> Result<JobResult> {
        let found = self.jobs.status(&[id]).await?.pop();
        found.ok_or_else(|| Error::not_found(format!("there is no job {id} (any more)")))
    }

    /// Cancels a job: one that waits ends at once, one that runs is told to end. False when there is none that has not ended.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn cancel_job(&self, id: Uuid, why: &str) -> Result<bool> {
        self.jobs.cancel(id, why).await
    }

    /// The mail that was sent on this node and went no further, as in development and in tests, the oldest first: the newest hundred.
    pub fn mails(&self) -> Vec<SentMail> {
        self.mail.inbox().map(Inbox::all).unwrap_or_default()
    }

    /// Holds this node's worker back, for tests that look before it works; or lets it go on.
    pub fn hold_jobs(&self, hold: bool) {
        self.jobs.open(!hold);
    }

    /// Decides which crons are due, and dispatches their runs. Waits until this node leads.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn run_crons(&self) -> Result<()> {
        self.crons.run_due().await
    }

    /// Dispatches a run of a cron at once: for now, or for a time at which it is due, which has one run whoever asks for it. Returns the run's job.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is no such cron, `INVALID_ARGUMENT` when it is not due at that time, and when the database cannot be reached.
    pub async fn run_cron(&self, name: &str, slot: Option<jiff::Timestamp>) -> Result<Uuid> {
        self.crons.run_by_hand(&self.admin(), &Actor::app(), name, slot, false).await.map(|asked| asked.job)
    }

    /// Pauses a cron, or lets it go on; times that pass meanwhile are not caught up.
    ///
    /// # Errors
    /// As [`run_cron`](Self::run_cron).
    pub async fn pause_cron(&self, name: &str, paused: bool) -> Result<()> {
        self.crons.pause(&self.admin(), &Actor::app(), name, paused).await.map(drop)
    }

    /// Where what operates the app is run.
    pub(crate) fn admin(&self) -> Admin {
        Admin::of(&self.database)
    }

    /// Lets this node's worker work until nothing is left that is due, but for queues that are paused.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn run_jobs(&self) -> Result<()> {
        self.jobs.run_due().await
    }

    /// The jobs with this input that have not ended, with their inputs as JSON.
    ///
    /// # Errors
    /// When the database cannot be reached, or an input is none of this type.
    pub async fn waiting_jobs<I: JobInput>(&self) -> Result<Vec<(I, String)>> {
        let waiting = self.jobs.waiting(<I::Job as Job>::INFO.name).await?;
        waiting.into_iter().map(|json| Ok((wire::read_json(json.as_bytes())?, json))).collect()
    }

    /// Subscribes to a query as somebody, through the same pipeline as a client.
    ///
    /// # Errors
    /// When the function cannot be called by them. What comes later is told by the subscription.
    pub async fn subscribe_as<F: Function>(&self, auth: AuthContext, args: F::Args) -> Result<Subscription<F::Output>> {
        let caller = caller_for(auth);
        let mut json = Vec::new();
        wire::write_json(&args, &mut json)?;
        let (entry, args) = self.executor.subscribable(F::INFO.name, &json, &caller.principal.auth)?;
        let outbox = Outbox::new();
        let wish = Subscribe { outbox: outbox.clone(), id: 0, entry, args, caller, presence: None };
        Ok(Subscription::begin(self.live.clone(), outbox, wish).await)
    }

    /// Calls a function as somebody, through the same pipeline as a request from outside: the arguments go to JSON and back.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn call_as<F: Function>(&self, auth: AuthContext, args: F::Args) -> Result<F::Output> {
        let caller = caller_for(auth);
        let mut json = Vec::new();
        wire::write_json(&args, &mut json)?;
        let call = Call { function: F::INFO.name, args: &json, caller, mutation_id: None, acknowledge: None };
        wire::read_answer(&self.executor.call(call).await?.json)
    }
}

/// Somebody who calls from within.
pub(in crate::app) fn caller_for(auth: AuthContext) -> Arc<Caller> {
    let request = RequestMetadata {
        request_id: crate::db::new_uuid().to_string(),
        correlation_id: None,
        trace: TraceContext {
            trace_id: rand::random::<u128>().max(1),
            span_id: rand::random::<u64>().max(1),
            sampled: false,
        },
        client_ip: None,
        user_agent: None,
    };
    Arc::new(Caller {
        principal: Arc::new(Principal { auth, expires_at: i64::MAX, session: None }),
        request: Arc::new(request),
        // Tests write by other ways as well, and call when they have.
        written: Written::until_now(),
        looked: Looked::default(),
    })
}
