//! Databases: an empty one on the server that all tests share, or a whole server that a test may stop.

use std::path::PathBuf;
use std::time::Duration;

use forge::Result;
use forge_pg::{Options, PrivateServer, Templates, TestDatabase};
use rustix::process::{Pid, Signal, kill_process};

use super::until_within;

/// Connects to a database, to look at what is there.
pub(crate) async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(async move {
        // It ends when the client is dropped, or when a test stops the server under it.
        let _ = connection.await;
    });
    client
}

/// An empty database on the server that all tests share.
pub(crate) async fn empty_database() -> Result<TestDatabase> {
    let templates = match std::env::var("FORGE_TEST_DATABASE_URL") {
        Ok(url) => Templates::on_url(url),
        Err(_) => Templates::new(&PrivateServer::ensure(Options::test(workspace())).await?),
    };
    templates.database("nothing at all", async |_| Ok(())).await
}

fn workspace() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A server of the test's own, durable, that can be stopped and started again. Removed when it is dropped.
pub(crate) struct Server {
    handle: PrivateServer,
    project: tempfile::TempDir,
    url: String,
}

impl Server {
    /// A new server with one empty database.
    pub(crate) async fn new() -> Result<Self> {
        let project = tempfile::tempdir()?;
        let handle = PrivateServer::ensure(Options::dev(project.path())).await?;
        let url = handle.url("app");
        let server = Self { handle, project, url };
        server.handle.create_database_if_missing("app").await?;
        Ok(server)
    }

    /// The database's address; it stays the same.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Starts it again; it accepts connections when this returns.
    pub(crate) async fn start(&mut self) -> Result<()> {
        self.handle = PrivateServer::ensure(Options::dev(self.project.path())).await?;
        Ok(())
    }

    /// Stops it in order: sessions are ended, what is committed is written.
    pub(crate) async fn stop(&self) -> Result<()> {
        self.handle.stop().await
    }

    /// Stops it like a crash: sessions are cut, and the next start has to recover.
    pub(crate) async fn crash(&self) {
        let pid = Pid::from_raw(i32::try_from(self.handle.pid()).unwrap()).unwrap();
        kill_process(pid, Signal::QUIT).unwrap();
        let gone = async || rustix::process::test_kill_process(pid).is_err();
        until_within(Duration::from_secs(30), "the server is gone", gone).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let handle = self.handle.clone();
        let removing = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(handle.remove())
        });
        // A test that has failed already must not fail in another way.
        if let Ok(Err(why)) = removing.join() {
            eprintln!("a test's server stays: {why}");
        }
    }
}
