//! Boards: who sees them, who decides about them.

use board::boards::{
    CreateBoard, DeleteBoard, GetBoard, RenameBoard, create_board, delete_board, get_board, list_boards, rename_board,
};
use board::members::MemberRole;
use forge::Result;
use forge::prelude::*;
use forge::testing::TestApp;

use crate::people::{board_of, card, member, person, refused};

#[forge::test]
async fn a_board_begins_with_three_columns_and_one_owner(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    assert_eq!(board.name, "Plans");
    assert_eq!(board.role, MemberRole::Owner);
    assert_eq!(board.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), ["To do", "Doing", "Done"]);
    assert_eq!(board.members.iter().map(|member| member.user_id).collect::<Vec<_>>(), [ada.id]);
    Ok(())
}

#[forge::test]
async fn the_list_shows_ones_own_boards_by_name(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let bob = person(&app, "Bob").await?;
    for name in ["beta", "Alpha", "Gamma"] {
        ada.calls.call(create_board, CreateBoard { name: name.into() }).await?;
    }
    board_of(&bob).await?;
    let boards = ada.calls.call(list_boards, Timestamp::now()).await?;
    assert_eq!(boards.iter().map(|board| board.name.as_str()).collect::<Vec<_>>(), ["Alpha", "beta", "Gamma"]);
    assert!(boards.iter().all(|board| (board.cards, board.overdue, board.members) == (0, 0, 1)));
    Ok(())
}

#[forge::test]
async fn a_stranger_sees_nothing(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    let stranger = person(&app, "Mallory").await?;
    refused(stranger.calls.call(get_board, GetBoard { board_id: board.id }).await, "NOT_A_MEMBER");
    refused(stranger.calls.call(delete_board, DeleteBoard { board_id: board.id }).await, "NOT_A_MEMBER");
    refused(stranger.calls.call(get_board, GetBoard { board_id: Uuid::nil() }).await, "NOT_FOUND");
    Ok(())
}

#[forge::test]
async fn only_an_owner_renames_and_deletes(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    let editor = member(&app, &ada, &board, "Eve", MemberRole::Editor).await?;
    card(&editor, board.columns[0].id, "Stays until the board goes").await?;

    let rename = |name: &str| RenameBoard { board_id: board.id, name: name.into() };
    let error = refused(editor.calls.call(rename_board, rename("Mine")).await, "ROLE_TOO_LOW");
    assert_eq!(error.details(), Some(&serde_json::json!({"needed": "owner", "yours": "editor"})));
    refused(editor.calls.call(delete_board, DeleteBoard { board_id: board.id }).await, "ROLE_TOO_LOW");
    refused(ada.calls.call(rename_board, rename("   ")).await, "VALIDATION_ERROR");
    refused(ada.calls.call(rename_board, rename(&"x".repeat(101))).await, "VALIDATION_ERROR");

    assert_eq!(ada.calls.call(rename_board, rename(" Our plans ")).await?.name, "Our plans");
    ada.calls.call(delete_board, DeleteBoard { board_id: board.id }).await?;
    refused(ada.calls.call(get_board, GetBoard { board_id: board.id }).await, "NOT_FOUND");
    let left: i64 = app.sql().await?.query_one("SELECT count(*) FROM cards", &[]).await.expect("it can be counted").get(0);
    assert_eq!(left, 0);
    Ok(())
}
