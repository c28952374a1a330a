//! Runs under way while the world goes on.

use forge::prelude::*;
use forge::testing::TestApp;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::http::Request;
use crate::support::{count, until, waiting_for};
use crate::{ask, awake, kept, metric, named, steady};

/// Holds whoever reads the table up, until its transaction ends.
const HOLD: &str = "BEGIN; LOCK TABLE counters IN ACCESS EXCLUSIVE MODE";

fn asking(url: &str, name: &str) -> JoinHandle<(Value, String)> {
    let (url, name) = (url.to_owned(), name.to_owned());
    tokio::spawn(async move { ask(&url, "kept_counter", named(&name)).await })
}

/// Tables are known, so that the next run is kept.
async fn begun(app: &TestApp) -> Result<(tokio_postgres::Client, String)> {
    let (sql, url) = (app.sql().await?, app.url());
    sql.execute("INSERT INTO counters VALUES ('a', 1), ('b', 1)", &[]).await.unwrap();
    steady(&url, "kept_counter", named("warm")).await;
    Ok((sql, url))
}

#[forge::test]
async fn many_who_ask_at_once_share_one_run(app: TestApp) -> Result<()> {
    let (sql, url) = begun(&app).await?;
    let misses = "query_cache_calls_total{function=\"kept_counter\",result=\"miss\"}";
    let before = metric(&url, misses).await;
    sql.batch_execute(HOLD).await.unwrap();
    let calls: Vec<_> = (0..50).map(|_| asking(&url, "a")).collect();
    until("one runs", async || waiting_for(&sql, "counters").await == 1).await;
    // A slow one delays nobody who asks for something else, nor the looks at the feed.
    for _ in 0..20 {
        assert_eq!(ask(&url, "kept_counter", named("warm")).await.1, "hit");
    }
    assert_eq!(waiting_for(&sql, "counters").await, 1);
    sql.batch_execute("ROLLBACK").await.unwrap();
    for call in calls {
        let (data, used) = call.await.unwrap();
        assert!(data == "1" && used != "bypass", "{data} {used}");
    }
    assert_eq!(metric(&url, misses).await, before + 1);
    assert_eq!(ask(&url, "kept_counter", named("a")).await.1, "hit");
    Ok(())
}

#[forge::test]
async fn one_who_goes_away_takes_nothing_from_the_others(app: TestApp) -> Result<()> {
    let (sql, url) = begun(&app).await?;
    sql.batch_execute(HOLD).await.unwrap();
    let first = asking(&url, "a");
    until("it runs", async || waiting_for(&sql, "counters").await == 1).await;
    let second = asking(&url, "a");
    // Nothing else shows that the second one waits: it has been taken in once others are answered.
    for _ in 0..20 {
        ask(&url, "kept_counter", named("warm")).await;
    }
    let runs = "SELECT min(pid)::bigint FROM pg_locks WHERE NOT granted AND relation = 'counters'::regclass \
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let run = count(&sql, runs).await;
    first.abort();
    for _ in 0..20 {
        ask(&url, "kept_counter", named("warm")).await;
    }
    assert_eq!(count(&sql, runs).await, run, "it goes on for the second");
    sql.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(second.await.unwrap().0, "1");
    // When nobody waits any more, it ends.
    sql.batch_execute(HOLD).await.unwrap();
    let alone = asking(&url, "b");
    until("it runs", async || waiting_for(&sql, "counters").await == 1).await;
    alone.abort();
    until("it has ended", async || waiting_for(&sql, "counters").await == 0).await;
    sql.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(ask(&url, "kept_counter", named("b")).await, (json!("1"), "miss".into()));
    Ok(())
}

#[forge::test]
async fn a_change_after_the_runs_snapshot_is_not_missed(app: TestApp) -> Result<()> {
    let (sql, url) = begun(&app).await?;
    kept(&url, "kept_pair", named("a")).await;
    for _ in 0..10 {
        // Written on this node, so that the next call runs.
        let before = Request::call("bump", &named("a")).send(&url).await.data();
        assert_eq!(kept(&url, "kept_counter", named("a")).await, before);
        sql.batch_execute("BEGIN; LOCK TABLE notes IN ACCESS EXCLUSIVE MODE").await.unwrap();
        let call = {
            let url = url.clone();
            tokio::spawn(async move { ask(&url, "kept_pair", named("a")).await })
        };
        // It has read the counter, and now waits for the notes. What it reads is known only at its end.
        until("it runs", async || waiting_for(&sql, "notes").await == 1).await;
        let other = app.sql().await?;
        other.execute("UPDATE counters SET value = value + 100 WHERE name = 'a'", &[]).await.unwrap();
        // The feed tells of the change while nobody knows yet whom it concerns. (What is kept changes only when it has told.)
        let after = json!((before.as_str().unwrap().parse::<i64>().unwrap() + 100).to_string());
        until("the feed has told", async || ask(&url, "kept_counter", named("a")).await.0 == after).await;
        sql.batch_execute("COMMIT").await.unwrap();
        assert_eq!(call.await.unwrap(), (json!([before, "0"]), "miss".into()), "it is of its own moment");
        assert_eq!(ask(&url, "kept_pair", named("a")).await.0, json!([after, "0"]));
        // And what has not changed meanwhile is kept, however long it took.
        kept(&url, "kept_pair", named("a")).await;
    }
    Ok(())
}

#[forge::test]
async fn a_writer_from_before_the_triggers_is_not_missed(app: TestApp) -> Result<()> {
    let (sql, url) = (app.sql().await?, app.url());
    awake(&url).await;
    sql.execute("INSERT INTO counters VALUES ('a', 1)", &[]).await.unwrap();
    // Written while nothing tells of it, and committed after the first runs.
    sql.batch_execute("BEGIN; UPDATE counters SET value = 2 WHERE name = 'a'").await.unwrap();
    for _ in 0..20 {
        let (data, used) = ask(&url, "kept_counter", named("a")).await;
        assert_eq!(data, "1");
        assert_ne!(used, "hit");
    }
    sql.batch_execute("COMMIT").await.unwrap();
    assert_eq!(ask(&url, "kept_counter", named("a")).await.0, "2");
    assert_eq!(kept(&url, "kept_counter", named("a")).await, "2");
    Ok(())
}

#[forge::test]
async fn who_joins_late_sees_what_they_have_written(app: TestApp) -> Result<()> {
    let (sql, url) = begun(&app).await?;
    kept(&url, "kept_pair", named("a")).await;
    Request::call("bump", &named("a")).send(&url).await.data();
    sql.batch_execute("BEGIN; LOCK TABLE notes IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let asking = || {
        let url = url.clone();
        tokio::spawn(async move { ask(&url, "kept_pair", named("a")).await.0 })
    };
    let first = asking();
    until("it runs", async || waiting_for(&sql, "notes").await == 1).await;
    assert_eq!(Request::call("bump", &named("a")).send(&url).await.data(), "3");
    let late = asking();
    // One that is answered later than the other has been asked.
    for _ in 0..20 {
        ask(&url, "kept_counter", named("warm")).await;
    }
    sql.batch_execute("COMMIT").await.unwrap();
    assert_eq!(first.await.unwrap(), json!(["2", "0"]));
    assert_eq!(late.await.unwrap(), json!(["3", "0"]));
    Ok(())
}
