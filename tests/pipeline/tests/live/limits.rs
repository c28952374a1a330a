//! Whoever wants too much is refused with a reason that names the limit; nobody else notices.

use forge::prelude::*;
use forge::testing::TestApp;
use forge_runtime::config::Config;
use serde_json::{Value, json};

use crate::support::http::Request;
use crate::support::live::Live;
use crate::support::sse::Sse;
use crate::support::{token, until};

async fn limited(change: impl FnOnce(&mut Config)) -> Result<(TestApp, Live)> {
    let app = TestApp::start_with(change).await?;
    let mut other = Live::open(&app.url(), Some(&token::of("other", &[]))).await;
    other.subscribed(1, "counter", json!({"name": "a"})).await;
    Ok((app, other))
}

/// The other one is told what is new, and nothing else.
async fn undisturbed(app: &TestApp, other: &mut Live) -> Result<()> {
    let value = app.anonymous().call(pipeline::bump, pipeline::Bump { name: "a".into() }).await?;
    assert_eq!(other.next().await["results"][0]["data"], value.to_string());
    Ok(())
}

fn limit(refused: &Value) -> (&str, &str) {
    (refused["code"].as_str().unwrap(), refused["details"]["limit"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_of_a_session() -> Result<()> {
    let (app, mut other) = limited(|config| config.gateway.max_subscriptions_per_connection = 2).await?;
    let mut live = Live::open(&app.url(), None).await;
    live.subscribed(1, "counter", json!({"name": "a"})).await;
    live.send(json!({"type": "presence", "id": 2, "of": 1})).await;
    assert_eq!(live.next().await["results"][0]["data"], json!([]));
    live.subscribe(3, "counter", json!({"name": "c"})).await;
    let refused = live.next().await;
    assert_eq!(
        (&refused["id"], limit(&refused)),
        (&json!(3), ("TOO_MANY_SUBSCRIPTIONS", "gateway.max_subscriptions_per_connection"))
    );
    live.send(json!({"type": "unsubscribe", "id": 1})).await;
    live.subscribed(3, "counter", json!({"name": "c"})).await;
    live.subscribed(4, "counter", json!({"name": "d"})).await;
    undisturbed(&app, &mut other).await?;
    app.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribing_in_a_minute() -> Result<()> {
    let (app, mut other) = limited(|config| config.gateway.subscription_rate_limit = 5).await?;
    let mut live = Live::open(&app.url(), None).await;
    for id in 0..5 {
        live.subscribed(id, "counter", json!({"name": "a"})).await;
    }
    live.subscribe(5, "counter", json!({"name": "a"})).await;
    let refused = live.next().await;
    assert_eq!((&refused["id"], limit(&refused)), (&json!(5), ("RATE_LIMITED", "gateway.subscription_rate_limit")));
    assert!((1..=12).contains(&refused["retryAfter"].as_u64().unwrap()), "{refused}");
    undisturbed(&app, &mut other).await?;
    app.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_a_user_and_of_an_address() -> Result<()> {
    let (app, mut other) = limited(|config| {
        config.gateway.max_sessions_per_user = 2;
        config.gateway.max_sessions_per_address = 4;
    })
    .await?;
    let (url, ada) = (app.url(), token::of("ada", &[]));
    let one = Live::open(&url, Some(&ada)).await;
    let _two = Sse::open(&url, Some(&ada)).await;
    assert_eq!(Live::try_open(&url, Some(&ada)).await.err(), Some(429));
    let refused = Request::get("/events").bearer(&ada).send(&url).await;
    assert_eq!(refused.failure(), (429, "TOO_MANY_SESSIONS".into()));
    assert_eq!(limit(&refused.json()["error"]).1, "gateway.max_sessions_per_user");
    // To become her is as many as to come as her.
    let mut becoming = Live::open(&url, None).await;
    becoming.send(json!({"type": "auth", "token": ada})).await;
    assert_eq!(limit(&becoming.next().await), ("TOO_MANY_SESSIONS", "gateway.max_sessions_per_user"));
    assert_eq!(becoming.next_or_close().await, Err(1013));
    drop(becoming);
    drop(one);
    let mut again = None;
    until("there is room again", async || {
        again = Live::try_open(&url, Some(&ada)).await.ok();
        again.is_some()
    })
    .await;
    let mut fourth = None;
    until("the address has room", async || {
        fourth = Live::try_open(&url, None).await.ok();
        fourth.is_some()
    })
    .await;
    let refused = Request::get("/events").send(&url).await;
    assert_eq!(limit(&refused.json()["error"]), ("TOO_MANY_SESSIONS", "gateway.max_sessions_per_address"));
    undisturbed(&app, &mut other).await?;
    app.stop().await;
    Ok(())
}

/// Of an IPv6 address the first 64 bits count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_a_block_of_addresses() -> Result<()> {
    let app = TestApp::start_with(|config| {
        config.gateway.max_sessions_per_address = 1;
        config.gateway.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
    .await?;
    let from = |address: &str| Request::get("/events").header("x-forwarded-for", address);
    let open = async |address: &str| Sse::request(&app.url(), &from(address)).await;
    let _one = open("2001:db8:1:2::1").await.unwrap();
    assert_eq!(open("2001:db8:1:2:3:4:5:6").await.err(), Some(429));
    let _neighbour = open("2001:db8:1:3::1").await.unwrap();
    let _other = open("1.2.3.4").await.unwrap();
    assert_eq!(open("::ffff:1.2.3.4").await.err(), Some(429));
    app.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_in_a_minute() -> Result<()> {
    let (app, mut other) = limited(|_| {}).await?;
    let auth = json!({"type": "auth", "token": token::of("ada", &[])});
    let mut live = Live::open(&app.url(), auth["token"].as_str()).await;
    live.subscribed(1, "my_counter", json!({})).await;
    let mut taken = 0;
    let refused = loop {
        live.send(auth.clone()).await;
        let said = live.next().await;
        // Nothing begins anew, or it would be told again.
        if said["type"] != "authenticated" {
            break said;
        }
        taken += 1;
        assert!(taken < 300, "some more while that takes, but not so many");
    };
    assert_eq!(refused["code"], "RATE_LIMITED", "{refused}");
    assert!((1..=2).contains(&refused["retryAfter"].as_u64().unwrap()), "{refused}");
    assert!(taken >= 30, "{taken}");
    assert_eq!(live.next_or_close().await, Err(1013));
    undisturbed(&app, &mut other).await?;
    app.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_size_of_a_message() -> Result<()> {
    let (app, mut other) = limited(|config| config.gateway.max_body_size = 2_000).await?;
    let mut live = Live::open(&app.url(), None).await;
    live.subscribe(1, "counter", json!({"name": "x".repeat(2_000)})).await;
    let refused = live.next().await;
    assert_eq!(refused["code"], "PAYLOAD_TOO_LARGE");
    assert!(refused["message"].as_str().unwrap().contains("gateway.max_body_size = 2000"), "{refused}");
    assert_eq!(live.next_or_close().await, Err(1009));
    undisturbed(&app, &mut other).await?;
    app.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_size_of_a_result() -> Result<()> {
    let (app, mut other) = limited(|config| config.function.max_result_size = 2_000).await?;
    let mut live = Live::open(&app.url(), None).await;
    live.subscribed(1, "counter", json!({"name": "a"})).await;
    live.subscribe(2, "too_much", json!({"bytes": 2_000})).await;
    let refused = live.next().await;
    assert_eq!((&refused["id"], &refused["code"]), (&json!(2), &json!("PAYLOAD_TOO_LARGE")));
    assert!(refused["message"].as_str().unwrap().contains("function.max_result_size"), "{refused}");
    undisturbed(&app, &mut other).await?;
    assert_eq!(live.next().await["results"][0]["id"], 1, "the session goes on");
    app.stop().await;
    Ok(())
}
