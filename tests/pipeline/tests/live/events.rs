//! What functions tell subscribers beside results: after the result it belongs to, to whoever may see that, and to nobody else.

use std::time::Duration;

use forge::prelude::*;
use forge::testing::TestApp;
use serde_json::{Value, json};

use crate::support::live::Live;
use crate::support::process::Process;
use crate::support::server::empty_database;
use crate::support::token;

/// Long enough for an event that should not come to have come.
const SILENCE: Duration = Duration::from_millis(200);

async fn announce(app: &TestApp, name: &str, text: &str, fails: bool) -> Result<i64> {
    let args = pipeline::Announce { name: name.into(), text: text.into(), fails };
    app.anonymous().call(pipeline::announce, args).await
}

async fn shout(app: &TestApp, text: &str) -> Result<()> {
    app.anonymous().call(pipeline::shout, pipeline::Shout { name: "r".into(), text: text.into() }).await
}

#[forge::test]
async fn events_follow_the_frame_that_shows_what_they_are_about(app: TestApp) -> Result<()> {
    let mut live = Live::open(&app.url(), None).await;
    live.subscribed(7, "counter", json!({"name": "a"})).await;
    for n in 1..=50_i64 {
        announce(&app, "a", &format!("\u{0} {n}"), false).await?;
        let frame = live.next().await;
        assert_eq!(frame["results"][0]["data"], n.to_string(), "{frame}");
        assert_eq!(live.next().await, json!({"type": "event", "id": 7, "name": "counted", "data": n.to_string()}));
        assert_eq!(live.next().await, json!({"type": "event", "id": 7, "name": "said", "data": format!("\u{0} {n}")}));
    }
    Ok(())
}

#[forge::test]
async fn what_was_not_committed_was_never_said(app: TestApp) -> Result<()> {
    let mut live = Live::open(&app.url(), None).await;
    live.subscribed(1, "counter", json!({"name": "a"})).await;
    assert_eq!(announce(&app, "a", "never", true).await.unwrap_err().code(), "CONFLICT");
    announce(&app, "a", "once", false).await?;
    assert_eq!(live.next().await["results"][0]["data"], "1");
    assert_eq!(live.next().await["data"], "1");
    assert_eq!(live.next().await["data"], "once");
    assert!(live.is_silent_for(SILENCE).await);
    Ok(())
}

#[forge::test]
async fn only_who_is_subscribed_to_just_that_is_told(app: TestApp) -> Result<()> {
    app.sql().await?.execute("INSERT INTO counters VALUES ('a', 1)", &[]).await.unwrap();
    let mut live = Live::open(&app.url(), None).await;
    live.subscribed(1, "counter", json!({"name": "b"})).await;
    live.subscribed(2, "share", json!({"name": "a"})).await;
    let mut ended = Live::open(&app.url(), None).await;
    ended.subscribed(1, "counter", json!({"name": "a"})).await;
    ended.send(json!({"type": "unsubscribe", "id": 1})).await;
    ended.send(json!({"type": "ping"})).await;
    assert_eq!(ended.next().await["type"], "pong");
    announce(&app, "a", "x", false).await?;
    // `share` shows the same row; it is another query.
    assert_eq!(live.next().await["results"][0]["id"], 2);
    assert!(live.is_silent_for(SILENCE).await);
    assert!(ended.is_silent_for(SILENCE).await);
    Ok(())
}

#[forge::test]
async fn who_may_not_see_a_query_is_told_nothing_about_it(app: TestApp) -> Result<()> {
    let sql = app.sql().await?;
    sql.batch_execute("INSERT INTO counters VALUES ('r ada', 1), ('r bob', 1)").await.unwrap();
    let mut all = Vec::new();
    for name in ["ada", "bob", "eve"] {
        let mut live = Live::open(&app.url(), Some(&token::of(name, &[]))).await;
        live.subscribe(1, "room", json!({"name": "r"})).await;
        all.push(live);
    }
    let [ada, bob, eve] = &mut all[..] else { unreachable!() };
    assert_eq!(ada.next().await["results"][0]["data"], "1");
    assert_eq!(bob.next().await["results"][0]["data"], "1");
    assert_eq!(eve.next().await["code"], "FORBIDDEN");
    let mut nobody = Live::open(&app.url(), None).await;
    nobody.subscribe(1, "room", json!({"name": "r"})).await;
    assert_eq!(nobody.next().await["code"], "UNAUTHORIZED");
    shout(&app, "both").await?;
    assert_eq!(ada.next().await["data"], "both");
    assert_eq!(bob.next().await["data"], "both");
    // Who is not let in any more hears nothing from then on.
    sql.execute("DELETE FROM counters WHERE name = 'r bob'", &[]).await.unwrap();
    shout(&app, "ada only").await?;
    assert_eq!(ada.next().await["data"], "ada only");
    assert_eq!(bob.next().await["code"], "FORBIDDEN");
    for other in [bob, eve, &mut nobody] {
        assert!(other.is_silent_for(SILENCE).await);
    }
    Ok(())
}

#[forge::test]
async fn actions_tell_too_and_arguments_may_be_written_in_any_way(app: TestApp) -> Result<()> {
    let mut live = Live::open(&app.url(), None).await;
    live.send(json!({"type": "subscribe", "id": 1, "function": "counter", "args": {"name": "a"}})).await;
    live.next().await;
    app.anonymous().call(pipeline::call_out, pipeline::CallOut { name: "a".into(), text: "x".into() }).await?;
    assert_eq!(live.next().await, json!({"type": "event", "id": 1, "name": "called", "data": "x"}));
    Ok(())
}

#[forge::test]
async fn what_is_too_large_for_an_event_is_refused_with_the_limit(app: TestApp) -> Result<()> {
    let why = announce(&app, "a", &"x".repeat(8 * 1024), false).await.unwrap_err();
    assert_eq!(why.code(), "PAYLOAD_TOO_LARGE");
    assert!(why.message().contains("8192"), "{why}");
    announce(&app, "a", &"x".repeat(8 * 1024 - 2), false).await?;
    Ok(())
}

#[forge::test]
async fn tests_of_apps_see_events(app: TestApp) -> Result<()> {
    let mut count = app.user("ada").subscribe(pipeline::counter, "a".to_owned()).await?;
    assert_eq!(count.next().await?, None);
    announce(&app, "a", "x", false).await?;
    assert_eq!(count.next().await?, Some(1));
    let event = count.next_event().await?;
    assert_eq!((event.name.as_str(), event.data), ("counted", Value::from("1")));
    assert_eq!(count.next_event().await?.name, "said");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_cross_nodes_in_order() -> Result<()> {
    let database = empty_database().await?;
    let nodes = [Process::start(database.url()).await.ready().await, Process::start(database.url()).await.ready().await];
    let mut live = Live::open(nodes[0].url(), None).await;
    live.subscribed(1, "counter", json!({"name": "a"})).await;
    let mut other = Live::open(nodes[1].url(), None).await;
    for n in 0..40_i64 {
        let args = json!({"name": "a", "text": "x", "fails": false});
        other.send(json!({"type": "call", "id": n, "function": "announce", "args": args})).await;
        assert_eq!(other.next().await["data"], (n + 1).to_string());
    }
    let (mut shown, mut counted) = (0, 0);
    while counted < 40 {
        let message = live.next().await;
        if message["type"] == "frame" {
            shown = message["results"][0]["data"].as_str().unwrap().parse().unwrap();
        } else if message["name"] == "counted" {
            counted += 1;
            assert_eq!(message["data"], counted.to_string(), "in the order of commits");
            assert!(counted <= shown, "not before its effect is shown");
        }
    }
    assert_eq!(live.next().await["name"], "said");
    // And one that comes with no change of anything.
    let args = json!({"name": "a", "text": "alone"});
    other.send(json!({"type": "call", "id": 41, "function": "call_out", "args": args})).await;
    assert_eq!(live.next().await, json!({"type": "event", "id": 1, "name": "called", "data": "alone"}));
    Ok(())
}
