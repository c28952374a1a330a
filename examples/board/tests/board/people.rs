//! People with accounts, and boards to try things on.

use board::boards::{BoardView, CreateBoard, GetBoard, create_board, get_board};
use board::cards::{Card, NewCard, add_card};
use board::members::{AddMember, MemberRole, add_member};
use forge::Result;
use forge::prelude::*;
use forge::testing::{TestApp, TestUser};

/// Somebody with an account. Made in the database, because hashing a password takes longer than the rest of a test.
pub(crate) struct Person {
    pub(crate) id: Uuid,
    pub(crate) email: String,
    pub(crate) calls: TestUser,
}

pub(crate) async fn person(app: &TestApp, name: &str) -> Result<Person> {
    let id = forge::new_uuid();
    let email = format!("{}@example.org", name.to_lowercase());
    let insert = "INSERT INTO users (id, email, name) VALUES ($1, $2, $3)";
    app.sql().await?.execute(insert, &[&id, &email, &name]).await.context("making an account")?;
    Ok(Person { id, email, calls: app.user(id.to_string()) })
}

/// A board of somebody's own, with the columns that a board begins with.
pub(crate) async fn board_of(owner: &Person) -> Result<BoardView> {
    let board = owner.calls.call(create_board, CreateBoard { name: "Plans".into() }).await?;
    owner.calls.call(get_board, GetBoard { board_id: board.id }).await
}

/// A person who joins a board.
pub(crate) async fn member(
    app: &TestApp,
    owner: &Person,
    board: &BoardView,
    name: &str,
    role: MemberRole,
) -> Result<Person> {
    let person = person(app, name).await?;
    owner.calls.call(add_member, AddMember { board_id: board.id, email: person.email.clone(), role }).await?;
    Ok(person)
}

pub(crate) fn new_card(column_id: Uuid, title: &str) -> NewCard {
    NewCard { id: None, column_id, title: title.into(), description: String::new(), estimate: None }
}

pub(crate) async fn card(person: &Person, column_id: Uuid, title: &str) -> Result<Card> {
    person.calls.call(add_card, new_card(column_id, title)).await
}

/// The titles of a column's cards, from top to bottom.
pub(crate) async fn titles(person: &Person, board_id: Uuid, column: usize) -> Result<Vec<String>> {
    let board = person.calls.call(get_board, GetBoard { board_id }).await?;
    Ok(board.columns[column].cards.iter().map(|card| card.title.clone()).collect())
}

/// Fails unless the call was refused with this code.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T>, code: &str) -> Error {
    match result {
        Ok(answer) => panic!("expected {code}, but it was answered: {answer:?}"),
        Err(error) => {
            assert_eq!(error.code(), code, "{error:?}");
            error
        }
    }
}
