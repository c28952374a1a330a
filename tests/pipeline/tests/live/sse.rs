//! The same sessions over HTTP alone.

use forge::prelude::*;
use forge::testing::TestApp;
use serde_json::{Value, json};

use crate::support::balancer::Balancer;
use crate::support::http::{Connection, Request};
use crate::support::live::Live;
use crate::support::process::Process;
use crate::support::server::{connect, empty_database};
use crate::support::sse::Sse;
use crate::support::{count, token, until, waiting_for};

#[forge::test]
async fn a_stream_carries_everything_that_a_socket_does(app: TestApp) -> Result<()> {
    let sql = app.sql().await?;
    let mut sse = Sse::open(&app.url(), None).await;
    assert_eq!(sse.subscribed(1, "counter", json!({"name": "a"})).await, Value::Null);
    sql.execute("INSERT INTO counters VALUES ('a', 1)", &[]).await.unwrap();
    assert_eq!(sse.next().await["results"][0]["data"], "1");
    // A list of messages is taken in its order.
    let call = json!({"type": "call", "id": 9, "function": "bump", "args": {"name": "a"}, "mutationId": "m"});
    sse.send(json!([{"type": "ping"}, call, {"type": "unsubscribe", "id": 77}])).await;
    let (mut replied, mut shown) = (false, false);
    assert_eq!(sse.next().await["type"], "pong");
    while !replied || !shown {
        let message = sse.next().await;
        match message["type"].as_str().unwrap() {
            "reply" => replied = message["data"] == "2",
            _ => shown = message["results"][0]["data"] == "2" && message["acks"] == json!(["m"]),
        }
    }
    sse.send(json!({"type": "presence", "id": 2, "of": 1, "state": "here"})).await;
    let mut list = Value::Null;
    while list[0]["state"] != "here" {
        list = crate::support::live::applied(&list, &sse.next().await["results"][0]);
    }
    // With the connection the session ends, and what was known of it.
    let session = sse.session.clone();
    drop(sse);
    until("it has ended", async || {
        count(&sql, "SELECT (SELECT count(*) FROM forge_live_sessions) + (SELECT count(*) FROM forge_presence)").await == 0
    })
    .await;
    let late = Request::post(&format!("/events/{session}"), &json!({"type": "ping"})).send(&app.url()).await;
    assert_eq!(late.failure(), (404, "SESSION_UNKNOWN".into()));
    Ok(())
}

#[forge::test]
async fn what_is_not_understood_is_refused_and_the_session_goes_on(app: TestApp) -> Result<()> {
    let mut sse = Sse::open(&app.url(), None).await;
    let ping = json!({"type": "ping"});
    for bad in [json!({"type": "no such"}), json!("x"), json!([ping, 1]), Value::Array(vec![ping.clone(); 101])] {
        assert_eq!(sse.post(&app.url(), &bad).await.failure(), (400, "INVALID_ARGUMENT".into()), "{bad}");
    }
    let large = json!({"type": "auth", "token": "x".repeat(1_000_000)});
    assert_eq!(sse.post(&app.url(), &large).await.failure(), (413, "PAYLOAD_TOO_LARGE".into()));
    sse.send(ping).await;
    assert_eq!(sse.next().await["type"], "pong", "and nothing of the refused lists");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_balancer_messages_reach_the_session_wherever_they_arrive() -> Result<()> {
    let database = empty_database().await?;
    let nodes = [Process::start(database.url()).await.ready().await, Process::start(database.url()).await.ready().await];
    let balancer = Balancer::before(&[nodes[0].url(), nodes[1].url()]).await;
    let ada = token::of("ada", &[]);
    let mut streams = Vec::new();
    for n in 0..4_i64 {
        let mut sse = Sse::open(balancer.url(), (n % 2 == 0).then_some(&*ada)).await;
        sse.subscribed(1, "counter", json!({"name": "a"})).await;
        streams.push(sse);
    }
    for n in 0..40 {
        for (at, sse) in streams.iter_mut().enumerate() {
            sse.send(
                json!([{"type": "call", "id": n, "function": "echo_number", "args": {"number": n}}, {"type": "ping"}]),
            )
            .await;
            let mut seen: Vec<Value> = vec![sse.next().await, sse.next().await];
            seen.sort_by_key(|message| message["type"].to_string());
            assert_eq!(
                (&seen[0]["type"], &seen[1]["id"], &seen[1]["data"]),
                (&json!("pong"), &json!(n), &json!(n)),
                "{at} {seen:?}"
            );
        }
    }
    // In the order in which they were sent, whichever way each of them took.
    let sse = &mut streams[0];
    for id in 100..150 {
        sse.send(json!({"type": "subscribe", "id": id, "function": "no such", "args": {}})).await;
    }
    for id in 100..150 {
        assert_eq!(sse.next().await["id"], id);
    }
    let sql = connect(database.url()).await;
    assert_eq!(count(&sql, "SELECT count(*) FROM forge_live_messages").await, 0, "all were fetched");
    let passed_on = count(&sql, "SELECT last_value FROM forge_live_messages_seq_seq").await;
    assert!(passed_on > 90, "{passed_on} of some 210 came to the other node");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_nobody_elses_on_any_node() -> Result<()> {
    let database = empty_database().await?;
    let nodes = [Process::start(database.url()).await.ready().await, Process::start(database.url()).await.ready().await];
    let (ada, bob) = (token::of("ada", &[]), token::of("bob", &["admin"]));
    let mut hers = Sse::open(nodes[0].url(), Some(&ada)).await;
    let mut nobodys = Sse::open(nodes[0].url(), None).await;
    let ping = json!({"type": "ping"});
    for node in &nodes {
        let to = |session: &str| Request::post(&format!("/events/{session}"), &ping);
        for (what, request) in [
            ("of another user", to(&hers.session).bearer(&bob)),
            ("by nobody", to(&hers.session)),
            ("nobody's, by a user", to(&nobodys.session).bearer(&ada)),
            ("never was", to("AAAAAAAAAAAAAAAAAAAAAAAA")),
            ("no id", to(&"x".repeat(500))),
        ] {
            assert_eq!(request.send(node.url()).await.failure(), (404, "SESSION_UNKNOWN".into()), "{what}");
        }
        let forged = to(&hers.session).bearer("garbage").send(node.url()).await;
        assert_eq!(forged.failure(), (401, "UNAUTHORIZED".into()));
    }
    // Nothing of that has arrived.
    for sse in [&mut hers, &mut nobodys] {
        let answer = sse.post(nodes[1].url(), &json!([{"type": "ping"}, {"type": "unsubscribe", "id": 1}])).await;
        assert_eq!(answer.status, 204);
        assert_eq!(sse.next().await["type"], "pong");
    }
    // A session that becomes somebody's is theirs at every node.
    nobodys.send(json!({"type": "auth", "token": bob})).await;
    assert_eq!(nobodys.next().await["type"], "authenticated");
    for node in &nodes {
        assert_eq!(nobodys.post(node.url(), &ping).await.failure(), (404, "SESSION_UNKNOWN".into()));
        let answer = Request::post(&format!("/events/{}", nobodys.session), &ping).bearer(&bob).send(node.url()).await;
        assert_eq!(answer.status, 204);
        assert_eq!(nobodys.next().await["type"], "pong");
    }
    // One whose node has died is known to nobody.
    let [one, other] = nodes;
    one.kill().await;
    let sql = connect(database.url()).await;
    sql.batch_execute("UPDATE forge_live_nodes SET seen_at = seen_at - interval '1 minute'").await.unwrap();
    assert_eq!(hers.post(other.url(), &ping).await.failure(), (404, "SESSION_UNKNOWN".into()));
    Ok(())
}

#[forge::test]
async fn every_bad_token_is_refused_at_the_door_and_as_a_message(app: TestApp) -> Result<()> {
    for (what, bad) in token::refused() {
        assert_eq!(Sse::request(&app.url(), &Request::get("/events").bearer(&bad)).await.err(), Some(401), "{what}");
        let mut sse = Sse::open(&app.url(), None).await;
        sse.send(json!({"type": "auth", "token": bad})).await;
        assert_eq!(sse.next().await["code"], "UNAUTHORIZED", "{what}");
        assert_eq!(sse.next_or_close().await, Err(4401), "{what}");
        assert_eq!(sse.next_or_close().await, Err(1006), "and the body ends");
    }
    Ok(())
}

#[forge::test]
async fn a_token_that_ends_ends_the_stream(app: TestApp) -> Result<()> {
    let claims = json!({"sub": "ada", "exp": token::now() + 5, "iat": token::now()});
    let short = token::signed(token::SECRET, &json!({"alg": "HS256", "typ": "JWT"}), &claims);
    let mut ada = Sse::open(&app.url(), Some(&short)).await;
    assert_eq!(ada.subscribed(1, "whoami", json!({})).await, "ada");
    assert_eq!(ada.next().await["code"], "UNAUTHORIZED");
    assert_eq!(ada.next_or_close().await, Err(4401));
    assert!(token::now() >= claims["exp"].as_i64().unwrap());
    Ok(())
}

#[forge::test]
async fn a_session_that_is_ended_is_shown_nothing_more(app: TestApp) -> Result<()> {
    let (sql, url) = (app.sql().await?, app.url());
    sql.execute("INSERT INTO counters VALUES ('a', 1)", &[]).await.unwrap();
    let signed_in = Request::call("sign_in_as", &json!({"name": "ada"})).send(&url).await.data();
    let access = signed_in["access"].as_str().unwrap().to_owned();
    let mut sse = Sse::open(&url, Some(&access)).await;
    assert_eq!(sse.subscribed(1, "counter", json!({"name": "a"})).await, "1");
    assert_eq!(Request::call("sign_out", &json!({})).bearer(&access).send(&url).await.status, 200);
    sql.execute("UPDATE counters SET value = 2 WHERE name = 'a'", &[]).await.unwrap();
    let said = sse.next().await;
    assert_eq!(said["code"], "UNAUTHORIZED", "{said}");
    assert_eq!(sse.next_or_close().await, Err(4401));
    Ok(())
}

#[forge::test]
async fn with_cookies_only_the_apps_own_page_has_a_session(app: TestApp) -> Result<()> {
    let url = app.url();
    let mut connection = Connection::open(&url).await.unwrap();
    let signed_in = connection.send(&Request::call("sign_in_as", &json!({"name": "ada"}))).await.unwrap();
    let cookies = signed_in.cookies();
    let page = |request: Request, site: &str| request.header("cookie", cookies.clone()).header("sec-fetch-site", site);
    assert_eq!(Sse::request(&url, &page(Request::get("/events"), "cross-site")).await.err(), Some(403));
    let foreign = Request::get("/events").header("cookie", cookies.clone()).header("origin", "https://evil.example");
    assert_eq!(Sse::request(&url, &foreign).await.err(), Some(403));
    let mut sse = Sse::request(&url, &page(Request::get("/events"), "same-origin")).await.unwrap();
    let session = sse.next().await["sessionId"].as_str().unwrap().to_owned();
    let post = || page(Request::post(&format!("/events/{session}"), &json!({"type": "ping"})), "same-origin");
    assert_eq!(post().send(&url).await.failure(), (403, "CSRF_REFUSED".into()), "without the page's own header");
    let other = page(Request::post(&format!("/events/{session}"), &json!({"type": "ping"})), "cross-site");
    assert_eq!(other.header("x-forge-csrf", "1").send(&url).await.failure(), (403, "CSRF_REFUSED".into()));
    assert_eq!(post().header("x-forge-csrf", "1").send(&url).await.status, 204);
    assert_eq!(sse.next().await["type"], "pong");
    // Cookies that want renewal are told so on the stream, as on a socket.
    let stale = cookies.split("; ").filter(|cookie| cookie.contains("refresh")).collect::<Vec<_>>().join("; ");
    let request = Request::get("/events").header("cookie", stale).header("sec-fetch-site", "same-origin");
    let mut refused = Sse::request(&url, &request).await.unwrap();
    assert_eq!(refused.next().await["code"], "UNAUTHORIZED");
    assert_eq!(refused.next_or_close().await, Err(4401));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_while_its_stream_opens_leaves_nothing_behind() -> Result<()> {
    let app = TestApp::start_with(|config| config.gateway.max_sessions_per_address = 1).await?;
    let (url, sql, lock) = (app.url(), app.sql().await?, app.sql().await?);
    // Holds up what writes a session down.
    lock.batch_execute("BEGIN; LOCK TABLE forge_live_sessions IN EXCLUSIVE MODE").await.unwrap();
    let mut gone = Connection::open(&url).await.unwrap();
    gone.write(&Request::get("/events").bytes()).await.unwrap();
    until("it waits to be written down", async || waiting_for(&sql, "forge_live_sessions").await == 1).await;
    drop(gone);
    // Its place is free as soon as it is gone, while nothing can be written yet.
    until("its place is free", async || {
        let status = Live::try_open(&url, None).await.err();
        assert!(matches!(status, None | Some(429)), "{status:?}");
        status.is_none()
    })
    .await;
    lock.batch_execute("COMMIT").await.unwrap();
    until("nobody knows of it", async || count(&sql, "SELECT count(*) FROM forge_live_sessions").await == 0).await;
    let mut next = None;
    until("the next one has its place", async || match Live::try_open(&url, None).await {
        Ok(live) => {
            next = Some(live);
            true
        }
        Err(status) => {
            assert_eq!(status, 429, "it is only not there yet");
            false
        }
    })
    .await;
    app.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_says_so_on_every_stream() -> Result<()> {
    let app = TestApp::start().await?;
    let mut sse = Sse::open(&app.url(), None).await;
    sse.subscribed(1, "counter", json!({"name": "a"})).await;
    let stopping = app.stop();
    let (end, ()) = tokio::join!(sse.next_or_close(), stopping);
    assert_eq!(end, Err(1012));
    Ok(())
}
