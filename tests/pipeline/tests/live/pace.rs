//! Queries that say how far apart their runs are at least.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use forge::prelude::*;
use forge::testing::TestApp;
use serde_json::{Value, json};

use super::following::metric;
use super::writers::Writers;
use crate::support::live::{Live, Shown, number};

/// The interval of `paced_counter`.
const INTERVAL: Duration = Duration::from_millis(400);

/// A counter that is not there has counted nothing.
fn count(value: &Value) -> i64 {
    if value.is_null() { 0 } else { number(value) }
}

#[forge::test]
async fn a_query_runs_no_more_often_than_it_says_and_shows_the_last_change(app: TestApp) -> Result<()> {
    const WRITES: u64 = 60;
    let (sql, url) = (app.sql().await?, app.url());
    sql.execute("INSERT INTO counters VALUES ('a', 0)", &[]).await.unwrap();
    let mut paced = Live::open(&url, None).await;
    assert_eq!(paced.subscribed(1, "paced_counter", json!({"name": "a"})).await, "0");
    let mut other = Live::counting(&url, "0").await;
    // Until its rest is over.
    tokio::time::sleep(INTERVAL).await;
    let (before, began) = (metric(&url, "live_runs_total").await, Instant::now());
    for n in 1..=WRITES {
        sql.execute("UPDATE counters SET value = value + 1", &[]).await.unwrap();
        // Each in a round of its own.
        assert_eq!(other.next().await["results"][0]["data"], n.to_string());
        if n == 1 {
            assert_eq!(metric(&url, "live_runs_total").await, before + 2, "the first change is shown at once");
        }
    }
    let (mut frames, last) = (0, WRITES.to_string());
    while {
        frames += 1;
        paced.next().await["results"][0]["data"] != last.as_str()
    } {}
    let runs = metric(&url, "live_runs_total").await - before - WRITES;
    let most = u64::try_from(began.elapsed().as_millis() / INTERVAL.as_millis()).unwrap() + 2;
    println!("{WRITES} writes: {runs} runs of at most {most}, {frames} frames");
    assert!(runs >= 2 && runs <= most && frames <= runs, "{runs} runs of at most {most}, {frames} frames");
    // And that was all.
    tokio::time::sleep(INTERVAL).await;
    assert_eq!(metric(&url, "live_runs_total").await, before + WRITES + runs);
    Ok(())
}

#[forge::test]
async fn an_acknowledgement_comes_with_the_effect_in_every_result(app: TestApp) -> Result<()> {
    let url = app.url();
    let mut live = Live::open(&url, None).await;
    live.subscribed(1, "paced_counter", json!({"name": "a"})).await;
    live.subscribed(2, "counter", json!({"name": "a"})).await;
    let runs = metric(&url, "live_runs_total").await;
    for n in 1..=5_i64 {
        let (_, frame) = live.bump(n, &format!("m{n}")).await;
        let results = frame["results"].as_array().unwrap();
        assert_eq!(results.iter().map(|result| number(&result["data"])).collect::<Vec<_>>(), [n, n], "{frame}");
    }
    assert_eq!(metric(&url, "live_runs_total").await, runs + 10, "no run for nothing");
    Ok(())
}

#[forge::test]
async fn frames_are_of_one_moment_with_several_intervals_and_a_slow_query_among_them(app: TestApp) -> Result<()> {
    let url = app.url();
    let writers = Writers::bumping(&app, 2);
    let mut live = Live::open(&url, None).await;
    let first = live.subscribed(1, "paced_counter", json!({"name": "n0"})).await;
    // At another time, so that by themselves they never run together: each rests whenever the other one does not.
    tokio::time::sleep(INTERVAL / 2).await;
    live.subscribe(2, "paced_counter", json!({"name": "n1"})).await;
    live.subscribe(3, "paced_total", json!({})).await;
    // So long that it runs apart from the rounds.
    live.subscribe(4, "late_total", json!({"milliseconds": 1050})).await;
    live.subscribe(5, "total", json!({})).await;
    let mut shown = Shown(BTreeMap::from([(1, first)]));
    let (mut frames, mut steps) = (0, 0);
    while frames < 4 {
        let before = shown.0.clone();
        shown.next(&mut live).await;
        // First results wait for nothing, and nothing for them.
        if before.len() == 5 {
            let [one, other, totals @ ..] = [1, 2, 3, 4, 5].map(|id| count(&shown.0[&id]));
            assert_eq!(totals, [one + other; 3], "frame {frames}");
            frames += 1;
            steps += usize::from(before[&5] != shown.0[&5]);
        }
    }
    assert!(steps >= 3, "{steps} frames with news prove little");
    writers.stop().await;
    let last = app.anonymous().call(pipeline::total, ()).await?.to_string();
    while [3, 4, 5].iter().any(|id| shown.0[id] != last.as_str()) {
        shown.next(&mut live).await;
    }
    Ok(())
}
