//! The server that is measured on, and connections to it.

use std::path::PathBuf;

use forge_pg::{Options, PrivateServer, Search, find_installation};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

use crate::Result;

/// A private server that syncs to disk, made for the measurement and removed after it.
#[derive(Debug)]
pub(crate) struct Database {
    server: PrivateServer,
    pub(crate) pgbench: PathBuf,
    /// Removed with its contents when dropped.
    _folder: TempDir,
}

impl Database {
    pub(crate) async fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("forge-layouts-").tempdir()?;
        let pgbench = find_installation(&Search::usual())?.bin().join("pgbench");
        let server = PrivateServer::ensure(Options::dev(folder.path())).await?;
        let database = Self { server, pgbench, _folder: folder };
        for name in ["floor", "layout"] {
            database.server.create_database_if_missing(name).await?;
        }
        Ok(database)
    }

    /// The database with the floors' table.
    pub(crate) fn floor(&self) -> String {
        self.server.url("floor")
    }

    /// The database with the layout that is being measured.
    pub(crate) fn layout(&self) -> String {
        self.server.url("layout")
    }

    pub(crate) async fn remove(self) -> Result<()> {
        Ok(self.server.remove().await?)
    }
}

/// A connection. It ends when its client is dropped.
pub(crate) async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// An empty schema with these tables, on disk.
pub(crate) async fn fresh(url: &str, schema: &str) -> Result<Client> {
    let client = connect(url).await?;
    client.batch_execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public").await?;
    client.batch_execute(schema).await?;
    client.batch_execute("CHECKPOINT").await?;
    Ok(client)
}
