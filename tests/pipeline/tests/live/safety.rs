//! Nobody is shown what they may not see.

use forge::prelude::*;
use forge::testing::TestApp;
use serde_json::{Value, json};

use crate::support::http::{Connection, Request};
use crate::support::live::{Live, applied};
use crate::support::sse::Sse;
use crate::support::{count, token};

#[forge::test]
async fn callers_of_whom_a_function_sees_different_things_share_nothing(app: TestApp) -> Result<()> {
    let sql = app.sql().await?;
    sql.execute("INSERT INTO counters VALUES ('ada', 1), ('bob', 2)", &[]).await.unwrap();
    let mut ada = Live::open(&app.url(), Some(&token::of("ada", &[]))).await;
    let mut bob = Live::open(&app.url(), Some(&token::of("bob", &[]))).await;
    ada.subscribe(1, "my_counter", json!({})).await;
    bob.subscribe(1, "my_counter", json!({})).await;
    assert_eq!(ada.next().await["results"][0]["data"], "1");
    assert_eq!(bob.next().await["results"][0]["data"], "2");
    sql.execute("UPDATE counters SET value = 20 WHERE name = 'bob'", &[]).await.unwrap();
    sql.execute("UPDATE counters SET value = 10 WHERE name = 'ada'", &[]).await.unwrap();
    assert_eq!(ada.next().await["results"][0]["data"], "10");
    assert_eq!(bob.next().await["results"][0]["data"], "20");
    Ok(())
}

#[forge::test]
async fn what_becomes_private_ends_for_those_who_may_not_see_it_and_for_no_other(app: TestApp) -> Result<()> {
    let sql = app.sql().await?;
    sql.execute("INSERT INTO counters VALUES ('c', 5)", &[]).await.unwrap();
    // It runs for the first of them.
    let mut visitor = Live::open(&app.url(), None).await;
    assert_eq!(visitor.subscribed(1, "club", json!({"name": "c"})).await, "5");
    let mut ada = Live::open(&app.url(), Some(&token::of("ada", &[]))).await;
    assert_eq!(ada.subscribed(1, "club", json!({"name": "c"})).await, "5");
    sql.execute("UPDATE counters SET value = -5", &[]).await.unwrap();
    let refused = visitor.next().await;
    assert_eq!((&refused["id"], &refused["code"]), (&json!(1), &json!("FORBIDDEN")), "{refused}");
    let shown = ada.next().await;
    assert_eq!(applied(&json!("5"), &shown["results"][0]), "-5", "{shown}");
    Ok(())
}

#[forge::test]
async fn what_may_not_be_called_may_not_be_subscribed_to(app: TestApp) -> Result<()> {
    let mut nobody = Live::open(&app.url(), None).await;
    nobody.subscribe(1, "whoami", json!({})).await;
    assert_eq!(nobody.next().await["code"], "UNAUTHORIZED");
    let mut ada = Live::open(&app.url(), Some(&token::of("ada", &["editor"]))).await;
    ada.subscribe(1, "secrets", json!({})).await;
    assert_eq!(ada.next().await["code"], "FORBIDDEN");
    // A token by message, and only ever of the same user.
    nobody.send(json!({"type": "auth", "token": token::of("ada", &["admin"])})).await;
    assert_eq!(nobody.next().await["type"], "authenticated");
    assert_eq!(nobody.subscribed(2, "secrets", json!({})).await, "42");
    nobody.send(json!({"type": "auth", "token": token::of("bob", &["admin"])})).await;
    assert_eq!(nobody.next().await["code"], "FORBIDDEN");
    assert_eq!(nobody.next_or_close().await, Err(4400));
    Ok(())
}

#[forge::test]
async fn a_new_token_with_fewer_rights_ends_what_it_may_not_see(app: TestApp) -> Result<()> {
    let mut ada = Live::open(&app.url(), Some(&token::of("ada", &["admin"]))).await;
    assert_eq!(ada.subscribed(1, "secrets", json!({})).await, "42");
    ada.send(json!({"type": "auth", "token": token::of("ada", &[])})).await;
    let ended = ada.next().await;
    assert_eq!((&ended["id"], &ended["code"]), (&json!(1), &json!("FORBIDDEN")));
    assert_eq!(ada.next().await["type"], "authenticated");
    Ok(())
}

#[forge::test]
async fn every_bad_token_is_refused_at_the_door_and_as_a_message(app: TestApp) -> Result<()> {
    for (what, bad) in token::refused() {
        assert_eq!(Live::try_open(&app.url(), Some(&bad)).await.err(), Some(401), "{what}");
        let mut live = Live::open(&app.url(), None).await;
        live.send(json!({"type": "auth", "token": bad})).await;
        assert_eq!(live.next().await["code"], "UNAUTHORIZED", "{what}");
        assert_eq!(live.next_or_close().await, Err(4401), "{what}");
    }
    Ok(())
}

#[forge::test]
async fn a_token_that_ends_ends_the_connection(app: TestApp) -> Result<()> {
    let claims = json!({"sub": "ada", "exp": token::now() + 5, "iat": token::now()});
    let short = token::signed("a secret for tests, and for nothing else", &json!({"alg": "HS256", "typ": "JWT"}), &claims);
    let mut ada = Live::open(&app.url(), Some(&short)).await;
    assert_eq!(ada.subscribed(1, "whoami", json!({})).await, "ada");
    assert_eq!(ada.next().await["code"], "UNAUTHORIZED");
    assert_eq!(ada.next_or_close().await, Err(4401));
    assert!(token::now() >= claims["exp"].as_i64().unwrap());
    // The next token may end before the one before it would have.
    let mut ada = Live::open(&app.url(), Some(&token::of("ada", &[]))).await;
    let claims = json!({"sub": "ada", "exp": token::now() + 5, "iat": token::now()});
    let short = token::signed("a secret for tests, and for nothing else", &json!({"alg": "HS256", "typ": "JWT"}), &claims);
    ada.send(json!({"type": "auth", "token": short})).await;
    assert_eq!(ada.next().await["type"], "authenticated");
    assert_eq!(ada.next().await["code"], "UNAUTHORIZED");
    assert_eq!(ada.next_or_close().await, Err(4401));
    Ok(())
}

#[forge::test]
async fn a_session_that_is_ended_is_shown_nothing_more(app: TestApp) -> Result<()> {
    let (sql, url) = (app.sql().await?, app.url());
    sql.execute("INSERT INTO counters VALUES ('a', 1)", &[]).await.unwrap();
    let mut connection = Connection::open(&url).await.unwrap();
    let signed_in = connection.send(&Request::call("sign_in_as", &json!({"name": "ada"}))).await.unwrap().data();
    let access = signed_in["access"].as_str().unwrap().to_owned();
    let mut live = Live::open(&url, Some(&access)).await;
    assert_eq!(live.subscribed(1, "counter", json!({"name": "a"})).await, "1");
    let out = connection.send(&Request::call("sign_out", &json!({})).bearer(&access)).await.unwrap();
    assert_eq!(out.status, 200);
    sql.execute("UPDATE counters SET value = 2 WHERE name = 'a'", &[]).await.unwrap();
    let said = live.next().await;
    assert_eq!(said["code"], "UNAUTHORIZED", "{said}");
    assert_eq!(live.next_or_close().await, Err(4401));
    Ok(())
}

/// Whoever has taken a token, and waits.
#[forge::test]
async fn a_session_that_is_ended_calls_nothing_more(app: TestApp) -> Result<()> {
    let (sql, url) = (app.sql().await?, app.url());
    let signed_in = Request::call("sign_in_as", &json!({"name": "ada"})).send(&url).await.data();
    let access = signed_in["access"].as_str().unwrap().to_owned();
    let mut thief = Live::open(&url, Some(&access)).await;
    assert_eq!(Request::call("sign_out", &json!({})).bearer(&access).send(&url).await.status, 200);
    for id in 0..5 {
        let call = json!({"type": "call", "id": id, "function": "bump", "args": {"name": "stolen"}});
        if !thief.try_send(call).await {
            break;
        }
    }
    let end = loop {
        match thief.next_or_close().await {
            Ok(said) => {
                let refused = if said["type"] == "reply" { &said["error"] } else { &said };
                assert_eq!((&refused["code"], said.get("data")), (&json!("UNAUTHORIZED"), None), "{said}");
            }
            Err(end) => break end,
        }
    };
    assert_eq!(end, 4401);
    assert_eq!(count(&sql, "SELECT count(*) FROM counters").await, 0, "nothing was done");
    Ok(())
}

#[forge::test]
async fn whoever_is_subscribed_to_nothing_is_told_that_the_session_has_ended(app: TestApp) -> Result<()> {
    let url = app.url();
    // Somebody has the node follow what is committed.
    let mut other = Live::open(&url, None).await;
    other.subscribed(1, "counter", json!({"name": "a"})).await;
    let signed_in = Request::call("sign_in_as", &json!({"name": "ada"})).send(&url).await.data();
    let access = signed_in["access"].as_str().unwrap().to_owned();
    let mut socket = Live::open(&url, Some(&access)).await;
    let mut stream = Sse::open(&url, Some(&access)).await;
    // One that became hers, and one that is hers by another sign-in.
    let mut became = Live::open(&url, None).await;
    became.send(json!({"type": "auth", "token": access})).await;
    assert_eq!(became.next().await["type"], "authenticated");
    let elsewhere = Request::call("sign_in_as", &json!({"name": "ada"})).send(&url).await.data();
    let mut goes_on = Live::open(&url, elsewhere["access"].as_str()).await;
    assert_eq!(Request::call("sign_out", &json!({})).bearer(&access).send(&url).await.status, 200);
    for live in [&mut socket, &mut became] {
        assert_eq!(live.next().await["code"], "UNAUTHORIZED");
        assert_eq!(live.next_or_close().await, Err(4401));
    }
    assert_eq!(stream.next().await["code"], "UNAUTHORIZED");
    assert_eq!(stream.next_or_close().await, Err(4401));
    for live in [&mut goes_on, &mut other] {
        live.send(json!({"type": "ping"})).await;
        assert_eq!(live.next().await["type"], "pong");
    }
    Ok(())
}

#[forge::test]
async fn what_is_not_understood_ends_the_connection_and_no_other(app: TestApp) -> Result<()> {
    let mut other = Live::open(&app.url(), None).await;
    for message in [
        json!("x"),
        json!({"type": "no such"}),
        json!({"type": "subscribe"}),
        json!({"type": "ping", "more": 1}),
        Value::Null,
    ] {
        let mut live = Live::open(&app.url(), None).await;
        live.send(message).await;
        assert_eq!(live.next().await["code"], "INVALID_ARGUMENT");
        assert_eq!(live.next_or_close().await, Err(4400));
    }
    other.send(json!({"type": "ping"})).await;
    assert_eq!(other.next().await["type"], "pong");
    Ok(())
}

#[forge::test]
async fn a_connection_has_only_so_many_subscriptions(app: TestApp) -> Result<()> {
    let mut live = Live::open(&app.url(), None).await;
    for id in 0..100 {
        live.subscribed(id, "counter", json!({"name": id.to_string()})).await;
    }
    live.subscribe(100, "counter", json!({"name": "one more"})).await;
    assert_eq!(live.next().await["code"], "TOO_MANY_SUBSCRIPTIONS");
    live.send(json!({"type": "unsubscribe", "id": 5})).await;
    live.subscribed(100, "counter", json!({"name": "one more"})).await;
    Ok(())
}

#[forge::test]
async fn a_function_that_begins_a_session_is_called_over_http(app: TestApp) -> Result<()> {
    let mut live = Live::open(&app.url(), None).await;
    let call = json!({"type": "call", "id": 1, "function": "sign_in_as", "args": {"name": "ada"}, "mutationId": "m1"});
    live.send(call).await;
    assert_eq!(live.next().await["error"]["code"], "USE_HTTP");
    let sessions: i64 = app.sql().await?.query_one("SELECT count(*) FROM forge_sessions", &[]).await.unwrap().get(0);
    assert_eq!(sessions, 0, "nothing happened");
    Ok(())
}
