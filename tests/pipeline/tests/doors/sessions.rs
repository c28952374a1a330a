//! Signing in with cookies: what they look like, when they count, how they are renewed and how they end.

use std::time::{Duration, Instant};

use forge::prelude::*;
use forge::testing::TestApp;
use forge::{App, Config, Node};
use forge_runtime::config::{Mode, Secret};
use serde_json::json;

use crate::support::http::{Answer, Request};
use crate::support::{count, token, until, until_within, waiting_for};

/// How long an ended session may still be believed alive.
const BELIEVED: Duration = Duration::from_secs(5);

async fn sign_in(app: &TestApp, name: &str) -> Answer {
    let answer = Request::call("sign_in_as", &json!({"name": name})).send(&app.url()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

fn whoami() -> Request {
    Request::call("whoami", &json!({}))
}

fn refresh() -> Request {
    Request::post("/auth/refresh", &json!({}))
}

#[forge::test]
async fn cookies_sign_in_and_no_script_can_read_them(app: TestApp) {
    let answer = sign_in(&app, "ada").await;
    for name in ["forge_session", "forge_session_refresh"] {
        let cookie = answer.set_cookie(name).unwrap_or_else(|| panic!("{name} is not set"));
        // `Secure` comes in production, where there is TLS.
        for attribute in ["HttpOnly", "SameSite=Lax", "Path=/"] {
            assert!(cookie.split("; ").any(|part| part == attribute), "{attribute}: {cookie}");
        }
        assert!(!cookie.contains("Domain"), "{cookie}");
    }
    assert_eq!(whoami().cookies(&answer.cookies()).send(&app.url()).await.data(), "ada");
}

#[forge::test]
async fn who_was_signed_in_by_a_mutation_that_failed_is_not_signed_in(app: TestApp) {
    let ask = async |name: Option<&str>, id: &str| {
        let request = Request::call("have_sign_in", &json!({"name": name})).header("x-forge-mutation-id", id);
        request.send(&app.url()).await
    };
    let answer = ask(None, "m-1").await;
    assert_eq!((answer.status, answer.cookies().as_str()), (200, ""), "{}", answer.text());
    let answer = ask(Some("ada"), "m-2").await;
    assert_eq!(whoami().cookies(&answer.cookies()).send(&app.url()).await.data(), "ada");
    let sessions = count(&app.sql().await.unwrap(), "SELECT count(*) FROM forge_sessions").await;
    assert_eq!(sessions, 1);
}

#[forge::test]
async fn a_cookie_counts_only_on_requests_of_the_own_page(app: TestApp) {
    let (url, cookies) = (app.url(), sign_in(&app, "ada").await.cookies());
    let with =
        |headers: &[(&str, &str)]| headers.iter().fold(whoami(), |request, (name, value)| request.header(name, *value));
    let refused: [&[(&str, &str)]; 6] = [
        &[],
        &[("x-forge-csrf", "1")],
        &[("sec-fetch-site", "same-origin")],
        &[("x-forge-csrf", "1"), ("sec-fetch-site", "cross-site")],
        &[("x-forge-csrf", "1"), ("origin", "https://evil.example")],
        &[("x-forge-csrf", ""), ("sec-fetch-site", "same-origin")],
    ];
    for headers in refused {
        let answer = with(headers).header("cookie", cookies.clone()).send(&url).await;
        assert_eq!(answer.failure(), (403, "CSRF_REFUSED".into()), "{headers:?}");
        let answer = headers.iter().fold(refresh(), |request, (name, value)| request.header(name, *value));
        let answer = answer.header("cookie", cookies.clone()).send(&url).await;
        assert_eq!(answer.failure(), (403, "CSRF_REFUSED".into()), "refreshing with {headers:?}");
        assert_eq!(answer.cookies(), "", "a page elsewhere must not sign anybody out");
    }
    let own: [&[(&str, &str)]; 2] = [
        &[("x-forge-csrf", "1"), ("sec-fetch-site", "same-origin")],
        &[("x-forge-csrf", "1"), ("origin", "https://app.test"), ("host", "app.test")],
    ];
    for headers in own {
        assert_eq!(with(headers).header("cookie", cookies.clone()).send(&url).await.data(), "ada", "{headers:?}");
    }
}

#[forge::test]
async fn refreshing_rotates_and_an_old_token_ends_the_session(app: TestApp) {
    let (url, signed_in) = (app.url(), sign_in(&app, "ada").await);
    let first = signed_in.cookies();
    let renewed = refresh().cookies(&first).send(&url).await;
    assert!(renewed.data()["accessExpiresAt"].as_i64().is_some_and(|at| at > token::now()));
    assert_eq!(renewed.data().as_object().unwrap().len(), 1, "a page's scripts see no token: {}", renewed.text());
    let second = renewed.cookies();
    assert_ne!(renewed.set_cookie("forge_session_refresh"), signed_in.set_cookie("forge_session_refresh"));
    assert_eq!(whoami().cookies(&second).send(&url).await.data(), "ada");
    // The answer was lost, or two tabs asked at once: the same successor again.
    let again = refresh().cookies(&first).send(&url).await;
    assert_eq!(again.set_cookie("forge_session_refresh"), renewed.set_cookie("forge_session_refresh"));
    let third = refresh().cookies(&second).send(&url).await.cookies();
    // By now the first one is old: somebody has a copy.
    let reused = refresh().cookies(&first).send(&url).await;
    assert_eq!(reused.failure(), (401, "UNAUTHORIZED".into()));
    assert!(reused.set_cookie("forge_session").is_some_and(|cookie| cookie.contains("Max-Age=0")), "{:?}", reused.headers);
    assert_eq!(refresh().cookies(&third).send(&url).await.failure().0, 401, "the whole session has ended");
    until_within(BELIEVED, "its access token is refused", async || whoami().cookies(&third).send(&url).await.status == 401)
        .await;
}

#[forge::test]
async fn a_refresh_that_is_held_up_ends_in_time_and_gives_its_connection_back() -> Result<()> {
    let app = TestApp::start_with(|config| config.function.timeout = Duration::from_secs(2)).await?;
    let cookies = sign_in(&app, "ada").await.cookies();
    let blocker = app.sql().await?;
    blocker.batch_execute("BEGIN; LOCK TABLE forge_sessions IN EXCLUSIVE MODE").await.unwrap();
    let held_up = refresh().cookies(&cookies).send(&app.url()).await;
    assert_eq!(held_up.failure(), (504, "TIMEOUT".into()));
    assert_eq!(held_up.cookies(), "", "the session goes on");
    until("nothing waits for the lock any more", async || waiting_for(&blocker, "forge_sessions").await == 0).await;
    blocker.batch_execute("COMMIT").await.unwrap();
    assert_eq!(refresh().cookies(&cookies).send(&app.url()).await.status, 200);
    app.stop().await;
    Ok(())
}

#[forge::test]
async fn a_client_without_cookies_refreshes_as_well(app: TestApp) {
    let url = app.url();
    let tokens = sign_in(&app, "ada").await.data();
    assert_eq!(whoami().bearer(tokens["access"].as_str().unwrap()).send(&url).await.data(), "ada");
    let renewed = Request::post("/auth/refresh", &json!({"refreshToken": tokens["refresh"]})).send(&url).await;
    assert_eq!(renewed.cookies(), "");
    let renewed = renewed.data();
    assert_ne!(renewed["refreshToken"], tokens["refresh"]);
    assert_eq!(whoami().bearer(renewed["accessToken"].as_str().unwrap()).send(&url).await.data(), "ada");
}

#[forge::test]
async fn signing_out_ends_the_session_and_takes_the_cookies_away(app: TestApp) {
    let url = app.url();
    let (here, there) = (sign_in(&app, "ada").await.cookies(), sign_in(&app, "ada").await.cookies());
    let out = Request::call("sign_out", &json!({})).cookies(&here).send(&url).await;
    assert_eq!(out.status, 200, "{}", out.text());
    for name in ["forge_session", "forge_session_refresh"] {
        assert!(out.set_cookie(name).is_some_and(|cookie| cookie.contains("Max-Age=0")), "{:?}", out.headers);
    }
    until_within(BELIEVED, "refused", async || whoami().cookies(&here).send(&url).await.status == 401).await;
    assert_eq!(refresh().cookies(&here).send(&url).await.failure().0, 401);
    assert_eq!(whoami().cookies(&there).send(&url).await.data(), "ada", "the other session goes on");
}

#[forge::test]
async fn a_session_that_was_ended_is_refused_on_every_node(app: TestApp) -> Result<()> {
    let mut other = second_node(&app).await?;
    let other_url = format!("http://{}", other.address().unwrap());
    let lost = sign_in(&app, "ada").await;
    let (cookies, session) = (lost.cookies(), lost.data()["session"].clone());
    let mine = sign_in(&app, "ada").await.cookies();
    // Both nodes have just heard that it is alive.
    for url in [app.url(), other_url.clone()] {
        assert_eq!(whoami().cookies(&cookies).send(&url).await.data(), "ada");
    }
    let known = Request::call("my_sessions", &json!({})).cookies(&mine).send(&app.url()).await.data();
    assert!(known.as_array().unwrap().contains(&session), "{known}");
    let eve = sign_in(&app, "eve").await.cookies();
    let not_hers = Request::call("end_session", &json!({"session": session})).cookies(&eve).send(&app.url()).await;
    assert_eq!(not_hers.failure(), (404, "NOT_FOUND".into()));
    let ended = Request::call("end_session", &json!({"session": session})).cookies(&mine).send(&app.url()).await;
    assert_eq!(ended.status, 200, "{}", ended.text());
    let since = Instant::now();
    for url in [app.url(), other_url] {
        let left = (BELIEVED + Duration::from_millis(500)).saturating_sub(since.elapsed());
        until_within(left, "refused", async || whoami().cookies(&cookies).send(&url).await.status == 401).await;
        assert_eq!(whoami().cookies(&mine).send(&url).await.data(), "ada");
    }
    other.stop().await;
    Ok(())
}

/// Another node on the same database.
async fn second_node(app: &TestApp) -> Result<Node> {
    let mut config = Config::defaults(Mode::Test);
    config.database.url = Some(Secret::new(app.database_url()));
    config.database.pool_size = 3;
    config.gateway.port = 0;
    config.security.auth.secret = Some(Secret::new(token::SECRET));
    let mut node = Node::start(App::linked(&[])?, config).await?;
    node.ready().await?;
    Ok(node)
}

#[forge::test]
async fn guessing_passwords_is_slowed_down() -> Result<()> {
    let app = TestApp::start_with(|config| {
        config.security.auth.login_attempts = 3;
        config.security.auth.password_concurrency = 2;
    })
    .await?;
    let url = app.url();
    let with = |name: &str, password: &str| Request::call("sign_in", &json!({"name": name, "password": password}));
    Request::call("sign_up", &json!({"name": "ada", "password": "correct horse"})).send(&url).await.data();
    // Whoever knew the password has used nothing up.
    assert_eq!(with("ada", "correct horse").send(&url).await.status, 200);
    for _ in 0..3 {
        assert_eq!(with("ada", "wrong horse").send(&url).await.failure(), (401, "UNAUTHORIZED".into()));
    }
    let slowed = with("ada", "correct horse").send(&url).await;
    assert_eq!(slowed.failure(), (429, "RATE_LIMITED".into()));
    let seconds: u64 = slowed.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=15 * 60).contains(&seconds), "{seconds}");
    // Another account is not concerned, and an account that does not exist behaves in the same way.
    for _ in 0..3 {
        assert_eq!(with("nobody", "wrong horse").send(&url).await.failure(), (401, "UNAUTHORIZED".into()));
    }
    assert_eq!(with("nobody", "wrong horse").send(&url).await.failure().0, 429);
    app.stop().await;
    Ok(())
}

/// Counting an attempt takes a second connection beside the mutation's own.
#[forge::test]
async fn many_sign_ins_at_once_do_not_wait_for_each_others_connections() -> Result<()> {
    let app = TestApp::start_with(|config| {
        config.database.pool_size = 2;
        config.security.auth.login_attempts = 1;
    })
    .await?;
    let url = app.url();
    let attempt = Request::call("sign_in", &json!({"name": "nobody", "password": "x"}));
    let answers = futures_util::future::join_all((0..8).map(|_| attempt.send(&url))).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [401, 429, 429, 429, 429, 429, 429, 429]);
    // And so does forgetting them, when the password was right.
    let names: Vec<String> = (0..6).map(|n| format!("user {n}")).collect();
    let with = |function, name| Request::call(function, &json!({"name": name, "password": "correct horse"}));
    for name in &names {
        assert_eq!(with("sign_up", name).send(&url).await.status, 200);
    }
    let answers =
        futures_util::future::join_all(names.iter().map(|name| async { with("sign_in", name).send(&url).await })).await;
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200; 6]);
    app.stop().await;
    Ok(())
}

#[forge::test]
async fn queries_see_the_callers_sessions(app: TestApp) {
    let url = app.url();
    let (first, second) = (sign_in(&app, "ada").await, sign_in(&app, "ada").await);
    sign_in(&app, "eve").await;
    let (first, second) = (first.data()["session"].clone(), (second.data()["session"].clone(), second.cookies()));
    let see = Request::call("see_sessions", &json!({}));
    let seen = see.clone().cookies(&second.1).send(&url).await.data();
    assert_eq!(seen, json!([second.0, [second.0, first]]), "its own, and all of the same user, the last one first");
    // A token that belongs to no session.
    let seen = see.clone().bearer(&token::of("ada", &[])).send(&url).await.data();
    assert_eq!(seen, json!([null, [second.0, first]]));
    assert_eq!(see.bearer(&token::of("bob", &[])).send(&url).await.data(), json!([null, []]));
}
