//! What comes back: one shape for everything that goes wrong, and what machines ask a node.

use forge::prelude::*;
use forge::testing::TestApp;
use forge::{App, Config, Node};
use forge_runtime::config::{Mode, Secret};
use serde_json::json;

use crate::support::http::Request;
use crate::support::token;

#[forge::test]
async fn every_kind_of_failure_has_its_status_and_one_shape(app: TestApp) {
    let kinds = [
        ("not found", 404, "NOT_FOUND", "there is no such card"),
        ("unauthorized", 401, "UNAUTHORIZED", "sign in first"),
        ("forbidden", 403, "FORBIDDEN", "this needs another role"),
        ("validation", 400, "VALIDATION_ERROR", "some values are not valid"),
        ("invalid argument", 400, "INVALID_ARGUMENT", "this is not a card"),
        ("conflict", 409, "CONFLICT", "somebody was faster"),
        ("timeout", 504, "TIMEOUT", "it took too long"),
        ("rate limited", 429, "RATE_LIMITED", "too often"),
        ("database unavailable", 503, "DATABASE_UNAVAILABLE", "it is away"),
        ("payload", 413, "PAYLOAD_TOO_LARGE", "too much"),
        ("app", 418, "OUT_OF_COFFEE", "no coffee"),
    ];
    for (kind, status, code, message) in kinds {
        let answer =
            Request::call("fail_with", &json!({"kind": kind})).header("x-request-id", "r-1").send(&app.url()).await;
        let mut expected = json!({"success": false, "error": {"code": code, "message": message}, "requestId": "r-1"});
        if kind == "validation" {
            expected["error"]["details"] = json!({"title": ["is too long"]});
        }
        if kind == "app" {
            expected["error"]["details"] = json!({"cups": 0});
        }
        assert_eq!((answer.status, answer.json()), (status, expected), "{kind}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let retry = match kind {
            "rate limited" => Some("7"),
            "database unavailable" => Some("1"),
            _ => None,
        };
        assert_eq!(answer.header("retry-after"), retry, "{kind}");
    }
    // What is our own mistake is nobody's business: the log has the reason.
    for (kind, code) in [("internal", "INTERNAL_ERROR"), ("config", "SOME_CONFIG")] {
        let answer = Request::call("fail_with", &json!({"kind": kind})).send(&app.url()).await;
        assert_eq!(answer.failure(), (500, code.into()), "{kind}");
        assert!(!answer.text().contains("secret"), "{}", answer.text());
    }
    let fine = Request::call("hello", &json!({})).header("x-request-id", "r-2").send(&app.url()).await;
    assert_eq!(fine.json(), json!({"success": true, "data": "hello", "requestId": "r-2"}));
}

#[forge::test]
async fn a_body_that_is_not_understood_says_so(app: TestApp) {
    let url = app.url();
    let bodies: [(&str, &[u8]); 8] = [
        ("/rpc", b""),
        ("/rpc", b"{"),
        ("/rpc", b"[]"),
        ("/rpc", br#"{"args": {}}"#),
        ("/rpc", br#"{"function": "hello", "function": "whoami", "args": {}}"#),
        ("/rpc", br#"{"function": "hello", "args": {}, "as": "root"}"#),
        ("/rpc", br#"{"function": "hello", "args": {"no": "such"}}"#),
        ("/rpc/echo", b"\xff\xfe"),
    ];
    for (path, body) in bodies {
        let answer = Request::new("POST", path).body(body).send(&url).await;
        assert_eq!(
            answer.failure(),
            (400, "INVALID_ARGUMENT".into()),
            "{path} {:?}: {}",
            String::from_utf8_lossy(body),
            answer.text()
        );
    }
}

#[forge::test]
async fn what_is_not_there_is_a_404_in_the_same_shape(app: TestApp) {
    let url = app.url();
    let post = |path: &str| Request::post(path, &json!({}));
    let requests = [
        Request::get("/rpc"),
        Request::get("/rpc/hello"),
        Request::new("PUT", "/rpc/hello").header("content-length", "0"),
        Request::new("DELETE", "/rpc"),
        Request::new("PATCH", "/auth/refresh").header("content-length", "0"),
        Request::get("/auth/refresh"),
        Request::new("OPTIONS", "/rpc/hello"),
        post("/health"),
        post("/ready"),
        post("/metrics"),
        post("/"),
        post("/rpc/"),
        post("/rpc/hello/"),
        post("/rpc/a/b"),
        post("/nowhere"),
        post("/rpc/%ff"),
        post("/rpc/%00"),
        post("/rpc/%2e%2e%2fhello"),
        post("/rpc/no_such_function"),
        post("/rpc/Hello"),
        Request::get("/nowhere.txt"),
        Request::new("BREW", "/pot"),
    ];
    for request in requests {
        let answer = request.send(&url).await;
        assert_eq!(answer.failure(), (404, "NOT_FOUND".into()), "{request:?}");
    }
}

#[forge::test]
async fn only_those_who_are_signed_in_learn_names(app: TestApp) {
    let url = app.url();
    for request in [Request::call("whoamy", &json!({})), Request::post("/rpc", &json!({"function": "whoamy"}))] {
        let stranger = request.send(&url).await;
        assert_eq!(stranger.failure(), (404, "NOT_FOUND".into()));
        assert!(!stranger.text().contains("whoami"), "{}", stranger.text());
        let known = request.bearer(&token::of("ada", &[])).send(&url).await;
        assert_eq!(known.failure(), (404, "NOT_FOUND".into()));
        assert!(known.text().contains("did you mean `whoami`?"), "{}", known.text());
    }
}

#[forge::test]
async fn a_node_without_its_database_lives_but_is_not_ready() -> Result<()> {
    let nowhere = tempfile::tempdir().unwrap();
    let mut config = Config::defaults(Mode::Test);
    config.database.url = Some(Secret::new(format!("postgres:///x?host={}&user=x", nowhere.path().display())));
    config.gateway.port = 0;
    let mut node = Node::start(App::linked(&[])?, config).await?;
    let url = format!("http://{}", node.address().unwrap());
    let health = Request::get("/health").send(&url).await;
    assert_eq!((health.status, health.json()), (200, json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")})));
    let ready = Request::get("/ready").send(&url).await;
    let json = ready.json();
    assert_eq!(
        (ready.status, &json["status"], &json["stage"], &json["database"]),
        (503, &json!("not ready"), &json!("starting"), &json!("unreachable"))
    );
    assert_eq!(Request::get("/metrics").send(&url).await.status, 200);
    let call = Request::call("hello", &json!({})).send(&url).await;
    assert_eq!(call.failure(), (503, "DATABASE_UNAVAILABLE".into()));
    assert_eq!(call.header("retry-after"), Some("1"));
    node.stop().await;
    Ok(())
}

#[forge::test]
async fn a_node_at_work_says_that_it_is_ready(app: TestApp) {
    let ready = Request::get("/ready").send(&app.url()).await;
    let expected = json!({"status": "ready", "stage": "running", "database": "ok", "node": "active", "replicas": {"healthy": 0, "total": 0}});
    assert_eq!((ready.status, ready.json()), (200, expected));
}

#[forge::test]
async fn metrics_count_and_carry_no_ids(app: TestApp) {
    let url = app.url();
    let user = "ada-7f3a9c";
    let id = "0199d1c2-0000-7000-8000-00000000abcd";
    Request::call("whoami", &json!({})).bearer(&token::of(user, &[])).header("x-request-id", id).send(&url).await.data();
    Request::call("bump", &json!({"name": "a-counter-7f3a9c"})).send(&url).await.data();
    Request::call("counter", &json!({"name": "a-counter-7f3a9c"})).send(&url).await.data();
    Request::call("fail_with", &json!({"kind": "conflict"})).send(&url).await;
    Request::call("made-up-7f3a9c", &json!({})).send(&url).await;
    Request::get("/boards/7f3a9c").send(&url).await;
    Request::new("MADE-UP-7F3A9C", "/rpc").send(&url).await;
    let answer = Request::get("/metrics").send(&url).await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").unwrap().starts_with("application/openmetrics-text"), "{:?}", answer.headers);
    let text = answer.text();
    let lines = [
        r#"http_requests_total{method="POST",path="/rpc/{function}",status="200"}"#,
        r#"http_requests_total{method="POST",path="/rpc/{function}",status="404"}"#,
        r#"http_requests_total{method="GET",path="page",status="200"}"#,
        r#"http_request_duration_seconds_bucket{le="0.001",path="/rpc/{function}"}"#,
        "http_connections ",
        r#"function_calls_total{name="whoami",type="query",status="ok"}"#,
        r#"function_calls_total{name="bump",type="mutation",status="ok"}"#,
        r#"function_errors_total{name="fail_with",code="CONFLICT"}"#,
        r#"function_duration_seconds_count{name="whoami",type="query"}"#,
        r#"db_queries_total{operation="write"}"#,
        r#"db_queries_total{operation="read"}"#,
        "db_connections_idle ",
        "db_up ",
    ];
    for line in lines {
        assert!(text.contains(line), "{line} is missing:\n{text}");
    }
    assert!(!text.to_lowercase().contains("7f3a9c") && !text.contains(id), "an id or a client's invention:\n{text}");
    assert!(text.ends_with("# EOF\n"), "not whole");
}

#[forge::test]
async fn a_mutations_statements_know_the_trace_that_the_answer_names(app: TestApp) {
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let request = Request::call("audit", &json!({})).bearer(&token::of("ada", &[]));
    let answer = request.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01")).send(&app.url()).await;
    assert_eq!(answer.data(), json!(["ada", "audit", trace]));
    assert_eq!(answer.header("x-trace-id"), Some(trace));
}
