//! The board, running.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use forge_pg::{Options, PrivateServer, Templates, TestDatabase};
use rustix::process::{Pid, Signal, kill_process};

use crate::{artifacts, build, checkout};

/// How long the board may take to start, migrations included, or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// A board of a test's own: a process and a database. Dropping it kills the process; [`stop`](Self::stop) ends it well.
#[derive(Debug)]
pub struct Board {
    process: Child,
    url: String,
    database: TestDatabase,
}

impl Board {
    /// Starts it on an empty database, and waits until it is ready. `name` names its log in `tests/artifacts`.
    ///
    /// # Panics
    /// When it does not build or start.
    pub async fn start(name: &str) -> Self {
        build::page();
        let binary = build::board_binary();
        let database = empty_database().await;
        let mut process = Command::new(binary)
            .current_dir(checkout().join("examples/board"))
            .env("DATABASE_URL", database.url())
            .env("FORGE_ENV", "development")
            .env("FORGE_PORT", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|why| panic!("{} cannot be run: {why}", binary.display()));
        let lines = copy_log(&mut process, name);
        let listening = wait_for(&lines, "listening on http://");
        let url = listening.split_whitespace().find(|word| word.starts_with("http://")).unwrap_or_default().to_owned();
        wait_for(&lines, "ready");
        Self { process, url, database }
    }

    /// Where it listens, such as `http://127.0.0.1:40123`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Tells it to stop, as a deployment does, and says how it ended. The database goes, too.
    ///
    /// # Panics
    /// When it does not stop in time.
    pub async fn stop(mut self) -> ExitStatus {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a child has an id"), Signal::TERM).expect("a child can be told to stop");
        let status = self.process.wait().expect("a child can be waited for");
        let Self { database, .. } = &mut self;
        let name = database.name().to_owned();
        if let Err(why) = self.take_database().remove().await {
            eprintln!("the database {name} stays for now: {why}");
        }
        status
    }
}
