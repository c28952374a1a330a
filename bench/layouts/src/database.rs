//! The server that is measured on, and connections to it.

use forge_pg::{Options, PrivateServer, Search, find_installation};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

use crate::Result;
use crate::floor::Floor;

/// A private server that syncs to disk, made for the measurement and removed after it. It has two databases: one for the floors, one for
/// what is held against them.
#[derive(Debug)]
pub struct Database {
    server: PrivateServer,
    floor: Floor,
    /// Removed with its contents when dropped.
    _folder: TempDir,
}

impl Database {
    /// A new one.
    ///
    /// # Errors
    /// When there is no PostgreSQL, or it does not start.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("forge-queue-").tempdir()?;
        let pgbench = find_installation(&Search::usual())?.bin().join("pgbench");
        let server = PrivateServer::ensure(Options::dev(folder.path())).await?;
        let floor = Floor { url: server.url("floor"), pgbench };
        let database = Self { server, floor, _folder: folder };
        for name in ["floor", "measured"] {
            database.server.create_database_if_missing(name).await?;
        }
        Ok(database)
    }

    /// The floors, and the database with their table.
    pub fn floor(&self) -> Floor {
        self.floor.clone()
    }

    /// The address of the database of what is held against them.
    pub fn measured(&self) -> String {
        self.server.url("measured")
    }

    /// The server's process.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Ends the server and removes its data.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn remove(self) -> Result<()> {
        Ok(self.server.remove().await?)
    }
}

/// A connection. It ends when its client is dropped.
///
/// # Errors
/// When there is none to be had.
pub async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// An empty schema with these tables, on disk.
///
/// # Errors
/// When the schema is refused.
pub async fn fresh(url: &str, schema: &str) -> Result<Client> {
    let client = connect(url).await?;
    client.batch_execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public").await?;
    client.batch_execute(schema).await?;
    client.batch_execute("CHECKPOINT").await?;
    Ok(client)
}

/// A transaction that keeps the server from cleaning up what is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pin {
    /// It holds a snapshot.
    Snapshot,
    /// It has written.
    Writer,
}

impl Pin {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Snapshot => "a snapshot",
            Self::Writer => "a writer",
        }
    }

    /// Begins it. It ends with the connection.
    ///
    /// # Errors
    /// When there is no connection.
    pub async fn hold(self, url: &str) -> Result<Client> {
        let client = connect(url).await?;
        client
            .batch_execute(match self {
                Self::Snapshot => "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class",
                Self::Writer => "CREATE TABLE IF NOT EXISTS pin (n int); BEGIN; INSERT INTO pin VALUES (1)",
            })
            .await?;
        Ok(client)
    }
}
