//! Moving cards: the order is what people made it, whoever moves at the same time.

use std::collections::BTreeSet;

use board::boards::{GetBoard, get_board};
use board::cards::{Card, MoveCard, move_card};
use board::columns::{UpdateColumn, update_column};
use board::members::MemberRole;
use forge::Result;
use forge::prelude::*;
use forge::testing::TestApp;

use crate::people::{Person, board_of, card, member, person, refused, titles};

async fn cards(person: &Person, column: Uuid, titles: &[&str]) -> Result<Vec<Card>> {
    let mut made = Vec::new();
    for title in titles {
        made.push(card(person, column, title).await?);
    }
    Ok(made)
}

#[forge::test]
async fn a_card_goes_where_it_is_put(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    let [here, there] = [board.columns[0].id, board.columns[1].id];
    let made = cards(&ada, here, &["one", "two", "three"]).await?;
    let to = |card: &Card, column_id, before: Option<&Card>| MoveCard {
        card_id: card.id,
        column_id,
        before: before.map(|card| card.id),
    };

    ada.calls.call(move_card, to(&made[2], here, Some(&made[0]))).await?;
    assert_eq!(titles(&ada, board.id, 0).await?, ["three", "one", "two"]);
    ada.calls.call(move_card, to(&made[2], here, Some(&made[1]))).await?;
    assert_eq!(titles(&ada, board.id, 0).await?, ["one", "three", "two"]);
    ada.calls.call(move_card, to(&made[0], here, None)).await?;
    assert_eq!(titles(&ada, board.id, 0).await?, ["three", "two", "one"]);
    // Above itself: it stays.
    ada.calls.call(move_card, to(&made[1], here, Some(&made[1]))).await?;
    assert_eq!(titles(&ada, board.id, 0).await?, ["three", "two", "one"]);

    let moved = ada.calls.call(move_card, to(&made[1], there, None)).await?;
    assert_eq!(moved.column_id, there);
    ada.calls.call(move_card, to(&made[0], there, Some(&made[1]))).await?;
    assert_eq!(titles(&ada, board.id, 0).await?, ["three"]);
    assert_eq!(titles(&ada, board.id, 1).await?, ["one", "two"]);

    refused(ada.calls.call(move_card, to(&made[0], there, Some(&made[2]))).await, "NOT_FOUND");
    Ok(())
}

#[forge::test]
async fn there_is_always_room_between_two_cards(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    let column_id = board.columns[0].id;
    let made = cards(&ada, column_id, &["top", "a", "b"]).await?;
    // Each of these halves the space between the first two; there is space for 16.
    for n in 0..40 {
        let (moving, other) = if n % 2 == 0 { (&made[2], &made[1]) } else { (&made[1], &made[2]) };
        ada.calls.call(move_card, MoveCard { card_id: moving.id, column_id, before: Some(other.id) }).await?;
        let expected = ["top", moving.title.as_str(), other.title.as_str()];
        assert_eq!(titles(&ada, board.id, 0).await?, expected, "after {} moves", n + 1);
    }
    Ok(())
}

#[forge::test]
async fn a_limit_holds_for_moves_from_elsewhere_only(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    let [here, there] = [board.columns[0].id, board.columns[1].id];
    let outside = card(&ada, here, "outside").await?;
    let inside = cards(&ada, there, &["one", "two"]).await?;
    ada.calls.call(update_column, UpdateColumn { column_id: there, name: "Few".into(), card_limit: Some(2) }).await?;

    let into = MoveCard { card_id: outside.id, column_id: there, before: None };
    refused(ada.calls.call(move_card, into).await, "COLUMN_FULL");
    let within = MoveCard { card_id: inside[1].id, column_id: there, before: Some(inside[0].id) };
    ada.calls.call(move_card, within).await?;
    assert_eq!(titles(&ada, board.id, 1).await?, ["two", "one"]);
    Ok(())
}

#[forge::test]
async fn a_card_stays_on_its_board_and_viewers_move_none(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let (board, other) = (board_of(&ada).await?, board_of(&ada).await?);
    let made = card(&ada, board.columns[0].id, "Here").await?;
    let away = MoveCard { card_id: made.id, column_id: other.columns[0].id, before: None };
    refused(ada.calls.call(move_card, away).await, "NOT_FOUND");

    let viewer = member(&app, &ada, &board, "Vic", MemberRole::Viewer).await?;
    let within = MoveCard { card_id: made.id, column_id: board.columns[1].id, before: None };
    refused(viewer.calls.call(move_card, within).await, "ROLE_TOO_LOW");
    Ok(())
}

#[forge::test]
async fn many_who_move_at_once_lose_nothing(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    let names: Vec<String> = (0..10).map(|n| format!("card {n}")).collect();
    let made = cards(&ada, board.columns[0].id, &names.iter().map(String::as_str).collect::<Vec<_>>()).await?;

    let movers = made.iter().enumerate().map(|(n, card)| {
        let (calls, card_id) = (ada.calls.clone(), card.id);
        let columns: Vec<Uuid> = board.columns.iter().map(|column| column.id).collect();
        let first = made[0].id;
        tokio::spawn(async move {
            for step in 0..6 {
                let column_id = columns[(n + step) % columns.len()];
                // Above the same card as the others, when that is there; it moves too.
                let above = MoveCard { card_id, column_id, before: Some(first) };
                match calls.call(move_card, above).await {
                    Ok(_) => {}
                    Err(error) if error.code() == "NOT_FOUND" => {
                        calls.call(move_card, MoveCard { card_id, column_id, before: None }).await?;
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok::<(), Error>(())
        })
    });
    for mover in movers.collect::<Vec<_>>() {
        mover.await.expect("the mover does not panic")?;
    }

    let after = ada.calls.call(get_board, GetBoard { board_id: board.id }).await?;
    let there: BTreeSet<String> =
        after.columns.iter().flat_map(|column| &column.cards).map(|card| card.title.clone()).collect();
    assert_eq!(there, names.into_iter().collect());
    // The order is one: no two cards share a place.
    let shared = "SELECT count(*) FROM (SELECT 1 FROM cards GROUP BY column_id, position HAVING count(*) > 1) twice";
    let shared: i64 = app.sql().await?.query_one(shared, &[]).await.expect("it can be counted").get(0);
    assert_eq!(shared, 0);
    Ok(())
}
