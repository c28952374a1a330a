//! The board that every new account begins with: it explains itself.

use forge::Db;
use forge::prelude::*;

use crate::boards::Board;
use crate::cards::{Card, Priority};
use crate::columns;
use crate::comments::Comment;
use crate::members::{Member, MemberRole};
use crate::users::User;

/// Makes the board.
pub(crate) async fn board_for(db: &Db, user: &User) -> Result<()> {
    let board = Board::insert([Board::NAME.set("Welcome board")]).fetch_one(db).await?;
    Member::insert([Member::BOARD_ID.set(board.id), Member::USER_ID.set(user.id), Member::ROLE.set(MemberRole::Owner)])
        .execute(db)
        .await?;
    let to_do = columns::insert(db, board.id, "To do", None, 0).await?.id;
    let doing = columns::insert(db, board.id, "Doing", Some(3), 1).await?.id;
    let done = columns::insert(db, board.id, "Done", None, 2).await?.id;
    card(
        db,
        user,
        to_do,
        0,
        "Open a card",
        "Click a card, or press Enter on it, to see and change everything about it.",
        Priority::Normal,
    )
    .await?;
    card(
        db,
        user,
        to_do,
        1,
        "Invite somebody",
        "Under Members, with the address that they signed up with. Viewers look, editors change cards, owners decide.",
        Priority::Low,
    )
    .await?;
    let moving = card(
        db,
        user,
        doing,
        0,
        "Move this card to Done",
        "Drag it with the mouse or a finger, or use its menu: every move works with the keyboard too.",
        Priority::High,
    )
    .await?;
    Card::update(moving.id).set(Card::ESTIMATE.set(Decimal::new(5, 1))).execute(db).await?;
    card(db, user, done, 0, "Sign up", "", Priority::Normal).await?;
    Comment::insert([
        Comment::CARD_ID.set(moving.id),
        Comment::AUTHOR_ID.set(user.id),
        Comment::TEXT.set("Doing holds three cards at most: the number beside its name says so."),
    ])
    .execute(db)
    .await
}

async fn card(
    db: &Db,
    user: &User,
    column: Uuid,
    place: i64,
    title: &str,
    description: &str,
    priority: Priority,
) -> Result<Card> {
    Card::insert([
        Card::COLUMN_ID.set(column),
        Card::TITLE.set(title),
        Card::DESCRIPTION.set(description),
        Card::PRIORITY.set(priority),
        Card::POSITION.set(place * 65_536),
        Card::CREATED_BY.set(user.id),
    ])
    .fetch_one(db)
    .await
}
