//! Frames are of one moment, in order, and show a client its own writes with their acknowledgement.

use forge::prelude::*;
use forge::testing::TestApp;
use serde_json::{Value, json};

use super::writers::Writers;
use crate::support::live::{Live, applied, number};
use crate::support::{count, until};

#[forge::test]
async fn an_acknowledgement_comes_with_the_effect(app: TestApp) -> Result<()> {
    let mut live = Live::open(&app.url(), None).await;
    live.subscribed(1, "counter", json!({"name": "a"})).await;
    live.subscribed(2, "total", json!({})).await;
    for n in 1..=200_i64 {
        let (reply, frame) = live.bump(n, &format!("m{n}")).await;
        assert_eq!(number(&reply["data"]), n, "{reply}");
        // One frame has it all: both results, and the acknowledgement.
        let results = frame["results"].as_array().unwrap();
        assert_eq!(results.iter().map(|result| number(&result["data"])).collect::<Vec<_>>(), [n, n], "{frame}");
    }
    Ok(())
}

#[forge::test]
async fn a_mutation_that_shows_nothing_is_acknowledged_too(app: TestApp) -> Result<()> {
    let mut live = Live::open(&app.url(), None).await;
    let bump = |id: u64| json!({"type": "call", "id": id, "function": "bump", "args": {"name": "b"}, "mutationId": format!("m{id}")});
    for subscribed in [false, true] {
        if subscribed {
            live.subscribed(1, "counter", json!({"name": "a"})).await;
        }
        live.send(bump(u64::from(subscribed))).await;
        let mut seen = [live.next().await, live.next().await].map(|message| message["type"].as_str().unwrap().to_owned());
        seen.sort();
        assert_eq!(seen, ["frame", "reply"]);
    }
    Ok(())
}

#[forge::test]
async fn frames_are_of_one_moment_and_never_go_back(app: TestApp) -> Result<()> {
    const WRITERS: usize = 6;
    let (sql, url) = (app.sql().await?, app.url());
    sql.execute("INSERT INTO counters SELECT 'n' || n, 100 FROM generate_series(0, 9) n", &[]).await.unwrap();
    let writers = Writers::start(WRITERS, |seed| {
        let (app, mut n) = (app.clone(), seed);
        move || {
            n = (n * 7 + 3) % 1000;
            let (from, to) = (format!("n{}", n % 10), format!("n{}", (n / 10) % 10));
            let args = pipeline::Transfer { from, to, amount: i64::try_from(n % 5).unwrap() };
            let app = app.clone();
            async move { app.anonymous().call(pipeline::transfer, args).await.unwrap() }
        }
    });
    let mut live = Live::open(&url, None).await;
    live.subscribe(1, "total", json!({})).await;
    live.subscribe(2, "counters", json!({})).await;
    // The total is right at any moment, and so is the list. Only counters that are looked at one by one can be of different moments.
    for n in 0..10 {
        live.subscribe(10 + n, "counter", json!({"name": format!("n{n}")})).await;
    }
    let (mut total, mut counters, mut position, mut frames) = (Value::Null, Value::Null, 0, 0);
    let mut each = vec![Value::Null; 10];
    while frames < 300 {
        let frame = live.next().await;
        // It is there when a frame is not made of patches alone.
        if let Some(now) = frame.get("position").map(number) {
            assert!(now >= position, "{now} after {position}");
            position = now;
        }
        for result in frame["results"].as_array().unwrap() {
            let known = match result["id"].as_u64().unwrap() {
                1 => &mut total,
                2 => &mut counters,
                one => &mut each[usize::try_from(one - 10).unwrap()],
            };
            *known = applied(known, result);
        }
        if !total.is_null() && !counters.is_null() && !each.contains(&Value::Null) {
            let sum: i64 = each.iter().map(number).sum();
            assert_eq!((sum, number(&total)), (1000, 1000), "frame {frames}: {frame}");
            let listed: Vec<&Value> = counters.as_array().unwrap().iter().map(|pair| &pair[1]).collect();
            assert_eq!(listed, each.iter().collect::<Vec<_>>(), "frame {frames}: {frame}");
            frames += 1;
        }
    }
    assert!(position > 0);
    writers.stop().await;
    // And in the end it is what a fresh call answers.
    let fresh = serde_json::to_value(app.anonymous().call(pipeline::counters, ()).await?).unwrap();
    let fresh: Vec<(String, i64)> = serde_json::from_value(fresh).unwrap();
    let want: Value = fresh.into_iter().map(|(name, value)| json!([name, value.to_string()])).collect();
    while counters != want {
        let frame = live.next().await;
        for result in frame["results"].as_array().unwrap().iter().filter(|result| result["id"] == 2) {
            counters = applied(&counters, result);
        }
    }
    Ok(())
}

#[forge::test]
async fn a_repeat_is_acknowledged_with_its_effect(app: TestApp) -> Result<()> {
    let (sql, url) = (app.sql().await?, app.url());
    let mut live = Live::open(&url, None).await;
    live.subscribed(1, "counter", json!({"name": "a"})).await;
    // A round that takes a while has looked already when the mutation is made, and is not over when it is repeated.
    let mut other = Live::open(&url, None).await;
    other.subscribe(1, "late_total", json!({"milliseconds": 800})).await;
    let text = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction' \
                AND query LIKE '%coalesce(sum(value)%'";
    until("the round looks", async || count(&sql, text).await == 1).await;
    let call = json!({"type": "call", "id": 1, "function": "bump", "args": {"name": "a"}, "mutationId": "m"});
    let mut first = Live::open(&url, None).await;
    first.send(call.clone()).await;
    assert_eq!(first.next().await["data"], "1");
    live.send(call).await;
    let mut shown = Value::Null;
    loop {
        let message = live.next().await;
        for result in message["results"].as_array().into_iter().flatten() {
            shown = applied(&shown, result);
        }
        if message["acks"] == json!(["m"]) {
            assert_eq!(shown, "1", "{message}");
            return Ok(());
        }
    }
}

#[forge::test]
async fn a_client_that_comes_back_is_told_only_what_is_new(app: TestApp) -> Result<()> {
    let sql = app.sql().await?;
    sql.execute("INSERT INTO counters VALUES ('a', 1)", &[]).await.unwrap();
    let mut live = Live::open(&app.url(), None).await;
    live.subscribe(1, "counter", json!({"name": "a"})).await;
    let version = live.next().await["results"][0]["version"].clone();
    drop(live);
    let mut live = Live::open(&app.url(), None).await;
    let resume = json!({"type": "subscribe", "id": 1, "function": "counter", "args": {"name": "a"}, "version": version});
    live.send(resume.clone()).await;
    let frame = live.next().await;
    assert_eq!((&frame["results"][0]["current"], frame["results"][0].get("data")), (&json!(true), None));
    drop(live);
    sql.execute("UPDATE counters SET value = 2", &[]).await.unwrap();
    let mut live = Live::open(&app.url(), None).await;
    live.send(resume).await;
    assert_eq!(live.next().await["results"][0]["data"], "2");
    Ok(())
}

#[forge::test]
async fn what_a_client_says_to_hold_counts_for_a_new_number_only(app: TestApp) -> Result<()> {
    app.sql().await?.execute("INSERT INTO counters VALUES ('a', 1)", &[]).await.unwrap();
    let mut live = Live::open(&app.url(), None).await;
    live.subscribe(1, "counter", json!({"name": "a"})).await;
    let version = live.next().await["results"][0]["version"].clone();
    let mut subscribe = json!({"type": "subscribe", "function": "counter", "args": {"name": "a"}, "version": version});
    // Something may have been on its way for this number when the client said what it holds.
    subscribe["id"] = json!(1);
    live.send(subscribe.clone()).await;
    assert_eq!(live.next().await["results"][0]["data"], "1");
    subscribe["id"] = json!(2);
    live.send(subscribe).await;
    assert_eq!(live.next().await["results"][0]["current"], true);
    // Whoever says nothing holds nothing, whatever was sent before.
    live.subscribe(2, "counter", json!({"name": "a"})).await;
    assert_eq!(live.next().await["results"][0]["data"], "1");
    Ok(())
}
