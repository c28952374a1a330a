//! A node as a process of its own.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use forge_core::{Error, Result};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::{SECRET, http};

/// How long a start, or an end, may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How soon it is asked again whether it is ready.
const ASK_AGAIN: Duration = Duration::from_millis(5);

/// How much of a log an error shows, in lines.
const TOLD: usize = 100;

/// A node that runs as a process of its own: the app's own program. Killed when it is dropped.
///
/// It runs in an empty folder, so that no `forge.toml` is read, with the settings of [`TestApp`](super::TestApp) where there are any
/// (`FORGE_ENV=test`, the same secret) and on a port that is free. A [`TestCluster`](super::TestCluster) has several.
#[derive(Debug)]
pub struct NodeProcess {
    child: Child,
    pid: Pid,
    url: String,
    log: watch::Receiver<Log>,
    _dir: tempfile::TempDir,
}

#[derive(Debug, Default)]
struct Log {
    text: String,
    /// There will be no more of it.
    whole: bool,
}

impl Log {
    /// Where it says that it listens.
    fn url(&self) -> Option<&str> {
        let (_, rest) = self.text.split_once("listening on ")?;
        rest.split_once(['"', '\n']).map(|(url, _)| url)
    }
}

impl NodeProcess {
    /// Starts a program on a database, whatever comes of it. Settings are environment variables.
    ///
    /// # Errors
    /// When it cannot be started at all.
    pub fn spawn<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        program: impl AsRef<Path>,
        database_url: &str,
        settings: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self> {
        let program = program.as_ref();
        let dir = tempfile::tempdir()?;
        let mut child = Command::new(program)
            .current_dir(dir.path())
            .env("FORGE_ENV", "test")
            .env("FORGE_PORT", "0")
            .env("FORGE_SECRET", SECRET)
            .env("DATABASE_URL", database_url)
            .env("FORGE_OBSERVABILITY_REQUEST_LOG", "false")
            // Where it listens is told on that level.
            .env("FORGE_OBSERVABILITY_LOG_LEVEL", "info")
            .envs(settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|why| Error::internal(format!("{} cannot be started", program.display())).with_source(why))?;
        let (written, log) = watch::channel(Log::default());
        let ended = || Error::internal("a process that was just started has no id, or no output");
        let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).ok_or_else(ended)?;
        let mut lines = BufReader::new(child.stderr.take().ok_or_else(ended)?).lines();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                written.send_modify(|log| {
                    log.text.push_str(&line);
                    log.text.push('\n');
                });
            }
            written.send_modify(|log| log.whole = true);
        });
        Ok(Self { child, pid, url: String::new(), log, _dir: dir })
    }

    /// Waits until it listens. It needs the role `gateway` for that.
    ///
    /// # Errors
    /// When it ends instead, or takes more than a minute; with what it has logged.
    pub async fn listening(&mut self) -> Result<()> {
        let mut log = self.log.clone();
        let listens = log.wait_for(|log| log.whole || log.url().is_some());
        let url = match tokio::time::timeout(PATIENCE, listens).await {
            Ok(Ok(log)) => log.url().map(str::to_owned),
            Ok(Err(_)) | Err(_) => None,
        };
        self.url = url.ok_or_else(|| self.failed("does not listen"))?;
        Ok(())
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// As [`listening`](Self::listening).
    pub async fn ready(&self) -> Result<()> {
        let ready = async {
            while self.readiness().await != 200 {
                if self.log.borrow().whole {
                    return false;
                }
                tokio::time::sleep(ASK_AGAIN).await;
            }
            true
        };
        match tokio::time::timeout(PATIENCE, ready).await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(self.failed("is not ready")),
        }
    }

    /// The status that `/ready` answers with; 0 when nobody answers.
    pub async fn readiness(&self) -> u16 {
        http::send(&self.url, "GET /ready", None, &[]).await.map_or(0, |(status, _)| status)
    }

    /// Where it listens, such as `http://127.0.0.1:40123`; empty until [`listening`](Self::listening) has returned.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().cast_unsigned()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.borrow().text.clone()
    }

    /// The end of what it has logged, as errors show it.
    pub(super) fn last_words(&self) -> String {
        let log = self.log.borrow();
        let lines: Vec<&str> = log.text.lines().collect();
        lines[lines.len().saturating_sub(TOLD)..].join("\n")
    }

    /// Tells it to stop (SIGTERM): it finishes what it has, and ends.
    ///
    /// # Errors
    /// When there is no such process any more.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Freezes it (SIGSTOP), as a machine would that is put to sleep.
    ///
    /// # Errors
    /// When there is no such process any more.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// When there is no such process any more.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        // Its id is nobody else's until its end has been waited for.
        let gone = self.child.id().is_none();
        if !gone && kill_process(self.pid, signal).is_ok() { Ok(()) } else { Err(self.failed("has ended")) }
    }

    /// Ends it at once (SIGKILL), in the middle of whatever it does.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn kill(&mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Waits for its end, and for the end of its log.
    ///
    /// # Errors
    /// When it runs on for more than a minute.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        let status = match tokio::time::timeout(PATIENCE, self.child.wait()).await {
            Ok(status) => status?,
            Err(_) => return Err(self.failed("does not end")),
        };
        let mut log = self.log.clone();
        match tokio::time::timeout(PATIENCE, log.wait_for(|log| log.whole)).await {
            Ok(_) => Ok(status),
            Err(_) => Err(self.failed("has ended, but something that it started has not")),
        }
    }

    fn failed(&self, what: &str) -> Error {
        Error::internal(format!("the node (process {}) {what}; the end of its log:\n{}", self.pid(), self.last_words()))
    }
}
