//! Columns of a board.

use forge::WriteDb;
use forge::prelude::*;

use crate::access;
use crate::cards::Card;
use crate::errors::BoardError;
use crate::limits::COLUMNS_PER_BOARD;
use crate::members::MemberRole;

/// A column of a board.
#[forge::model]
#[table(name = "columns")]
#[index(fields = ["board_id", "position"])]
pub struct BoardColumn {
    /// The column.
    #[id]
    pub id: Uuid,
    /// Its board.
    pub board_id: Uuid,
    /// Its name.
    #[max_length = 60]
    pub name: String,
    /// How many cards it may hold; as many as wanted when null.
    pub card_limit: Option<i32>,
    /// Columns stand by this, from left to right.
    pub position: i64,
}

/// Adds a column at the right. Its id may be made by whoever adds it.
#[forge::mutation]
pub async fn add_column(
    ctx: &MutationContext,
    board_id: Uuid,
    #[validate(length(max = 60), custom = "crate::text::one_line")] name: String,
    #[validate(range(min = 1, max = 500))] card_limit: Option<i32>,
    id: Option<Uuid>,
) -> Result<BoardColumn> {
    access::to_board(ctx.auth(), ctx.db(), board_id, MemberRole::Editor).await?;
    access::hold_board(ctx.db(), board_id).await?;
    let (count, last) = sql!((i64, Option<i64>), "SELECT count(*), max(position) FROM columns WHERE board_id = {board_id}")
        .fetch_one(ctx.db())
        .await?;
    if count >= COLUMNS_PER_BOARD {
        return Err(BoardError::LimitReached { what: "columns".into(), limit: COLUMNS_PER_BOARD }.into());
    }
    insert(ctx.db(), id, board_id, &name, card_limit, last.map_or(0, |last| last + 1)).await
}

/// Gives a column another name and another limit. A limit below what it holds only keeps further cards out.
#[forge::mutation]
pub async fn update_column(
    ctx: &MutationContext,
    column_id: Uuid,
    #[validate(length(max = 60), custom = "crate::text::one_line")] name: String,
    #[validate(range(min = 1, max = 500))] card_limit: Option<i32>,
) -> Result<BoardColumn> {
    access::to_column(ctx.auth(), ctx.db(), column_id, MemberRole::Editor).await?;
    BoardColumn::update(column_id)
        .set(BoardColumn::NAME.set(name.trim()))
        .set(BoardColumn::CARD_LIMIT.set(card_limit))
        .fetch_one(ctx.db())
        .await
}

/// Moves a column to the left of another one; to the right end when that is null.
#[forge::mutation(isolation = "read_committed")]
pub async fn move_column(ctx: &MutationContext, column_id: Uuid, before: Option<Uuid>) -> Result<()> {
    let column = access::to_column(ctx.auth(), ctx.db(), column_id, MemberRole::Editor).await?;
    // One at a time: what is read below then stays true.
    access::hold_board(ctx.db(), column.board_id).await?;
    let ids = sql!(Uuid, "SELECT id FROM columns WHERE board_id = {column.board_id} ORDER BY position, id");
    let mut ids = ids.fetch_all(ctx.db()).await?;
    ids.retain(|id| *id != column_id);
    let place = match before {
        None => ids.len(),
        Some(before) if before == column_id => return Ok(()),
        Some(before) => ids
            .iter()
            .position(|id| *id == before)
            .ok_or_else(|| Error::not_found("the column to stand before is not on this board any more"))?,
    };
    ids.insert(place, column_id);
    sql!(
        "UPDATE columns SET position = o.position
           FROM unnest({ids}::uuid[]) WITH ORDINALITY AS o (id, position)
          WHERE columns.id = o.id"
    )
    .execute(ctx.db())
    .await?;
    Ok(())
}

/// Deletes a column that holds no cards.
#[forge::mutation]
pub async fn delete_column(ctx: &MutationContext, column_id: Uuid) -> Result<()> {
    access::to_column(ctx.auth(), ctx.db(), column_id, MemberRole::Editor).await?;
    let cards = Card::query().filter(Card::COLUMN_ID.eq(column_id)).count(ctx.db()).await?;
    if cards > 0 {
        return Err(BoardError::ColumnNotEmpty { cards }.into());
    }
    BoardColumn::delete(column_id).execute(ctx.db()).await?;
    Ok(())
}

/// Adds a column at a position.
pub(crate) async fn insert(
    db: &WriteDb,
    id: Option<Uuid>,
    board_id: Uuid,
    name: &str,
    card_limit: Option<i32>,
    position: i64,
) -> Result<BoardColumn> {
    BoardColumn::insert([
        BoardColumn::ID.set(id.unwrap_or_else(forge::new_uuid)),
        BoardColumn::BOARD_ID.set(board_id),
        BoardColumn::NAME.set(name.trim()),
        BoardColumn::CARD_LIMIT.set(card_limit),
        BoardColumn::POSITION.set(position),
    ])
    .fetch_one(db)
    .await
}
