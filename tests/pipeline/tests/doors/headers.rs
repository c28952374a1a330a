//! Headers: ids that come in and go out, and which other origins may call.

use forge::prelude::*;
use forge::testing::TestApp;
use serde_json::json;

use crate::support::http::Request;

fn hello() -> Request {
    Request::call("hello", &json!({}))
}

#[forge::test]
async fn a_request_keeps_the_ids_that_it_came_with(app: TestApp) {
    let url = app.url();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let answer = hello()
        .header("x-request-id", "req-1.2:3_4")
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
        .send(&url)
        .await;
    assert_eq!(answer.header("x-request-id"), Some("req-1.2:3_4"));
    assert_eq!(answer.json()["requestId"], "req-1.2:3_4");
    assert_eq!(answer.header("x-trace-id"), Some(trace));
    let parent = answer.header("traceparent").unwrap();
    // The trace and the decision to record it stay; the span is ours.
    assert!(parent.starts_with(&format!("00-{trace}-")) && parent.ends_with("-01"), "{parent}");
    assert!(!parent.contains("00f067aa0ba902b7"), "{parent}");
    let answer = hello().header("x-trace-id", trace).send(&url).await;
    assert_eq!(answer.header("x-trace-id"), Some(trace));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
}

#[forge::test]
async fn without_ids_a_request_gets_its_own(app: TestApp) {
    let (one, two) = (hello().send(&app.url()).await, hello().send(&app.url()).await);
    for name in ["x-request-id", "x-trace-id", "traceparent"] {
        assert!(one.header(name).is_some_and(|id| id.len() >= 32) && one.header(name) != two.header(name), "{name}");
    }
    assert!(Uuid::parse_str(one.header("x-request-id").unwrap()).is_ok());
    // Whatever is answered carries them, also what never reaches a function.
    for request in [Request::get("/health"), Request::get("/nowhere.txt"), Request::new("OPTIONS", "/rpc")] {
        let answer = request.send(&app.url()).await;
        assert!(answer.header("x-request-id").is_some() && answer.header("traceparent").is_some(), "{request:?}");
    }
}

#[forge::test]
async fn a_hostile_id_is_replaced(app: TestApp) {
    let url = app.url();
    let long = "x".repeat(129);
    let hostile: [&[u8]; 7] = [b"", b"a b", b"a\"b", b"<script>", b"a\\nb", "\u{e9}".as_bytes(), long.as_bytes()];
    for id in hostile {
        let answer = hello().header("x-request-id", id).header("x-trace-id", id).header("traceparent", id).send(&url).await;
        let given = answer.header("x-request-id").unwrap();
        assert!(Uuid::parse_str(given).is_ok(), "{:?} became {given}", String::from_utf8_lossy(id));
        assert_eq!(answer.json()["requestId"], given);
        assert_eq!(answer.header("x-trace-id").unwrap().len(), 32);
    }
    let zero = "00000000000000000000000000000000";
    for parent in
        [format!("00-{zero}-00f067aa0ba902b7-01"), "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()]
    {
        let answer = hello().header("traceparent", parent.clone()).send(&url).await;
        assert!(![zero, "4bf92f3577b34da6a3ce929d0e0e4736"].contains(&answer.header("x-trace-id").unwrap()), "{parent}");
    }
}

fn preflight(origin: &str) -> Request {
    Request::new("OPTIONS", "/rpc/whoami")
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization, content-type")
}

#[forge::test]
async fn pages_of_listed_origins_may_call() -> Result<()> {
    let app =
        TestApp::start_with(|config| config.security.cors.allowed_origins = vec!["https://app.example".into()]).await?;
    let url = app.url();
    let asked = preflight("https://app.example").send(&url).await;
    assert_eq!(asked.status, 204);
    assert_eq!(asked.header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(asked.header("access-control-allow-credentials"), Some("true"));
    let allowed = asked.header("access-control-allow-headers").unwrap();
    // What the framework's own client sends must be among them.
    for header in
        ["authorization", "content-type", "x-forge-csrf", "x-forge-mutation-id", "x-forge-position", "x-request-id"]
    {
        assert!(allowed.split(", ").any(|name| name == header), "{header}: {allowed}");
    }
    assert!(asked.header("access-control-allow-methods").unwrap().contains("POST"));
    assert_eq!(asked.header("access-control-max-age"), Some("3600"));
    assert_eq!(asked.header("vary"), Some("origin"));
    let called = hello().header("origin", "https://app.example").send(&url).await;
    assert_eq!(called.data(), "hello");
    assert_eq!(called.header("access-control-allow-origin"), Some("https://app.example"));
    let readable = called.header("access-control-expose-headers").unwrap();
    // What the framework's own client reads must be among them.
    for header in ["x-request-id", "x-forge-position", "x-forge-session", "retry-after"] {
        assert!(readable.split(", ").any(|name| name == header), "{header}: {readable}");
    }
    // A failure can be read as well, or a page could not tell what went wrong.
    let failed = Request::call("whoami", &json!({})).header("origin", "https://app.example").send(&url).await;
    assert_eq!((failed.status, failed.header("access-control-allow-origin")), (401, Some("https://app.example")));
    for origin in
        ["https://app.example.evil", "http://app.example", "https://app.example:8443", "null", "*", "https://APP.example"]
    {
        let asked = preflight(origin).send(&url).await;
        assert!(
            !asked.headers.iter().any(|(name, _)| name.starts_with("access-control-")),
            "{origin}: {:?}",
            asked.headers
        );
        let called = hello().header("origin", origin).send(&url).await;
        assert_eq!(called.header("access-control-allow-origin"), None, "{origin}");
        assert_eq!(called.header("vary"), Some("origin"), "or a cache hands one origin's answer to another");
    }
    app.stop().await;
    Ok(())
}

#[forge::test]
async fn by_default_no_other_origin_may_call(app: TestApp) {
    let asked = preflight("https://app.example").send(&app.url()).await;
    assert!(!asked.headers.iter().any(|(name, _)| name.starts_with("access-control-")), "{:?}", asked.headers);
    let called = hello().header("origin", "https://app.example").send(&app.url()).await;
    assert_eq!(called.header("access-control-allow-origin"), None);
}
