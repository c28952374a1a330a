//! Whatever comes in, the answer is one of ours: never a mistake of the server's, never a hang, never anything but our shape.
//!
//! `FORGE_FUZZ_CASES` is how many requests are sent (5,000 when not set). Each is made from a number of its own, which a failure
//! prints; `FORGE_FUZZ_SEED=<that number> FORGE_FUZZ_CASES=1` sends it again.

#[path = "../support/mod.rs"]
mod support;

// A crate that nothing names is not linked, and would bring no functions.
use pipeline as _;

mod bodies;
mod cases;

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use forge::prelude::*;
use forge::testing::TestApp;
use rand::RngExt as _;
use serde_json::{Value, json};

use crate::cases::Case;
use crate::support::http::{Answer, Connection, Request};
use crate::support::{count, until};

/// How many connections send at the same time.
const SENDERS: usize = 8;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}

/// Answers by function and status.
type Tally = Arc<Mutex<BTreeMap<(String, u16), u64>>>;

#[forge::test]
async fn whatever_comes_in_is_answered_in_our_shape(app: TestApp) -> Result<()> {
    let cases = number("FORGE_FUZZ_CASES").unwrap_or(5_000);
    let seed = number("FORGE_FUZZ_SEED").unwrap_or_else(|| rand::rng().random_range(0..u64::from(u32::MAX)));
    println!("{cases} cases from FORGE_FUZZ_SEED={seed} on");
    let (next, tally, began) = (Arc::new(AtomicU64::new(0)), Tally::default(), Instant::now());
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let (url, next, tally) = (app.url(), next.clone(), tally.clone());
            tokio::spawn(async move {
                let mut connection = None;
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= cases {
                        return;
                    }
                    let case = Case::of(seed + n);
                    let answer = send(&url, &mut connection, &case).await;
                    *tally.lock().unwrap().entry((case.function.to_owned(), answer.status)).or_default() += 1;
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    println!("{cases} cases in {:?}", began.elapsed());
    let tally = std::mem::take(&mut *tally.lock().unwrap());
    for ((function, status), times) in tally.iter() {
        println!("{times:>8} × {status} {function}");
    }
    if cases >= 5_000 {
        // Or everything was refused at the gate, and nothing behind it was tried.
        for function in cases::names() {
            assert!(tally.contains_key(&(function.to_owned(), 200)), "{function} never succeeded");
            assert!(tally.contains_key(&(function.to_owned(), 400)), "{function} never refused anything");
        }
    }
    leaves_nothing_behind(&app).await
}

/// Sends a case and checks its answer.
async fn send(url: &str, connection: &mut Option<Connection>, case: &Case) -> Answer {
    let wrong = |text: String| -> ! {
        let request: String = String::from_utf8_lossy(&case.bytes).chars().take(2_000).collect();
        panic!("FORGE_FUZZ_SEED={}: {text}\n{request:?}", case.seed)
    };
    let mut repeated = false;
    let answer = loop {
        let mut open = match connection.take() {
            Some(open) => open,
            None => Connection::open(url).await.unwrap_or_else(|why| wrong(format!("no connection: {why}"))),
        };
        let written = open.write(&case.bytes).await;
        match open.read(false).await {
            Ok(answer) => {
                if answer.header("connection") != Some("close") && !case.odd {
                    *connection = Some(open);
                }
                break answer;
            }
            // A connection that was kept open may have been closed by the server just then; a new one may not.
            Err(why) if !repeated && is_end(&why) => repeated = true,
            Err(why) => wrong(format!("no answer: {why} ({written:?})")),
        }
    };
    if let Err(problem) = check(case, &answer) {
        wrong(format!("{problem}: {} {}", answer.status, answer.text()));
    }
    answer
}

fn is_end(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

fn check(case: &Case, answer: &Answer) -> Result<(), String> {
    if case.odd && answer.body.is_empty() && matches!(answer.status, 400 | 414 | 431) {
        // What is not HTTP is refused before anything of ours sees it.
        return Ok(());
    }
    if answer.status >= 500 {
        return Err("a mistake of the server's".into());
    }
    let json: Value = serde_json::from_slice(&answer.body).map_err(|why| format!("not JSON: {why}"))?;
    let fields: Vec<&str> = json.as_object().map(|object| object.keys().map(String::as_str).collect()).unwrap_or_default();
    if json["requestId"].as_str().is_none_or(|id| Some(id) != answer.header("x-request-id")) {
        return Err("without its request's id".into());
    }
    if answer.header("content-type") != Some("application/json") {
        return Err("not called JSON".into());
    }
    let fine = match answer.status {
        200 => json["success"] == true && fields == ["data", "requestId", "success"],
        400 | 401 | 403 | 404 | 409 | 413 | 415 => {
            let (code, message) = (json["error"]["code"].as_str(), json["error"]["message"].as_str());
            let named =
                code.is_some_and(|code| !code.is_empty() && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'));
            json["success"] == false
                && fields == ["error", "requestId", "success"]
                && named
                && message.is_some_and(|text| !text.is_empty())
        }
        _ => false,
    };
    if fine { Ok(()) } else { Err("not our shape".into()) }
}

/// Nothing runs any more, no connection is lent, no transaction is open, and the app answers.
async fn leaves_nothing_behind(app: &TestApp) -> Result<()> {
    let sql = app.sql().await?;
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle' AND pid <> pg_backend_pid()";
    until("no statement runs and no transaction is open", async || count(&sql, open).await == 0).await;
    until("no call runs and no connection is lent", async || {
        let metrics = Request::get("/metrics").send(&app.url()).await.text();
        let zero = |line: &str| line.rsplit(' ').next().is_some_and(|value| value == "0");
        let counted = |line: &&str| line.starts_with("function_running{") || line.starts_with("db_connections_active ");
        metrics.lines().filter(counted).all(zero)
    })
    .await;
    assert_eq!(Request::call("hello", &json!({})).send(&app.url()).await.data(), "hello");
    Ok(())
}
