//! `forge dev`, with a real app, a real compiler and a real database.

// A panic in a test is its report.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use forge_pg::{Options, PrivateServer, Templates, TestDatabase};
use rustix::process::{Pid, Signal, kill_process};
use support::{app, edit, fine, folder, forge, request};

/// Compiling an app for the first time, with everything it is made of, takes its time on a small machine.
const BUILD: Duration = Duration::from_secs(280);
const SOON: Duration = Duration::from_secs(120);

/// `forge dev` at work.
struct Dev {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Dev {
    fn start(app: &Path, database: &str) -> Self {
        Self::run(forge(app), database)
    }

    /// As on a terminal that takes colours.
    fn start_in_colour(app: &Path, database: &str) -> Self {
        let mut command = forge(app);
        command.env_remove("NO_COLOR").env("CLICOLOR_FORCE", "1");
        Self::run(command, database)
    }

    fn run(mut command: Command, database: &str) -> Self {
        command.args(["dev", "--port", "0"]).env("DATABASE_URL", database);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let err = BufReader::new(child.stderr.take().expect("piped"));
        let (tell, lines) = channel();
        std::thread::spawn(move || err.lines().map_while(Result::ok).for_each(|line| drop(tell.send(line))));
        Self { child, lines, said: Vec::new() }
    }

    /// Waits until it says something that has these words.
    fn until(&mut self, words: &str, limit: Duration) -> String {
        let end = Instant::now() + limit;
        loop {
            let Ok(line) = self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) else {
                panic!("it never said {words:?}, but:\n{}", self.said.join("\n"));
            };
            self.said.push(line.clone());
            if line.contains(words) {
                return line;
            }
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it runs");
    }

    fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("it ends", || {
            status = self.child.try_wait().expect("it can be waited for");
            status.is_some()
        });
        status.expect("it has ended")
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Its children end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks again and again until something is so.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < end, "{what}: not within {SOON:?}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// The processes that run a program of this name on an app of this folder.
fn processes(folder: &Path, name: &str) -> BTreeSet<i32> {
    let entries = std::fs::read_dir("/proc").expect("Linux");
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let link = |what: &str| std::fs::read_link(format!("/proc/{pid}/{what}")).unwrap_or_default();
        let program = link("exe").to_string_lossy().trim_end_matches(" (deleted)").to_owned();
        program.ends_with(&format!("/{name}")) && link("cwd") == folder
    })
    .collect()
}

/// Asks the app for its greeting again and again, each time over a new connection, until it is dropped.
struct Visitor {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    failed: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Visitor {
    fn start(address: &str) -> Self {
        let (stop, answered, failed) =
            (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (address, told, count, list) = (address.to_owned(), stop.clone(), answered.clone(), failed.clone());
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                match request(&address, "POST", "/rpc/greeting", "{}") {
                    Ok((200, _)) => drop(count.fetch_add(1, Ordering::Relaxed)),
                    Ok((status, body)) => list.lock().unwrap().push(format!("{status} {body}")),
                    Err(why) => list.lock().unwrap().push(why),
                }
            }
        });
        Self { stop, answered, failed, thread: Some(thread) }
    }

    fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        let failed = self.failed.lock().unwrap();
        assert!(
            failed.is_empty(),
            "{} of {} requests failed: {failed:?}",
            failed.len(),
            self.answered.load(Ordering::Relaxed)
        );
        assert!(self.answered.load(Ordering::Relaxed) > 0);
    }
}

fn greeting(address: &str) -> String {
    let (status, body) = request(address, "POST", "/rpc/greeting", "{}").unwrap();
    assert_eq!(status, 200, "{body}");
    body
}

fn database(project: &Path) -> (tokio::runtime::Runtime, TestDatabase) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let database = runtime.block_on(async {
        let server = PrivateServer::ensure(Options::test(project)).await?;
        Templates::new(&server).database("an empty database", async |_| Ok(())).await
    });
    (runtime, database.unwrap())
}

#[test]
fn an_app_is_swapped_without_a_request_that_fails() {
    let place = folder();
    let app = app(place.path(), "tiny");
    // The page has its own tests.
    std::fs::remove_dir_all(app.join("frontend")).unwrap();
    let source = app.join("src/lib.rs");
    let text = std::fs::read_to_string(&source).unwrap();
    let function = "#[forge::query(public)]\npub async fn greeting(_ctx: &QueryContext) -> Result<String> {\n    Ok(\"one\".to_owned())\n}\n";
    std::fs::write(&source, format!("{text}\n{function}")).unwrap();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (runtime, database) = database(&workspace);

    let mut dev = Dev::start(&app, database.url());
    let ready = dev.until("ready http://", BUILD);
    let address = ready.split("http://").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    assert!(greeting(&address).contains("one"));
    let first = processes(&app, "tiny");
    assert_eq!(first.len(), 1, "{first:?}");

    // What operates it needs no word in the app's folder.
    let status = fine(&app, &["cluster", "status"]).out;
    assert!(status.contains("gateway,function,worker,scheduler"), "{status}");

    // A change is swapped in, and nobody notices.
    let visitor = Visitor::start(&address);
    edit(&source, "\"one\"", "\"two\"");
    let ready = dev.until("ready http://", SOON);
    assert!(ready.contains(&address) && ready.contains("after the edit"), "{ready}");
    dev.until("stopped", SOON);
    assert!(greeting(&address).contains("two"));

    // One that does not build changes nothing.
    edit(&source, "\"two\".to_owned()", "2");
    dev.until("mismatched types", SOON);
    dev.until("error[BUILD_FAILED]", SOON);
    dev.until("goes on serving", SOON);
    assert!(greeting(&address).contains("two"));

    // Nor does one that builds and does not start.
    edit(&source, "Ok(2)", "Ok(\"three\".to_owned())");
    std::fs::write(app.join("migrations/0002_wrong.sql"), "CREATE TABLE items ();").unwrap();
    dev.until("the app ended before it was ready", SOON);
    assert!(
        dev.said.iter().any(|line| line.contains("MIGRATION_FAILED") || line.contains("0002_wrong")),
        "{}",
        dev.said.join("\n")
    );
    assert!(greeting(&address).contains("two"));

    // Mended, it goes on.
    std::fs::remove_file(app.join("migrations/0002_wrong.sql")).unwrap();
    dev.until("ready http://", SOON);
    // Until the old one has stopped, either may answer.
    dev.until("stopped", SOON);
    assert!(greeting(&address).contains("three"));
    visitor.end();

    let last = processes(&app, "tiny");
    assert!(!last.is_empty() && last.is_disjoint(&first), "{first:?} {last:?}");
    dev.signal(Signal::INT);
    assert!(dev.ended().success());
    assert_eq!(processes(&app, "tiny"), BTreeSet::new());
    assert!(request(&address, "GET", "/health", "").is_err());
    assert!(!dev.said.iter().any(|line| line.contains('\x1b')), "{}", dev.said.join("\n"));

    // The app's own lines are as colourful as the terminal that they end up on.
    let mut dev = Dev::start_in_colour(&app, database.url());
    let ready = dev.until("http://", SOON);
    let address = ready.split("http://").nth(1).unwrap().split([' ', '\x1b']).next().unwrap().to_owned();
    greeting(&address);
    dev.until("\x1b[32minfo \x1b[0m", SOON);

    // Killed without a chance to say anything, it takes its child along.
    assert_eq!(processes(&app, "tiny").len(), 1);
    dev.signal(Signal::KILL);
    assert!(!dev.ended().success());
    eventually("the app ends with the command", || processes(&app, "tiny").is_empty());
    runtime.block_on(database.remove()).unwrap();
}
