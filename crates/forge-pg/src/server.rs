//! The handle of a private server: its addresses, and its end.

use std::path::PathBuf;
use std::sync::Arc;

use forge_core::{Error, Result};

use crate::connect;
use crate::ensure;
use crate::failure;
use crate::options::Options;
use crate::place::Place;
use crate::postmaster::Postmaster;
use crate::settings::{MAINTENANCE_DATABASE, Purpose, SUPERUSER};
use crate::start;
use crate::watchdog::{self, KeepAlive};

/// A server that runs. The value is a cheap handle: dropping it leaves the server running.
#[derive(Debug, Clone)]
pub struct PrivateServer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) place: Place,
    pub(crate) postmaster: Postmaster,
    pub(crate) version: String,
    pub(crate) password: Option<String>,
    /// As long as it lives, a server for tests counts as used.
    pub(crate) _keep_alive: Option<KeepAlive>,
}

impl From<Inner> for PrivateServer {
    fn from(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }
}

impl PrivateServer {
    /// Starts the server of a project, or joins the one that runs if it has the settings that are wanted (else it
    /// is restarted). The first call takes a second or two, later ones some 50 ms. Calls from several processes
    /// wait for each other. A call that is dropped still runs to its end.
    pub async fn ensure(options: Options) -> Result<Self> {
        blocking(move || ensure::ensure(&options)).await
    }

    /// The server for developing in a project, if it runs. Starts nothing, and needs no installed PostgreSQL. One that
    /// another process is starting or stopping is waited for. [`tcp_url`](Self::tcp_url) of the handle is none.
    ///
    /// # Errors
    /// When the project's folder cannot be read, belongs to another user, or is locked for too long.
    pub async fn running(project: impl Into<PathBuf>) -> Result<Option<Self>> {
        let project = project.into();
        blocking(move || ensure::running(&project)).await
    }

    /// The address of a database, for tokio-postgres, `psql` and `DATABASE_URL`.
    pub fn url(&self, database: &str) -> String {
        self.inner.postmaster.url(database)
    }

    /// The same over TCP, with the password, if a port was asked for.
    pub fn tcp_url(&self, database: &str) -> Option<String> {
        let database = connect::encode(database.as_ref(), false);
        let password = self.inner.password.as_ref()?;
        Some(format!("postgresql://{SUPERUSER}:{password}@127.0.0.1:{}/{database}", self.inner.postmaster.port))
    }

    /// The version of the server, such as `15.18`.
    pub fn version(&self) -> &str {
        &self.inner.version
    }

    /// The folder with the data.
    pub fn data_folder(&self) -> PathBuf {
        self.inner.place.data()
    }

    /// The file with the server's messages.
    pub fn log_file(&self) -> PathBuf {
        self.inner.place.log()
    }

    /// The process id of the server.
    pub fn pid(&self) -> u32 {
        self.inner.postmaster.pid.cast_unsigned()
    }

    /// Makes a database unless there is one of this name.
    pub async fn create_database_if_missing(&self, name: &str) -> Result<()> {
        let client = connect::connect(&self.url(MAINTENANCE_DATABASE)).await?;
        let doing = || failure::sql(format!("make the database {name}"));
        let exists = client.query("SELECT 1 FROM pg_database WHERE datname = $1", &[&name]).await.map_err(doing())?;
        if !exists.is_empty() {
            return Ok(());
        }
        match client.batch_execute(&format!("CREATE DATABASE {}", connect::quoted(name))).await {
            // Somebody else was faster: as a name that is taken, or as a row that has just been inserted.
            Err(error) if matches!(error.code().map(|code| code.code()), Some("42P04" | "23505")) => Ok(()),
            other => other.map_err(doing()),
        }
    }

    /// Says that a server for tests is in use. Handles do so by themselves; this is for other signs of life.
    pub fn touch(&self) -> Result<()> {
        match self.inner.place.purpose {
            Purpose::Dev => Ok(()),
            Purpose::Test => watchdog::touch(&self.inner.place.home).map(drop),
        }
    }

    /// Stops the server of this place, whoever started it: sessions are closed, open transactions rolled back.
    /// The data stays. Fine when it has stopped already.
    pub async fn stop(&self) -> Result<()> {
        let place = self.inner.place.clone();
        blocking(move || {
            let _lock = place.lock(&|_| {})?;
            stop_if_running(&place)
        })
        .await
    }

    /// Stops the server and removes its data for good.
    pub async fn remove(&self) -> Result<()> {
        let place = self.inner.place.clone();
        let (socket, port) = (self.inner.postmaster.socket.clone(), self.inner.postmaster.port);
        blocking(move || {
            let _lock = place.lock(&|_| {})?;
            stop_if_running(&place)?;
            watchdog::remove_folder(&place.data())?;
            if let Some(shelter) = &place.shelter {
                watchdog::remove_folder(shelter)?;
            }
            // A folder that a person named may hold other things; then it stays.
            start::clear_socket(&socket, port)?;
            let _ = std::fs::remove_dir(&socket);
            Ok(())
        })
        .await
    }
}

fn stop_if_running(place: &Place) -> Result<()> {
    Postmaster::running_on(&place.data()).map_or(Ok(()), |postmaster| postmaster.stop(&place.data()))
}

/// Runs something that waits for processes and files on a thread that may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::internal("setting up the database server ended early").with_source(error)),
    }
}
