//! Cards: adding, changing, deleting. Moving them has a file of its own.

use board::boards::{GetBoard, get_board, list_boards};
use board::cards::{
    AddCards, Card, CardChange, DeleteCard, GetCard, NewCard, Priority, add_card, add_cards, delete_card, get_card,
    update_card,
};
use board::columns::{UpdateColumn, update_column};
use board::members::MemberRole;
use forge::Result;
use forge::prelude::*;
use forge::testing::TestApp;

use crate::people::{board_of, card, member, new_card, person, refused, titles};

fn change_of(card: &Card) -> CardChange {
    let Card { id, title, description, priority, due, estimate, assignee_id, .. } = card.clone();
    CardChange { id, title, description, priority, due, estimate, assignee_id }
}

#[forge::test]
async fn new_cards_stand_at_the_bottom(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    for title in ["one", "two", " three "] {
        card(&ada, board.columns[0].id, title).await?;
    }
    assert_eq!(titles(&ada, board.id, 0).await?, ["one", "two", "three"]);
    Ok(())
}

#[forge::test]
async fn a_card_is_changed_in_every_field(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    let made = card(&ada, board.columns[0].id, "Write").await?;
    assert_eq!((made.priority, made.due, made.estimate, made.created_by), (Priority::Normal, None, None, Some(ada.id)));

    let due: Timestamp = "2020-02-29T12:00:00Z".parse()?;
    let change = CardChange {
        title: "Write it down".into(),
        description: "All of it,\nand twice.".into(),
        priority: Priority::High,
        due: Some(due),
        estimate: Some(Decimal::new(250, 2)),
        assignee_id: Some(ada.id),
        ..change_of(&made)
    };
    let changed = ada.calls.call(update_card, change).await?;
    assert!(changed.updated_at > made.updated_at);
    let read = ada.calls.call(get_card, GetCard { card_id: made.id }).await?;
    assert_eq!((read.title.as_str(), read.priority, read.due), ("Write it down", Priority::High, Some(due)));
    assert_eq!((read.estimate, read.assignee_id), (Some(Decimal::new(25, 1)), Some(ada.id)));
    assert_eq!(ada.calls.call(list_boards, Timestamp::now()).await?[0].overdue, 1);
    let column = &ada.calls.call(get_board, GetBoard { board_id: board.id }).await?.columns[0];
    assert_eq!(column.estimate, Decimal::new(25, 1));
    assert!(column.cards[0].has_description);

    let cleared = CardChange { due: None, estimate: None, assignee_id: None, ..change_of(&changed) };
    let cleared = ada.calls.call(update_card, cleared).await?;
    assert_eq!((cleared.due, cleared.estimate, cleared.assignee_id), (None, None, None));
    Ok(())
}

#[forge::test]
async fn what_a_card_cannot_say_is_refused(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    let column = board.columns[0].id;
    for title in ["", "  ", "two\nlines", "nul\0", &"x".repeat(201)] {
        refused(card(&ada, column, title).await, "VALIDATION_ERROR");
    }
    // Characters count, not bytes.
    card(&ada, column, &"ü".repeat(200)).await?;

    let made = card(&ada, column, "Card").await?;
    for estimate in [Decimal::new(-1, 0), Decimal::new(10_001, 0), Decimal::new(1, 3)] {
        let change = CardChange { estimate: Some(estimate), ..change_of(&made) };
        let error = refused(ada.calls.call(update_card, change).await, "VALIDATION_ERROR");
        assert!(error.details().is_some_and(|details| details.get("estimate").is_some()), "{error:?}");
    }
    refused(card(&ada, Uuid::nil(), "Nowhere").await, "NOT_FOUND");
    refused(ada.calls.call(get_card, GetCard { card_id: Uuid::nil() }).await, "NOT_FOUND");
    Ok(())
}

#[forge::test]
async fn a_card_is_given_to_members_only(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    let made = card(&ada, board.columns[0].id, "Whose?").await?;
    let stranger = person(&app, "Mallory").await?;
    let change = CardChange { assignee_id: Some(stranger.id), ..change_of(&made) };
    refused(ada.calls.call(update_card, change).await, "ASSIGNEE_NOT_A_MEMBER");
    Ok(())
}

#[forge::test]
async fn viewers_look_and_strangers_do_not(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    let column = board.columns[0].id;
    let made = card(&ada, column, "Look at me").await?;
    let card_id = made.id;

    let viewer = member(&app, &ada, &board, "Vic", MemberRole::Viewer).await?;
    assert_eq!(viewer.calls.call(get_card, GetCard { card_id }).await?.title, "Look at me");
    refused(card(&viewer, column, "Mine").await, "ROLE_TOO_LOW");
    refused(viewer.calls.call(update_card, change_of(&made)).await, "ROLE_TOO_LOW");
    refused(viewer.calls.call(delete_card, DeleteCard { card_id }).await, "ROLE_TOO_LOW");

    let stranger = person(&app, "Mallory").await?;
    refused(stranger.calls.call(get_card, GetCard { card_id }).await, "NOT_A_MEMBER");
    refused(card(&stranger, column, "Mine").await, "NOT_A_MEMBER");
    refused(stranger.calls.call(delete_card, DeleteCard { card_id }).await, "NOT_A_MEMBER");

    let editor = member(&app, &ada, &board, "Eve", MemberRole::Editor).await?;
    editor.calls.call(delete_card, DeleteCard { card_id }).await?;
    refused(ada.calls.call(get_card, GetCard { card_id }).await, "NOT_FOUND");
    Ok(())
}

#[forge::test]
async fn a_full_column_takes_no_more_also_when_many_ask_at_once(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    let column_id = board.columns[0].id;
    ada.calls.call(update_column, UpdateColumn { column_id, name: "Few".into(), card_limit: Some(3) }).await?;
    let calls = (0..8).map(|n| {
        let calls = ada.calls.clone();
        tokio::spawn(async move { calls.call(add_card, new_card(column_id, &format!("card {n}"))).await })
    });
    let (mut added, mut refusals) = (0, 0);
    for call in calls.collect::<Vec<_>>() {
        match call.await.expect("the call does not panic") {
            Ok(_) => added += 1,
            Err(error) => {
                assert_eq!(error.code(), "COLUMN_FULL", "{error:?}");
                assert_eq!(error.details(), Some(&serde_json::json!({"limit": 3})));
                refusals += 1;
            }
        }
    }
    assert_eq!((added, refusals), (3, 5));
    assert_eq!(titles(&ada, board.id, 0).await?.len(), 3);
    Ok(())
}

#[forge::test]
async fn several_cards_are_added_all_or_none(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    let column_id = board.columns[0].id;
    let list = |titles: &[&str]| -> Vec<NewCard> { titles.iter().map(|title| new_card(column_id, title)).collect() };
    let added = ada.calls.call(add_cards, list(&["one", "two"])).await?;
    assert_eq!(added.len(), 2);

    ada.calls.call(update_column, UpdateColumn { column_id, name: "Few".into(), card_limit: Some(3) }).await?;
    refused(ada.calls.call(add_cards, list(&["three", "four"])).await, "COLUMN_FULL");
    let error = refused(ada.calls.call(add_cards, list(&["three", ""])).await, "VALIDATION_ERROR");
    assert!(error.details().is_some_and(|details| details.get("cards.1.title").is_some()), "{error:?}");
    refused(ada.calls.call(add_cards, AddCards { cards: Vec::new() }).await, "VALIDATION_ERROR");
    assert_eq!(titles(&ada, board.id, 0).await?, ["one", "two"]);
    Ok(())
}
