//! Short reads share connections; one that turns out to be long harms nobody.

use std::time::{Duration, Instant};

use forge::prelude::*;
use forge::testing::TestApp;
use serde_json::json;

use crate::support::http::{Connection, Request};
use crate::support::{count, until, until_within};

/// Rows that take far longer to count than a shared connection gives a statement.
const MANY: i64 = 4_000_000;

/// What runs on the shared connections, and what counts anywhere.
const SHARED: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' \
                      AND application_name LIKE '%shared reads'";
const COUNTING: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' \
                        AND query LIKE 'SELECT count(*) FROM generate_series%'";
/// Shared connections that have counted last.
const COUNTED: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                       AND application_name LIKE '%shared reads' AND query LIKE 'SELECT count(*) FROM generate_series%'";

fn counting(function: &str, rows: i64) -> Request {
    Request::call(function, &json!({"rows": rows.to_string()}))
}

/// Calls a function until its statement goes over a shared connection, as it was seen to be short.
async fn until_shared(app: &TestApp, function: &str) {
    let sql = app.sql().await.unwrap();
    until("it is shared", async || {
        assert_eq!(counting(function, 10).send(&app.url()).await.status, 200);
        count(&sql, COUNTED).await == 1
    })
    .await;
}

#[tokio::test]
async fn a_read_that_turns_out_to_be_long_moves_away() -> Result<()> {
    let app = TestApp::start_with(|config| {
        config.database.shared_connections = 1;
        config.database.shared_statement_timeout = Duration::from_millis(50);
    })
    .await?;
    let (url, sql) = (app.url(), app.sql().await?);
    until_shared(&app, "count_rows").await;
    let began = Instant::now();
    let counted = tokio::spawn({
        let url = url.clone();
        async move { counting("count_rows", MANY).send(&url).await }
    });
    until("it runs", async || count(&sql, COUNTING).await > 0).await;
    until_within(Duration::from_millis(500), "it has left the shared connection", async || count(&sql, SHARED).await == 0)
        .await;
    let answer = counted.await.unwrap();
    assert_eq!(answer.data(), MANY.to_string(), "and its caller knows nothing of that");
    assert!(began.elapsed() > Duration::from_millis(60), "{:?}: too short to prove anything", began.elapsed());
    until_within(Duration::from_millis(200), "nothing of it is left", async || count(&sql, COUNTING).await == 0).await;
    // For a while it stays away, even when it would be short.
    assert_eq!(counting("count_rows", 20).send(&url).await.data(), "20");
    assert_eq!(count(&sql, SHARED).await, 0);
    app.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_short_reads_do_not_wait_for_a_long_one() -> Result<()> {
    let app = TestApp::start_with(|config| config.database.shared_connections = 1).await?;
    let (url, sql) = (app.url(), app.sql().await?);
    until_shared(&app, "count_odd_rows").await;
    for _ in 0..20 {
        assert_eq!(Request::call("counter", &json!({"name": "none"})).send(&url).await.data(), json!(null));
    }
    let mut connections = Vec::new();
    for _ in 0..100 {
        connections.push(Connection::open(&url).await?);
    }
    let alone = read_all(&mut connections).await;
    let long = tokio::spawn({
        let url = url.clone();
        async move { counting("count_odd_rows", MANY * 8).send(&url).await }
    });
    until("the long one runs", async || count(&sql, COUNTING).await > 0).await;
    let beside = read_all(&mut connections).await;
    assert!(!long.is_finished(), "it was not long enough to prove anything");
    println!("the slowest of 2,000 short reads: {alone:?} alone, {beside:?} beside a long one");
    // What a shared connection may be held up for, and a generous share of a busy machine.
    assert!(beside < alone * 5 + Duration::from_millis(500), "{alone:?} alone, {beside:?} beside a long one");
    let answer = long.await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    app.stop().await;
    Ok(())
}

/// Twenty short reads on each connection, all connections at once. Returns how long the slowest took.
async fn read_all(connections: &mut [Connection]) -> Duration {
    let request = Request::call("counter", &json!({"name": "none"}));
    let reading = connections.iter_mut().map(async |connection| {
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let began = Instant::now();
            assert_eq!(connection.send(&request).await.unwrap().status, 200);
            slowest = slowest.max(began.elapsed());
        }
        slowest
    });
    futures_util::future::join_all(reading).await.into_iter().max().unwrap_or_default()
}
