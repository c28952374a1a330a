//! A change reaches those whom it concerns, whoever made it, and nobody else.

use std::time::Duration;

use forge::prelude::*;
use forge::testing::TestApp;
use serde_json::{Value, json};

use crate::support::http::Request;
use crate::support::live::{Live, applied};

/// Long enough for a frame that should not come to have come.
const SILENCE: Duration = Duration::from_millis(150);

pub(super) async fn metric(url: &str, name: &str) -> u64 {
    let text = Request::get("/metrics").send(url).await.text();
    let line = text.lines().find(|line| line.split(' ').next() == Some(name)).unwrap_or_else(|| panic!("{name} in {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[forge::test]
async fn whoever_writes_subscribers_are_told(app: TestApp) -> Result<()> {
    let sql = app.sql().await?;
    let mut live = Live::open(&app.url(), None).await;
    assert_eq!(live.subscribed(1, "counter", json!({"name": "a"})).await, Value::Null);
    // A mutation, plain SQL, many rows in one statement, COPY, and the end of everything.
    app.anonymous().call(pipeline::bump, pipeline::Bump { name: "a".into() }).await?;
    assert_eq!(live.next().await["results"][0]["data"], "1");
    sql.execute("UPDATE counters SET value = 7 WHERE name = 'a'", &[]).await.unwrap();
    assert_eq!(live.next().await["results"][0]["data"], "7");
    sql.execute("INSERT INTO counters SELECT 'n' || n, n FROM generate_series(1, 1000) n", &[]).await.unwrap();
    sql.execute("UPDATE counters SET value = value + 1", &[]).await.unwrap();
    assert_eq!(live.next().await["results"][0]["data"], "8");
    sql.execute("UPDATE counters SET name = 'b' WHERE name = 'a'", &[]).await.unwrap();
    assert_eq!(live.next().await["results"][0]["data"], Value::Null, "moved out of the filter");
    sql.execute("UPDATE counters SET name = 'a', value = 3 WHERE name = 'n5'", &[]).await.unwrap();
    assert_eq!(live.next().await["results"][0]["data"], "3", "moved into the filter");
    sql.batch_execute("TRUNCATE counters").await.unwrap();
    assert_eq!(live.next().await["results"][0]["data"], Value::Null);
    Ok(())
}

#[forge::test]
async fn a_table_that_takes_the_name_of_another_is_followed(app: TestApp) -> Result<()> {
    let sql = app.sql().await?;
    sql.execute("INSERT INTO counters VALUES ('a', 1)", &[]).await.unwrap();
    let mut live = Live::counting(&app.url(), "1").await;
    // No statement fails of it: it is planned anew.
    let swap = "CREATE TABLE counters_next (LIKE counters INCLUDING ALL); INSERT INTO counters_next VALUES ('a', 2);
                BEGIN; ALTER TABLE counters RENAME TO counters_before; ALTER TABLE counters_next RENAME TO counters; COMMIT";
    sql.batch_execute(swap).await.unwrap();
    assert_eq!(live.next().await["results"][0]["data"], "2");
    sql.execute("UPDATE counters SET value = 3", &[]).await.unwrap();
    assert_eq!(live.next().await["results"][0]["data"], "3");
    Ok(())
}

#[forge::test]
async fn a_partition_that_takes_the_place_of_another_is_followed(app: TestApp) -> Result<()> {
    let sql = app.sql().await?;
    sql.batch_execute("INSERT INTO sensors VALUES ('s'); INSERT INTO readings VALUES ('s', 1, 2), ('s', 200, 5)")
        .await
        .unwrap();
    let mut live = Live::open(&app.url(), None).await;
    assert_eq!(live.subscribed(1, "reading", json!({"sensor": "s"})).await, "7");
    // As many as before.
    let rotate = "BEGIN; DROP TABLE readings_late;
                  CREATE TABLE readings_later PARTITION OF readings FOR VALUES FROM (100) TO (MAXVALUE); COMMIT";
    sql.batch_execute(rotate).await.unwrap();
    assert_eq!(live.next().await["results"][0]["data"], "2");
    sql.batch_execute("INSERT INTO readings_later VALUES ('s', 300, 8)").await.unwrap();
    assert_eq!(live.next().await["results"][0]["data"], "10");
    Ok(())
}

#[forge::test]
async fn values_that_are_too_large_to_be_compared_are_no_error_of_the_writer(app: TestApp) -> Result<()> {
    let sql = app.sql().await?;
    // More than 1 GB in a statement is too much for a test: a type that says so as soon as it is looked at stands in for it.
    sql.batch_execute(
        "CREATE TYPE huge AS (n int);
         CREATE FUNCTION huge_text(huge) RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE program_limit_exceeded; END';
         CREATE CAST (huge AS text) WITH FUNCTION huge_text(huge);
         ALTER TABLE counters ADD COLUMN content huge;
         INSERT INTO counters SELECT name, 1, ROW(1)::huge FROM unnest(ARRAY['a', 'b']) name",
    )
    .await
    .unwrap();
    let mut live = Live::open(&app.url(), None).await;
    assert_eq!(live.subscribed(1, "counter", json!({"name": "a"})).await, "1");
    assert_eq!(sql.execute("UPDATE counters SET value = 2", &[]).await.unwrap(), 2);
    assert_eq!(live.next().await["results"][0]["data"], "2");
    Ok(())
}

#[forge::test]
async fn what_does_not_concern_a_query_does_not_run_it(app: TestApp) -> Result<()> {
    let (sql, url) = (app.sql().await?, app.url());
    sql.execute("INSERT INTO counters VALUES ('a', 1), ('b', 1)", &[]).await.unwrap();
    let mut live = Live::counting(&url, "1").await;
    let (runs, changes) = (metric(&url, "live_runs_total").await, metric(&url, "live_changes_total").await);
    for n in 2..12_i64 {
        // Another key; the same row as it was; a transaction that does not commit.
        sql.execute("UPDATE counters SET value = $1 WHERE name = 'b'", &[&n]).await.unwrap();
        sql.execute("UPDATE counters SET value = value WHERE name = 'a'", &[]).await.unwrap();
        sql.batch_execute("BEGIN; UPDATE counters SET value = 99 WHERE name = 'a'; ROLLBACK").await.unwrap();
    }
    crate::support::until("the changes have been looked at", async || {
        metric(&url, "live_changes_total").await == changes + 10
    })
    .await;
    assert_eq!(metric(&url, "live_runs_total").await, runs);
    assert!(live.is_silent_for(SILENCE).await);
    Ok(())
}

#[forge::test]
async fn many_subscribers_share_one_run(app: TestApp) -> Result<()> {
    let (sql, url) = (app.sql().await?, app.url());
    sql.execute("INSERT INTO counters VALUES ('a', 1)", &[]).await.unwrap();
    let mut all = Vec::new();
    for n in 0..20 {
        // Some are signed in and some are not: the function looks at nothing of its caller.
        let token = crate::support::token::of(&format!("user {n}"), &[]);
        let mut live = Live::open(&url, (n % 2 == 0).then_some(&*token)).await;
        assert_eq!(live.subscribed(1, "counter", json!({"name": "a"})).await, "1");
        all.push(live);
    }
    let runs = metric(&url, "live_runs_total").await;
    assert_eq!(metric(&url, "live_queries").await, 1);
    sql.execute("UPDATE counters SET value = 2 WHERE name = 'a'", &[]).await.unwrap();
    for live in &mut all {
        assert_eq!(live.next().await["results"][0]["data"], "2");
    }
    assert_eq!(metric(&url, "live_runs_total").await, runs + 1);
    drop(all);
    crate::support::until("nobody is subscribed", async || metric(&url, "live_subscriptions").await == 0).await;
    assert_eq!(metric(&url, "live_queries").await, 0);
    Ok(())
}

#[forge::test]
async fn lists_change_by_patches(app: TestApp) -> Result<()> {
    let sql = app.sql().await?;
    let ada = crate::support::token::of("ada", &[]);
    let batch = forge::new_uuid();
    for n in 0..20_i32 {
        let id = forge::new_uuid();
        let text = "INSERT INTO notes (id, batch, title, position) VALUES ($1, $2, 'note ' || $3::int, $3)";
        sql.execute(text, &[&id, &batch, &n]).await.unwrap();
    }
    let mut live = Live::open(&app.url(), Some(&ada)).await;
    let mut list = live.subscribed(1, "list_notes", json!({"batch": batch})).await;
    for statement in [
        "UPDATE notes SET title = 'another' WHERE position = 3",
        "UPDATE notes SET position = 100 WHERE position = 5",
        "DELETE FROM notes WHERE position IN (0, 7)",
        "INSERT INTO notes (id, batch, title, position) SELECT gen_random_uuid(), batch, 'new', -1 FROM notes LIMIT 1",
    ] {
        sql.execute(statement, &[]).await.unwrap();
        let frame = live.next().await;
        let result = &frame["results"][0];
        assert!(result.get("delta").is_some(), "{statement}: {frame}");
        list = applied(&list, result);
        let fresh = Request::call("list_notes", &json!({"batch": batch})).bearer(&ada).send(&app.url()).await.data();
        assert_eq!(list, fresh, "{statement}");
    }
    Ok(())
}

#[forge::test]
async fn what_cannot_be_followed_is_refused_with_the_reason(app: TestApp) -> Result<()> {
    let mut live = Live::open(&app.url(), None).await;
    live.subscribe(1, "clock", json!({})).await;
    let refused = live.next().await;
    assert_eq!((&refused["type"], &refused["id"], &refused["code"]), (&json!("error"), &json!(1), &json!("NOT_LIVE")));
    assert!(refused["message"].as_str().unwrap().contains("now()"), "{refused}");
    live.subscribe(2, "bump", json!({"name": "a"})).await;
    assert!(live.next().await["message"].as_str().unwrap().contains("only queries"));
    live.subscribe(3, "countr", json!({"name": "a"})).await;
    assert_eq!(live.next().await["code"], "NOT_FOUND");
    live.subscribe(4, "counter", json!({"nam": "a"})).await;
    assert_eq!(live.next().await["code"], "INVALID_ARGUMENT");
    // None of this disturbs what works.
    assert_eq!(live.subscribed(5, "counter", json!({"name": "a"})).await, Value::Null);
    Ok(())
}

#[forge::test]
async fn one_that_fails_does_not_disturb_the_others(app: TestApp) -> Result<()> {
    let sql = app.sql().await?;
    sql.execute("INSERT INTO counters VALUES ('a', 1), ('b', 1)", &[]).await.unwrap();
    let mut live = Live::open(&app.url(), None).await;
    assert_eq!(live.subscribed(1, "share", json!({"name": "a"})).await, "100");
    assert_eq!(live.subscribed(2, "total", json!({})).await, "2");
    sql.execute("UPDATE counters SET value = 0 WHERE name = 'a'", &[]).await.unwrap();
    let (mut failed, mut total) = (None, None);
    while failed.is_none() || total.is_none() {
        let message = live.next().await;
        match message["type"].as_str().unwrap() {
            "error" => failed = Some(message["id"].clone()),
            _ => total = Some(message["results"][0]["data"].clone()),
        }
    }
    assert_eq!((failed, total), (Some(json!(1)), Some(json!("1"))));
    Ok(())
}

#[forge::test]
async fn the_schema_may_change_under_subscribers_and_writers(app: TestApp) -> Result<()> {
    let sql = app.sql().await?;
    sql.execute("INSERT INTO counters VALUES ('a', 1)", &[]).await.unwrap();
    let mut live = Live::counting(&app.url(), "1").await;
    assert_eq!(live.subscribed(2, "total", json!({})).await, "1");
    for (n, change) in [
        "ALTER TABLE counters ADD COLUMN extra text",
        "ALTER TABLE counters RENAME COLUMN extra TO more",
        "ALTER TABLE counters DROP COLUMN more",
        "ALTER TABLE counters ALTER COLUMN name TYPE varchar(100)",
    ]
    .into_iter()
    .enumerate()
    {
        sql.batch_execute(change).await.unwrap();
        let value = i64::try_from(n).unwrap() + 2;
        sql.execute("UPDATE counters SET value = $1 WHERE name = 'a'", &[&value]).await.unwrap();
        let frame = live.next().await;
        let told: Vec<&Value> = frame["results"].as_array().unwrap().iter().map(|result| &result["data"]).collect();
        assert_eq!(told, [&json!(value.to_string()), &json!(value.to_string())], "after {change}: {frame}");
    }
    Ok(())
}

#[forge::test]
async fn tests_of_apps_subscribe_from_rust(app: TestApp) -> Result<()> {
    let ada = app.user("ada");
    let batch = forge::new_uuid();
    let mut notes = ada.subscribe(pipeline::list_notes, pipeline::ListNotes { batch }).await?;
    assert!(notes.next().await?.is_empty());
    ada.call(pipeline::add_three, pipeline::AddThree { batch }).await?;
    assert_eq!(notes.next().await?.len(), 3);
    assert_eq!(app.anonymous().subscribe(pipeline::whoami, ()).await.unwrap_err().code(), "UNAUTHORIZED");
    assert_eq!(ada.subscribe(pipeline::clock, ()).await?.next().await.unwrap_err().code(), "NOT_LIVE");
    Ok(())
}
