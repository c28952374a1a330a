//! The board that every new account begins with: it explains itself.

use forge::WriteDb;
use forge::prelude::*;

use crate::boards::Board;
use crate::cards::{Card, Priority};
use crate::columns;
use crate::comments::Comment;
use crate::members::{Member, MemberRole};
use crate::users::User;

/// Name and limit of each column.
const COLUMNS: [(&str, Option<i32>); 3] = [("To do", None), ("Doing", Some(3)), ("Done", None)];

struct Example {
    /// The position among `COLUMNS`.
    column: usize,
    title: &'static str,
    description: &'static str,
    priority: Priority,
    comment: Option<&'static str>,
}

const CARDS: [Example; 4] = [
    Example {
        column: 0,
        title: "Open a card",
        description: "Click a card, or press Enter on it, to see and change everything about it.",
        priority: Priority::Normal,
        comment: None,
    },
    Example {
        column: 0,
        title: "Invite somebody",
        description: "Under Members, with the address that they signed up with.\n\n\
                      Viewers look, editors change cards, owners decide.",
        priority: Priority::Low,
        comment: None,
    },
    Example {
        column: 1,
        title: "Move this card to Done",
        description: "Drag it with the mouse, or with a finger that rests on it first.\n\n\
                      With the keyboard: Shift and an arrow key, or “Move to…” in its menu.",
        priority: Priority::High,
        comment: Some("Doing holds three cards at most: the number beside its name says so."),
    },
    Example { column: 2, title: "Sign up", description: "", priority: Priority::Normal, comment: None },
];

/// Makes the board.
pub(crate) async fn board_for(db: &WriteDb, user: &User) -> Result<()> {
    let board = Board::insert([Board::NAME.set("Welcome board")]).fetch_one(db).await?;
    let owner = [Member::BOARD_ID.set(board.id), Member::USER_ID.set(user.id), Member::ROLE.set(MemberRole::Owner)];
    Member::insert(owner).execute(db).await?;
    for (column, (name, limit)) in COLUMNS.into_iter().enumerate() {
        let column_id = columns::insert(db, None, board.id, name, limit, i64::try_from(column)?).await?.id;
        for (place, example) in (0_i64..).zip(CARDS.iter().filter(|example| example.column == column)) {
            add(db, user, column_id, place, example).await?;
        }
    }
    Ok(())
}

async fn add(db: &WriteDb, user: &User, column_id: Uuid, place: i64, example: &Example) -> Result<()> {
    let card = Card::insert([
        Card::COLUMN_ID.set(column_id),
        Card::TITLE.set(example.title),
        Card::DESCRIPTION.set(example.description),
        Card::PRIORITY.set(example.priority),
        Card::POSITION.set(place * crate::cards::GAP),
        Card::CREATED_BY.set(user.id),
    ])
    .fetch_one(db)
    .await?;
    if let Some(text) = example.comment {
        let comment = [Comment::CARD_ID.set(card.id), Comment::AUTHOR_ID.set(user.id), Comment::TEXT.set(text)];
        Comment::insert(comment).execute(db).await?;
    }
    Ok(())
}
