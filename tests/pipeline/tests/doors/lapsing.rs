//! Cookies that prove nothing any more: what is public stays open, and the page learns what to do about them.

use std::time::Duration;

use forge::testing::TestApp;
use serde_json::json;

use crate::support::http::{Answer, Request};
use crate::support::{token, until_within};

/// How long an ended session may still be believed alive.
const BELIEVED: Duration = Duration::from_secs(5);

fn call(function: &str) -> Request {
    Request::call(function, &json!({}))
}

async fn sign_in(app: &TestApp) -> Answer {
    Request::call("sign_in_as", &json!({"name": "ada"})).send(&app.url()).await
}

/// One of the cookies that an answer sets, as `name=value`.
fn cookie(answer: &Answer, name: &str) -> String {
    let set = answer.set_cookie(name).unwrap_or_else(|| panic!("{name} is not set"));
    set.split(';').next().unwrap_or_default().to_owned()
}

/// The cookie of an access token that ada got some time ago.
fn expired() -> String {
    let (_, token) = token::refused().into_iter().find(|(what, _)| *what == "expired").unwrap();
    format!("forge_session={token}")
}

/// What the answer tells the page about its session.
fn told(answer: &Answer) -> Option<&str> {
    answer.header("x-forge-session")
}

#[forge::test]
async fn a_session_that_can_be_renewed_is_said_to_be(app: TestApp) {
    let url = app.url();
    let refresh = cookie(&sign_in(&app).await, "forge_session_refresh");
    // Browsers forget the access token's cookie when its time is over; one with a slow clock still sends it.
    for cookies in [refresh.clone(), format!("{}; {refresh}", expired())] {
        let public = call("guest").cookies(&cookies).send(&url).await;
        assert_eq!((public.data(), told(&public)), (json!(null), Some("renew")));
        let private = call("whoami").cookies(&cookies).send(&url).await;
        assert_eq!((private.failure(), told(&private)), ((401, "UNAUTHORIZED".into()), Some("renew")));
        assert_eq!(public.cookies() + &private.cookies(), "", "only a refresh says what becomes of the session");
        let unknown = call("no_such_function").cookies(&cookies).send(&url).await;
        assert_eq!(told(&unknown), Some("renew"));
    }
    let renewed = Request::post("/auth/refresh", &json!({})).cookies(&refresh).send(&url).await.cookies();
    let again = call("guest").cookies(&renewed).send(&url).await;
    assert_eq!((again.data(), told(&again)), (json!("ada"), None));
}

#[forge::test]
async fn without_a_refresh_token_there_is_nothing_to_renew(app: TestApp) {
    let url = app.url();
    let public = call("guest").cookies(&expired()).send(&url).await;
    assert_eq!((public.data(), told(&public)), (json!(null), None));
    let private = call("whoami").cookies(&expired()).send(&url).await;
    assert_eq!((private.failure().0, told(&private)), (401, None));
    assert_eq!(private.json()["error"]["message"], "the token has expired; sign in again or refresh it");
    assert_eq!(told(&call("whoami").send(&url).await), None, "a visitor who never signed in");
    // A bearer token counts alone, whatever the cookies are.
    let refresh = cookie(&sign_in(&app).await, "forge_session_refresh");
    let bearer = call("whoami").bearer(&token::of("eve", &[])).cookies(&refresh).send(&url).await;
    assert_eq!((bearer.data(), told(&bearer)), (json!("eve"), None));
}

#[forge::test]
async fn a_public_function_is_no_way_to_one_that_is_not(app: TestApp) {
    let answer = call("ask_whoami").cookies(&expired()).send(&app.url()).await;
    assert_eq!(answer.failure(), (401, "UNAUTHORIZED".into()));
}

#[forge::test]
async fn after_the_session_has_ended_what_is_public_stays_open(app: TestApp) {
    let url = app.url();
    let (here, there) = (sign_in(&app).await, sign_in(&app).await.cookies());
    let end = Request::call("end_session", &json!({"session": here.data()["session"]}));
    let ended = end.cookies(&there).send(&url).await;
    assert_eq!((ended.status, told(&ended)), (200, None), "the caller's own session goes on");
    let here = here.cookies();
    until_within(BELIEVED, "refused", async || call("whoami").cookies(&here).send(&url).await.status == 401).await;
    let public = call("guest").cookies(&here).send(&url).await;
    assert_eq!((public.data(), told(&public)), (json!(null), Some("renew")), "only a refresh is sure of it");
    let signed_in = Request::call("sign_in_as", &json!({"name": "ada"})).cookies(&here).send(&url).await;
    assert_eq!((signed_in.status, told(&signed_in)), (200, Some("started")), "new cookies want no renewal");
    assert_eq!(call("whoami").cookies(&signed_in.cookies()).send(&url).await.data(), "ada");
}

#[forge::test]
async fn a_page_is_told_when_a_session_begins_and_ends(app: TestApp) {
    let signed_in = sign_in(&app).await;
    assert_eq!(told(&signed_in), Some("started"));
    let cookies = signed_in.cookies();
    assert_eq!(told(&call("sign_out").cookies(&cookies).send(&app.url()).await), Some("ended"));
}

#[forge::test]
async fn a_cookie_that_never_was_good_is_refused_and_taken_away(app: TestApp) {
    let url = app.url();
    let refresh = cookie(&sign_in(&app).await, "forge_session_refresh");
    for (what, bad) in token::refused().into_iter().filter(|(what, _)| *what != "expired") {
        for function in ["guest", "whoami"] {
            let alone = call(function).cookies(&format!("forge_session={bad}")).send(&url).await;
            assert_eq!((alone.failure().0, told(&alone)), (401, None), "{what}, at {function}");
            let cleared = alone.set_cookie("forge_session").unwrap_or_else(|| panic!("{what} stays"));
            assert!(cleared.contains("Max-Age=0"), "{cleared}");
            assert_eq!(alone.set_cookie("forge_session_refresh"), None, "{what}: a refresh decides about that");
            let both = call(function).cookies(&format!("forge_session={bad}; {refresh}")).send(&url).await;
            assert_eq!((both.failure().0, told(&both)), (401, Some("renew")), "{what}, at {function}");
        }
    }
}

/// Whatever the cookies are, another site's page learns nothing by them and changes nothing about them.
#[forge::test]
async fn another_sites_page_is_refused_as_ever(app: TestApp) {
    let url = app.url();
    let refresh = cookie(&sign_in(&app).await, "forge_session_refresh");
    for access in [expired(), "forge_session=garbage".into(), format!("forge_session={}", token::of("ada", &[]))] {
        let answer = call("guest")
            .header("cookie", format!("{access}; {refresh}"))
            .header("x-forge-csrf", "1")
            .header("sec-fetch-site", "cross-site")
            .send(&url)
            .await;
        assert_eq!(answer.failure(), (403, "CSRF_REFUSED".into()), "{access}");
        assert_eq!((answer.cookies().as_str(), told(&answer)), ("", None), "{access}");
    }
}
