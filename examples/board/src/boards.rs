//! Boards.

use forge::prelude::*;

use crate::access;
use crate::cards::{CardSummary, cards_of_board};
use crate::errors::BoardError;
use crate::limits::BOARDS_PER_PERSON;
use crate::members::{ListMembers, Member, MemberRole, MemberView, list_members};

/// A board.
#[forge::model]
#[table(name = "boards")]
pub struct Board {
    /// The board.
    #[id]
    pub id: Uuid,
    /// Its name.
    #[max_length = 100]
    pub name: String,
    /// When it was made.
    #[default = "now()"]
    pub created_at: Timestamp,
    /// When it was renamed last.
    #[updated_at]
    #[default = "now()"]
    pub updated_at: Timestamp,
}

/// A board in the list of somebody's boards.
#[forge::input]
#[derive(forge::FromRow)]
pub struct BoardSummary {
    /// The board.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// My role there.
    pub role: MemberRole,
    /// How many cards it has.
    pub cards: i64,
    /// How many of them are overdue.
    pub overdue: i64,
    /// How many people are members.
    pub members: i64,
}

/// A board with everything that its page shows.
#[forge::input]
pub struct BoardView {
    /// The board.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// My role here.
    pub role: MemberRole,
    /// Its columns, from left to right.
    pub columns: Vec<ColumnView>,
    /// Its members, by name.
    pub members: Vec<MemberView>,
}

/// A column with its cards.
#[forge::input]
pub struct ColumnView {
    /// The column.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// How many cards it may hold, if that is limited.
    pub card_limit: Option<i32>,
    /// The hours that its cards are estimated at.
    pub estimate: Decimal,
    /// Its cards, from top to bottom.
    pub cards: Vec<CardSummary>,
}

/// What is asked of a column in a board's view.
#[derive(forge::FromRow)]
struct ColumnRow {
    id: Uuid,
    name: String,
    card_limit: Option<i32>,
    estimate: Decimal,
}

/// The boards that I am a member of, by name. A card is overdue when it was due before `now`: a live query has no clock of
/// its own, so whoever asks brings the time, and another one when it has moved on.
#[forge::query]
pub async fn list_boards(ctx: &QueryContext, now: Timestamp) -> Result<Vec<BoardSummary>> {
    let me = access::me(ctx.auth())?;
    sql!(
        BoardSummary,
        "SELECT b.id, b.name, mine.role,
                (SELECT count(*) FROM members m WHERE m.board_id = b.id) AS members,
                count(c.id) AS cards,
                count(c.id) FILTER (WHERE c.due < {now}) AS overdue
           FROM members mine
           JOIN boards b ON b.id = mine.board_id
           LEFT JOIN columns l ON l.board_id = b.id
           LEFT JOIN cards c ON c.column_id = l.id
          WHERE mine.user_id = {me}
          GROUP BY b.id, mine.role
          ORDER BY lower(b.name), b.id"
    )
    .fetch_all(ctx.db())
    .await
}

/// A board with its columns, cards and members, all of one moment.
#[forge::query(snapshot)]
pub async fn get_board(ctx: &QueryContext, board_id: Uuid) -> Result<BoardView> {
    let role = access::to_board(ctx.auth(), ctx.db(), board_id, MemberRole::Viewer).await?;
    let board = Board::find(board_id).fetch_one(ctx.db()).await?;
    let columns = sql!(
        ColumnRow,
        "SELECT l.id, l.name, l.card_limit, coalesce(sum(c.estimate), 0) AS estimate
           FROM columns l LEFT JOIN cards c ON c.column_id = l.id
          WHERE l.board_id = {board_id}
          GROUP BY l.id
          ORDER BY l.position, l.id"
    );
    let columns = columns.fetch_all(ctx.db()).await?;
    let mut cards = cards_of_board(ctx.db(), board_id).await?;
    let members = ctx.query(list_members, ListMembers { board_id }).await?;
    let columns = columns.into_iter().map(|ColumnRow { id, name, card_limit, estimate }| ColumnView {
        id,
        name,
        card_limit,
        estimate,
        cards: cards.extract_if(.., |card| card.column_id == id).collect(),
    });
    Ok(BoardView { id: board.id, name: board.name, role, columns: columns.collect(), members })
}

/// Makes a board, with three columns to begin with. I become its owner.
#[forge::mutation]
pub async fn create_board(
    ctx: &MutationContext,
    #[validate(length(max = 100), custom = "crate::text::one_line")] name: String,
) -> Result<Board> {
    let me = access::me(ctx.auth())?;
    if Member::query().filter(Member::USER_ID.eq(me)).count(ctx.db()).await? >= BOARDS_PER_PERSON {
        return Err(BoardError::LimitReached { what: "boards".into(), limit: BOARDS_PER_PERSON }.into());
    }
    let board = Board::insert([Board::NAME.set(name.trim())]).fetch_one(ctx.db()).await?;
    Member::insert([Member::BOARD_ID.set(board.id), Member::USER_ID.set(me), Member::ROLE.set(MemberRole::Owner)])
        .execute(ctx.db())
        .await?;
    for (position, name) in (0_i64..).zip(["To do", "Doing", "Done"]) {
        crate::columns::insert(ctx.db(), None, board.id, name, None, position).await?;
    }
    Ok(board)
}

/// Gives a board another name.
#[forge::mutation]
pub async fn rename_board(
    ctx: &MutationContext,
    board_id: Uuid,
    #[validate(length(max = 100), custom = "crate::text::one_line")] name: String,
) -> Result<Board> {
    access::to_board(ctx.auth(), ctx.db(), board_id, MemberRole::Owner).await?;
    Board::update(board_id).set(Board::NAME.set(name.trim())).fetch_one(ctx.db()).await
}

/// Deletes a board with everything in it. There is no way back.
#[forge::mutation]
pub async fn delete_board(ctx: &MutationContext, board_id: Uuid) -> Result<()> {
    access::to_board(ctx.auth(), ctx.db(), board_id, MemberRole::Owner).await?;
    Board::delete(board_id).execute(ctx.db()).await?;
    Ok(())
}
