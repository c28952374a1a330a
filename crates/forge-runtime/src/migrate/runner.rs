//! Applies migrations.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use forge_core::human::format_duration;
use forge_core::{Error, ErrorKind, Result};
use tokio_postgres::Client;

use super::Migration;
use crate::config::{DatabaseConfig, MigrationsConfig};
use crate::db::lexer;
use crate::db::{Connector, Route, error, not_direct};

/// What the advisory lock of migrators is taken on: "FORGE" in ASCII.
const LOCK_KEY: i64 = 0x46_4F52_4745;

/// How often a migrator that waits for another one looks.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// What a migration sets for itself, such as a role or a search path, is not set for its record and the next one, as it would not be if that
/// came another day. What the address sets stays.
const UNSET: &str = "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL";

/// What a run tells while it goes on.
#[derive(Debug, Clone, Copy)]
pub enum Progress<'a> {
    /// Another migrator holds the lock: its process id on the server, when it could be seen.
    Waiting(Option<i32>),
    /// This one begins.
    Applying(&'a Migration),
    /// This one is done.
    Applied(&'a Migration, Duration),
}

/// Where a migration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Applied, and the file is as it was then.
    Applied,
    /// Not applied yet.
    Pending,
    /// Applied, but the file has been edited since.
    Changed,
    /// Applied, but there is no file of this version.
    Missing,
}

/// A migration and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// `forge` or `app`.
    pub set: String,
    /// The version.
    pub version: u64,
    /// The name.
    pub name: String,
    /// Where it stands.
    pub state: State,
    /// When it was applied: RFC 3339.
    pub applied_at: Option<String>,
}

/// Applies migrations to one database.
#[derive(Debug)]
pub struct Migrator {
    connector: Connector,
    /// Whether it is to connect past a pooler.
    past_pooler: bool,
    config: MigrationsConfig,
    migrations: Vec<Migration>,
}

#[derive(Debug)]
struct Applied {
    name: String,
    checksum: String,
    at: String,
}

impl Migrator {
    /// A migrator for these migrations of an app; the framework's own come before them. It uses a direct connection when there is
    /// one, as its lock belongs to a session.
    ///
    /// # Errors
    /// When two files have the same version, or the database URL cannot be used.
    pub fn new(database: &DatabaseConfig, config: &MigrationsConfig, app: Vec<Migration>) -> Result<Self> {
        let mut migrations = super::system()?;
        migrations.extend(app);
        migrations.sort_by_key(|migration| (migration.set != "forge", migration.version));
        for pair in migrations.windows(2) {
            if (pair[0].set, pair[0].version) == (pair[1].set, pair[1].version) {
                return Err(Error::config(
                    "MIGRATION_VERSION_TWICE",
                    format!(
                        "{} and {} have the same version; give the newer one a higher one",
                        pair[0].label(),
                        pair[1].label()
                    ),
                ));
            }
        }
        let url = database.direct_url.as_ref().or(database.url.as_ref()).ok_or_else(crate::db::no_url)?;
        let connector = Connector::new(url, "forge migrations", &[], database, &Route::default())?;
        Ok(Self { connector, past_pooler: database.direct_url.is_some(), config: config.clone(), migrations })
    }

    /// Applies what is pending. Returns how many that were.
    ///
    /// # Errors
    /// `DATABASE_UNAVAILABLE` when the database cannot be reached, `MIGRATION_LOCKED` when another migrator does not finish in time,
    /// `DATABASE_NOT_DIRECT` when there is only a pooler to connect to, `MIGRATION_CHANGED` when an applied file was edited, `MIGRATION_FAILED` when one fails: it and those after it are not applied.
    pub async fn run(&self, mut progress: impl FnMut(Progress<'_>)) -> Result<usize> {
        let connection = self.connector.connect().await?;
        if connection.is_pooled() {
            // The lock would be left behind on somebody else's session.
            return Err(not_direct("migrating", self.past_pooler));
        }
        let client = connection.client();
        self.lock(client, &mut progress).await?;
        // The lock ends with the connection, however this goes on.
        create_table(client).await?;
        let applied = applied(client).await?;
        let pending = self.pending(&applied)?;
        for migration in &pending {
            progress(Progress::Applying(migration));
            let began = Instant::now();
            self.apply(client, migration).await?;
            progress(Progress::Applied(migration, began.elapsed()));
        }
        Ok(pending.len())
    }

    /// Where every migration stands.
    ///
    /// # Errors
    /// `DATABASE_UNAVAILABLE` when the database cannot be reached.
    pub async fn status(&self) -> Result<Vec<Status>> {
        let connection = self.connector.connect().await?;
        let exists = "SELECT to_regclass('forge_migrations') IS NOT NULL";
        let row = connection.client().query_one(exists, &[]).await.map_err(error::from_driver)?;
        let mut applied = if row.get::<_, bool>(0) { applied(connection.client()).await? } else { BTreeMap::new() };
        let mut list: Vec<Status> = self
            .migrations
            .iter()
            .map(|migration| {
                let record = applied.remove(&(migration.set.to_owned(), migration.version));
                let state = match &record {
                    None => State::Pending,
                    Some(record) if is_changed(migration, record) => State::Changed,
                    Some(_) => State::Applied,
                };
                let (set, name) = (migration.set.to_owned(), migration.name.clone());
                Status { set, version: migration.version, name, state, applied_at: record.map(|record| record.at) }
            })
            .collect();
        list.extend(applied.into_iter().map(|((set, version), record)| Status {
            set,
            version,
            name: record.name,
            state: State::Missing,
            applied_at: Some(record.at),
        }));
        list.sort_by_key(|status| (status.set != "forge", status.version));
        Ok(list)
    }

    async fn lock(&self, client: &Client, progress: &mut impl FnMut(Progress<'_>)) -> Result<()> {
        let began = Instant::now();
        let mut told = false;
        loop {
            let row =
                client.query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK_KEY]).await.map_err(error::from_driver)?;
            if row.get::<_, bool>(0) {
                return Ok(());
            }
            let holder = lock_holder(client).await?;
            if began.elapsed() >= self.config.deadline {
                let who = holder.map_or_else(|| "another process".to_owned(), |pid| format!("the server process {pid}"));
                return Err(Error::config(
                    "MIGRATION_LOCKED",
                    format!(
                        "{who} has been migrating this database for more than {}; wait for it, or end it with SELECT pg_terminate_backend(..)",
                        format_duration(self.config.deadline)
                    ),
                ));
            }
            if !told {
                progress(Progress::Waiting(holder));
                told = true;
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
    }

    fn pending(&self, applied: &BTreeMap<(String, u64), Applied>) -> Result<Vec<&Migration>> {
        let mut pending = Vec::new();
        let mut changed = BTreeSet::new();
        for migration in &self.migrations {
            match applied.get(&(migration.set.to_owned(), migration.version)) {
                None => pending.push(migration),
                Some(record) if is_changed(migration, record) => {
                    changed.insert(migration.label());
                }
                Some(_) => {}
            }
        }
        if !changed.is_empty() {
            let list = changed.into_iter().collect::<Vec<_>>().join(", ");
            return Err(Error::config(
                "MIGRATION_CHANGED",
                format!("already applied, but edited since: {list}; undo the edit and write the change as a new migration"),
            ));
        }
        Ok(pending)
    }

    async fn apply(&self, client: &Client, migration: &Migration) -> Result<()> {
        let began = Instant::now();
        let limits = format!(
            "{UNSET}; SET lock_timeout = {}; SET statement_timeout = {}",
            self.config.lock_timeout.as_millis(),
            self.config.statement_timeout.as_millis()
        );
        client.batch_execute(&limits).await.map_err(error::from_driver)?;
        if !migration.transactional {
            for statement in lexer::statements(&migration.sql) {
                client.batch_execute(statement).await.map_err(|why| failed(migration, statement, why))?;
            }
            return record(client, migration, began).await;
        }
        client.batch_execute("BEGIN").await.map_err(error::from_driver)?;
        let applied = match client.batch_execute(&migration.sql).await {
            Ok(()) => record(client, migration, began).await,
            Err(why) => Err(failed(migration, &migration.sql, why)),
        };
        match applied {
            Ok(()) => client.batch_execute("COMMIT").await.map_err(|why| failed(migration, &migration.sql, why)),
            Err(why) => {
                // The connection is closed right after, which rolls back as well.
                if let Err(rollback) = client.batch_execute("ROLLBACK").await {
                    tracing::debug!(error = %rollback, "a failed migration could not be rolled back by hand");
                }
                Err(why)
            }
        }
    }
}

/// Whether a file is not what was applied. The framework's own may get a better comment in a later version.
fn is_changed(migration: &Migration, applied: &Applied) -> bool {
    migration.set == "app" && migration.checksum != applied.checksum
}

async fn create_table(client: &Client) -> Result<()> {
    client.batch_execute(include_str!("create_table.sql")).await.map_err(error::from_driver)
}

async fn applied(client: &Client) -> Result<BTreeMap<(String, u64), Applied>> {
    let rows = client
        .query(
            "SELECT set, version, name, checksum, to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM forge_migrations",
            &[],
        )
        .await
        .map_err(error::from_driver)?;
    Ok(rows
        .iter()
        .map(|row| {
            let version = u64::try_from(row.get::<_, i64>(1)).unwrap_or(0);
            ((row.get(0), version), Applied { name: row.get(2), checksum: row.get(3), at: row.get(4) })
        })
        .collect())
}

async fn record(client: &Client, migration: &Migration, began: Instant) -> Result<()> {
    client.batch_execute(UNSET).await.map_err(error::from_driver)?;
    let version =
        i64::try_from(migration.version).map_err(|_| Error::config("MIGRATION_NAME", "the version is too large"))?;
    let took_ms = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
    client
        .execute(
            "INSERT INTO forge_migrations (set, version, name, checksum, execution_time_ms) VALUES ($1, $2, $3, $4, $5)",
            &[&migration.set, &version, &migration.name, &migration.checksum, &took_ms],
        )
        .await
        .map(drop)
        .map_err(error::from_driver)
}

async fn lock_holder(client: &Client) -> Result<Option<i32>> {
    // A bigint key is stored as two halves.
    let text = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 \
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
                AND (classid::int8 << 32) + objid::int8 = $1";
    let row = client.query_opt(text, &[&LOCK_KEY]).await.map_err(error::from_driver)?;
    Ok(row.map(|row| row.get(0)))
}

fn failed(migration: &Migration, sql: &str, why: tokio_postgres::Error) -> Error {
    let db = match why.as_db_error() {
        // A server that goes down ends a migration, too; whoever waits for it tries again.
        Some(db) if !error::is_disconnect(&why) => db,
        _ => return error::from_driver(why),
    };
    let line = match db.position() {
        Some(tokio_postgres::error::ErrorPosition::Original(at)) => {
            let before: String = sql.chars().take(*at as usize).collect();
            let offset = migration.sql.find(sql).map_or(0, |at| migration.sql[..at].matches('\n').count());
            format!(", line {}", offset + before.matches('\n').count() + 1)
        }
        _ => String::new(),
    };
    let detail = db.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
    let hint = match db.code().code() {
        "55P03" => "; a table it needs is locked: find who holds it in pg_locks, or raise migrations.lock_timeout",
        "25001" => "; put `-- @transactional false` on the file's first line",
        _ => "",
    };
    Error::new(ErrorKind::Config, format!("migration {}{line}: {}{detail}{hint}", migration.label(), db.message()))
        .with_code("MIGRATION_FAILED")
        .with_source(why)
}
