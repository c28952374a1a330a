//! The app as a process of its own, which can be killed.

use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::http::Request;
use super::{token, until_within};

/// How long a start may take on a busy machine.
const START_MAX: Duration = Duration::from_secs(60);

/// A node. Killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    url: String,
    log: Arc<Mutex<String>>,
    _dir: tempfile::TempDir,
}

impl Process {
    /// Starts a node on a database and waits until it listens.
    pub(crate) async fn start(database: &str) -> Self {
        Self::start_with(database, &[]).await
    }

    /// The same with more settings, as environment variables.
    pub(crate) async fn start_with(database: &str, settings: &[(&str, &str)]) -> Self {
        let mut process = Self::spawn(database, settings);
        let log = process.log.clone();
        let mut url = None;
        until_within(START_MAX, "it listens", async || {
            let log = log.lock().unwrap();
            url = log
                .split_once("listening on ")
                .and_then(|(_, rest)| rest.split_once(['"', '\n']))
                .map(|(url, _)| url.to_owned());
            url.is_some()
        })
        .await;
        process.url = url.unwrap();
        process
    }

    /// Starts a node, whatever comes of it.
    pub(crate) fn spawn(database: &str, settings: &[(&str, &str)]) -> Self {
        // Not in a folder with a forge.toml of somebody's.
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_pipeline"))
            .current_dir(dir.path())
            .env("FORGE_ENV", "test")
            .env("FORGE_PORT", "0")
            .env("FORGE_SECRET", token::SECRET)
            .env("DATABASE_URL", database)
            .env("FORGE_OBSERVABILITY_REQUEST_LOG", "false")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (written, stderr) = (log.clone(), child.stderr.take().unwrap());
        tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let mut log = written.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self { child, url: String::new(), log, _dir: dir }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What it has written so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// What `/ready` says; 0 when nobody answers.
    pub(crate) async fn readiness(&self) -> u16 {
        Request::get("/ready").try_send(&self.url).await.map_or(0, |answer| answer.status)
    }

    /// Waits until it may take traffic.
    pub(crate) async fn ready(self) -> Self {
        until_within(START_MAX, "it is ready", async || self.readiness().await == 200).await;
        self
    }

    /// Ends it at once, in the middle of whatever it does.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits for its end. Returns its exit code and what it had to say.
    pub(crate) async fn ended(mut self) -> (Option<i32>, String) {
        let status = tokio::time::timeout(START_MAX, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("it still runs:\n{}", self.log())).unwrap();
        // Its last words are read by a task of their own.
        let log = self.log.clone();
        until_within(START_MAX, "all of the log is there", async || Arc::strong_count(&log) <= 2).await;
        (status.code(), self.log())
    }

    /// How much memory it has.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id().unwrap())).unwrap();
        let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
        pages * rustix::param::page_size() as u64
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}
