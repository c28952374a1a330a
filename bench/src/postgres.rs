//! The PostgreSQL of a measurement: a private one that syncs to disk, made for it and removed after it.

use forge_pg::{Options, PrivateServer};
use tempfile::TempDir;

use crate::Result;

const DATABASE: &str = "bench";
const SCHEMA: &str = include_str!("../floors/schema.sql");

/// A server with the data of the floors. It runs where the caller runs: pin first.
#[derive(Debug)]
pub(crate) struct Postgres {
    server: PrivateServer,
    /// Removed with its contents when dropped.
    _folder: TempDir,
}

impl Postgres {
    pub(crate) async fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("forge-bench-").tempdir()?;
        let server = PrivateServer::ensure(Options::dev(folder.path())).await?;
        let postgres = Self { server, _folder: folder };
        match postgres.fill().await {
            Ok(()) => Ok(postgres),
            Err(why) => {
                postgres.remove().await?;
                Err(why)
            }
        }
    }

    async fn fill(&self) -> Result<()> {
        self.server.create_database_if_missing(DATABASE).await?;
        let (client, connection) = tokio_postgres::connect(&self.url(), tokio_postgres::NoTls).await?;
        let connection = tokio::spawn(connection);
        client.batch_execute(SCHEMA).await?;
        // Neither may be part of a transaction. What they write now is not written in the middle of a measurement.
        client.batch_execute("VACUUM ANALYZE items").await?;
        client.batch_execute("CHECKPOINT").await?;
        drop(client);
        Ok(connection.await??)
    }

    /// The database's address: a unix socket.
    pub(crate) fn url(&self) -> String {
        self.server.url(DATABASE)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.pid()
    }

    pub(crate) async fn remove(self) -> Result<()> {
        Ok(self.server.remove().await?)
    }
}
