//! Everything that the page shows is live.

use board::boards::{GetBoard, get_board, list_boards};
use board::cards::{GetCard, MoveCard, get_card, move_card};
use board::comments::{AddComment, ListComments, add_comment, list_comments};
use board::members::{ListMembers, MemberRole, RemoveMember, list_members, remove_member};
use forge::Result;
use forge::prelude::*;
use forge::testing::TestApp;

use crate::people::{board_of, card, member, person, refused};

#[forge::test]
async fn one_sees_what_the_other_does(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    let board_id = board.id;
    let (first, second) = (board.columns[0].id, board.columns[1].id);
    let card_id = card(&ada, first, "Watched").await?.id;
    let eve = member(&app, &ada, &board, "Eve", MemberRole::Editor).await?;

    let mut boards = ada.calls.subscribe(list_boards, Timestamp::now()).await?;
    let mut shown = ada.calls.subscribe(get_board, GetBoard { board_id }).await?;
    let mut watched = ada.calls.subscribe(get_card, GetCard { card_id }).await?;
    let mut comments = ada.calls.subscribe(list_comments, ListComments { card_id, limit: 20 }).await?;
    let mut members = ada.calls.subscribe(list_members, ListMembers { board_id }).await?;
    assert_eq!(boards.next().await?[0].cards, 1);
    assert_eq!(shown.next().await?.columns[0].cards.len(), 1);
    assert_eq!(watched.next().await?.column_id, first);
    assert!(comments.next().await?.comments.is_empty());
    assert_eq!(members.next().await?.len(), 2);

    eve.calls.call(move_card, MoveCard { card_id, column_id: second, before: None }).await?;
    assert_eq!(shown.next().await?.columns[1].cards[0].id, card_id);
    let event = shown.next_event().await?;
    assert_eq!(event.name, "moved");
    assert_eq!(event.data, serde_json::json!({"cardId": card_id, "by": eve.id}));
    assert_eq!(watched.next().await?.column_id, second);

    eve.calls.call(add_comment, AddComment { card_id, text: "Done soon".into(), id: None }).await?;
    assert_eq!(comments.next().await?.comments[0].author, "Eve");
    assert_eq!(shown.next().await?.columns[1].cards[0].comments, 1);

    card(&eve, first, "Another").await?;
    assert_eq!(boards.next().await?[0].cards, 2);
    assert_eq!(shown.next().await?.columns[0].cards.len(), 1);

    ada.calls.call(remove_member, RemoveMember { board_id, user_id: eve.id }).await?;
    assert_eq!(members.next().await?.len(), 1);
    assert_eq!(boards.next().await?[0].members, 1);
    Ok(())
}

#[forge::test]
async fn whoever_is_removed_sees_nothing_more(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    let board_id = board.id;
    let vic = member(&app, &ada, &board, "Vic", MemberRole::Viewer).await?;
    let mut shown = vic.calls.subscribe(get_board, GetBoard { board_id }).await?;
    assert_eq!(shown.next().await?.role, MemberRole::Viewer);
    ada.calls.call(remove_member, RemoveMember { board_id, user_id: vic.id }).await?;
    refused(shown.next().await, "NOT_A_MEMBER");
    Ok(())
}
