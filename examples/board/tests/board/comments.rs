//! Comments.

use board::comments::{AddComment, DeleteComment, ListComments, add_comment, delete_comment, list_comments};
use board::members::MemberRole;
use forge::Result;
use forge::prelude::*;
use forge::testing::TestApp;

use crate::people::{board_of, card, member, person, refused};

fn saying(card_id: Uuid, text: &str) -> AddComment {
    AddComment { card_id, text: text.into() }
}

#[forge::test]
async fn pages_follow_each_other_whatever_is_added_meanwhile(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    let card_id = card(&ada, board.columns[0].id, "Talk").await?.id;
    for n in 0..45 {
        ada.calls.call(add_comment, saying(card_id, &format!("comment {n}"))).await?;
    }
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let page = ada.calls.call(list_comments, ListComments { card_id, cursor }).await?;
        assert!(page.comments.iter().all(|comment| comment.author == "Ada"));
        seen.extend(page.comments.into_iter().map(|comment| comment.text));
        // Newer than what was asked for: it belongs to none of the later pages.
        ada.calls.call(add_comment, saying(card_id, "meanwhile")).await?;
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, (0..45).rev().map(|n| format!("comment {n}")).collect::<Vec<_>>());
    let forged = ListComments { card_id, cursor: Some("nonsense".into()) };
    refused(ada.calls.call(list_comments, forged).await, "INVALID_ARGUMENT");
    Ok(())
}

#[forge::test]
async fn who_may_say_and_unsay(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    let card_id = card(&ada, board.columns[0].id, "Talk").await?.id;
    let eve = member(&app, &ada, &board, "Eve", MemberRole::Editor).await?;
    let bob = member(&app, &ada, &board, "Bob", MemberRole::Editor).await?;
    let vic = member(&app, &ada, &board, "Vic", MemberRole::Viewer).await?;
    let mallory = person(&app, "Mallory").await?;

    let said = eve.calls.call(add_comment, saying(card_id, " Two\nlines ")).await?;
    assert_eq!((said.text.as_str(), said.author_id), ("Two\nlines", eve.id));
    refused(vic.calls.call(add_comment, saying(card_id, "me too")).await, "ROLE_TOO_LOW");
    refused(mallory.calls.call(add_comment, saying(card_id, "me too")).await, "NOT_A_MEMBER");
    refused(mallory.calls.call(list_comments, ListComments { card_id, cursor: None }).await, "NOT_A_MEMBER");
    assert_eq!(vic.calls.call(list_comments, ListComments { card_id, cursor: None }).await?.comments.len(), 1);
    for text in ["", " \n ", &"x".repeat(5001)] {
        refused(eve.calls.call(add_comment, saying(card_id, text)).await, "VALIDATION_ERROR");
    }

    let comment_id = said.id;
    refused(bob.calls.call(delete_comment, DeleteComment { comment_id }).await, "ROLE_TOO_LOW");
    ada.calls.call(delete_comment, DeleteComment { comment_id }).await?;
    refused(eve.calls.call(delete_comment, DeleteComment { comment_id }).await, "NOT_FOUND");
    let own = eve.calls.call(add_comment, saying(card_id, "again")).await?;
    eve.calls.call(delete_comment, DeleteComment { comment_id: own.id }).await?;
    Ok(())
}
