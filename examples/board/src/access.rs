//! Who may do what. Every function asks here first; what it gets back it has been allowed to see.

use forge::prelude::*;
use forge::{AuthContext, Db};

use crate::boards::Board;
use crate::cards::Card;
use crate::columns::BoardColumn;
use crate::errors::BoardError;
use crate::members::MemberRole;

/// The id of the account that calls.
pub(crate) fn me(auth: &AuthContext) -> Result<Uuid> {
    auth.require_user()?.id.parse().map_err(|_| Error::unauthorized("this token is not one of an account of this app"))
}

/// The caller's role on a board, when it is at least what is needed.
pub(crate) async fn to_board(auth: &AuthContext, db: &Db, board_id: Uuid, needed: MemberRole) -> Result<MemberRole> {
    let me = me(auth)?;
    let role = sql!(
        Option<MemberRole>,
        "SELECT m.role FROM boards b LEFT JOIN members m ON m.board_id = b.id AND m.user_id = {me} WHERE b.id = {board_id}"
    );
    match role.fetch_optional(db).await? {
        None => Err(Error::not_found("there is no such board; it may have been deleted")),
        Some(None) => Err(BoardError::NotAMember.into()),
        Some(Some(yours)) if yours < needed => Err(BoardError::RoleTooLow { needed, yours }.into()),
        Some(Some(yours)) => Ok(yours),
    }
}

/// A column of a board on which the caller's role is at least what is needed.
pub(crate) async fn to_column(auth: &AuthContext, db: &Db, column_id: Uuid, needed: MemberRole) -> Result<BoardColumn> {
    let column = BoardColumn::find(column_id).fetch_optional(db).await?;
    let column = column.ok_or_else(|| Error::not_found("there is no such column; it may have been deleted"))?;
    to_board(auth, db, column.board_id, needed).await?;
    Ok(column)
}

/// A card with its board, on which the caller's role is at least what is needed.
pub(crate) async fn to_card(auth: &AuthContext, db: &Db, card_id: Uuid, needed: MemberRole) -> Result<(Card, Uuid)> {
    let card = Card::find(card_id).fetch_optional(db).await?;
    let card = card.ok_or_else(|| Error::not_found("there is no such card; it may have been deleted"))?;
    let column = to_column(auth, db, card.column_id, needed).await?;
    Ok((card, column.board_id))
}

/// A board, held until the mutation ends: whoever changes its list of columns or members waits meanwhile.
pub(crate) async fn hold_board(db: &Db, board_id: Uuid) -> Result<Board> {
    let board = Board::find(board_id).for_update().fetch_optional(db).await?;
    board.ok_or_else(|| Error::not_found("there is no such board; it may have been deleted"))
}
