//! One connection: how it is opened, to the server or through a pooler, what it remembers, how it is given up.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use forge_core::{Error, Result};
use futures_util::TryStreamExt as _;
use lru::LruCache;
use postgres_types::ToSql;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_postgres::config::{Host, SslMode, SslNegotiation};
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, CancelToken, Client, Notification, Row, Statement as Prepared};
use tokio_util::sync::CancellationToken;

use super::error;
use super::pooler::{BoxError, Canceller, Route, Through};
use super::statement::Shape;
use super::tls::MakeTls;
use crate::config::{DatabaseConfig, Secret, TlsMode};

/// How long a connection that is given up counts for its pool's size at most: one that hangs must not starve a pool whose server is back.
const GIVE_UP_MAX: Duration = Duration::from_secs(5);

/// How connections of one purpose are opened.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    config: tokio_postgres::Config,
    /// Settings of the session; a pooler takes none.
    settings: String,
    tls: MakeTls,
    tls_mode: TlsMode,
    route: Route,
    connect_timeout: Duration,
    statements_max: NonZeroUsize,
}

impl Connector {
    /// Connections to `url` for a stated purpose: it is their `application_name`, so that `pg_stat_activity` tells who is who.
    /// Those to the same address share a `route`.
    ///
    /// # Errors
    /// When the URL cannot be read, or the CA file cannot be used.
    pub(crate) fn new(
        url: &Secret,
        purpose: &str,
        settings: &[(&str, String)],
        config: &DatabaseConfig,
        route: &Route,
    ) -> Result<Self> {
        let endpoint = config.endpoint(url)?;
        let mut pg = endpoint.pg;
        let settings = settings.iter().map(|(name, value)| format!(" -c {name}={value}")).collect();
        pg.application_name(purpose);
        pg.connect_timeout(config.connect_timeout);
        pg.keepalives_idle(Duration::from_secs(30));
        pg.tcp_user_timeout(Duration::from_secs(30));
        let tls = super::tls::configure(&mut pg, endpoint.tls, config)?;
        let statements_max = NonZeroUsize::new(config.max_statements_per_connection as usize).unwrap_or(NonZeroUsize::MIN);
        Ok(Self {
            config: pg,
            settings,
            tls,
            tls_mode: endpoint.tls,
            route: route.clone(),
            connect_timeout: config.connect_timeout,
            statements_max,
        })
    }

    /// The same, for sessions that are kept open: a peer from which nothing is heard for so long is given up.
    #[must_use]
    pub(crate) fn impatient(mut self, silence: Duration) -> Self {
        // The system counts in whole seconds, here as well.
        let third = (silence / 3).max(Duration::from_secs(1));
        self.config.keepalives_idle(third).keepalives_interval(third).keepalives_retries(2).tcp_user_timeout(silence);
        self
    }

    /// The driver's part of it.
    pub(super) fn config(&self) -> &tokio_postgres::Config {
        &self.config
    }

    /// What encrypts, and when.
    pub(super) fn tls(&self) -> (MakeTls, TlsMode) {
        (self.tls.clone(), self.tls_mode)
    }

    /// How long connecting may take.
    pub(super) fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// Where its address leads.
    pub(crate) fn route(&self) -> &Route {
        &self.route
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// `DATABASE_UNAVAILABLE` when that fails for whatever reason; the reason is its source. `DATABASE_STARTUP_REFUSED` when the
    /// address brings settings that a pooler does not take.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        let connecting = async {
            if self.route.is_pooled(self.probe()).await? {
                self.connect_through().await.map(|(connection, _)| connection)
            } else {
                Ok(self.connect_direct().await?)
            }
        };
        // Rare and large: on the heap, or every call that may have to connect would carry room for it around. The driver's own
        // time-out is per address; this one is for all of it, the TLS handshake included.
        match tokio::time::timeout(self.connect_timeout.saturating_mul(2), Box::pin(connecting)).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(why)) => Err(refused(why)),
            Err(_) => Err(Error::database_unavailable("connecting to the database took too long")),
        }
    }

    fn with_settings(&self) -> tokio_postgres::Config {
        let mut config = self.config.clone();
        if !self.settings.is_empty() {
            config.options(format!("{}{}", config.get_options().unwrap_or_default(), self.settings).trim());
        }
        config
    }

    async fn connect_direct(&self) -> Result<Connection, tokio_postgres::Error> {
        let (client, connection) = self.with_settings().connect(self.tls.clone()).await?;
        Ok(self.connection(client, connection, Canceller::Direct(self.tls.clone()), false))
    }

    /// Opens a session that hears notifications: those that `heard` has no room for are dropped, and it is closed then, so that whoever reads
    /// it knows that something is missing. It ends with the session.
    ///
    /// # Errors
    /// As [`connect`](Self::connect); `DATABASE_NOT_DIRECT` when there is only a pooler, which passes none on.
    pub(crate) async fn listen(&self, heard: tokio::sync::mpsc::Sender<Notification>) -> Result<Client> {
        let connecting = async {
            if self.route.is_pooled(self.probe()).await? {
                return Ok(None);
            }
            Ok::<_, BoxError>(Some(self.with_settings().connect(self.tls.clone()).await?))
        };
        let (client, mut connection) =
            match tokio::time::timeout(self.connect_timeout.saturating_mul(2), Box::pin(connecting)).await {
                Ok(Ok(Some(connected))) => connected,
                Ok(Ok(None)) => return Err(super::not_direct("hearing what other nodes say", false)),
                Ok(Err(why)) => return Err(refused(why)),
                Err(_) => return Err(Error::database_unavailable("connecting to the database took too long")),
            };
        tokio::spawn(async move {
            while let Some(message) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
                match message {
                    Ok(AsyncMessage::Notification(notification)) => {
                        if heard.try_send(notification).is_err() {
                            break;
                        }
                    }
                    Ok(_) => {}
                    Err(why) => {
                        tracing::debug!(error = %why, "a database connection ended");
                        break;
                    }
                }
            }
        });
        Ok(client)
    }

    /// Whether there is a pooler on the way: then the process id that was told at the start is made up.
    async fn probe(&self) -> Result<bool, BoxError> {
        let (connection, told) = self.connect_through().await?;
        let row = connection.client.query_typed_one("SELECT pg_backend_pid()", &[]).await?;
        let pooled = told != Some(row.try_get(0)?);
        /// Replicas and the migrator have addresses of their own; one word is enough.
        static TOLD: std::sync::Once = std::sync::Once::new();
        if pooled {
            TOLD.call_once(|| tracing::info!(
                "the database is reached through a pooler: every read has a connection of the pool to itself, and statements are prepared anew each time; what needs a session of its own uses database.direct_url"
            ));
        }
        Ok(pooled)
    }

    /// A connection that works through a pooler as well, and the process id that was told at its start.
    async fn connect_through(&self) -> Result<(Connection, Option<i32>), BoxError> {
        let encrypted = match self.tls_mode {
            TlsMode::Disable => return self.connect_plain().await,
            TlsMode::Prefer | TlsMode::Require | TlsMode::VerifyFull => self.connect_encrypted().await,
        };
        match encrypted {
            // An error of the server's would be the same without encryption.
            Err(why) if self.tls_mode == TlsMode::Prefer && db_error(&why).is_none() => self.connect_plain().await,
            result => result,
        }
    }

    async fn connect_encrypted(&self) -> Result<(Connection, Option<i32>), BoxError> {
        let mut config = self.config.clone();
        config.ssl_mode(SslMode::Require);
        self.connect_tcp(&config, Through::new(Some(self.tls.clone()))).await
    }

    async fn connect_plain(&self) -> Result<(Connection, Option<i32>), BoxError> {
        // The driver hands over its socket as it is when TLS is to begin at once; what it takes for TLS does not encrypt here.
        let mut config = self.config.clone();
        config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
        let mut through = Through::new(None);
        let Some(Host::Unix(folder)) = self.config.get_hosts().first() else {
            return self.connect_tcp(&config, through).await;
        };
        // It does not do so for a socket in the file system.
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        let socket = folder.join(format!(".s.PGSQL.{port}"));
        let stream = UnixStream::connect(&socket).await?;
        let tls = MakeTlsConnect::<UnixStream>::make_tls_connect(&mut through, "")?;
        let (client, connection) = config.connect_raw(stream, tls).await?;
        let told = through.process_id();
        let canceller = Canceller::Unix(socket, Through::new(None));
        Ok((self.connection(client, connection, canceller, true), told))
    }

    async fn connect_tcp(
        &self,
        config: &tokio_postgres::Config,
        through: Through,
    ) -> Result<(Connection, Option<i32>), BoxError> {
        let (client, connection) = config.connect(through.clone()).await?;
        let told = through.process_id();
        Ok((self.connection(client, connection, Canceller::Tcp(through.again()), true), told))
    }

    fn connection<S, T>(
        &self,
        client: Client,
        connection: tokio_postgres::Connection<S, T>,
        canceller: Canceller,
        pooled: bool,
    ) -> Connection
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let ended = CancellationToken::new();
        let ending = ended.clone().drop_guard();
        let task = tokio::spawn(async move {
            let _ending = ending;
            // When it ends with an error, whoever uses the client gets one as well, and reports it.
            if let Err(why) = connection.await {
                tracing::debug!(error = %why, "a database connection ended");
            }
        });
        drop(task);
        Connection {
            cancel: client.cancel_token(),
            client,
            canceller,
            pooled,
            statements: Mutex::new(LruCache::new(self.statements_max)),
            life: tokio::sync::OnceCell::new(),
            ended,
        }
    }
}

fn db_error(why: &BoxError) -> Option<&DbError> {
    why.downcast_ref::<tokio_postgres::Error>()?.as_db_error()
}

/// Why no connection could be made.
fn refused(why: BoxError) -> Error {
    // Poolers use this code for everything, so their words have to be looked at; they are not translated.
    let startup = db_error(&why).filter(|db| {
        matches!(*db.code(), SqlState::PROTOCOL_VIOLATION | SqlState::FEATURE_NOT_SUPPORTED)
            && (db.message().contains("startup parameter") || db.message().contains("command-line options"))
    });
    match startup {
        Some(db) => {
            let text = format!(
                "a pooler before the database does not take a setting that the address brings ({}); leave `options` out of database.url and set it for the role instead: ALTER ROLE .. SET ..",
                db.message()
            );
            Error::config("DATABASE_STARTUP_REFUSED", text).with_source(why)
        }
        None => Error::database_unavailable("no connection to the database can be made").with_source(why),
    }
}

/// A connection with its prepared statements.
pub(crate) struct Connection {
    client: Client,
    cancel: CancelToken,
    canceller: Canceller,
    pooled: bool,
    statements: Mutex<LruCache<u64, Prepared>>,
    life: tokio::sync::OnceCell<String>,
    ended: CancellationToken,
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

    /// Whether it goes through a pooler.
    pub(crate) fn is_pooled(&self) -> bool {
        self.pooled
    }

    /// Whether it has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Cancelled once it has ended.
    pub(crate) fn ended(&self) -> &CancellationToken {
        &self.ended
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
    ///
    /// Its place in the pool, `slot`, is free once it has ended, as it is one of the server's connections until then.
    pub(crate) fn cancel_and_discard(self, slot: Option<OwnedSemaphorePermit>) {
        self.give_up(slot, true);
    }

    /// Closes the connection once what was sent on it has been answered; `slot` as in [`cancel_and_discard`](Self::cancel_and_discard).
    pub(crate) fn discard(self, slot: Option<OwnedSemaphorePermit>) {
        self.give_up(slot, false);
    }

    fn give_up(self, slot: Option<OwnedSemaphorePermit>, cancel: bool) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let ended = self.ended.clone();
            let ending = async move {
                if cancel && let Err(why) = self.canceller.clone().cancel(&self.cancel).await {
                    // The statement then ends by its own statement_timeout.
                    tracing::debug!(error = %why, "a running statement could not be cancelled");
                }
                // The driver sends what is queued, and waits for its answers, before it says good-bye.
                drop(self);
                ended.cancelled().await;
            };
            let _ = tokio::time::timeout(GIVE_UP_MAX, ending).await;
            drop(slot);
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
    } else if error.kind() == forge_core::ErrorKind::Validation {
        tracing::debug!(statement = %shape.text, error = ?error, "the database refused a value");
    }
    error
}
