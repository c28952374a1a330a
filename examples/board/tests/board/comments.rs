//! Comments.

use board::comments::{AddComment, DeleteComment, ListComments, add_comment, delete_comment, list_comments};
use board::members::MemberRole;
use forge::Result;
use forge::prelude::*;
use forge::testing::TestApp;

use crate::people::{board_of, card, member, person, refused};

fn saying(card_id: Uuid, text: &str) -> AddComment {
    AddComment { card_id, text: text.into(), id: None }
}

fn newest(card_id: Uuid, limit: i32) -> ListComments {
    ListComments { card_id, limit }
}

#[forge::test]
async fn the_newest_come_first_and_as_many_as_were_asked_for(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    let card_id = card(&ada, board.columns[0].id, "Talk").await?.id;
    for n in 0..5 {
        ada.calls.call(add_comment, saying(card_id, &format!("comment {n}"))).await?;
    }
    for (limit, expected, more) in [(3, 3, true), (4, 4, true), (5, 5, false), (1000, 5, false)] {
        let list = ada.calls.call(list_comments, newest(card_id, limit)).await?;
        let texts: Vec<_> = list.comments.iter().map(|comment| comment.text.clone()).collect();
        assert_eq!(texts, (0..5).rev().take(expected).map(|n| format!("comment {n}")).collect::<Vec<_>>());
        assert!(list.comments.iter().all(|comment| comment.author == "Ada"));
        assert_eq!(list.more, more, "of {limit}");
    }
    for limit in [0, -1, 1001] {
        refused(ada.calls.call(list_comments, newest(card_id, limit)).await, "VALIDATION_ERROR");
    }
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
    refused(mallory.calls.call(list_comments, newest(card_id, 20)).await, "NOT_A_MEMBER");
    assert_eq!(vic.calls.call(list_comments, newest(card_id, 20)).await?.comments.len(), 1);
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
