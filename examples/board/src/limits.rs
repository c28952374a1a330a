//! How much of everything there may be.

/// Boards that one person is a member of.
pub const BOARDS_PER_PERSON: i64 = 200;
/// Members of a board.
pub const MEMBERS_PER_BOARD: i64 = 100;
/// Columns of a board.
pub const COLUMNS_PER_BOARD: i64 = 20;
/// Cards of a board, in all its columns.
pub const CARDS_PER_BOARD: i64 = 500;
/// Comments of a card.
pub const COMMENTS_PER_CARD: i64 = 1000;
