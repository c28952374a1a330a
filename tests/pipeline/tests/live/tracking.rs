//! Which changes run a query again: as its statements say, as it says itself, or the clock.

use std::time::Duration;

use forge::prelude::*;
use forge::testing::TestApp;
use serde_json::{Value, json};

use super::following::metric;
use crate::support::live::Live;

/// Long enough for a frame that should not come to have come.
const SILENCE: Duration = Duration::from_millis(150);

#[forge::test]
async fn the_clock_may_run_a_query_again(app: TestApp) -> Result<()> {
    let mut live = Live::open(&app.url(), None).await;
    let mut last = live.subscribed(1, "ticking", json!({})).await;
    for _ in 0..4 {
        let next = live.next().await["results"][0]["data"].clone();
        assert!(next.as_str() > last.as_str(), "{next} after {last}");
        last = next;
    }
    // What nobody is subscribed to does not run.
    let url = app.url();
    drop(live);
    crate::support::until("nobody is subscribed", async || metric(&url, "live_subscriptions").await == 0).await;
    let runs = metric(&url, "live_runs_total").await;
    tokio::time::sleep(SILENCE * 2).await;
    assert_eq!(metric(&url, "live_runs_total").await, runs);
    Ok(())
}

#[forge::test]
async fn a_query_may_be_tracked_by_table_or_not_at_all(app: TestApp) -> Result<()> {
    let (sql, url) = (app.sql().await?, app.url());
    sql.execute("INSERT INTO counters VALUES ('a', 1), ('b', 1)", &[]).await.unwrap();
    let mut live = Live::open(&url, None).await;
    assert_eq!(live.subscribed(1, "counter_by_table", json!({"name": "a"})).await, "1");
    assert_eq!(live.subscribed(2, "counter_now_and_then", json!({"name": "a"})).await, "1");
    let runs = metric(&url, "live_runs_total").await;
    // Another row: with the whole table it counts, and shows nothing new.
    sql.execute("UPDATE counters SET value = 2 WHERE name = 'b'", &[]).await.unwrap();
    crate::support::until("it has run again", async || metric(&url, "live_runs_total").await == runs + 1).await;
    assert!(live.is_silent_for(SILENCE).await);
    sql.execute("UPDATE counters SET value = 5 WHERE name = 'a'", &[]).await.unwrap();
    let frame = live.next().await;
    let told: Vec<(&Value, &Value)> =
        frame["results"].as_array().unwrap().iter().map(|result| (&result["id"], &result["data"])).collect();
    assert_eq!(told, [(&json!(1), &json!("5"))], "the other one is not tracked: {frame}");
    Ok(())
}

#[forge::test]
async fn a_range_is_followed_by_its_values(app: TestApp) -> Result<()> {
    let (sql, url) = (app.sql().await?, app.url());
    sql.execute("INSERT INTO counters VALUES ('a', 10), ('b', 1)", &[]).await.unwrap();
    let mut live = Live::open(&url, None).await;
    assert_eq!(live.subscribed(1, "counters_above", json!({"value": "5"})).await, json!([["a", "10"]]));
    // The feed may take up its work only now, and what it may have missed before then is looked for once: not again and again.
    let mut needless = 0;
    for _ in 0..3 {
        let (runs, changes) = (metric(&url, "live_runs_total").await, metric(&url, "live_changes_total").await);
        for n in 2..6_i64 {
            sql.execute("UPDATE counters SET value = $1 WHERE name = 'b'", &[&n]).await.unwrap();
        }
        crate::support::until("the changes have been looked at", async || {
            metric(&url, "live_changes_total").await == changes + 4
        })
        .await;
        needless = metric(&url, "live_runs_total").await - runs;
        if needless == 0 {
            break;
        }
    }
    assert_eq!(needless, 0, "below the range before and after");
    sql.execute("UPDATE counters SET value = 6 WHERE name = 'b'", &[]).await.unwrap();
    assert_eq!(live.next().await["results"].as_array().unwrap().len(), 1, "moved into the range");
    Ok(())
}
