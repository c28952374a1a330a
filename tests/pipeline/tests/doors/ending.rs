//! How things end: a node that is told to stop, and a client that goes away.

use std::time::{Duration, Instant};

use forge::prelude::*;
use forge::testing::TestApp;
use serde_json::json;

use crate::support::http::{Connection, Request};
use crate::support::{Gate, count, until};

const UNREADY_FOR: Duration = Duration::from_secs(1);

#[forge::test]
async fn a_node_that_stops_finishes_what_is_under_way() -> Result<()> {
    let app = TestApp::start_with(|config| config.shutdown.unready_for = UNREADY_FOR).await?;
    let url = app.url();
    let gate = Gate::shut(app.sql().await?, 9).await;
    let held = {
        let url = url.clone();
        tokio::spawn(async move { Request::call("write_gated", &json!({"name": "held", "gate": "9"})).send(&url).await })
    };
    gate.until_waiting(1).await;
    let mut idle = Connection::open(&url).await?;
    assert_eq!(idle.send(&Request::get("/ready")).await?.status, 200);
    let stopping = tokio::spawn({
        let app = app.clone();
        async move { app.stop().await }
    });
    // First it says that it wants no more, and still takes what comes from those who have not heard it yet.
    until("not ready", async || {
        let ready = Request::get("/ready").send(&url).await;
        (ready.status, &ready.json()["stage"]) == (503, &json!("stopping"))
    })
    .await;
    let unready = Instant::now();
    assert_eq!(Request::call("hello", &json!({})).send(&url).await.data(), "hello");
    // Then its door is shut.
    until("new connections are refused", async || Connection::open(&url).await.is_err()).await;
    assert!(unready.elapsed() > UNREADY_FOR / 2, "{:?}", unready.elapsed());
    idle.closed().await;
    assert!(!stopping.is_finished() && !held.is_finished(), "it waits for the request under way");
    gate.open().await;
    let answer = held.await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("connection"), Some("close"));
    stopping.await.unwrap();
    Ok(())
}

#[forge::test]
async fn a_request_that_does_not_end_does_not_keep_a_node() -> Result<()> {
    let app = TestApp::start_with(|config| config.shutdown.request_drain_timeout = Duration::from_millis(200)).await?;
    let gate = Gate::shut(app.sql().await?, 10).await;
    let url = app.url();
    let held = tokio::spawn(async move { Request::call("read_gated", &json!({"gate": "10"})).try_send(&url).await });
    gate.until_waiting(1).await;
    tokio::time::timeout(Duration::from_secs(20), app.stop()).await.expect("it stops although a request is under way");
    held.abort();
    Ok(())
}

/// Everything of the app's that is not idle, and every lock on its tables.
const RUNNING: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle' \
                       AND application_name LIKE 'forge %'";
const LOCKS: &str = "SELECT count(*) FROM pg_locks JOIN pg_class ON pg_class.oid = relation \
                     WHERE relname IN ('counters', 'counters_pkey') AND pid <> pg_backend_pid() \
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

#[forge::test]
async fn a_client_that_goes_away_leaves_nothing_behind(app: TestApp) -> Result<()> {
    let url = app.url();
    let sql = app.sql().await?;
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    for function in ["write_patiently", "write_patiently", "write_patiently"] {
        let mut client = Connection::open(&url).await?;
        client.write(&Request::call(function, &json!({"name": "left", "seconds": 60.0})).bytes()).await?;
        until("it sleeps in its transaction", async || count(&sql, sleeping).await == 1).await;
        assert!(count(&sql, LOCKS).await > 0);
        drop(client);
        until("nothing of it runs", async || count(&sql, RUNNING).await == 0).await;
        until("it holds no lock", async || count(&sql, LOCKS).await == 0).await;
    }
    assert_eq!(count(&sql, "SELECT count(*) FROM counters").await, 0);
    // A reader as well, and more of them than the pool has connections.
    let gate = Gate::shut(app.sql().await?, 11).await;
    for _ in 0..3 {
        let mut clients = Vec::new();
        for _ in 0..5 {
            let mut client = Connection::open(&url).await?;
            client.write(&Request::call("read_gated", &json!({"gate": "11"})).bytes()).await?;
            clients.push(client);
        }
        gate.until_waiting(5).await;
        drop(clients);
        gate.until_waiting(0).await;
    }
    // Nobody's connection was cancelled in the place of another's.
    for n in 1..=20 {
        assert_eq!(Request::call("bump", &json!({"name": "after"})).send(&url).await.data(), n.to_string());
    }
    Ok(())
}
