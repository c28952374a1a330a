//! Signing up, in and out.

use board::boards::{GetBoard, get_board, list_boards};
use board::users::{RevokeSession, SignIn, SignUp, list_sessions, me, revoke_session, sign_in, sign_up};
use forge::Result;
use forge::prelude::*;
use forge::testing::TestApp;

use crate::people::{person, refused};

fn ada() -> SignUp {
    SignUp { name: " Ada Lovelace ".into(), email: "Ada@Example.org".into(), password: "a good sentence".into() }
}

fn with(email: &str, password: &str) -> SignIn {
    SignIn { email: email.into(), password: password.into() }
}

#[forge::test]
async fn a_new_account_can_sign_in_and_has_a_board_that_explains_itself(app: TestApp) -> Result<()> {
    let user = app.anonymous().call(sign_up, ada()).await?;
    assert_eq!((user.name.as_str(), user.email.as_str()), ("Ada Lovelace", "ada@example.org"));

    let again = app.anonymous().call(sign_in, with(" ADA@example.org", "a good sentence")).await?;
    assert_eq!(again.id, user.id);

    let calls = app.user(user.id.to_string());
    assert_eq!(calls.call(me, ()).await?.map(|user| user.id), Some(user.id));
    let boards = calls.call(list_boards, Timestamp::now()).await?;
    assert_eq!(boards.len(), 1);
    assert_eq!((boards[0].name.as_str(), boards[0].cards, boards[0].members), ("Welcome board", 4, 1));
    let board = calls.call(get_board, GetBoard { board_id: boards[0].id }).await?;
    assert_eq!(board.columns.iter().map(|column| column.cards.len()).collect::<Vec<_>>(), [2, 1, 1]);
    assert_eq!(board.columns[1].card_limit, Some(3));
    assert_eq!(board.columns[1].cards[0].comments, 1);
    Ok(())
}

#[forge::test]
async fn an_address_has_one_account(app: TestApp) -> Result<()> {
    app.anonymous().call(sign_up, ada()).await?;
    refused(app.anonymous().call(sign_up, ada()).await, "EMAIL_TAKEN");
    let capitals = SignUp { email: "ADA@EXAMPLE.ORG".into(), ..ada() };
    refused(app.anonymous().call(sign_up, capitals).await, "EMAIL_TAKEN");
    Ok(())
}

#[forge::test]
async fn two_who_sign_up_at_once_get_one_account(app: TestApp) -> Result<()> {
    let (first, second) = (app.anonymous(), app.anonymous());
    let (first, second) = tokio::join!(first.call(sign_up, ada()), second.call(sign_up, ada()));
    let refusal = match (first, second) {
        (Ok(_), Err(refusal)) | (Err(refusal), Ok(_)) => refusal,
        other => panic!("one of them should have been refused: {other:?}"),
    };
    assert_eq!(refusal.code(), "EMAIL_TAKEN", "{refusal:?}");
    Ok(())
}

#[forge::test]
async fn what_is_wrong_with_an_account_is_said_field_by_field(app: TestApp) -> Result<()> {
    let wrong = SignUp { name: " ".into(), email: "nobody".into(), password: "a good sentence".into() };
    let error = refused(app.anonymous().call(sign_up, wrong).await, "VALIDATION_ERROR");
    let details = error.details().expect("the fields are named");
    assert!(details.get("name").is_some() && details.get("email").is_some(), "{details}");

    let short = SignUp { password: "short".into(), ..ada() };
    refused(app.anonymous().call(sign_up, short).await, "VALIDATION_ERROR");
    Ok(())
}

#[forge::test]
async fn a_wrong_password_and_a_wrong_address_are_told_alike(app: TestApp) -> Result<()> {
    app.anonymous().call(sign_up, ada()).await?;
    let password =
        refused(app.anonymous().call(sign_in, with("ada@example.org", "a bad sentence")).await, "WRONG_CREDENTIALS");
    let address =
        refused(app.anonymous().call(sign_in, with("bob@example.org", "a good sentence")).await, "WRONG_CREDENTIALS");
    assert_eq!(password.message(), address.message());
    Ok(())
}

#[forge::test]
async fn guessing_is_stopped(app: TestApp) -> Result<()> {
    let mut codes = Vec::new();
    // The default is ten attempts per account and address.
    for _ in 0..11 {
        let result = app.anonymous().call(sign_in, with("ada@example.org", "a guess")).await;
        codes.push(result.expect_err("there is no such account").code().to_owned());
    }
    assert!(codes[..10].iter().all(|code| code == "WRONG_CREDENTIALS"), "{codes:?}");
    assert_eq!(codes[10], "RATE_LIMITED");
    Ok(())
}

#[forge::test]
async fn sessions_are_listed_and_ended_by_their_own_user_only(app: TestApp) -> Result<()> {
    let user = app.anonymous().call(sign_up, ada()).await?;
    app.anonymous().call(sign_in, with("ada@example.org", "a good sentence")).await?;
    let calls = app.user(user.id.to_string());
    let sessions = calls.call(list_sessions, ()).await?;
    assert_eq!(sessions.len(), 2);

    let session_id = sessions[0].id;
    let bob = person(&app, "Bob").await?;
    refused(bob.calls.call(revoke_session, RevokeSession { session_id }).await, "NOT_FOUND");
    calls.call(revoke_session, RevokeSession { session_id }).await?;
    let left = calls.call(list_sessions, ()).await?;
    assert_eq!(left.iter().map(|session| session.id).collect::<Vec<_>>(), [sessions[1].id]);
    Ok(())
}

#[forge::test]
async fn nobody_is_nobody(app: TestApp) -> Result<()> {
    assert!(app.anonymous().call(me, ()).await?.is_none());
    refused(app.anonymous().call(list_boards, Timestamp::now()).await, "UNAUTHORIZED");
    // A token of an account that was deleted, or of another app that shares the secret.
    refused(app.user("somebody").call(list_boards, Timestamp::now()).await, "UNAUTHORIZED");
    Ok(())
}
