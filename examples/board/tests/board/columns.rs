//! Columns.

use board::boards::{GetBoard, get_board};
use board::columns::{
    AddColumn, DeleteColumn, MoveColumn, UpdateColumn, add_column, delete_column, move_column, update_column,
};
use board::limits::COLUMNS_PER_BOARD;
use board::members::MemberRole;
use forge::Result;
use forge::prelude::*;
use forge::testing::TestApp;

use crate::people::{Person, board_of, card, member, person, refused};

fn named(board_id: Uuid, name: &str) -> AddColumn {
    AddColumn { board_id, name: name.into(), card_limit: None, id: None }
}

async fn names(person: &Person, board_id: Uuid) -> Result<Vec<String>> {
    let board = person.calls.call(get_board, GetBoard { board_id }).await?;
    Ok(board.columns.into_iter().map(|column| column.name).collect())
}

#[forge::test]
async fn a_new_column_stands_at_the_right_and_can_be_moved(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    let added = ada.calls.call(add_column, named(board.id, "Waiting")).await?;
    assert_eq!(names(&ada, board.id).await?, ["To do", "Doing", "Done", "Waiting"]);

    let to_do = board.columns[0].id;
    ada.calls.call(move_column, MoveColumn { column_id: added.id, before: Some(to_do) }).await?;
    assert_eq!(names(&ada, board.id).await?, ["Waiting", "To do", "Doing", "Done"]);
    ada.calls.call(move_column, MoveColumn { column_id: to_do, before: None }).await?;
    assert_eq!(names(&ada, board.id).await?, ["Waiting", "Doing", "Done", "To do"]);
    ada.calls.call(move_column, MoveColumn { column_id: to_do, before: Some(to_do) }).await?;
    assert_eq!(names(&ada, board.id).await?, ["Waiting", "Doing", "Done", "To do"]);

    let elsewhere = board_of(&ada).await?.columns[0].id;
    let across = MoveColumn { column_id: added.id, before: Some(elsewhere) };
    refused(ada.calls.call(move_column, across).await, "NOT_FOUND");
    Ok(())
}

#[forge::test]
async fn a_column_is_renamed_and_limited(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let column_id = board_of(&ada).await?.columns[0].id;
    let change = |name: &str, card_limit| UpdateColumn { column_id, name: name.into(), card_limit };
    let column = ada.calls.call(update_column, change("Next", Some(2))).await?;
    assert_eq!((column.name.as_str(), column.card_limit), ("Next", Some(2)));
    assert_eq!(ada.calls.call(update_column, change("Next", None)).await?.card_limit, None);
    refused(ada.calls.call(update_column, change("Next", Some(0))).await, "VALIDATION_ERROR");
    refused(ada.calls.call(update_column, change("", None)).await, "VALIDATION_ERROR");
    Ok(())
}

#[forge::test]
async fn only_an_empty_column_can_be_deleted(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    let [full, empty] = [board.columns[0].id, board.columns[1].id];
    card(&ada, full, "In the way").await?;
    let error = refused(ada.calls.call(delete_column, DeleteColumn { column_id: full }).await, "COLUMN_NOT_EMPTY");
    assert_eq!(error.details(), Some(&serde_json::json!({"cards": "1"})));
    ada.calls.call(delete_column, DeleteColumn { column_id: empty }).await?;
    assert_eq!(names(&ada, board.id).await?, ["To do", "Done"]);
    refused(ada.calls.call(delete_column, DeleteColumn { column_id: empty }).await, "NOT_FOUND");
    Ok(())
}

#[forge::test]
async fn a_viewer_changes_no_columns(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    let column_id = board.columns[0].id;
    let viewer = member(&app, &ada, &board, "Vic", MemberRole::Viewer).await?.calls;
    refused(viewer.call(add_column, named(board.id, "Mine")).await, "ROLE_TOO_LOW");
    let change = UpdateColumn { column_id, name: "Mine".into(), card_limit: None };
    refused(viewer.call(update_column, change).await, "ROLE_TOO_LOW");
    refused(viewer.call(move_column, MoveColumn { column_id, before: None }).await, "ROLE_TOO_LOW");
    refused(viewer.call(delete_column, DeleteColumn { column_id }).await, "ROLE_TOO_LOW");
    Ok(())
}

#[forge::test]
async fn there_are_only_so_many_columns(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    for n in 3..COLUMNS_PER_BOARD {
        ada.calls.call(add_column, named(board.id, &format!("Column {n}"))).await?;
    }
    refused(ada.calls.call(add_column, named(board.id, "One more")).await, "LIMIT_REACHED");
    Ok(())
}
