//! A secret goes to the server and never back. The only function of this program is one that may not be.

// Items are `pub` as in an app, where others could reach them.
#![allow(unreachable_pub, missing_docs)]
// A panic in a test is its report.
#![allow(clippy::unwrap_used)]

use forge::prelude::*;

#[forge::input]
pub struct Login {
    pub name: String,
    #[validate(length(min = 8, max = 20))]
    pub password: Secret,
    pub code: Option<Secret>,
}

#[forge::input]
pub struct Account {
    pub id: Uuid,
    pub logins: Vec<Login>,
}

#[forge::query]
pub async fn echo(_ctx: &QueryContext, input: Account) -> Result<Option<Account>> {
    Ok(Some(input))
}

fn login(json: serde_json::Value) -> Result<Login> {
    forge::__rt::wire::read_json(json.to_string().as_bytes())
}

#[test]
fn an_app_that_would_answer_with_a_secret_does_not_start() {
    let why = forge::App::linked(&[]).unwrap_err();
    assert_eq!(why.code(), "SECRET_ANSWERED");
    assert!(why.message().contains("the function `echo`"), "{why}");
    assert!(why.message().contains("the secret `Account.logins.password`"), "{why}");
    assert!(why.message().contains("secrets.rs:"), "{why}");
}

#[test]
fn a_secret_is_read_and_checked_and_never_shown() {
    let ada = login(serde_json::json!({ "name": "ada", "password": "correct horse", "code": "123" })).unwrap();
    assert_eq!((ada.password.expose(), ada.code.as_ref().map(Secret::expose)), ("correct horse", Some("123")));
    let shown = format!("{ada:?}");
    assert!(shown.contains("ada") && !shown.contains("horse") && !shown.contains("123"), "{shown}");
    let short = login(serde_json::json!({ "name": "ada", "password": "short" })).unwrap_err();
    assert_eq!(short.details().unwrap(), &serde_json::json!({ "password": ["must have a length of 8 to 20"] }));
    let wrong = login(serde_json::json!({ "name": "ada", "password": ["correct horse"] })).unwrap_err();
    assert_eq!(wrong.code(), "INVALID_ARGUMENT");
    assert!(!wrong.to_string().contains("horse"), "{wrong}");
}
