//! The board, running.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use forge_pg::{Options, PrivateServer, Templates, TestDatabase};
use rustix::process::{Pid, Signal, kill_process};
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use crate::{artifacts, build, checkout};

/// How long the board may take to start, migrations included, or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// A board of a test's own: a process and a database. When it is dropped without [`stop`](Self::stop), as when a test
/// fails, the process is killed.
#[derive(Debug)]
pub struct Board {
    name: String,
    process: Child,
    url: String,
    database: TestDatabase,
}

/// What signs the board's sessions: the same for every process of a test, so that they outlive one.
const SECRET: &str = "only for the browser tests, and known to everybody";

impl Board {
    /// Starts it on an empty database, and waits until it is ready. `name` names its log in `tests/artifacts`.
    ///
    /// # Panics
    /// When it does not build or start.
    pub async fn start(name: &str) -> Self {
        build::page();
        let database = empty_database().await;
        let (process, url) = launch(name, &database, 0).await;
        Self { name: name.to_owned(), process, url, database }
    }

    /// Kills it, as when its machine loses power.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub async fn kill(&mut self) {
        if let Err(why) = self.process.kill().await {
            panic!("the board cannot be killed: {why}");
        }
    }

    /// Starts it again after [`kill`](Self::kill): on the same port, with the same data.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_again(&mut self) {
        let port = self.url.rsplit(':').next().and_then(|port| port.trim_end_matches('/').parse().ok());
        let port = port.unwrap_or_else(|| panic!("{} has no port", self.url));
        (self.process, self.url) = launch(&format!("{}-again", self.name), &self.database, port).await;
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
        let status = self.terminate().await;
        if let Err(why) = self.database.remove().await {
            panic!("the board's database cannot be removed, so something still uses it: {why}");
        }
        status
    }

    /// Tells it to stop, as a deployment does, and says how it ended.
    ///
    /// # Panics
    /// When it does not stop in time.
    pub async fn terminate(&mut self) -> ExitStatus {
        let pid = self.process.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let told = pid.map(|pid| kill_process(pid, Signal::TERM));
        let ended = timeout(PATIENCE, self.process.wait()).await;
        let Ok(Ok(status)) = ended else { panic!("the board does not stop: told: {told:?}, ended: {ended:?}") };
        status
    }
}

/// Runs the board, and waits until it is ready; says where it listens.
async fn launch(name: &str, database: &TestDatabase, port: u16) -> (Child, String) {
    let binary = build::board_binary();
    let mut process = Command::new(binary)
        .current_dir(checkout().join("examples/board"))
        .env("DATABASE_URL", database.url())
        .env("FORGE_ENV", "development")
        .env("FORGE_PORT", port.to_string())
        .env("FORGE_SECRET", SECRET)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|why| panic!("{} cannot be run: {why}", binary.display()));
    let stderr = process.stderr.take().unwrap_or_else(|| panic!("the board's standard error was piped"));
    let mut log = Log { lines: BufReader::new(stderr).lines(), seen: String::new() };
    let listening = log.wait_for("listening on http://").await;
    log.wait_for("ready").await;
    log.keep(name).await;
    let url = listening.split_whitespace().find(|word| word.starts_with("http://")).unwrap_or_default().to_owned();
    (process, url)
}

async fn empty_database() -> TestDatabase {
    let templates = match std::env::var("FORGE_TEST_DATABASE_URL") {
        Ok(url) => Templates::on_url(url),
        Err(_) => {
            let server = PrivateServer::ensure(Options::test(checkout())).await;
            Templates::new(&server.unwrap_or_else(|why| panic!("there is no database server: {why:?}")))
        }
    };
    let database = templates.database("an empty database", async |_| Ok(())).await;
    database.unwrap_or_else(|why| panic!("there is no database: {why:?}"))
}

/// What the board logs.
struct Log {
    lines: Lines<BufReader<ChildStderr>>,
    seen: String,
}

impl Log {
    /// The next line that contains a text.
    async fn wait_for(&mut self, text: &str) -> String {
        let found = timeout(PATIENCE, async {
            while let Ok(Some(line)) = self.lines.next_line().await {
                self.seen.push_str(&line);
                self.seen.push('\n');
                if line.contains(text) {
                    return Some(line);
                }
            }
            None
        });
        let found = found.await.ok().flatten();
        found.unwrap_or_else(|| panic!("the board does not start: it never logged `{text}`, only\n{}", self.seen))
    }

    /// Keeps what is logged from now on in a file. Also so that the board never waits for somebody to read it.
    async fn keep(mut self, name: &str) {
        let folder = artifacts();
        let file = folder.join(format!("{name}.log"));
        let opened = match std::fs::create_dir_all(&folder) {
            Ok(()) => File::create(&file).await,
            Err(why) => Err(why),
        };
        let mut to = opened.unwrap_or_else(|why| panic!("{} cannot be written: {why}", file.display()));
        tokio::spawn(async move {
            let mut line = std::mem::take(&mut self.seen);
            loop {
                if let Err(why) = to.write_all(line.as_bytes()).await {
                    eprintln!("the board's log is incomplete: {why}");
                }
                match self.lines.next_line().await {
                    Ok(Some(next)) => line = next + "\n",
                    Ok(None) | Err(_) => break,
                }
            }
            if let Err(why) = to.flush().await {
                eprintln!("the board's log is incomplete: {why}");
            }
        });
    }
}
