//! A node: one process of an app with its database, its functions and its doors.

mod parts;
mod schema;
mod sweeps;

use std::net::SocketAddr;
use std::sync::Arc;

use forge_core::{Error, Result};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::parts::NodeParts;
pub(super) use self::parts::caller_for;
use super::App;
use crate::auth::Accounts;
use crate::cluster::{Cluster, Heart};
use crate::config::{Config, Mode, Role, Secret};
use crate::cron::CronRunner;
use crate::db::Database;
use crate::function::{FunctionExecutor, FunctionRouter, World};
use crate::gateway::{Authenticator, GatewayServer};
use crate::jobs::{Jobs, Worker};
use crate::mail::Mailer;
use crate::observability;
use crate::realtime::{InvalidationEngine, Live, Versions};

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
        tasks.spawn(sweeps::changes(database.clone(), stage.subscribe(), stop.clone()));
        tasks.spawn(sweeps::what_is_over(database, accounts, config.admin.audit_retain, stage.subscribe(), stop.clone()));
        let (failing, failure) = tokio::sync::mpsc::channel(1);
        let (preparing, stage_set, stopping) = (parts.clone(), stage.clone(), stop.clone());
        tasks.spawn(async move {
            let prepared = tokio::select! {
                () = stopping.cancelled() => return,
                prepared = async {
                    schema::prepare(&preparing, &mut keeper).await?;
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
                crate::app::handover::tell_ready()
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
    pub(in crate::app) async fn failed(&mut self) -> Result<()> {
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
