//! Pages of other sites: what they have a browser send as nobody, and what a form can send.

use forge::prelude::*;
use forge::testing::TestApp;
use serde_json::json;

use crate::support::count;
use crate::support::http::Request;
use crate::support::sse::Sse;

/// What signs its caller in.
fn sign_in() -> Request {
    Request::call("sign_in_as", &json!({"name": "mallory"}))
}

fn with(request: Request, headers: &[(&str, &str)]) -> Request {
    headers.iter().fold(request, |request, (name, value)| request.header(name, *value))
}

async fn with_origins(origins: &[&str]) -> Result<TestApp> {
    let origins: Vec<String> = origins.iter().map(ToString::to_string).collect();
    TestApp::start_with(|config| config.security.cors.allowed_origins = origins).await
}

#[forge::test]
async fn a_page_elsewhere_signs_nobody_in(app: TestApp) -> Result<()> {
    let url = app.url();
    let envelope = || Request::post("/rpc", &json!({"function": "sign_in_as", "args": {"name": "mallory"}}));
    let told: [&[(&str, &str)]; 5] = [
        &[("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site"), ("origin", "https://other.app.test")],
    ];
    for headers in told {
        for content in [&[][..], &[("content-type", "text/plain")], &[("content-type", "application/json")]] {
            for request in [sign_in(), envelope()] {
                let answer = with(with(request, headers), content).send(&url).await;
                assert_eq!(answer.failure(), (403, "CSRF_REFUSED".into()), "{headers:?} {content:?}");
                assert_eq!((answer.cookies().as_str(), answer.header("x-forge-session")), ("", None), "{headers:?}");
            }
        }
        // Nor does it take anybody's cookies away.
        let refresh = with(Request::post("/auth/refresh", &json!({})), headers).send(&url).await;
        assert_eq!((refresh.failure(), refresh.cookies()), ((403, "CSRF_REFUSED".into()), String::new()), "{headers:?}");
        // Nor does it listen.
        assert_eq!(Sse::request(&url, &with(Request::get("/events"), headers)).await.err(), Some(403), "{headers:?}");
        let socket = [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ];
        let refused = with(with(Request::get("/ws"), &socket), headers).send(&url).await;
        assert_eq!(refused.failure(), (403, "CSRF_REFUSED".into()), "{headers:?}");
    }
    assert_eq!(count(&app.sql().await?, "SELECT count(*) FROM forge_sessions").await, 0);
    Ok(())
}

#[forge::test]
async fn the_own_page_and_programs_sign_in(app: TestApp) -> Result<()> {
    let own: [&[(&str, &str)]; 5] = [
        &[],
        &[("sec-fetch-site", "same-origin"), ("origin", "https://app.test")],
        &[("sec-fetch-site", "none")],
        &[("origin", "https://app.test")],
        &[("content-type", "application/json; charset=utf-8")],
    ];
    for headers in own {
        let answer = with(sign_in(), headers).send(&app.url()).await;
        assert!(answer.data()["session"].is_string() && !answer.cookies().is_empty(), "{headers:?}");
        assert!(Sse::request(&app.url(), &with(Request::get("/events"), headers)).await.is_ok(), "{headers:?}");
    }
    Ok(())
}

#[forge::test]
async fn a_body_that_a_form_could_send_is_refused(app: TestApp) -> Result<()> {
    for name in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain;charset=UTF-8"]
    {
        for path in ["/rpc/sign_in_as", "/auth/refresh", "/events/x"] {
            let request = Request::new("POST", path).header("content-type", name).body(r#"{"name": "mallory"}"#);
            let answer = request.send(&app.url()).await;
            assert_eq!(answer.failure(), (415, "UNSUPPORTED_MEDIA_TYPE".into()), "{name} at {path}");
            assert!(answer.text().contains("content-type: application/json"), "it says what to do: {}", answer.text());
        }
    }
    assert_eq!(count(&app.sql().await?, "SELECT count(*) FROM forge_sessions").await, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_listed_origins_sign_in_and_those_of_any_only_call() -> Result<()> {
    let listed = with_origins(&["https://app.example"]).await?;
    let page = [("origin", "https://app.example"), ("sec-fetch-site", "cross-site")];
    assert_eq!(with(sign_in(), &page).send(&listed.url()).await.status, 200);
    assert!(Sse::request(&listed.url(), &with(Request::get("/events"), &page)).await.is_ok());
    let other = [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")];
    assert_eq!(with(sign_in(), &other).send(&listed.url()).await.failure(), (403, "CSRF_REFUSED".into()));
    listed.stop().await;
    let open = with_origins(&["*"]).await?;
    let hello = || with(Request::call("hello", &json!({})), &other);
    let answer = hello().header("content-type", "application/json").send(&open.url()).await;
    assert_eq!((answer.data(), answer.header("access-control-allow-credentials")), (json!("hello"), None));
    assert!(Sse::request(&open.url(), &with(Request::get("/events"), &other)).await.is_ok());
    // What the browser had not to ask for.
    for asked in [hello(), hello().header("content-type", "text/plain")] {
        assert_eq!(asked.send(&open.url()).await.failure(), (403, "CSRF_REFUSED".into()));
    }
    open.stop().await;
    Ok(())
}
