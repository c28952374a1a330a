//! One connection: how it is opened, what it remembers, how it is given up.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use forge_core::{Error, Result};
use futures_util::TryStreamExt as _;
use lru::LruCache;
use postgres_types::ToSql;
use tokio_postgres::{CancelToken, Client, Row, Statement as Prepared};

use super::error;
use super::statement::Shape;
use super::tls::MakeTls;
use crate::config::{DatabaseConfig, Secret};

/// How connections of one purpose are opened.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    config: tokio_postgres::Config,
    tls: MakeTls,
    connect_timeout: Duration,
    statements_max: NonZeroUsize,
}

impl Connector {
    /// Connections to `url` for a stated purpose: it is their `application_name`, so that `pg_stat_activity` tells who is who.
    ///
    /// # Errors
    /// When the URL cannot be read, or the CA file cannot be used.
    pub(crate) fn new(url: &Secret, purpose: &str, settings: &[(&str, String)], config: &DatabaseConfig) -> Result<Self> {
        let endpoint = config.endpoint(url)?;
        let mut pg = endpoint.pg;
        let mut options = pg.get_options().unwrap_or_default().to_owned();
        for (name, value) in settings {
            options.push_str(&format!(" -c {name}={value}"));
        }
        if !options.trim().is_empty() {
            pg.options(options.trim());
        }
        pg.application_name(purpose);
        pg.connect_timeout(config.connect_timeout);
        pg.keepalives_idle(Duration::from_secs(30));
        pg.tcp_user_timeout(Duration::from_secs(30));
        let tls = super::tls::configure(&mut pg, endpoint.tls, config)?;
        let statements_max = NonZeroUsize::new(config.max_statements_per_connection as usize).unwrap_or(NonZeroUsize::MIN);
        Ok(Self { config: pg, tls, connect_timeout: config.connect_timeout, statements_max })
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// `DATABASE_UNAVAILABLE` when that fails for whatever reason; the reason is its source.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        // Rare and large: on the heap, or every call that may have to connect would carry room for it around.
        let connecting = Box::pin(self.config.connect(self.tls.clone()));
        // The driver's own time-out is per address; this one is for all of it, the TLS handshake included.
        let connected = tokio::time::timeout(self.connect_timeout.saturating_mul(2), connecting).await;
        let (client, connection) = match connected {
            Ok(Ok(pair)) => pair,
            Ok(Err(why)) => {
                return Err(Error::database_unavailable("no connection to the database can be made").with_source(why));
            }
            Err(_) => return Err(Error::database_unavailable("connecting to the database took too long")),
        };
        let task = tokio::spawn(async move {
            // When it ends with an error, whoever uses the client gets one as well, and reports it.
            if let Err(why) = connection.await {
                tracing::debug!(error = %why, "a database connection ended");
            }
        });
        drop(task);
        Ok(Connection {
            cancel: client.cancel_token(),
            client,
            tls: self.tls.clone(),
            statements: Mutex::new(LruCache::new(self.statements_max)),
            life: tokio::sync::OnceCell::new(),
        })
    }
}

/// A connection with its prepared statements.
pub(crate) struct Connection {
    client: Client,
    cancel: CancelToken,
    tls: MakeTls,
    statements: Mutex<LruCache<u64, Prepared>>,
    life: tokio::sync::OnceCell<String>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("closed", &self.client.is_closed()).finish_non_exhaustive()
    }
}

/// What comes back from a statement.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// The rows it returned.
    pub(crate) rows: Vec<Row>,
    /// How many rows it returned or changed.
    pub(crate) affected: u64,
}

/// The parameters of a statement, as the driver takes them.
pub(crate) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

impl Connection {
    /// The driver's client.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Gives the client away: for good, as nobody knows what it is used for.
    pub(crate) fn into_client(self) -> Client {
        self.client
    }

    /// Whether it has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// The statement, prepared: at its first use on this connection that costs a round trip, later none.
    pub(crate) async fn prepare(&self, shape: &Arc<Shape>) -> Result<Prepared, tokio_postgres::Error> {
        if let Some(prepared) = self.cached(shape.id) {
            return Ok(prepared);
        }
        // Rare and large, as connecting is.
        let prepared = Box::pin(self.client.prepare(&shape.text)).await?;
        self.statements.lock().unwrap_or_else(PoisonError::into_inner).put(shape.id, prepared.clone());
        Ok(prepared)
    }

    fn cached(&self, id: u64) -> Option<Prepared> {
        self.statements.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Forgets all prepared statements and what is known of types: the schema has changed under them.
    pub(crate) fn forget_statements(&self) {
        self.statements.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.client.clear_type_cache();
    }

    /// Whether [`life`](Self::life) answers without asking.
    pub(crate) fn knows_life(&self) -> bool {
        self.life.initialized()
    }

    /// Which life of the server it belongs to: another one after every restart, and after every crash of one of the server's
    /// processes, which ends all sessions and makes it recover as well. Asked for once.
    pub(crate) async fn life(&self) -> Result<&str, tokio_postgres::Error> {
        // A recovery throws the statistics away, and they begin anew then.
        let text = "SELECT concat(pg_postmaster_start_time(), ' ', (SELECT stats_reset FROM pg_stat_bgwriter))";
        let ask = async || self.client.query_typed_one(text, &[]).await?.try_get(0);
        self.life.get_or_try_init(ask).await.map(String::as_str)
    }

    /// Runs a statement and collects what comes back.
    pub(crate) async fn query(&self, shape: &Arc<Shape>, params: Params<'_>) -> Result<Answer, tokio_postgres::Error> {
        let prepared = self.prepare(shape).await?;
        self.run(&prepared, params).await
    }

    /// Runs a prepared statement and collects what comes back.
    pub(crate) async fn run(&self, prepared: &Prepared, params: Params<'_>) -> Result<Answer, tokio_postgres::Error> {
        let stream = self.client.query_raw(prepared, params.iter().copied()).await?;
        futures_util::pin_mut!(stream);
        let mut rows = Vec::new();
        while let Some(row) = stream.as_mut().try_next().await? {
            rows.push(row);
        }
        Ok(Answer { rows, affected: stream.rows_affected().unwrap_or(0) })
    }

    /// Stops whatever runs on the connection, then closes it. Used when somebody stopped waiting: a ROLLBACK would
    /// queue behind the running statement, and a cancel that comes late must not hit the next user of the connection.
    pub(crate) fn cancel_and_discard(self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let cancelling = self.cancel.cancel_query(self.tls.clone());
            if let Ok(Err(why)) = tokio::time::timeout(Duration::from_secs(5), cancelling).await {
                // The statement then ends by its own statement_timeout.
                tracing::debug!(error = %why, "a running statement could not be cancelled");
            }
            drop(self);
        });
    }
}

/// As [`error::from_driver`], with a note in the log when the reason is ours.
pub(crate) fn mapped(error: tokio_postgres::Error, shape: &Shape) -> Error {
    let error = match error::unsendable(&error, shape) {
        Some(what) => Error::new(forge_core::ErrorKind::Database, what).with_source(error),
        None => error::from_driver(error),
    };
    if error.kind() == forge_core::ErrorKind::Database {
        tracing::error!(statement = %shape.text, error = ?error, "the database refused a statement");
    }
    error
}
