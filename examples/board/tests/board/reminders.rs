//! Reminders come when a card is due, once, and to whom it concerns.

use std::time::Duration;

use board::cards::{Card, CardChange, DeleteCard, Priority, delete_card, update_card};
use board::members::{MemberRole, RemoveMember, remove_member};
use board::reminders::RemindOfCard;
use forge::Result;
use forge::prelude::*;
use forge::testing::TestApp;

use crate::people::{Person, board_of, card, member, person};

const HOUR: Duration = Duration::from_secs(3600);

/// The card, due so many hours from now; on no day without any.
async fn due(person: &Person, card: &Card, hours: Option<u32>, assignee_id: Option<Uuid>) -> Result<Card> {
    let change = CardChange {
        id: card.id,
        title: card.title.clone(),
        description: String::new(),
        priority: Priority::Normal,
        due: hours.map(|hours| Timestamp::now() + HOUR * hours),
        estimate: None,
        assignee_id,
    };
    person.calls.call(update_card, change).await
}

async fn waiting(app: &TestApp) -> Result<i64> {
    let row = app.sql().await?.query_one("SELECT count(*) FROM forge_jobs WHERE kind = 'remind_of_card'", &[]).await;
    Ok(row.context("counting reminders")?.get(0))
}

#[forge::test]
async fn whoever_a_card_was_given_to_is_reminded_when_it_is_due(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    let eve = member(&app, &ada, &board, "Eve", MemberRole::Editor).await?;
    let milk = card(&ada, board.columns[0].id, "Milk\u{1f95b}, <b>fresh</b>").await?;
    let milk = due(&ada, &milk, Some(2), Some(eve.id)).await?;
    app.assert_dispatched::<RemindOfCard>(|job| job.card_id == milk.id && Some(job.due) == milk.due).await;
    app.advance(HOUR).await?;
    assert!(app.mails().is_empty());
    app.advance(HOUR + HOUR / 2).await?;
    let mails = app.mails();
    assert_eq!(mails.len(), 1, "{mails:?}");
    assert_eq!(mails[0].to, [format!("Eve <{}>", eve.email)]);
    assert_eq!(mails[0].subject, format!("Due now: {}", milk.title));
    assert!(mails[0].text.contains("on the board “Plans” is due now"), "{}", mails[0].text);
    Ok(())
}

#[forge::test]
async fn a_card_with_a_long_title_is_reminded_of_like_any_other(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    let title = "\u{1f95b}".repeat(200);
    let milk = card(&ada, board.columns[0].id, &title).await?;
    due(&ada, &milk, Some(1), None).await?;
    app.advance(HOUR * 2).await?;
    let mails = app.mails();
    assert_eq!(mails.len(), 1, "{mails:?}");
    assert_eq!(mails[0].subject, format!("Due now: {}…", "\u{1f95b}".repeat(119)));
    assert!(mails[0].text.contains(&title));
    Ok(())
}

#[forge::test]
async fn another_time_moves_the_reminder_and_none_takes_it_away(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    let column = board.columns[0].id;
    let moved = card(&ada, column, "Moved").await?;
    due(&ada, &moved, Some(1), None).await?;
    due(&ada, &moved, Some(5), None).await?;
    // What says nothing about the time leaves the reminder as it is.
    let same = CardChange { title: "Renamed".into(), ..change_of(&moved, Some(Timestamp::now() + HOUR * 5)) };
    ada.calls.call(update_card, same).await?;
    let unset = card(&ada, column, "Unset").await?;
    due(&ada, &unset, Some(1), None).await?;
    due(&ada, &unset, None, None).await?;
    let deleted = card(&ada, column, "Deleted").await?;
    due(&ada, &deleted, Some(1), None).await?;
    ada.calls.call(delete_card, DeleteCard { card_id: deleted.id }).await?;
    let past = card(&ada, column, "Past").await?;
    let yesterday = change_of(&past, Some(Timestamp::now() - HOUR * 24));
    ada.calls.call(update_card, yesterday).await?;
    assert_eq!(waiting(&app).await?, 1);
    app.advance(HOUR * 2).await?;
    assert!(app.mails().is_empty());
    app.advance(HOUR * 4).await?;
    assert_eq!(app.mails().iter().map(|mail| mail.subject.as_str()).collect::<Vec<_>>(), ["Due now: Renamed"]);
    Ok(())
}

fn change_of(card: &Card, due: Option<Timestamp>) -> CardChange {
    CardChange {
        id: card.id,
        title: card.title.clone(),
        description: String::new(),
        priority: Priority::Normal,
        due,
        estimate: None,
        assignee_id: None,
    }
}

#[forge::test]
async fn who_has_left_is_not_reminded(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    let eve = member(&app, &ada, &board, "Eve", MemberRole::Editor).await?;
    let made = card(&eve, board.columns[0].id, "Of one who leaves").await?;
    due(&eve, &made, Some(1), None).await?;
    ada.calls.call(remove_member, RemoveMember { board_id: board.id, user_id: eve.id }).await?;
    app.advance(HOUR * 2).await?;
    assert!(app.mails().is_empty());
    assert_eq!(waiting(&app).await?, 0);
    Ok(())
}
