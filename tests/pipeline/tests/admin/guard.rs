//! Nobody comes in who may not, at no door.

use forge::testing::TestApp;

use super::{TOKEN, audit, door, doors, start};
use crate::support::http::Request;
use crate::support::token;

/// Each request from an address of its own, so that none is refused for what another one did.
fn from(request: Request, n: usize) -> Request {
    request.header("x-forwarded-for", format!("10.0.{}.{}", n / 250, n % 250 + 1))
}

/// As [`start`], behind a proxy on this machine.
async fn start_behind_a_proxy() -> TestApp {
    let started = TestApp::start_with(|config| {
        config.admin.token = Some(TOKEN.into());
        config.admin.role = Some("auditor".into());
        config.gateway.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    });
    started.await.unwrap()
}

#[forge::test]
async fn where_nothing_is_said_there_is_no_door(app: TestApp) {
    for at in doors() {
        for request in [
            door(at),
            door(at).bearer(TOKEN),
            door(at).bearer(""),
            door(at).bearer(&token::of("ada", &["admin", "auditor"])),
            door(at).cookies(&format!("forge_session={}", token::of("ada", &["admin", "auditor"]))),
        ] {
            assert_eq!(request.send(&app.url()).await.failure(), (404, "NOT_FOUND".into()), "{at:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_door_lets_in_the_token_and_the_role_and_nobody_else() {
    let app = start_behind_a_proxy().await;
    let url = app.url();
    let mut n = 0;
    let mut send = async |request: Request| {
        n += 1;
        from(request, n).send(&url).await
    };
    let cookie = |token: &str| format!("forge_session={token}");
    let good = token::of("ada", &["auditor"]);
    for at in doors() {
        let refused = send(door(at)).await;
        assert_eq!(refused.failure(), (401, "UNAUTHORIZED".into()), "{at:?} with nothing");
        for wrong in ["x", "an-admin-token-for-test", "an-admin-token-for-testsx", "AN-ADMIN-TOKEN-FOR-TESTS"] {
            let refused = send(door(at).bearer(wrong)).await;
            assert_eq!(refused.failure(), (401, "UNAUTHORIZED".into()), "{at:?} with {wrong}");
        }
        let other = token::of("eve", &["editor"]);
        for request in [door(at).bearer(&other), door(at).cookies(&cookie(&other))] {
            assert_eq!(send(request).await.failure(), (403, "FORBIDDEN".into()), "{at:?} without the role");
        }
        for (what, token) in token::refused().into_iter().filter(|(what, _)| *what != "garbage") {
            assert_eq!(send(door(at).bearer(&token)).await.failure().0, 401, "{at:?} with a token {what}");
            assert_eq!(send(door(at).cookies(&cookie(&token))).await.failure().0, 401, "{at:?} with a cookie {what}");
        }
        if at.0 != "GET" {
            for request in [
                door(at).header("cookie", cookie(&good)),
                door(at).header("cookie", cookie(&good)).header("x-forge-csrf", "1"),
                door(at).header("cookie", cookie(&good)).header("sec-fetch-site", "same-origin"),
                door(at).header("cookie", cookie(&good)).header("x-forge-csrf", "1").header("sec-fetch-site", "cross-site"),
            ] {
                assert_eq!(send(request).await.failure(), (403, "CSRF_REFUSED".into()), "{at:?}");
            }
        }
    }
    assert_eq!(audit(&app).await, [], "whoever was refused has done nothing");
    for at in doors() {
        for request in [door(at).bearer(TOKEN), door(at).bearer(&good), door(at).cookies(&cookie(&good))] {
            let answer = send(request).await;
            // What it then answers is another matter: that there is no such job, say.
            assert!(![401, 403, 429, 500].contains(&answer.status), "{at:?}: {} {}", answer.status, answer.text());
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{at:?}");
        }
    }
    let who: Vec<String> =
        audit(&app).await.into_iter().filter(|(_, action, ..)| action == "crons.run").map(|row| row.0).collect();
    assert_eq!(who, ["token", "user:ada", "user:ada"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_tries_tokens_is_not_heard_for_a_while() {
    let app = start_behind_a_proxy().await;
    let url = app.url();
    let ask = async |token: &str, n| from(Request::get("/_api/cluster").bearer(token), n).send(&url).await;
    for _ in 0..10 {
        assert_eq!(ask("a-guess", 1).await.failure(), (401, "UNAUTHORIZED".into()));
    }
    let refused = ask(TOKEN, 1).await;
    assert_eq!(refused.failure(), (429, "RATE_LIMITED".into()), "a guess that hits does not show");
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert_eq!(ask(TOKEN, 2).await.status, 200, "others are heard");
    assert_eq!(
        ask(&token::of("ada", &["auditor"]), 1).await.status,
        200,
        "and so are users: their tokens cannot be guessed"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_alone_needs_no_token_and_a_token_alone_lets_no_user_in() {
    let by_role = TestApp::start_with(|config| config.admin.role = Some("auditor".into())).await.unwrap();
    let ask = async |app: &TestApp, token: &str| Request::get("/_api/cluster").bearer(token).send(&app.url()).await;
    assert_eq!(ask(&by_role, &token::of("ada", &["auditor"])).await.status, 200);
    assert_eq!(ask(&by_role, TOKEN).await.failure(), (401, "UNAUTHORIZED".into()));
    by_role.stop().await;
    let by_token = TestApp::start_with(|config| {
        config.admin.tokens =
            vec![forge_runtime::config::AdminToken { name: "deploy".into(), secret: "another-token-for-tests".into() }];
    });
    let by_token = by_token.await.unwrap();
    assert_eq!(ask(&by_token, &token::of("ada", &["auditor"])).await.failure(), (403, "FORBIDDEN".into()));
    let pause = Request::post("/_api/queues/default/pause", &serde_json::json!({})).bearer("another-token-for-tests");
    assert_eq!(pause.header("x-request-id", "r-1").send(&by_token.url()).await.status, 200);
    let row = by_token.sql().await.unwrap();
    let row = row.query_one("SELECT who, request_id, address FROM forge_admin_audit", &[]).await.unwrap();
    let row: [Option<String>; 3] = [row.get(0), row.get(1), row.get(2)];
    assert_eq!(row.map(Option::unwrap), ["token:deploy", "r-1", "127.0.0.1"]);
    by_token.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_understood_is_refused() {
    let app = start().await;
    for (method, path, body) in [
        ("GET", "/_api/jobs?stauts=pending", ""),
        ("GET", "/_api/jobs?status=done", ""),
        ("GET", "/_api/jobs?limit=501", ""),
        ("GET", "/_api/jobs?since=tomorrow", ""),
        ("GET", "/_api/jobs/7", ""),
        ("POST", "/_api/jobs/retry", "{}"),
        ("POST", "/_api/jobs/retry", r#"{"all": true, "filter": {"kind": "obey"}}"#),
        ("POST", "/_api/jobs/retry", r#"{"filter": {"kynd": "obey"}}"#),
        ("POST", "/_api/jobs/retry", r#"{"filter": {"status": ["running"]}}"#),
        ("POST", "/_api/jobs/retry", r#"{"all": true, "reason": "no"}"#),
        ("POST", "/_api/jobs/cancel", "["),
        ("POST", "/_api/queues/default/pause", r#"{"now": true}"#),
        ("POST", "/_api/crons/hourly/run", r#"{"slot": "noon"}"#),
        ("GET", "/_api/crons/hourly/runs?before=x", ""),
        ("GET", "/_api/audit?limit=-1", ""),
    ] {
        let answer = Request::new(method, path).body(body).bearer(TOKEN).send(&app.url()).await;
        assert_eq!(answer.failure(), (400, "INVALID_ARGUMENT".into()), "{method} {path} {body}");
    }
    for path in ["/_api/jobs/retry/now", "/_api/queues/default/stop", "/_api/cluster"] {
        let answer = Request::post(path, &serde_json::json!({})).bearer(TOKEN).send(&app.url()).await;
        assert_eq!(answer.failure().0 / 100, 4, "{path}");
    }
    assert_eq!(audit(&app).await, []);
    app.stop().await;
}
