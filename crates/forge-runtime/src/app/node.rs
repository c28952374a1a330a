//! A node: one process of an app with its database, its functions and its doors.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use forge_core::auth::AuthContext;
use forge_core::function::Function;
use forge_core::job::{Job, JobInput};
use forge_core::request::{RequestMetadata, TraceContext};
use forge_core::{Error, ErrorKind, Result, wire};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::App;
use crate::admin::{self, Actor, Admin};
use crate::auth::{Accounts, Principal};
use crate::cluster::{Clock, Cluster, ClusterInfo, Heart};
use crate::config::{Config, Mode, Role, Secret};
use crate::cron::CronRunner;
use crate::db::Database;
use crate::feed::{ChangeSweep, FeedKeeper};
use crate::function::{Call, Caller, FunctionExecutor, FunctionRouter, Looked, World, Written, Wrote, sweep_mutation_ids};
use crate::gateway::{Authenticator, GatewayServer};
use crate::jobs::{JobResult, Jobs, Worker};
use crate::mail::{Inbox, Mailer, SentMail};
use crate::migrate::{Migrator, Progress, State};
use crate::observability;
use crate::realtime::{InvalidationEngine, Live, Outbox, Subscribe, Subscription, Versions};

/// How often old answers of mutations are swept away.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// How often changes that every node has seen are swept away.
const SWEEP_CHANGES_EVERY: Duration = Duration::from_secs(20);

/// How far a node has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The schema is not up to date yet: the database is away, or migrations run.
    Starting,
    /// At work.
    Ready,
    /// Told to stop.
    Stopping,
}

/// What a node consists of; the gateway and the tests work with it.
#[derive(Debug, Clone)]
pub struct NodeParts {
    pub(crate) config: Arc<Config>,
    pub(crate) app: Arc<App>,
    pub(crate) page: Arc<crate::gateway::Page>,
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

/// A node at work. Dropping it stops nothing: call [`stop`](Self::stop).
#[derive(Debug)]
pub struct Node {
    parts: NodeParts,
    address: Option<SocketAddr>,
    stage: Arc<watch::Sender<Stage>>,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// What goes on until everything else has ended: the others are to know that this node is still finishing.
    last_stop: CancellationToken,
    last_tasks: TaskTracker,
    failure: tokio::sync::mpsc::Receiver<Error>,
}

impl NodeParts {
    /// The cluster, as this node last saw it.
    pub fn cluster(&self) -> ClusterInfo {
        self.cluster.info()
    }

    /// See [`Node::asked_to_drain`].
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
        wire::read_json(&self.executor.call(call).await?.json)
    }
}

impl Node {
    /// Starts a node. It listens at once and answers 503 until the database is there and its schema is up to date.
    ///
    /// # Errors
    /// When the configuration cannot be used, or the address to listen on is taken.
    pub async fn start(app: App, mut config: Config) -> Result<Self> {
        config.check()?;
        if config.security.auth.secret.is_none() && config.mode != Mode::Production {
            // Production does not start without one; see `check`.
            tracing::warn!("no FORGE_SECRET is set: tokens are signed with a random one and end with this process");
            config.security.auth.secret =
                Some(Secret::new(format!("{}{}", crate::db::new_uuid(), uuid::Uuid::from_u128(rand::random()))));
        }
        crate::install_crypto();
        observability::set_slow_statement(config.observability.slow_query_threshold);
        let database = Database::new(&config.project.name, &config.database)?;
        observability::watch_database(&database);
        let router = FunctionRouter::new(app.functions().clone());
        let accounts = Arc::new(Accounts::new(&config.security.auth, &database));
        let authenticator = Arc::new(Authenticator::new(&config, &accounts)?);
        let (live, wishes) = Live::new();
        let cluster = Cluster::new();
        let jobs = Jobs::new(app.jobs().clone(), &config.jobs, database.jobs().clone(), cluster.clone());
        let crons = CronRunner::new(app.crons().clone(), jobs.clone());
        let mail = Mailer::new(&config.mail, config.mode)?;
        let world = World { cluster: cluster.clone(), accounts: accounts.clone(), jobs: jobs.clone(), mail: mail.clone() };
        let executor = FunctionExecutor::new(
            router,
            database.clone(),
            world,
            config.function.clone(),
            config.gateway.max_json_depth,
            live.clone(),
        )?;
        let (stage, stage_seen) = watch::channel(Stage::Starting);
        let stage = Arc::new(stage);
        let (app, config) = (Arc::new(app), Arc::new(config));
        let page = Arc::new(app.page());
        let parts = NodeParts {
            config: config.clone(),
            app,
            page,
            database: database.clone(),
            executor,
            authenticator,
            accounts: accounts.clone(),
            live: live.clone(),
            cluster: cluster.clone(),
            jobs: jobs.clone(),
            crons: crons.clone(),
            mail,
            stage: stage_seen,
        };
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let mut address = None;
        if config.node.has(Role::Gateway) {
            let server = GatewayServer::bind(parts.clone()).await?;
            address = Some(server.address());
            tracing::info!("listening on http://{}", server.address());
            tasks.spawn(server.serve(stop.clone(), config.shutdown.request_drain_timeout));
        } else {
            tracing::warn!(
                "this node is no gateway: it listens on no port, so nobody can call its functions or ask for /health, /ready and /metrics"
            );
        }
        let (last_stop, last_tasks, schema) = (CancellationToken::new(), TaskTracker::new(), CancellationToken::new());
        let listens_at = address.map(|address| address.to_string());
        let options = (&config.cluster, &config.node);
        let about = (listens_at, parts.app.version(), parts.app.jobs().queues().into_iter().collect());
        let heart = Heart::new(cluster.clone(), &database, options, about, stage.subscribe())?;
        last_tasks.spawn(heart.run(schema.clone(), last_stop.clone()));
        last_tasks.spawn(cluster.bus().clone().run(database.clone(), last_stop.clone()));
        tasks.spawn(database.clone().monitor(stop.clone()));
        let (fetching, stopping) = (parts.authenticator.clone(), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = fetching.preload() => {}
            }
        });
        let (feed, reader, mut keeper) = crate::feed::feed(&database, &config.reactivity);
        let versions = Versions::new(config.security.auth.secret.as_ref());
        let engine = InvalidationEngine::new(live, wishes, database.clone(), parts.executor.clone(), feed, versions);
        tasks.spawn(engine.run(stop.clone()));
        tasks.spawn(parts.live.roll().clone().run(database.clone(), stop.clone()));
        tasks.spawn(reader.run(stop.clone()));
        if parts.executor.cache().follows() {
            // A reader of its own, which does not wait for rounds. The keeper of the first looks after the sink of both.
            let (feed, reader, _) = crate::feed::feed(&database, &config.reactivity);
            tasks.spawn(parts.executor.cache().clone().run(feed, stop.clone()));
            tasks.spawn(reader.run(stop.clone()));
        }
        if config.node.has(Role::Worker) {
            let worker = Worker::new(&jobs, parts.executor.clone(), &config.worker);
            tasks.spawn(worker.run(stop.clone()));
        }
        if config.node.has(Role::Scheduler) {
            tasks.spawn(crons.clone().run(stop.clone()));
        }
        last_tasks.spawn(jobs.run(last_stop.clone()));
        tasks.spawn(sweep_changes(database.clone(), stage.subscribe(), stop.clone()));
        tasks.spawn(sweep(database, accounts, config.admin.audit_retain, stage.subscribe(), stop.clone()));
        let (failing, failure) = tokio::sync::mpsc::channel(1);
        let (preparing, stage_set, stopping) = (parts.clone(), stage.clone(), stop.clone());
        tasks.spawn(async move {
            let prepared = tokio::select! {
                () = stopping.cancelled() => return,
                prepared = async {
                    prepare(&preparing, &mut keeper).await?;
                    schema.cancel();
                    preparing.cluster.seen(|cluster| cluster.me().is_some()).await;
                    Ok::<_, Error>(())
                } => prepared,
            };
            let ready = prepared.and_then(|()| {
                // Not over a stop that came meanwhile.
                stage_set.send_if_modified(|stage| {
                    let starting = *stage == Stage::Starting;
                    if starting {
                        *stage = Stage::Ready;
                    }
                    starting
                });
                super::handover::tell_ready()
            });
            match ready {
                Ok(()) => {
                    tracing::info!("ready");
                    if preparing.config.node.has(Role::Gateway) {
                        keeper.run(stopping).await;
                    }
                }
                // Only one failure is ever sent, so there is room; when nobody listens any more, the node is being stopped.
                Err(why) => drop(failing.send(why).await),
            }
        });
        Ok(Self { parts, address, stage, stop, tasks, last_stop, last_tasks, failure })
    }

    /// The parts, for tests and tools.
    pub fn parts(&self) -> &NodeParts {
        &self.parts
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.parts.config
    }

    /// Where it listens, if it is a gateway.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// What made the start fail.
    pub async fn ready(&mut self) -> Result<()> {
        let (mut stage, mut standing) = (self.stage.subscribe(), self.parts.cluster.standing());
        let ready = async {
            stage.wait_for(|stage| *stage == Stage::Ready).await.ok()?;
            standing.wait_for(|standing| standing.takes_as().is_some()).await.ok().map(drop)
        };
        tokio::select! {
            Some(failed) = self.failure.recv() => Err(failed),
            ready = ready => ready.ok_or_else(|| Error::internal("the node stopped while it started")),
        }
    }

    /// Waits for a failure that the node cannot go on with; forever when there is none.
    pub(super) async fn failed(&mut self) -> Result<()> {
        match self.failure.recv().await {
            Some(why) => Err(why),
            None => std::future::pending().await,
        }
    }

    /// Waits until somebody asks this node to drain from outside, as by `forge cluster drain`. Whoever has started it then [stops](Self::stop) it, as the
    /// program of an app does by itself.
    pub fn asked_to_drain(&self) -> impl Future<Output = ()> + Send + 'static {
        self.parts.asked_to_drain()
    }

    /// Stops: finishes requests under way, then ends.
    pub async fn stop(&mut self) {
        if self.stage.send_replace(Stage::Stopping) != Stage::Stopping {
            tokio::time::sleep(self.parts.config.shutdown.unready_for).await;
        }
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.last_stop.cancel();
        self.last_tasks.close();
        self.last_tasks.wait().await;
    }
}

/// Somebody who calls from within.
pub(super) fn caller_for(auth: AuthContext) -> Arc<Caller> {
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
        wrote: Wrote::default(),
        looked: Looked::default(),
    })
}

/// Brings the schema up to date, waiting for the database as long as it takes.
async fn prepare(parts: &NodeParts, keeper: &mut FeedKeeper) -> Result<()> {
    let config = &parts.config;
    let migrator = Migrator::new(&config.database, &config.migrations, parts.app.migrations()?)?;
    let mut pause = Duration::from_millis(100);
    let mut told = false;
    loop {
        let result = if config.migrations.on_start { migrate(&migrator).await } else { compare(&migrator).await };
        match result {
            Err(why) if why.kind() == ErrorKind::DatabaseUnavailable => {
                if !told {
                    tracing::warn!(error = ?why, "the database is not there yet; waiting for it");
                    told = true;
                }
            }
            Err(why) => return Err(why),
            Ok(()) => {
                // The migrator may have gone another way, past a pooler.
                match parts.database.primary().open_one().await {
                    Err(why) if why.kind() != ErrorKind::DatabaseUnavailable => return Err(why),
                    Ok(()) | Err(_) => {}
                }
                parts.database.check().await;
                // Before anybody subscribes, so that it does not change under them. Who has no subscribers need not be able to follow.
                let decided = if config.node.has(Role::Gateway) { keeper.decide().await } else { Ok(()) };
                return match decided {
                    Err(why) if why.kind() == ErrorKind::Config => Err(why),
                    Err(why) => {
                        tracing::warn!(error = ?why, "where changes are to be written could not be decided; trying again later");
                        Ok(())
                    }
                    Ok(()) => Ok(()),
                };
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

async fn migrate(migrator: &Migrator) -> Result<()> {
    let log = |progress: Progress<'_>| match progress {
        Progress::Waiting(pid) => tracing::info!(?pid, "another node is migrating the database; waiting for it"),
        Progress::Applying(_) => {}
        Progress::Applied(migration, took) => {
            tracing::info!(
                duration_ms = took.as_millis() as u64,
                "applied the migration {} {}",
                migration.set,
                migration.label()
            );
        }
    };
    migrator.run(log).await.map(drop)
}

async fn compare(migrator: &Migrator) -> Result<()> {
    let status = migrator.status().await?;
    let pending: Vec<String> = status
        .iter()
        .filter(|s| s.state == State::Pending)
        .map(|s| format!("{} {:04}_{}", s.set, s.version, s.name))
        .collect();
    if pending.is_empty() {
        return Ok(());
    }
    Err(Error::config(
        "MIGRATIONS_PENDING",
        format!(
            "not applied yet: {}; run the program with `migrate` first, or set migrations.on_start = true",
            pending.join(", ")
        ),
    ))
}

/// Sweeps changes that everybody has seen away.
async fn sweep_changes(database: Database, mut stage: watch::Receiver<Stage>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => return,
        ready = stage.wait_for(|stage| *stage == Stage::Ready) => if ready.is_err() { return },
    }
    let mut sweep = ChangeSweep::default();
    loop {
        if let Err(why) = sweep.run(&database).await {
            tracing::debug!(error = ?why, "old changes could not be swept away; trying again later");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(SWEEP_CHANGES_EVERY) => {}
        }
    }
}

/// Sweeps old answers of mutations away, now and then. Nodes may do so at the same time: they skip each other's rows.
async fn sweep(
    database: Database,
    accounts: Arc<Accounts>,
    audit_retain: Duration,
    mut stage: watch::Receiver<Stage>,
    stop: CancellationToken,
) {
    let began = stage.wait_for(|stage| *stage == Stage::Ready);
    tokio::select! {
        () = stop.cancelled() => return,
        ready = began => if ready.is_err() { return },
    }
    loop {
        let swept = async {
            let more = sweep_mutation_ids(&database).await? >= 1000 || accounts.sweep().await?;
            let more = admin::sweep(&database, audit_retain).await? || more;
            Ok::<_, Error>(crate::cron::admin::sweep(&database).await? || more)
        };
        match swept.await {
            // A full batch: there is more.
            Ok(true) => continue,
            Ok(false) => {}
            Err(why) => tracing::debug!(error = ?why, "what is over could not be swept away; trying again later"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(SWEEP_EVERY) => {}
        }
    }
}
