//! Whose a result is.

use forge::prelude::*;
use forge::testing::TestApp;
use serde_json::{Value, json};

use crate::support::http::Request;
use crate::support::live::Live;
use crate::support::{token, until, waiting_for};
use crate::{ask, ask_as, awake, kept, metric, named};

async fn kept_for(token: &str, url: &str, function: &str, args: Value) -> Value {
    let mut data = Value::Null;
    until(function, async || {
        let (now, used) = ask_as(token, url, function, args.clone()).await;
        data = now;
        used == "hit"
    })
    .await;
    data
}

#[forge::test]
async fn what_looks_at_its_caller_is_that_callers(app: TestApp) -> Result<()> {
    let (sql, url) = (app.sql().await?, app.url());
    awake(&url).await;
    sql.execute("INSERT INTO counters VALUES ('ada', 1), ('bob', 2)", &[]).await.unwrap();
    let (ada, bob) = (token::of("ada", &[]), token::of("bob", &[]));
    assert_eq!(kept_for(&ada, &url, "kept_mine", json!({})).await, json!(["ada", "1"]));
    assert_eq!(ask_as(&bob, &url, "kept_mine", json!({})).await, (json!(["bob", "2"]), "miss".into()));
    assert_eq!(ask_as(&bob, &url, "kept_mine", json!({})).await, (json!(["bob", "2"]), "hit".into()));
    // The next token of the same caller shares; one that says something else does not.
    let again = token::of("ada", &[]);
    assert_eq!(ask_as(&again, &url, "kept_mine", json!({})).await, (json!(["ada", "1"]), "hit".into()));
    let editor = token::of("ada", &["editor"]);
    assert_eq!(ask_as(&editor, &url, "kept_mine", json!({})).await, (json!(["ada", "1"]), "miss".into()));
    assert_eq!(Request::call("kept_mine", &json!({})).send(&url).await.failure(), (401, "UNAUTHORIZED".into()));
    // One who counts does not end what is another's.
    Request::call("bump", &named("bob")).send(&url).await.data();
    assert_eq!(ask_as(&ada, &url, "kept_mine", json!({})).await, (json!(["ada", "1"]), "hit".into()));
    assert_eq!(ask_as(&bob, &url, "kept_mine", json!({})).await.0, json!(["bob", "3"]));
    Ok(())
}

#[forge::test]
async fn what_looks_at_nobody_is_anybodys_who_may_call(app: TestApp) -> Result<()> {
    let url = app.url();
    awake(&url).await;
    let (ada, bob, eve) = (token::of("ada", &["admin"]), token::of("bob", &["admin", "x"]), token::of("eve", &["x"]));
    assert_eq!(kept(&url, "kept_total", json!({})).await, "0");
    assert_eq!(ask_as(&ada, &url, "kept_total", json!({})).await, (json!("0"), "hit".into()));
    // Called within another query it is of one moment with that, and not taken from what is kept.
    kept_for(&ada, &url, "kept_for_admins", json!({})).await;
    assert_eq!(ask_as(&bob, &url, "kept_for_admins", json!({})).await.1, "hit");
    for _ in 0..3 {
        let refused = Request::call("kept_for_admins", &json!({}));
        assert_eq!(refused.clone().bearer(&eve).send(&url).await.failure().0, 403);
        assert_eq!(refused.send(&url).await.failure().0, 401);
    }
    for (name, bad) in token::refused() {
        let answer = Request::call("kept_total", &json!({})).bearer(&bad).send(&url).await;
        assert_eq!(answer.status, 401, "{name}: also where anybody may call");
    }
    Ok(())
}

#[forge::test]
async fn one_run_may_look_and_another_not(app: TestApp) -> Result<()> {
    let url = app.url();
    awake(&url).await;
    let (ada, bob) = (token::of("ada", &[]), token::of("bob", &[]));
    for _ in 0..3 {
        assert_eq!(ask_as(&ada, &url, "kept_either", json!({"look": true})).await.0, "ada");
        assert_eq!(ask_as(&bob, &url, "kept_either", json!({"look": true})).await.0, "bob");
        assert_eq!(ask(&url, "kept_either", json!({"look": true})).await.0, Value::Null);
        assert_eq!(ask_as(&ada, &url, "kept_either", json!({"look": false})).await.0, Value::Null);
    }
    assert_eq!(ask_as(&bob, &url, "kept_either", json!({"look": false})).await, (Value::Null, "hit".into()));
    assert_eq!(ask_as(&bob, &url, "kept_either", json!({"look": true})).await, (json!("bob"), "hit".into()));
    Ok(())
}

#[forge::test]
async fn what_looks_at_the_request_is_nobodys(app: TestApp) -> Result<()> {
    let url = app.url();
    awake(&url).await;
    let results = metric(&url, "query_cache_results").await;
    for n in 0..3 {
        let id = format!("request-{n}");
        let answer = Request::call("kept_request", &json!({})).header("x-request-id", id.clone()).send(&url).await;
        assert_eq!((answer.data(), answer.header("x-forge-cache")), (json!(id), Some("miss")));
    }
    // Nor is one run the answer of all who ask at once.
    let calls = (0..20).map(|n| {
        let url = url.clone();
        tokio::spawn(async move {
            let id = format!("at-once-{n}");
            let answer = Request::call("kept_request", &json!({})).header("x-request-id", id.clone()).send(&url).await;
            assert_eq!(answer.data(), id);
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    // What was kept before may have gone meanwhile.
    assert!(metric(&url, "query_cache_results").await <= results);
    Ok(())
}

#[forge::test]
async fn who_asks_at_once_gets_their_own(app: TestApp) -> Result<()> {
    let (sql, url) = (app.sql().await?, app.url());
    awake(&url).await;
    sql.execute("INSERT INTO counters SELECT 'u' || n, n FROM generate_series(0, 9) n", &[]).await.unwrap();
    // Nothing is known of the function yet, so they begin by waiting for the same run.
    sql.batch_execute("BEGIN; LOCK TABLE counters IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let calls: Vec<_> = (0..40)
        .map(|n| {
            let url = url.clone();
            tokio::spawn(async move {
                let user = format!("u{}", n % 10);
                let (data, _) = ask_as(&token::of(&user, &[]), &url, "kept_mine", json!({})).await;
                assert_eq!(data, json!([user, (n % 10).to_string()]));
            })
        })
        .collect();
    until("one of them runs", async || waiting_for(&sql, "counters").await >= 1).await;
    sql.batch_execute("ROLLBACK").await.unwrap();
    for call in calls {
        call.await.unwrap();
    }
    Ok(())
}

#[forge::test]
async fn functions_call_what_is_kept(app: TestApp) -> Result<()> {
    let url = app.url();
    awake(&url).await;
    kept(&url, "kept_counter", named("a")).await;
    for n in 1..=20_i64 {
        // Inside of a mutation it sees what that has written, which nobody else may.
        let failed = Request::call("bump_and_read", &json!({"name": "a", "fail": true})).send(&url).await;
        assert_eq!(failed.json()["error"]["message"], format!("Some({})", 2 * n - 1));
        let before = if n == 1 { Value::Null } else { json!((2 * n - 2).to_string()) };
        assert_eq!(ask(&url, "kept_counter", named("a")).await.0, before);
        let read = Request::call("bump_and_read", &json!({"name": "a", "fail": false})).send(&url).await.data();
        assert_eq!(read, (2 * n - 1).to_string());
        // From an action it is a call like any other.
        let both = Request::call("bump_then_read", &named("a")).send(&url).await.data();
        assert_eq!(both, json!([(2 * n).to_string(), (2 * n).to_string()]));
    }
    Ok(())
}

#[forge::test]
async fn calls_over_a_connection_are_calls_like_others(app: TestApp) -> Result<()> {
    let url = app.url();
    awake(&url).await;
    kept(&url, "kept_counter", named("a")).await;
    let mut live = Live::open(&url, None).await;
    for n in 1..=50_i64 {
        let id = format!("m{n}");
        live.send(json!({"type": "call", "id": n, "function": "bump", "args": {"name": "a"}, "mutationId": id})).await;
        while live.next().await["type"] != "reply" {}
        live.send(json!({"type": "call", "id": n, "function": "kept_counter", "args": {"name": "a"}})).await;
        let mut message = live.next().await;
        while message["type"] != "reply" {
            message = live.next().await;
        }
        assert_eq!(message["data"], n.to_string());
    }
    Ok(())
}
