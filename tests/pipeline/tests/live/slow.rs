//! What is slow, or fails, holds up its own subscribers and nobody else.

use std::time::Duration;

use forge::prelude::*;
use forge::testing::TestApp;
use serde_json::{Value, json};

use super::writers::Writers;
use crate::support::live::{Live, Shown, number};
use crate::support::{count, until};

#[forge::test]
async fn a_slow_query_holds_up_only_its_own_session(app: TestApp) -> Result<()> {
    let (sql, url) = (app.sql().await?, app.url());
    sql.execute("INSERT INTO counters VALUES ('a', 1)", &[]).await.unwrap();
    let (mut slow, mut quick) = (Live::open(&url, None).await, Live::open(&url, None).await);
    assert_eq!(slow.subscribed(1, "total", json!({})).await, "1");
    assert_eq!(slow.subscribed(2, "total_and_notes", json!({})).await, json!(["1", "0"]));
    assert_eq!(quick.subscribed(1, "total", json!({})).await, "1");
    let mut locked = app.sql().await?;
    let lock = locked.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE notes IN ACCESS EXCLUSIVE MODE").await.unwrap();
    for n in 2..6_i64 {
        sql.execute("UPDATE counters SET value = $1", &[&n]).await.unwrap();
        assert_eq!(quick.next().await["results"][0]["data"], n.to_string(), "others are told meanwhile");
    }
    // It is shown nothing, not even what is known, as that would not fit what it was shown of the other.
    assert!(slow.is_silent_for(Duration::from_millis(100)).await);
    // New subscribers are served as well, also in the session that waits: nothing has been shown of that yet, so it fits.
    let _third = Live::counting(&url, "5").await;
    lock.rollback().await.unwrap();
    let mut shown = Shown::default();
    shown.0.insert(1, json!("1"));
    shown.0.insert(2, json!(["1", "0"]));
    while shown.0[&1] != "5" {
        shown.next(&mut slow).await;
        assert_eq!(shown.0[&1], shown.0[&2][0], "both are of one moment");
    }
    Ok(())
}

#[forge::test]
async fn frames_are_of_one_moment_with_slow_queries_among_them(app: TestApp) -> Result<()> {
    let url = app.url();
    let writers = Writers::bumping(&app, 4);
    let mut live = Live::open(&url, None).await;
    live.subscribe(1, "total", json!({})).await;
    live.subscribe(2, "late_total", json!({"milliseconds": 70})).await;
    live.subscribe(3, "counters", json!({})).await;
    live.subscribe(4, "late_total", json!({"milliseconds": 110})).await;
    let mut shown = Shown::default();
    let (mut frames, mut steps) = (0, 0);
    while frames < 25 {
        let before = shown.0.clone();
        shown.next(&mut live).await;
        if shown.0.len() < 4 || before.len() < 4 {
            continue;
        }
        frames += 1;
        let sum: i64 = shown.0[&3].as_array().unwrap().iter().map(|pair| number(&pair[1])).sum();
        let all = [1, 2, 4].map(|id| number(&shown.0[&id]));
        assert_eq!(all, [sum; 3], "frame {frames}");
        steps += usize::from(sum != number(&before[&1]));
    }
    assert!(steps > 10, "{steps} frames with news prove little");
    writers.stop().await;
    let last = app.anonymous().call(pipeline::total, ()).await?.to_string();
    while [1, 2, 4].iter().any(|id| shown.0[id] != last.as_str()) {
        shown.next(&mut live).await;
    }
    Ok(())
}

#[forge::test]
async fn a_statement_that_fails_is_its_own_functions_affair(app: TestApp) -> Result<()> {
    let (sql, url) = (app.sql().await?, app.url());
    sql.execute("INSERT INTO counters VALUES ('a', 5), ('b', 0)", &[]).await.unwrap();
    let mut live = Live::open(&url, None).await;
    assert_eq!(live.subscribed(1, "share_if_any", json!({"name": "a"})).await, "20");
    assert_eq!(live.subscribed(2, "share_if_any", json!({"name": "b"})).await, Value::Null);
    let mut other = Live::counting(&url, "5").await;
    // It fails from now on, deals with that, and is followed nevertheless.
    sql.execute("UPDATE counters SET value = 0 WHERE name = 'a'", &[]).await.unwrap();
    assert_eq!(other.next().await["results"][0]["data"], "0");
    assert_eq!(live.next().await["results"][0]["data"], Value::Null);
    sql.execute("UPDATE counters SET value = 10", &[]).await.unwrap();
    let mut shown = Shown::default();
    while shown.0.len() < 2 {
        shown.next(&mut live).await;
    }
    assert_eq!((&shown.0[&1], &shown.0[&2]), (&json!("10"), &json!("10")));
    Ok(())
}

#[forge::test]
async fn what_changes_while_a_slow_query_runs_for_the_first_time_is_not_missed(app: TestApp) -> Result<()> {
    let (sql, url) = (app.sql().await?, app.url());
    sql.execute("INSERT INTO counters VALUES ('a', 1)", &[]).await.unwrap();
    // Both tables are watched from now on.
    let mut quick = Live::open(&url, None).await;
    assert_eq!(quick.subscribed(1, "total", json!({})).await, "1");
    assert_eq!(quick.subscribed(2, "total_and_notes", json!({})).await, json!(["1", "0"]));
    quick.send(json!({"type": "unsubscribe", "id": 2})).await;
    let mut locked = app.sql().await?;
    let lock = locked.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE notes IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let mut slow = Live::open(&url, None).await;
    slow.subscribe(1, "total_and_notes", json!({})).await;
    // It has read the counters and waits for the notes; apart from the rounds, where a statement may not wait for so long.
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
                 AND query LIKE '%FROM notes%' AND query_start < clock_timestamp() - interval '600ms'";
    until("it waits", async || count(&sql, waits).await == 1).await;
    // What it reads is not known before it is done.
    sql.execute("UPDATE counters SET value = 2", &[]).await.unwrap();
    assert_eq!(quick.next().await["results"][0]["data"], "2");
    lock.rollback().await.unwrap();
    let mut shown = Shown::default();
    shown.next(&mut slow).await;
    while shown.0[&1] != json!(["2", "0"]) {
        shown.next(&mut slow).await;
    }
    Ok(())
}

#[forge::test]
async fn a_table_that_cannot_be_watched_yet_is_waited_for_by_its_own_subscribers(app: TestApp) -> Result<()> {
    let (sql, url) = (app.sql().await?, app.url());
    sql.execute("INSERT INTO counters VALUES ('a', 1)", &[]).await.unwrap();
    let mut writer = app.sql().await?;
    let open = writer.transaction().await.unwrap();
    // A writer of the table: no trigger can be made before it ends.
    open.batch_execute("LOCK TABLE kept IN ROW EXCLUSIVE MODE").await.unwrap();
    let mut live = Live::open(&url, None).await;
    live.subscribe(1, "kept_count", json!({})).await;
    live.subscribe(2, "counter", json!({"name": "a"})).await;
    let mut other = Live::open(&url, None).await;
    assert_eq!(other.subscribed(1, "total", json!({})).await, "1");
    let mut shown = Shown::default();
    shown.next(&mut live).await;
    assert_eq!((shown.0.get(&1), shown.0.get(&2)), (None, Some(&json!("1"))), "what can be shown is");
    for n in 2..5_i64 {
        sql.execute("UPDATE counters SET value = $1", &[&n]).await.unwrap();
        assert_eq!(other.next().await["results"][0]["data"], n.to_string());
        shown.next(&mut live).await;
        assert_eq!(shown.0[&2], n.to_string());
    }
    open.rollback().await.unwrap();
    shown.next(&mut live).await;
    assert_eq!(shown.0[&1], "0");
    Ok(())
}

#[forge::test]
async fn what_is_slow_is_not_shown_beside_what_waits_for_its_table(app: TestApp) -> Result<()> {
    let (sql, url) = (app.sql().await?, app.url());
    sql.execute("INSERT INTO counters VALUES ('a', 1)", &[]).await.unwrap();
    let mut live = Live::open(&url, None).await;
    assert_eq!(live.subscribed(1, "kept_count", json!({})).await, "0");
    assert_eq!(live.subscribed(2, "late_total", json!({"milliseconds": 60})).await, "1");
    // Another table takes the name, with a row, and somebody begins to write to it at once: there can be no trigger on it yet.
    let (mut swapper, mut writer) = (app.sql().await?, app.sql().await?);
    let swap = swapper.transaction().await.unwrap();
    let next = "CREATE TABLE kept_next (id uuid PRIMARY KEY); INSERT INTO kept_next VALUES (gen_random_uuid());
                ALTER TABLE kept RENAME TO kept_before; ALTER TABLE kept_next RENAME TO kept";
    swap.batch_execute(next).await.unwrap();
    let (open, ()) = tokio::join!(
        async {
            let open = writer.transaction().await.unwrap();
            open.batch_execute("LOCK TABLE kept IN ROW EXCLUSIVE MODE").await.unwrap();
            open
        },
        async {
            until("it waits for the swap", async || waiting(&sql, "LOCK TABLE kept%").await == 1).await;
            swap.commit().await.unwrap();
        }
    );
    until("the trigger waits for the writer", async || waiting(&sql, "CREATE TRIGGER%").await == 1).await;
    sql.execute("UPDATE counters SET value = 2", &[]).await.unwrap();
    assert!(live.is_silent_for(Duration::from_millis(300)).await, "the number of rows is not known");
    open.rollback().await.unwrap();
    let mut shown = Shown::default();
    shown.next(&mut live).await;
    assert_eq!((shown.0.get(&1), shown.0.get(&2)), (Some(&json!("1")), Some(&json!("2"))), "both are of one moment");
    Ok(())
}

/// How many such statements wait for a lock.
async fn waiting(sql: &tokio_postgres::Client, like: &str) -> i64 {
    let text = format!(
        "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '{like}'"
    );
    count(sql, &text).await
}
