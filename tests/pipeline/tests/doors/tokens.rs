//! Nobody comes in with a token that is not valid, at no door.

use forge::prelude::*;
use forge::testing::TestApp;
use forge_runtime::config::{Algorithm, PublicKey};
use serde_json::json;

use crate::support::http::{Answer, Request};
use crate::support::token;

/// A refused token: it is said that it was for the token, so that a client makes the call again with another one.
#[track_caller]
fn assert_refused(what: &str, answer: &Answer) {
    assert_unauthorized(what, answer, "Bearer error=\"invalid_token\"");
}

/// No token of a call was looked at.
#[track_caller]
fn assert_nobody(what: &str, answer: &Answer) {
    assert_unauthorized(what, answer, "Bearer");
}

/// 401, in the shape of every failure, with what a client needs to know about bearer tokens.
#[track_caller]
fn assert_unauthorized(what: &str, answer: &Answer, challenge: &str) {
    assert_eq!(answer.failure(), (401, "UNAUTHORIZED".into()), "{what}: {}", answer.text());
    assert_eq!(answer.header("www-authenticate"), Some(challenge), "{what}");
    // Why exactly is for the log: a stranger learns nothing that helps with the next try.
    let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
    for word in ["signature", "alg", "aud", "sub", "key"] {
        assert!(!message.contains(word), "{what}: {message}");
    }
}

/// A call at the door whose path has the function's name.
fn by_path(function: &str) -> Request {
    Request::call(function, &json!({}))
}

/// A call at the door whose body has the function's name.
fn by_body(function: &str) -> Request {
    Request::post("/rpc", &json!({"function": function, "args": {}}))
}

/// The whole story of one door: `signed` puts a token into a request; `by_cookie` says that it is a browser who sends it.
async fn check_door(app: &TestApp, door: fn(&str) -> Request, by_cookie: bool, signed: impl Fn(Request, &str) -> Request) {
    let url = app.url();
    let good = signed(door("whoami"), &token::of("ada", &[])).send(&url).await;
    assert_eq!(good.data(), "ada");
    let role = signed(door("secrets"), &token::of("ada", &["auditor"])).send(&url).await;
    assert_eq!(role.data(), "42");
    let wrong_role = signed(door("secrets"), &token::of("ada", &["editor"])).send(&url).await;
    assert_eq!(wrong_role.failure(), (403, "FORBIDDEN".into()));
    // Without any token: only what is public.
    assert_nobody("no token", &door("whoami").send(&url).await);
    assert_nobody("no token", &door("secrets").send(&url).await);
    assert_eq!(door("hello").send(&url).await.data(), "hello");
    assert_eq!(signed(door("guest"), &token::of("ada", &[])).send(&url).await.data(), "ada");
    for (what, bad) in token::refused() {
        for function in ["whoami", "secrets"] {
            assert_refused(&format!("{what}, at {function}"), &signed(door(function), &bad).send(&url).await);
        }
        let public = signed(door("guest"), &bad).send(&url).await;
        if by_cookie && what == "expired" {
            // A browser sends it without being asked: whoever it was, what is public is for them as well.
            assert_eq!(public.data(), json!(null), "{what}");
        } else {
            // A public function is no way round: a bad token is refused, never taken for nobody.
            assert_refused(&format!("{what}, at a public function"), &public);
        }
    }
}

#[forge::test]
async fn the_door_by_path_with_a_header(app: TestApp) {
    check_door(&app, by_path, false, Request::bearer).await;
}

#[forge::test]
async fn the_door_by_body_with_a_header(app: TestApp) {
    check_door(&app, by_body, false, Request::bearer).await;
}

#[forge::test]
async fn the_door_by_path_with_a_cookie(app: TestApp) {
    check_door(&app, by_path, true, |request, token| request.cookies(&format!("a=b; forge_session={token}"))).await;
}

#[forge::test]
async fn the_door_by_body_with_a_cookie(app: TestApp) {
    check_door(&app, by_body, true, |request, token| request.cookies(&format!("forge_session={token}; c=d"))).await;
}

#[forge::test]
async fn the_door_for_refreshing(app: TestApp) {
    let url = app.url();
    let refresh = |body: serde_json::Value| Request::post("/auth/refresh", &body);
    let refused = async |what: &str, request: Request| assert_nobody(what, &request.send(&url).await);
    refused("nothing", refresh(json!({}))).await;
    refused("no body", Request::new("POST", "/auth/refresh")).await;
    refused("garbage", refresh(json!({"refreshToken": "garbage"}))).await;
    refused("the right length", refresh(json!({"refreshToken": "A".repeat(64)}))).await;
    refused("a number", refresh(json!({"refreshToken": 1}))).await;
    refused("more than it takes", refresh(json!({"refreshToken": "A".repeat(64), "user": "root"}))).await;
    refused("an access token", refresh(json!({"refreshToken": token::of("ada", &[])}))).await;
    for (what, bad) in token::refused() {
        refused(what, refresh(json!({"refreshToken": bad}))).await;
    }
    for value in ["garbage".to_owned(), "A".repeat(64), token::of("ada", &[])] {
        refused("a cookie", refresh(json!({})).cookies(&format!("forge_session_refresh={value}"))).await;
    }
}

#[forge::test]
async fn a_header_that_is_no_bearer_token_is_refused(app: TestApp) {
    let url = app.url();
    let good = token::of("ada", &[]);
    let values: Vec<Vec<u8>> = vec![
        b"Bearer".to_vec(),
        b"Bearer ".to_vec(),
        b"Basic YWRhOnNlY3JldA==".to_vec(),
        b"".to_vec(),
        good.clone().into_bytes(),
        format!("Bearer{good}").into_bytes(),
        format!("Token {good}").into_bytes(),
        format!("Bearer {good} {good}").into_bytes(),
        format!("Bearer {good}, Bearer {good}").into_bytes(),
        [b"Bearer ".as_slice(), good.as_bytes(), &[0xff]].concat(),
    ];
    for value in values {
        for function in ["whoami", "hello"] {
            for door in [by_path, by_body] {
                let answer = door(function).header("authorization", value.clone()).send(&url).await;
                assert_refused(&format!("{:?}", String::from_utf8_lossy(&value)), &answer);
            }
        }
    }
    let twice = by_path("whoami").bearer(&good).bearer(&good).send(&url).await;
    assert_refused("two headers", &twice);
    // A header that is refused is not made good by a cookie, and the scheme's case is nobody's mistake.
    let both =
        by_path("whoami").header("authorization", "Basic x").cookies(&format!("forge_session={good}")).send(&url).await;
    assert_refused("a good cookie beside it", &both);
    assert_eq!(by_path("whoami").header("authorization", format!("bEaReR {good}")).send(&url).await.data(), "ada");
}

#[forge::test]
async fn two_cookies_of_one_name_are_nobody(app: TestApp) {
    let cookies = format!("forge_session={}; forge_session={}", token::of("ada", &[]), token::of("eve", &[]));
    assert_nobody("two cookies", &by_path("whoami").cookies(&cookies).send(&app.url()).await);
}

/// A token from a verified issuer is for an audience; ours demands its own when it is configured.
#[forge::test]
async fn the_audience_and_the_issuer_are_looked_at() -> Result<()> {
    let app = TestApp::start_with(|config| {
        config.security.auth.audience = Some("our app".into());
        config.security.auth.issuer = Some("us".into());
    })
    .await?;
    let claims =
        |aud: serde_json::Value, iss: &str| json!({"sub": "ada", "exp": token::now() + 600, "aud": aud, "iss": iss});
    let header = json!({"alg": "HS256"});
    let call =
        async |claims| by_path("whoami").bearer(&token::signed(token::SECRET, &header, &claims)).send(&app.url()).await;
    assert_eq!(call(claims(json!("our app"), "us")).await.data(), "ada");
    assert_eq!(call(claims(json!(["another", "our app"]), "us")).await.data(), "ada");
    assert_refused("another audience", &call(claims(json!("another app"), "us")).await);
    assert_refused("no audience", &call(json!({"sub": "ada", "exp": token::now() + 600, "iss": "us"})).await);
    assert_refused("another issuer", &call(claims(json!("our app"), "them")).await);
    app.stop().await;
    Ok(())
}

/// Tokens that functions issue.
const ISSUERS: [&str; 3] = ["pass_by_query", "pass_by_mutation", "pass_by_action"];

async fn issue(url: &str, function: &str, seconds: u32) -> Answer {
    Request::call(function, &json!({"name": "ada", "role": "auditor", "seconds": seconds})).send(url).await
}

async fn app_for(audience: &str) -> TestApp {
    let change = |config: &mut forge::Config| {
        config.security.auth.audience = Some(audience.into());
        config.security.auth.leeway = std::time::Duration::ZERO;
    };
    TestApp::start_with(change).await.unwrap()
}

#[tokio::test]
async fn tokens_that_functions_issue_say_what_they_were_told() -> Result<()> {
    let (app, other) = tokio::join!(app_for("this app"), app_for("another app"));
    let (url, elsewhere) = (app.url(), other.url());
    for function in ISSUERS {
        let before = token::now();
        let answer = issue(&url, function, 60).await.data();
        let issued = answer.as_str().unwrap();
        let claims = token::claims_of(issued);
        assert_eq!(
            (&claims["aud"], &claims["sub"], &claims["tenant"]),
            (&json!("this app"), &json!("ada"), &json!("acme"))
        );
        assert!((before + 60..=token::now() + 60).contains(&claims["exp"].as_i64().unwrap()), "{function}: {claims}");

        let asked = |function: &str| Request::call(function, &json!({})).bearer(issued);
        assert_eq!(asked("whoami").send(&url).await.data(), "ada", "{function}");
        assert_eq!(asked("secrets").send(&url).await.data(), "42", "{function}: the role arrives");
        assert_eq!(asked("tenant").send(&url).await.data(), "acme", "{function}: a claim of the app's own arrives");
        // Signed with the same secret, but for somebody else.
        assert_refused(function, &asked("whoami").send(&elsewhere).await);

        let over = issue(&url, function, 0).await.data();
        let over = Request::call("hello", &json!({})).bearer(over.as_str().unwrap());
        assert_refused(&format!("expired, by {function}"), &over.send(&url).await);
    }
    app.stop().await;
    other.stop().await;
    Ok(())
}

/// An app that only checks what others sign.
#[tokio::test]
async fn without_a_key_nothing_is_signed_and_all_else_works() -> Result<()> {
    let app = TestApp::start_with(|config| {
        config.security.auth.algorithms = vec![Algorithm::ES256];
        let pem = rcgen::KeyPair::generate().unwrap().public_key_pem();
        let key = PublicKey { algorithm: Algorithm::ES256, pem: Some(pem), ..PublicKey::default() };
        config.security.auth.public_keys = vec![key];
    })
    .await?;
    assert_eq!(Request::call("hello", &json!({})).send(&app.url()).await.data(), "hello");
    for function in ISSUERS {
        let error = issue(&app.url(), function, 60).await;
        assert_eq!(error.failure().0, 500);
    }
    let wanted = pipeline::Wanted { name: "ada".into(), role: "auditor".into(), seconds: 60 };
    let error = app.anonymous().call(pipeline::pass_by_query, wanted).await.unwrap_err();
    assert_eq!(error.code(), "CONFIG_AUTH_ISSUER");
    assert!(error.message().contains("HS256"), "{error}");
    let session = Request::call("sign_in_as", &json!({"name": "ada"})).send(&app.url()).await;
    assert_eq!(session.failure().0, 500);
    app.stop().await;
    Ok(())
}
