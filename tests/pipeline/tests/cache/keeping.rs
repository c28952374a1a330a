//! A result is kept until it may be another one, or is too old.

use std::time::{Duration, Instant};

use forge::prelude::*;
use forge::testing::TestApp;
use serde_json::{Value, json};

use crate::support::{http::Request, until};
use crate::{ask, awake, kept, metric, named};

#[forge::test]
async fn a_hit_touches_nothing(app: TestApp) -> Result<()> {
    let (sql, url) = (app.sql().await?, app.url());
    awake(&url).await;
    sql.execute("INSERT INTO counters VALUES ('a', 1)", &[]).await.unwrap();
    assert_eq!(kept(&url, "kept_counter", named("a")).await, "1");
    // Whoever reads the table now has to wait.
    sql.batch_execute("BEGIN; LOCK TABLE counters IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let misses = "query_cache_calls_total{function=\"kept_counter\",result=\"miss\"}";
    let (looks, ran) = (metric(&url, "query_cache_looks_total").await, metric(&url, misses).await);
    for _ in 0..200 {
        // However the arguments are written.
        let request = Request::post("/rpc/kept_counter", &json!({})).body(r#" { "name" : "a" } "#);
        let answer = request.send(&url).await;
        assert_eq!((answer.data(), answer.header("x-forge-cache")), (json!("1"), Some("hit")));
    }
    let looks = metric(&url, "query_cache_looks_total").await - looks;
    assert!(looks < 100, "{looks} looks for 200 hits");
    sql.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(metric(&url, misses).await, ran);
    assert!(metric(&url, "query_cache_results").await >= 1);
    assert!(metric(&url, "query_cache_size_bytes").await > 1000);
    Ok(())
}

#[forge::test]
async fn whoever_changes_it_it_is_dropped(app: TestApp) -> Result<()> {
    let (sql, url) = (app.sql().await?, app.url());
    awake(&url).await;
    assert_eq!(kept(&url, "kept_counter", named("a")).await, Value::Null);
    // The next call on this node sees a mutation of this node.
    for n in 1..=100_i64 {
        assert_eq!(Request::call("bump", &named("a")).send(&url).await.data(), n.to_string());
        let (data, _) = ask(&url, "kept_counter", named("a")).await;
        assert_eq!(data, n.to_string());
    }
    // Others are seen a little later.
    for (statement, value) in [
        ("UPDATE counters SET value = 7 WHERE name = 'a'", json!("7")),
        ("UPDATE counters SET name = 'b' WHERE name = 'a'", Value::Null),
        ("INSERT INTO counters SELECT 'n' || n, n FROM generate_series(1, 1000) n", Value::Null),
        ("UPDATE counters SET name = 'a', value = 3 WHERE name = 'n5'", json!("3")),
        ("UPDATE counters SET value = value + 1", json!("4")),
        ("TRUNCATE counters", Value::Null),
    ] {
        kept(&url, "kept_counter", named("a")).await;
        sql.batch_execute(statement).await.unwrap();
        let changed = Instant::now();
        until(statement, async || {
            let sent = Instant::now();
            let (data, _) = ask(&url, "kept_counter", named("a")).await;
            assert!(data == value || sent < changed + Duration::from_millis(50), "stale after {statement}: {data}");
            data == value
        })
        .await;
    }
    assert!(metric(&url, "query_cache_invalidations_total").await >= 6);
    Ok(())
}

#[forge::test]
async fn what_does_not_concern_it_leaves_it_alone(app: TestApp) -> Result<()> {
    let (sql, url) = (app.sql().await?, app.url());
    awake(&url).await;
    sql.execute("INSERT INTO counters VALUES ('a', 1), ('b', 1)", &[]).await.unwrap();
    kept(&url, "kept_counter", named("a")).await;
    kept(&url, "kept_total", json!({})).await;
    for _ in 0..10 {
        Request::call("bump", &named("b")).send(&url).await.data();
        assert_eq!(ask(&url, "kept_counter", named("a")).await, (json!("1"), "hit".into()));
        sql.batch_execute("BEGIN; UPDATE counters SET value = 99; ROLLBACK").await.unwrap();
        assert_eq!(ask(&url, "kept_counter", named("a")).await, (json!("1"), "hit".into()));
    }
    assert_eq!(ask(&url, "kept_total", json!({})).await.0, "12");
    Ok(())
}

#[forge::test]
async fn age_ends_it_whatever_the_feed_says(app: TestApp) -> Result<()> {
    let url = app.url();
    awake(&url).await;
    kept(&url, "kept_briefly", named("a")).await;
    for _ in 0..3 {
        let mut made = Instant::now();
        until("it has run again", async || {
            let sent = Instant::now();
            let (_, used) = ask(&url, "kept_briefly", named("a")).await;
            match used.as_str() {
                "miss" => made = sent,
                _ => assert!(sent < made + Duration::from_millis(350), "kept for {:?}", made.elapsed()),
            }
            used == "miss"
        })
        .await;
        assert_eq!(ask(&url, "kept_briefly", named("a")).await.1, "hit");
    }
    Ok(())
}

#[forge::test]
async fn what_cannot_be_followed_is_not_kept_unless_age_is_to_decide(app: TestApp) -> Result<()> {
    let url = app.url();
    awake(&url).await;
    let (first, used) = ask(&url, "kept_clock", json!({})).await;
    assert_eq!(used, "miss");
    for _ in 0..3 {
        let (next, used) = ask(&url, "kept_clock", json!({})).await;
        assert!(next != first && used == "miss", "{next} {used}");
    }
    let (first, used) = ask(&url, "aged_clock", json!({})).await;
    assert_eq!(used, "miss");
    assert_eq!(ask(&url, "aged_clock", json!({})).await, (first, "hit".into()));
    // Nothing but age ends that.
    assert_eq!(ask(&url, "aged_counter", named("a")).await, (Value::Null, "miss".into()));
    Request::call("bump", &named("a")).send(&url).await.data();
    assert_eq!(ask(&url, "aged_counter", named("a")).await, (Value::Null, "hit".into()));
    Ok(())
}

#[forge::test]
async fn an_error_is_not_kept(app: TestApp) -> Result<()> {
    let (sql, url) = (app.sql().await?, app.url());
    sql.execute("INSERT INTO counters VALUES ('a', 0)", &[]).await.unwrap();
    for _ in 0..5 {
        let answer = Request::call("kept_share", &named("a")).send(&url).await;
        assert_eq!(answer.failure(), (409, "CONFLICT".into()));
    }
    assert_eq!(metric(&url, "query_cache_results").await, 0);
    // Nor what a function makes of one: what the failed statement has read is not known.
    for _ in 0..5 {
        let (data, used) = ask(&url, "kept_share_or_none", named("a")).await;
        assert!(data == "0" && used != "hit", "{data} {used}");
    }
    assert_eq!(metric(&url, "query_cache_results").await, 0);
    for wrong in ["{", "{\"nam\": 1}", "[]", ""] {
        let answer = Request::post("/rpc/kept_share", &json!({})).body(wrong).send(&url).await;
        assert_eq!(answer.failure(), (400, "INVALID_ARGUMENT".into()), "{wrong}");
    }
    sql.execute("UPDATE counters SET value = 4", &[]).await.unwrap();
    assert_eq!(kept(&url, "kept_share", named("a")).await, "25");
    assert_eq!(kept(&url, "kept_share_or_none", named("a")).await, "25");
    Ok(())
}

#[tokio::test]
async fn memory_is_bounded() -> Result<()> {
    let app = TestApp::start_with(|config| config.function.cache_size = 1 << 20).await?;
    let url = app.url();
    let text = |n: i32, bytes: u32| json!({"n": n, "bytes": bytes});
    awake(&url).await;
    for n in 1000..1500 {
        ask(&url, "kept_text", text(n, 1000)).await;
        assert!(metric(&url, "query_cache_size_bytes").await <= 1 << 20);
        // Asked for all the time, so it stays.
        ask(&url, "kept_text", text(7, 100)).await;
    }
    assert_eq!(ask(&url, "kept_text", text(7, 100)).await.1, "hit");
    assert_eq!(ask(&url, "kept_text", text(1499, 1000)).await.1, "hit");
    assert_eq!(ask(&url, "kept_text", text(1000, 1000)).await.1, "miss");
    assert!(metric(&url, "query_cache_evictions_total").await > 200);
    for _ in 0..2 {
        assert_eq!(ask(&url, "kept_text", text(8, 11_000)).await.1, "miss", "more than a hundredth is not kept");
    }
    app.stop().await;
    let app = TestApp::start_with(|config| config.function.cache_size = 0).await?;
    for _ in 0..2 {
        assert_eq!(ask(&app.url(), "kept_text", text(7, 100)).await.1, "bypass");
    }
    app.stop().await;
    Ok(())
}

#[forge::test]
async fn the_feed_is_left_alone_when_nothing_is_kept(app: TestApp) -> Result<()> {
    let url = app.url();
    for n in 0..20 {
        Request::call("bump", &named("a")).send(&url).await.data();
        ask(&url, "aged_counter", named(&n.to_string())).await;
        ask(&url, "counter", named("a")).await;
    }
    assert_eq!(metric(&url, "query_cache_looks_total").await, 0);
    let connections = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%query cache'";
    let sql = app.sql().await?;
    assert_eq!(crate::support::count(&sql, &format!("{connections} AND datname = current_database()")).await, 0);
    Ok(())
}
