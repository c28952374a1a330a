//! Limits: what is too large, too deep, too slow or too much is answered or cut off, and nobody else notices.

use std::time::{Duration, Instant};

use forge::prelude::*;
use forge::testing::TestApp;
use serde_json::json;

use crate::support::http::{Connection, Request};
use crate::support::{Gate, token, until};

fn hello() -> Request {
    Request::call("hello", &json!({}))
}

#[forge::test]
async fn a_body_that_is_too_large_is_refused(app: TestApp) {
    let url = app.url();
    let fits = Request::call("find_kept", &json!({"text": "x".repeat(900_000)}));
    assert_eq!(fits.send(&url).await.data(), "0");
    // From a byte too many to what a client is still sending when the answer comes.
    for size in [1_000_001, 1_100_000, 3_000_000, 20_000_000] {
        for path in ["/rpc", "/rpc/hello", "/auth/refresh"] {
            let answer = Request::new("POST", path).body(vec![b' '; size]).send(&url).await;
            assert_eq!(answer.failure(), (413, "PAYLOAD_TOO_LARGE".into()), "{size} bytes at {path}");
        }
        let mut chunked = format!("{size:x}\r\n").into_bytes();
        chunked.resize(chunked.len() + size, b' ');
        chunked.extend_from_slice(b"\r\n0\r\n\r\n");
        let answer =
            Request::new("POST", "/rpc/hello").header("transfer-encoding", "chunked").body(chunked).send(&url).await;
        assert_eq!(answer.failure(), (413, "PAYLOAD_TOO_LARGE".into()), "{size} bytes in a chunk");
    }
}

#[forge::test]
async fn json_that_is_nested_too_deep_is_refused(app: TestApp) {
    let url = app.url();
    for depth in [65, 1_000, 100_000] {
        let deep = format!("{{\"any\": {}{}}}", "[".repeat(depth), "]".repeat(depth));
        for (path, body) in [("/rpc/echo", deep.clone()), ("/rpc", format!("{{\"function\": \"echo\", \"args\": {deep}}}"))]
        {
            let answer = Request::new("POST", path).body(body).send(&url).await;
            assert_eq!(answer.failure(), (413, "PAYLOAD_TOO_LARGE".into()), "{depth} at {path}");
        }
    }
    let just = format!("{{\"any\": {}{}}}", "[".repeat(63), "]".repeat(63));
    assert_eq!(Request::new("POST", "/rpc/echo").body(just).send(&url).await.failure().0, 400, "only incomplete");
}

#[forge::test]
async fn who_sends_headers_slowly_is_cut_off() -> Result<()> {
    let app = TestApp::start_with(|config| config.gateway.header_timeout = Duration::from_millis(300)).await?;
    let began = Instant::now();
    let mut silent = Connection::open(&app.url()).await?;
    let mut trickling = Connection::open(&app.url()).await?;
    silent.write(b"POST /rpc/hello HTTP/1.1\r\nhost: ").await?;
    // A byte now and then does not buy time.
    let trickle = async {
        for byte in std::iter::repeat(b'x') {
            if trickling.write(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::join!(silent.closed(), trickle);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(hello().send(&app.url()).await.data(), "hello");
    app.stop().await;
    Ok(())
}

#[forge::test]
async fn who_sends_a_body_slowly_is_answered_in_time() -> Result<()> {
    let app = TestApp::start_with(|config| config.gateway.request_timeout = Duration::from_millis(300)).await?;
    for path in ["/rpc/hello", "/rpc", "/auth/refresh"] {
        let mut slow = Connection::open(&app.url()).await?;
        slow.write(format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{{").as_bytes()).await?;
        let answer = slow.read(false).await?;
        assert_eq!(answer.failure(), (504, "TIMEOUT".into()), "{path}");
        // What might still come of the body must not be taken for the next request.
        slow.closed().await;
    }
    app.stop().await;
    Ok(())
}

/// The head of a request whose body is still to come; the server says when it waits for that.
fn head(path: &str, length: usize) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n").into_bytes()
}

#[forge::test]
async fn who_sends_no_body_keeps_nobody_from_being_answered() -> Result<()> {
    let app = TestApp::start_with(|config| config.gateway.max_in_flight = 2).await?;
    let mut waiting = Vec::new();
    for path in ["/rpc/hello", "/rpc/hello", "/rpc", "/auth/refresh", "/events/x"] {
        let mut connection = Connection::open(&app.url()).await?;
        connection.write(&head(path, 2)).await?;
        connection.is_waited_for().await;
        waiting.push(connection);
    }
    assert_eq!(hello().send(&app.url()).await.data(), "hello");
    // Whoever sends it in the end is answered.
    waiting[0].write(b"{}").await?;
    assert_eq!(waiting[0].read(false).await?.data(), "hello");
    drop(waiting);
    app.stop().await;
    Ok(())
}

#[forge::test]
async fn a_body_is_not_waited_for_where_it_would_be_for_nothing(app: TestApp) -> Result<()> {
    let signed_in = token::of("ada", &[]);
    for (function, token, refused) in [
        ("no_such_function", None, (404, "NOT_FOUND")),
        ("whoami", None, (401, "UNAUTHORIZED")),
        ("secrets", Some(&signed_in), (403, "FORBIDDEN")),
    ] {
        let mut connection = Connection::open(&app.url()).await?;
        let bearer = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        let head = format!("POST /rpc/{function} HTTP/1.1\r\nhost: x\r\n{bearer}content-length: 100\r\n\r\n");
        connection.write(head.as_bytes()).await?;
        let (status, code) = connection.read(false).await?.failure();
        assert_eq!((status, code.as_str()), refused);
    }
    Ok(())
}

#[forge::test]
async fn who_ends_in_the_middle_of_a_body_harms_nobody(app: TestApp) -> Result<()> {
    for body in ["", "{", "{\"name\": \"x\""] {
        let mut gone = Connection::open(&app.url()).await?;
        gone.write(format!("POST /rpc/bump HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{body}").as_bytes()).await?;
        drop(gone);
    }
    assert_eq!(Request::call("counter", &json!({"name": "x"})).send(&app.url()).await.data(), json!(null));
    Ok(())
}

#[forge::test]
async fn more_requests_than_allowed_are_told_to_come_back() -> Result<()> {
    let app = TestApp::start_with(|config| config.gateway.max_in_flight = 2).await?;
    let url = app.url();
    let gate = Gate::shut(app.sql().await?, 1).await;
    let held: Vec<_> = (0..2)
        .map(|_| {
            let url = url.clone();
            tokio::spawn(async move { Request::call("read_gated", &json!({"gate": "1"})).send(&url).await })
        })
        .collect();
    gate.until_waiting(2).await;
    let refused = hello().send(&url).await;
    assert_eq!(refused.failure(), (429, "RATE_LIMITED".into()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    // A node that is busy lives, is ready, and says how it is doing.
    for path in ["/health", "/ready", "/metrics"] {
        assert_eq!(Request::get(path).send(&url).await.status, 200, "{path}");
    }
    gate.open().await;
    for one in held {
        assert_eq!(one.await.unwrap().status, 200);
    }
    assert_eq!(hello().send(&url).await.data(), "hello");
    app.stop().await;
    Ok(())
}

#[forge::test]
async fn more_connections_than_allowed_wait_for_their_turn() -> Result<()> {
    let app = TestApp::start_with(|config| config.gateway.max_connections = 2).await?;
    let url = app.url();
    let (mut one, mut two) = (Connection::open(&url).await?, Connection::open(&url).await?);
    let hello = hello();
    assert_eq!(one.send(&hello).await?.data(), "hello");
    assert_eq!(two.send(&hello).await?.data(), "hello");
    let mut third = Connection::open(&url).await?;
    let answered = third.send(&hello);
    tokio::pin!(answered);
    // Both others are served, again and again, and the third is not.
    for _ in 0..100 {
        tokio::select! {
            biased;
            answer = &mut answered => panic!("there was no room for it: {answer:?}"),
            answer = one.send(&hello) => assert_eq!(answer?.data(), "hello"),
        }
    }
    drop(two);
    assert_eq!(answered.await?.data(), "hello");
    app.stop().await;
    Ok(())
}

#[forge::test]
async fn a_slow_client_slows_nobody_else(app: TestApp) -> Result<()> {
    let url = app.url();
    // Clients who send slowly, and clients who ask for much and do not read it.
    let mut slow = Vec::new();
    for n in 0..20 {
        let mut connection = Connection::open(&url).await?;
        if n % 2 == 0 {
            connection.write(b"POST /rpc/hello HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{").await?;
        } else {
            let much = Request::call("too_much", &json!({"bytes": 1_000_000})).bytes();
            for _ in 0..8 {
                connection.write(&much).await?;
            }
        }
        slow.push(connection);
    }
    let busy = "http_connections ";
    until("all are there", async || {
        let text = Request::get("/metrics").send(&url).await.text();
        text.lines().filter_map(|line| line.strip_prefix(busy)).any(|n| n.trim().parse::<f64>().is_ok_and(|n| n >= 20.0))
    })
    .await;
    let mut fast = Connection::open(&url).await?;
    let began = Instant::now();
    for _ in 0..200 {
        assert_eq!(fast.send(&hello()).await?.data(), "hello");
        assert_eq!(fast.send(&Request::call("counter", &json!({"name": "none"}))).await?.data(), json!(null));
    }
    assert!(began.elapsed() < Duration::from_secs(10), "400 calls took {:?} beside slow clients", began.elapsed());
    drop(slow);
    Ok(())
}
