//! The database goes away and comes back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use forge::prelude::*;
use serde_json::json;

use crate::lasting;
use crate::support::http::{Connection, Request};
use crate::support::process::Process;
use crate::support::server::{Server, connect};
use crate::support::{until, until_within};

/// How long a call may take at most while the database is away: what finds out how a commit ended asks for 10 s.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// How soon everything works again.
const RECOVERY_MAX: Duration = Duration::from_secs(5);

/// A health check often enough for a test; the rest is as it comes.
const SETTINGS: &[(&str, &str)] =
    &[("FORGE_DATABASE_HEALTH_CHECK_INTERVAL", "500ms"), ("FORGE_DATABASE_HEALTH_CHECK_TIMEOUT", "400ms")];

/// What the callers have seen.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    answers: Mutex<Vec<Answer>>,
}

/// One answer.
struct Answer {
    at: Instant,
    took: Duration,
    status: u16,
    /// Empty when it succeeded.
    code: String,
    /// Whether a commit whose outcome nobody knows may be reported as such: the mutation had no id that is kept, so that a server which
    /// restarted meanwhile has nothing to find it by.
    may_be_unknown: bool,
}

impl Seen {
    /// Sends a request and notes what came of it; true when it succeeded.
    async fn call(&self, connection: &mut Connection, request: &Request, may_be_unknown: bool) -> bool {
        let began = Instant::now();
        let answer = connection.send(request).await.unwrap();
        let code = if answer.status == 200 { String::new() } else { answer.failure().1 };
        let (at, took, status) = (Instant::now(), began.elapsed(), answer.status);
        self.answers.lock().unwrap().push(Answer { at, took, status, code, may_be_unknown });
        answer.status == 200
    }

    fn ended(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Counts, each time under an id of its own that is repeated until it has succeeded. Returns how often it did.
async fn write(url: String, name: String, seen: Arc<Seen>) -> i64 {
    let mut connection = Connection::open(&url).await.unwrap();
    let mut done = 0;
    while !seen.ended() {
        let id = forge::new_uuid().to_string();
        let request = Request::call("bump", &json!({"name": name})).header("x-forge-mutation-id", id);
        while !seen.call(&mut connection, &request, lasting(3, 20) > Duration::from_secs(10)).await {
            // A client that is told to come back does so a little later.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        done += 1;
    }
    done
}

/// Reads: over the shared connections, on one of its own, and as somebody whose session is asked for now and then. Also signs in, which
/// are statements of our own.
async fn read(url: String, name: String, token: String, seen: Arc<Seen>) {
    let mut connection = Connection::open(&url).await.unwrap();
    let requests = [
        // As somebody else: who signs in too often loses the oldest session.
        Request::call("sign_in_as", &json!({"name": format!("{name} again")})),
        Request::call("counter", &json!({"name": "w0"})),
        Request::call("count_twice", &json!({"pauseS": 0.0})),
        Request::call("whoami", &json!({})).bearer(&token),
    ];
    while !seen.ended() {
        for (n, request) in requests.iter().enumerate() {
            if !seen.call(&mut connection, request, n == 0).await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// The whole story, for a way to stop the server.
async fn outage(crash: bool) -> Result<()> {
    let mut server = Server::new().await?;
    let process = Process::start_with(server.url(), SETTINGS).await.ready().await;
    let seen: Arc<Seen> = Arc::default();
    let url = process.url().to_owned();
    let writers: Vec<_> = (0..8).map(|n| tokio::spawn(write(url.clone(), format!("w{n}"), seen.clone()))).collect();
    // Signed in before anything is stopped, however busy the machine is.
    let signed_in = Request::call("sign_in_as", &json!({"name": "ada"})).send(&url).await.data();
    let token = signed_in["access"].as_str().unwrap().to_owned();
    let readers: Vec<_> =
        (0..8).map(|n| tokio::spawn(read(url.clone(), format!("r{n}"), token.clone(), seen.clone()))).collect();
    until("it is at work", async || seen.answers.lock().unwrap().len() > 200).await;
    let stopped = Instant::now();
    if crash {
        server.crash().await;
    } else {
        server.stop().await?;
    }
    until("it is not ready", async || process.readiness().await == 503).await;
    let back_at = stopped + lasting(3, 20);
    while Instant::now() < back_at {
        // Meanwhile it lives, says that it cannot work, and says so to callers soon.
        assert_eq!(Request::get("/health").send(&url).await.status, 200);
        assert_eq!(process.readiness().await, 503);
        let began = Instant::now();
        let refused = Request::call("counter", &json!({"name": "w0"})).send(&url).await;
        assert_eq!(refused.failure(), (503, "DATABASE_UNAVAILABLE".into()));
        assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.start().await?;
    let started = Instant::now();
    until_within(RECOVERY_MAX, "it is ready again", async || process.readiness().await == 200).await;
    tokio::time::sleep(RECOVERY_MAX.saturating_sub(started.elapsed())).await;
    let recovered = Instant::now();
    let served = |since: Instant| seen.answers.lock().unwrap().iter().filter(|answer| answer.at > since).count();
    until("it is at work again", async || served(recovered) > 200).await;
    seen.stop.store(true, Ordering::Relaxed);
    let mut done = Vec::new();
    for writer in writers {
        done.push(writer.await.unwrap());
    }
    for reader in readers {
        reader.await.unwrap();
    }
    let answers = std::mem::take(&mut *seen.answers.lock().unwrap());
    let refused = answers.iter().filter(|answer| answer.status == 503).count();
    println!("{} answers, {refused} of them 503, {} writes", answers.len(), done.iter().sum::<i64>());
    for Answer { at, took, status, code, may_be_unknown } in &answers {
        let unknown = code == "OUTCOME_UNKNOWN" && *may_be_unknown;
        assert!(*status == 200 || code == "DATABASE_UNAVAILABLE" || unknown, "{status} {code}");
        assert!(*took < ANSWER_MAX, "an answer took {took:?}");
        assert!(*status == 200 || *at < recovered, "{code} {:?} after the database was back", at.duration_since(started));
    }
    assert!(refused > 10, "{refused}");
    // What was acknowledged is there, and nothing is there twice.
    let sql = connect(server.url()).await;
    for (n, done) in done.into_iter().enumerate() {
        let name = format!("w{n}");
        let value: i64 = sql.query_one("SELECT value FROM counters WHERE name = $1", &[&name]).await.unwrap().get(0);
        assert_eq!(value, done, "{name}");
    }
    process.kill().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_is_stopped_and_started_under_load() -> Result<()> {
    outage(false).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_crashes_and_recovers_under_load() -> Result<()> {
    outage(true).await
}

#[tokio::test]
async fn a_node_that_starts_before_its_database_waits_for_it() -> Result<()> {
    let mut server = Server::new().await?;
    server.stop().await?;
    let process = Process::start(server.url()).await;
    assert_eq!(Request::get("/health").send(process.url()).await.status, 200);
    assert_eq!(process.readiness().await, 503);
    let call = Request::call("hello", &json!({})).send(process.url()).await;
    assert_eq!(call.failure(), (503, "DATABASE_UNAVAILABLE".into()));
    server.start().await?;
    until_within(RECOVERY_MAX, "it is ready by itself", async || process.readiness().await == 200).await;
    assert_eq!(Request::call("bump", &json!({"name": "first"})).send(process.url()).await.data(), "1");
    process.kill().await;
    Ok(())
}
