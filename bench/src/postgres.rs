//! The PostgreSQL of a measurement: a private one that syncs to disk, made for it and removed after it.

use forge_pg::{Options, PrivateServer};
use tempfile::TempDir;

use crate::Result;

const DATABASE: &str = "bench";

/// A server with data. It runs where the caller runs: pin first.
#[derive(Debug)]
pub(crate) struct Postgres {
    server: PrivateServer,
    /// Removed with its contents when dropped.
    _folder: TempDir,
}

impl Postgres {
    /// A server with one database, which a schema fills.
    pub(crate) async fn start(schema: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("forge-bench-").tempdir()?;
        let server = PrivateServer::ensure(Options::dev(folder.path())).await?;
        let postgres = Self { server, _folder: folder };
        match postgres.database(DATABASE, schema).await {
            Ok(_) => Ok(postgres),
            Err(why) => {
                postgres.remove().await?;
                Err(why)
            }
        }
    }

    /// Another database. Returns its address.
    pub(crate) async fn database(&self, name: &str, schema: &str) -> Result<String> {
        self.server.create_database_if_missing(name).await?;
        let url = self.server.url(name);
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await?;
        let connection = tokio::spawn(connection);
        client.batch_execute(schema).await?;
        // Neither may be part of a transaction. What they write now is not written in the middle of a measurement.
        client.batch_execute("VACUUM ANALYZE").await?;
        client.batch_execute("CHECKPOINT").await?;
        drop(client);
        connection.await??;
        Ok(url)
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
