//! The database of a node: the primary, its replicas, the shared read connections, and how they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use forge_core::{Error, Result};
use tokio_util::sync::CancellationToken;

use super::connect::{Answer, Connector, Params, mapped};
use super::error;
use super::pool::{Lease, Pool};
use super::pooler::Route;
use super::shared::{Outcome, SharedReads};
use super::statement::Shape;
use super::stream::Cursor;
use super::transaction::{self, Purpose, Transaction};
use crate::config::{DatabaseConfig, Secret};

/// The database of a node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Database(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    primary: Pool,
    /// To see how it is.
    pings: Pool,
    side: Pool,
    live: Pool,
    looks: Pool,
    jobs: Pool,
    claims: Pool,
    /// To the server itself, for the change feed's stream.
    log: Connector,
    /// To `direct_url`, past a pooler.
    direct: Option<Pool>,
    /// Where the address leads that what needs a session of its own goes to.
    direct_route: Route,
    app: String,
    shared: SharedReads,
    replicas: Vec<Arc<Replica>>,
    next_replica: AtomicUsize,
    healthy: AtomicBool,
    config: DatabaseConfig,
}

/// How many connections there are beside the pool's.
const SIDE_CONNECTIONS: usize = 2;

/// How many connections see how a server is: one, and others only while those of looks that were not answered are given up. No caller has
/// them, so a pool whose connections are all lent says nothing about the server.
const PING_CONNECTIONS: usize = 4;

/// How many connections live queries have: one to read what changed and run what that concerns, some for slow queries, one each for what
/// they need to know about the schema and for making triggers. Calls and live queries never wait for each other's connections.
const LIVE_CONNECTIONS: usize = 3 + crate::realtime::LANES;

/// How many connections the queue has: four to dispatch, two of which for what has unique keys, which may have to wait for whoever has those; one to
/// write down how jobs ended, one for the rest. Opened only where there are jobs, and when they are needed.
const JOB_CONNECTIONS: usize = 6;

/// And how many to claim: a worker claims once at a time.
const CLAIM_CONNECTIONS: usize = 1;

/// How claims are planned: once, by lane. Planned anew each time, as the server would for a claim of few, half of a claim's time is planning; and
/// planned while the queue is small, it might go over all of it for ever.
const CLAIM_SETTINGS: [(&str, &str); 2] = [("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off")];

/// How many connections the query cache has: one to look at the change feed, one for what it needs to know about the schema. Opened only
/// where there are queries with `cache`.
const LOOK_CONNECTIONS: usize = 2;

/// How many connections past a pooler there are at most: they are what it saves.
const DIRECT_CONNECTIONS: usize = 4;

/// A replica: a read-only copy that may lag behind.
#[derive(Debug)]
pub(crate) struct Replica {
    pool: Pool,
    /// To see how it is.
    pings: Pool,
    healthy: AtomicBool,
    /// The last write-ahead log position that it is known to have replayed.
    replayed: AtomicU64,
}

impl Replica {
    /// Whether the primary is to be asked instead, as it has the data too: after an error of the replica's own. One that went away is not
    /// asked again until it is seen to be back.
    fn is_passed_over(&self, why: &Error) -> bool {
        if why.is_retryable() {
            self.healthy.store(false, Ordering::Relaxed);
            return true;
        }
        error::driver_of(why).is_some_and(error::is_a_replicas)
    }
}

/// How the database is, as `/ready` and the metrics tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseHealth {
    /// Whether the last check of the primary succeeded.
    pub primary: bool,
    /// Replicas whose last check succeeded.
    pub replicas_healthy: usize,
    /// Replicas in the configuration.
    pub replicas_total: usize,
    /// Pooled connections of the primary that are lent.
    pub active: usize,
    /// Pooled connections of the primary that are idle.
    pub idle: usize,
    /// Shared read connections that are open.
    pub shared: usize,
}

impl Database {
    /// Prepares the pools; connections are opened when they are first needed, so this works while the database is down.
    ///
    /// # Errors
    /// When a URL or a TLS setting cannot be used.
    pub fn new(app: &str, config: &DatabaseConfig) -> Result<Self> {
        let named = |purpose: &str| format!("forge {app} {purpose}");
        let connect = |url: &Secret, route: &Route, purpose: &str, settings: &[(&str, String)]| {
            Connector::new(url, &named(purpose), settings, config, route)
        };
        let route = Route::default();
        let primary_url = config.url.as_ref().ok_or_else(no_url)?;
        let read_only = ("default_transaction_read_only", "on".to_owned());
        let short = ("statement_timeout", config.shared_statement_timeout.as_millis().max(1).to_string());
        let replicas = config
            .replica_urls
            .iter()
            .map(|url| {
                let route = Route::default();
                let connector = connect(url, &route, "replica", std::slice::from_ref(&read_only))?;
                Ok(Arc::new(Replica {
                    pool: Pool::new(connector, config.pool_size as usize, config.pool_timeout),
                    pings: Pool::new(connect(url, &route, "health", &[])?, PING_CONNECTIONS, config.pool_timeout),
                    healthy: AtomicBool::new(false),
                    replayed: AtomicU64::new(0),
                }))
            })
            .collect::<Result<Vec<_>>>()?;
        let direct_route = if config.direct_url.is_some() { Route::default() } else { route.clone() };
        let direct = match &config.direct_url {
            Some(url) => {
                let connector = connect(url, &direct_route, "direct", &[])?;
                Some(Pool::new(connector, DIRECT_CONNECTIONS, config.pool_timeout))
            }
            None => None,
        };
        let main = connect(primary_url, &route, "main", &[])?;
        let claims = CLAIM_SETTINGS.map(|(name, value)| (name, value.to_owned()));
        let log = connect(config.direct_url.as_ref().unwrap_or(primary_url), &Route::default(), "change feed", &[])?;
        Ok(Self(Arc::new(Inner {
            primary: Pool::new(main, config.pool_size as usize, config.pool_timeout),
            pings: Pool::new(connect(primary_url, &route, "health", &[])?, PING_CONNECTIONS, config.pool_timeout),
            side: Pool::new(connect(primary_url, &route, "side", &[])?, SIDE_CONNECTIONS, config.pool_timeout),
            direct,
            direct_route,
            app: app.to_owned(),
            log,
            live: Pool::new(connect(primary_url, &route, "live queries", &[])?, LIVE_CONNECTIONS, config.pool_timeout),
            jobs: Pool::new(connect(primary_url, &route, "jobs", &[])?, JOB_CONNECTIONS, config.pool_timeout),
            claims: Pool::new(connect(primary_url, &route, "claims", &claims)?, CLAIM_CONNECTIONS, config.pool_timeout),
            looks: Pool::new(connect(primary_url, &route, "query cache", &[])?, LOOK_CONNECTIONS, config.pool_timeout),
            shared: SharedReads::new(
                connect(primary_url, &route, "shared reads", &[read_only, short])?,
                config.shared_connections as usize,
                config.shared_statement_timeout,
            ),
            replicas,
            next_replica: AtomicUsize::new(0),
            healthy: AtomicBool::new(false),
            config: config.clone(),
        })))
    }

    /// The primary's pool.
    pub(crate) fn primary(&self) -> &Pool {
        &self.0.primary
    }

    /// A few connections for short statements of calls that hold one of the pool's already: counting an attempt to sign in,
    /// asking what became of a commit. If those waited for the pool as well, calls could wait for each other.
    pub(crate) fn side(&self) -> &Pool {
        &self.0.side
    }

    /// The connections of the queue.
    pub(crate) fn jobs(&self) -> &Pool {
        &self.0.jobs
    }

    /// The connection that jobs are claimed on.
    pub(crate) fn claims(&self) -> &Pool {
        &self.0.claims
    }

    /// The connections of live queries.
    pub(crate) fn live(&self) -> &Pool {
        &self.0.live
    }

    /// How the log is reached, past a pooler.
    pub(crate) fn log_connector(&self) -> &Connector {
        &self.0.log
    }

    /// How a session is opened that is kept for a purpose of its own: past a pooler, when there is a way.
    ///
    /// # Errors
    /// When a URL or a TLS setting cannot be used.
    pub(crate) fn pinned(&self, purpose: &str, settings: &[(&str, String)]) -> Result<Connector> {
        let config = &self.0.config;
        let url = config.direct_url.as_ref().or(config.url.as_ref()).ok_or_else(no_url)?;
        Connector::new(url, &format!("forge {} {purpose}", self.0.app), settings, config, &self.0.direct_route)
    }

    /// Whether there is an address past a pooler.
    pub(crate) fn has_direct(&self) -> bool {
        self.0.direct.is_some()
    }

    /// One snapshot for a round of live queries.
    pub(crate) async fn begin_live(&self, fresh: bool) -> Result<Transaction> {
        let limit = Instant::now() + self.0.config.statement_timeout;
        Ok(Transaction::new(self.0.live.get().await?, Purpose::Snapshot, limit, fresh))
    }

    /// The connections of the query cache.
    pub(crate) fn looks(&self) -> &Pool {
        &self.0.looks
    }

    /// One snapshot for a look at the change feed.
    pub(crate) async fn begin_look(&self) -> Result<Transaction> {
        let limit = Instant::now() + self.0.config.statement_timeout;
        Ok(Transaction::new(self.0.looks.get().await?, Purpose::Snapshot, limit, false))
    }

    /// The snapshot of a round that is still open, on another connection.
    pub(crate) async fn begin_apart(&self, snapshot: &str) -> Result<Transaction> {
        let limit = Instant::now() + self.0.config.statement_timeout;
        Transaction::import(self.0.live.get().await?, snapshot, limit).await
    }

    /// A connection with a session of its own: past a pooler, when there is one.
    ///
    /// # Errors
    /// `DATABASE_NOT_DIRECT` when there is a pooler on every way; else as [`Pool::get`].
    pub(crate) async fn session(&self) -> Result<Lease> {
        let lease = self.0.primary.get().await?;
        if !lease.is_pooled() {
            return Ok(lease);
        }
        drop(lease);
        let direct = self.0.direct.as_ref().ok_or_else(|| not_direct("ctx.db().raw()", false))?;
        let lease = direct.get().await?;
        if lease.is_pooled() { Err(not_direct("ctx.db().raw()", true)) } else { Ok(lease) }
    }

    /// A read on behalf of a query.
    pub(crate) async fn read(
        &self,
        replica: Option<&Replica>,
        shape: &Arc<Shape>,
        params: Params<'_>,
        deadline: Instant,
    ) -> Result<Answer> {
        if let Some(replica) = replica
            && let Ok(lease) = replica.pool.get().await
        {
            match Box::pin(self.read_on(&replica.pool, lease, shape, params, deadline)).await {
                Err(why) if replica.is_passed_over(&why) => {}
                result => return result,
            }
        }
        match self.0.shared.query(shape, params).await {
            Outcome::Done(result) => return result.map_err(|why| mapped(why, shape)),
            Outcome::Elsewhere => {}
        }
        let lease = self.0.primary.get().await?;
        // On the heap: it is several times as large as a shared read, which would otherwise carry that room around.
        Box::pin(self.read_on(&self.0.primary, lease, shape, params, deadline)).await
    }

    /// A read on behalf of a query whose result is streamed: in a transaction of its own, on a connection of its own.
    pub(crate) async fn open(
        &self,
        replica: Option<&Replica>,
        shape: &Arc<Shape>,
        params: Params<'_>,
        deadline: Instant,
    ) -> Result<Cursor> {
        if let Some(replica) = replica
            && let Ok(lease) = replica.pool.get().await
        {
            match self.open_on(&replica.pool, lease, shape, params, deadline).await {
                Err(why) if replica.is_passed_over(&why) => {}
                result => return result,
            }
        }
        self.open_on(&self.0.primary, self.0.primary.get().await?, shape, params, deadline).await
    }

    /// As [`read_on`](Self::read_on): once more after a table has changed under its plan, and on another connection.
    async fn open_on(
        &self,
        pool: &Pool,
        mut lease: Lease,
        shape: &Arc<Shape>,
        params: Params<'_>,
        deadline: Instant,
    ) -> Result<Cursor> {
        let (mut fresh, mut reconnected) = (false, false);
        loop {
            let transaction = Arc::new(Transaction::new(lease, Purpose::Snapshot, self.limit(deadline), fresh));
            match Cursor::open(transaction.clone(), true, shape, params).await {
                Err(_) if !fresh && transaction.is_stale() => fresh = true,
                Err(why) if !reconnected && why.is_retryable() => {
                    reconnected = true;
                    pool.clear();
                }
                result => return result,
            }
            // Back to the pool before another one is asked for.
            drop(transaction);
            lease = pool.get().await?;
        }
    }

    async fn read_on(
        &self,
        pool: &Pool,
        mut lease: Lease,
        shape: &Arc<Shape>,
        params: Params<'_>,
        deadline: Instant,
    ) -> Result<Answer> {
        // A read may simply be asked again: after a table has changed under its plan, and on another connection.
        let (mut fresh, mut reconnected) = (false, false);
        loop {
            let began = Instant::now();
            match transaction::read_alone(&lease, shape, params, self.limit(deadline), fresh).await {
                Ok(answer) => {
                    shape.measured(began.elapsed());
                    return Ok(answer);
                }
                Err(why) if !fresh && error::is_stale_plan(&why) => {
                    lease.forget_statements();
                    fresh = true;
                }
                // The connection had died in the pool.
                Err(why) if !reconnected && error::is_disconnect(&why) => {
                    reconnected = true;
                    pool.clear();
                    drop(lease);
                    lease = pool.get().await?;
                }
                Err(why) => return Err(mapped(why, shape)),
            }
        }
    }

    /// A transaction for a mutation, which takes a connection once it has something to send. `fresh` as in [`Transaction::new`].
    pub(crate) fn mutation(&self, purpose: Purpose, deadline: Instant, fresh: bool) -> Transaction {
        Transaction::lazy(&self.0.primary, purpose, self.limit(deadline), fresh)
    }

    /// A transaction on a connection that is taken now. `fresh` as in [`Transaction::new`].
    pub(crate) async fn begin(&self, purpose: Purpose, deadline: Instant, fresh: bool) -> Result<Transaction> {
        Ok(Transaction::new(self.0.primary.get().await?, purpose, self.limit(deadline), fresh))
    }

    /// When a statement that starts now has to end: with its call, and within `database.statement_timeout`.
    pub(super) fn limit(&self, deadline: Instant) -> Instant {
        deadline.min(Instant::now() + self.0.config.statement_timeout)
    }

    /// The next healthy replica that has replayed `position` (a write-ahead log position that the caller has seen), when
    /// reads are to go to replicas at all.
    pub(crate) fn replica(&self, position: u64) -> Option<Arc<Replica>> {
        let inner = &self.0;
        if !inner.config.read_from_replica || inner.replicas.is_empty() {
            return None;
        }
        let first = inner.next_replica.fetch_add(1, Ordering::Relaxed);
        let fit = |replica: &&Arc<Replica>| {
            replica.healthy.load(Ordering::Relaxed) && replica.replayed.load(Ordering::Relaxed) >= position
        };
        let count = inner.replicas.len();
        (0..count).map(|n| &inner.replicas[(first + n) % count]).find(fit).cloned()
    }

    /// Whether writes must tell their position, so that their caller's next reads can avoid replicas that lack them.
    pub(crate) fn has_replicas(&self) -> bool {
        self.0.config.read_from_replica && !self.0.replicas.is_empty()
    }

    /// Where the primary's log stands now: a position that contains every commit acknowledged so far.
    pub(crate) async fn position(&self) -> Result<u64> {
        let shape = Shape::of("SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::int8");
        // Asked for while the mutation's own connection is still lent.
        let lease = self.0.side.get().await?;
        let answer = lease.query(&shape, &[]).await.map_err(|why| mapped(why, &shape))?;
        let position: i64 = answer.rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or(i64::MAX);
        Ok(u64::try_from(position).unwrap_or(u64::MAX))
    }

    /// How it is, by the last check.
    pub fn health(&self) -> DatabaseHealth {
        let (active, idle) = self.0.primary.counts();
        DatabaseHealth {
            primary: self.0.healthy.load(Ordering::Relaxed),
            replicas_healthy: self.0.replicas.iter().filter(|r| r.healthy.load(Ordering::Relaxed)).count(),
            replicas_total: self.0.replicas.len(),
            active,
            idle,
            shared: self.0.shared.open(),
        }
    }

    /// Checks the primary and the replicas once, on connections that nobody else has.
    pub async fn check(&self) -> bool {
        let timeout = self.0.config.health_check_timeout;
        let was = self.0.healthy.load(Ordering::Relaxed);
        let now = tokio::time::timeout(timeout, ping(&self.0.pings, PING)).await.is_ok_and(|answer| answer.is_ok());
        self.0.healthy.store(now, Ordering::Relaxed);
        if was != now {
            if now {
                tracing::info!("the database is reachable");
            } else {
                tracing::warn!("the database is not reachable; calls that need it get a 503 until it is back");
                self.0.primary.clear();
            }
        }
        for replica in &self.0.replicas {
            let answer = tokio::time::timeout(timeout, ping(&replica.pings, REPLAYED)).await;
            let replayed = answer.ok().and_then(Result::ok);
            replica.healthy.store(replayed.is_some(), Ordering::Relaxed);
            if let Some(replayed) = replayed {
                replica.replayed.fetch_max(replayed, Ordering::Relaxed);
            }
        }
        now
    }

    /// Checks until told to stop: every `health_check_interval`, and every 500 ms while the database is away, so that
    /// recovery is noticed soon.
    pub(crate) async fn monitor(self, stop: CancellationToken) {
        loop {
            let healthy = self.check().await;
            let interval = self.0.config.health_check_interval;
            let pause = if healthy { interval } else { interval.min(Duration::from_millis(500)) };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

/// There is no database to talk to.
pub(crate) fn no_url() -> Error {
    Error::config(
        "DATABASE_URL_MISSING",
        "no database is configured: set DATABASE_URL or database.url, or start the app with `forge dev`, which brings a private PostgreSQL",
    )
}

/// Something that needs a session of its own would go through a pooler; `given` tells whether there is a `direct_url`.
pub(crate) fn not_direct(what: &str, given: bool) -> Error {
    let (why, fix) = if given {
        ("database.direct_url leads to a pooler as well", "let it name")
    } else {
        ("the database is reached through a pooler", "set database.direct_url to")
    };
    Error::config(
        "DATABASE_NOT_DIRECT",
        format!("{what} needs a session of its own, and {why}; {fix} the address of the PostgreSQL server itself"),
    )
}

#[cfg(test)]
mod tests;

const PING: &str = "SELECT 0::int8";
const REPLAYED: &str = "SELECT coalesce((pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::int8, 0)";

async fn ping(pool: &Pool, text: &str) -> Result<u64> {
    let shape = Shape::of(text);
    let lease = pool.get().await?;
    // A check that is given up must not leave its answer to the next user of the connection.
    lease.busy();
    let answer = lease.query(&shape, &[]).await.map_err(|why| mapped(why, &shape))?;
    lease.clean();
    let value: i64 = answer.rows.first().ok_or_else(|| Error::internal("no answer"))?.try_get(0).unwrap_or(0);
    Ok(u64::try_from(value).unwrap_or(0))
}
