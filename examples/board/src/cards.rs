//! Cards: what a board is about.

use forge::prelude::*;
use forge::{Db, WriteDb};

use crate::access;
use crate::boards::{GetBoard, get_board};
use crate::columns::BoardColumn;
use crate::errors::BoardError;
use crate::limits::CARDS_PER_BOARD;
use crate::members::{Member, MemberRole};
use crate::reminders;

/// Cards stand this far apart, so that another one fits between any two of them many times.
pub(crate) const GAP: i64 = 65_536;

/// How much a card matters.
#[forge::forge_enum]
pub enum Priority {
    /// When there is time.
    Low,
    /// As usual.
    #[default]
    Normal,
    /// Before others.
    High,
}

/// A card.
#[forge::model]
#[table(name = "cards")]
pub struct Card {
    /// The card.
    #[id]
    pub id: Uuid,
    /// The column that it is in.
    pub column_id: Uuid,
    /// What it is about.
    #[max_length = 200]
    pub title: String,
    /// More about it, as plain text.
    #[default = "''"]
    pub description: String,
    /// How much it matters.
    #[default = "'normal'"]
    pub priority: Priority,
    /// Cards stand by this, from top to bottom.
    pub position: i64,
    /// When it has to be done.
    pub due: Option<Timestamp>,
    /// How many hours it will take.
    pub estimate: Option<Decimal>,
    /// Whose it is.
    #[indexed]
    pub assignee_id: Option<Uuid>,
    /// Who made it.
    pub created_by: Option<Uuid>,
    /// When it was made.
    #[default = "now()"]
    pub created_at: Timestamp,
    /// When it was changed last.
    #[updated_at]
    #[default = "now()"]
    pub updated_at: Timestamp,
}

/// A card, as its board shows it.
#[forge::input]
#[derive(forge::FromRow)]
pub struct CardSummary {
    /// The card.
    pub id: Uuid,
    /// The column that it is in.
    pub column_id: Uuid,
    /// What it is about.
    pub title: String,
    /// Whether there is more about it.
    pub has_description: bool,
    /// How much it matters.
    pub priority: Priority,
    /// When it has to be done.
    pub due: Option<Timestamp>,
    /// How many hours it will take.
    pub estimate: Option<Decimal>,
    /// Whose it is.
    pub assignee_id: Option<Uuid>,
    /// How many comments it has.
    pub comments: i64,
}

/// A card to be.
#[forge::input]
pub struct NewCard {
    /// The card, when whoever adds it makes the id, so that it can be shown, and moved, before it is stored.
    pub id: Option<Uuid>,
    /// The column to add it to, at the bottom.
    pub column_id: Uuid,
    /// What it is about.
    #[validate(length(max = 200), custom = "crate::text::one_line")]
    pub title: String,
    /// More about it, as plain text.
    #[serde(default)]
    #[validate(length(max = 20000), custom = "crate::text::plain")]
    pub description: String,
    /// How many hours it will take.
    #[validate(custom = "hours")]
    pub estimate: Option<Decimal>,
}

/// A card as it is to be from now on.
#[forge::input]
pub struct CardChange {
    /// The card.
    pub id: Uuid,
    /// What it is about.
    #[validate(length(max = 200), custom = "crate::text::one_line")]
    pub title: String,
    /// More about it, as plain text.
    #[validate(length(max = 20000), custom = "crate::text::plain")]
    pub description: String,
    /// How much it matters.
    pub priority: Priority,
    /// When it has to be done; null for no date.
    pub due: Option<Timestamp>,
    /// How many hours it will take; null for no estimate.
    #[validate(custom = "hours")]
    pub estimate: Option<Decimal>,
    /// Whose it is: a member of the board; null for nobody.
    pub assignee_id: Option<Uuid>,
}

/// What everybody who looks at a board is told as `moved`, beside the board as it is then: so that they see who it was.
#[forge::input]
pub struct CardMoved {
    /// The card.
    pub card_id: Uuid,
    /// Who moved it.
    pub by: Uuid,
}

/// A card with everything about it but its comments.
#[forge::query]
pub async fn get_card(ctx: &QueryContext, card_id: Uuid) -> Result<Card> {
    Ok(access::to_card(ctx.auth(), ctx.db(), card_id, MemberRole::Viewer).await?.0)
}

/// Adds a card at the bottom of a column.
#[forge::mutation(isolation = "read_committed")]
pub async fn add_card(ctx: &MutationContext, input: NewCard) -> Result<Card> {
    let column = access::to_column(ctx.auth(), ctx.db(), input.column_id, MemberRole::Editor).await?;
    let me = access::me(ctx.auth())?;
    // Held until this is committed, and read anew: the count below cannot be passed by others meanwhile.
    access::hold_board(ctx.db(), column.board_id).await?;
    let column = BoardColumn::find(column.id).fetch_one(ctx.db()).await?;
    let board_id = column.board_id;
    let cards =
        sql!(i64, "SELECT count(*) FROM cards c JOIN columns l ON l.id = c.column_id WHERE l.board_id = {board_id}");
    if cards.fetch_one(ctx.db()).await? >= CARDS_PER_BOARD {
        return Err(BoardError::LimitReached { what: "cards on a board".into(), limit: CARDS_PER_BOARD }.into());
    }
    let position = place_in(ctx.db(), &column, None, None).await?;
    Card::insert([
        Card::ID.set(input.id.unwrap_or_else(forge::new_uuid)),
        Card::COLUMN_ID.set(column.id),
        Card::TITLE.set(input.title.trim()),
        Card::DESCRIPTION.set(input.description),
        Card::ESTIMATE.set(input.estimate),
        Card::POSITION.set(position),
        Card::CREATED_BY.set(me),
    ])
    .fetch_one(ctx.db())
    .await
}

/// Adds several cards at the bottom of a column: all of them or, when one does not fit, none.
#[forge::mutation(isolation = "read_committed")]
pub async fn add_cards(
    ctx: &MutationContext,
    #[validate(length(min = 1, max = 100))] cards: Vec<NewCard>,
) -> Result<Vec<Card>> {
    let mut added = Vec::with_capacity(cards.len());
    for card in cards {
        added.push(ctx.mutate(add_card, card).await?);
    }
    Ok(added)
}

/// Changes what a card says.
#[forge::mutation]
pub async fn update_card(ctx: &MutationContext, input: CardChange) -> Result<Card> {
    let (before, board_id) = access::to_card(ctx.auth(), ctx.db(), input.id, MemberRole::Editor).await?;
    if let Some(assignee) = input.assignee_id {
        let member = Member::query().filter(Member::BOARD_ID.eq(board_id)).filter(Member::USER_ID.eq(assignee));
        if !member.exists(ctx.db()).await? {
            return Err(BoardError::AssigneeNotAMember.into());
        }
    }
    let card = Card::update(input.id)
        .set(Card::TITLE.set(input.title.trim()))
        .set(Card::DESCRIPTION.set(input.description))
        .set(Card::PRIORITY.set(input.priority))
        .set(Card::DUE.set(input.due))
        .set(Card::ESTIMATE.set(input.estimate))
        .set(Card::ASSIGNEE_ID.set(input.assignee_id))
        .fetch_one(ctx.db())
        .await?;
    if card.due != before.due {
        reminders::schedule(ctx, &card).await?;
    }
    Ok(card)
}

/// Moves a card into a column of the same board (also the one that it is in), above another card; to the bottom when
/// that is null.
#[forge::mutation(isolation = "read_committed")]
pub async fn move_card(ctx: &MutationContext, card_id: Uuid, column_id: Uuid, before: Option<Uuid>) -> Result<Card> {
    let (card, board_id) = access::to_card(ctx.auth(), ctx.db(), card_id, MemberRole::Editor).await?;
    if before == Some(card_id) {
        return Ok(card);
    }
    // One move on a board at a time: whoever waited sees, from here on, where the cards stand now.
    access::hold_board(ctx.db(), board_id).await?;
    let column = BoardColumn::find(column_id).filter(BoardColumn::BOARD_ID.eq(board_id)).fetch_optional(ctx.db()).await?;
    let column = column.ok_or_else(|| Error::not_found("the column is not on this board; it may have been deleted"))?;
    let position = place_in(ctx.db(), &column, before, Some(card_id)).await?;
    let moved = CardMoved { card_id, by: access::me(ctx.auth())? };
    ctx.emit(get_board, GetBoard { board_id }, "moved", moved).await?;
    Card::update(card_id).set(Card::COLUMN_ID.set(column_id)).set(Card::POSITION.set(position)).fetch_one(ctx.db()).await
}

/// Deletes a card with its comments.
#[forge::mutation]
pub async fn delete_card(ctx: &MutationContext, card_id: Uuid) -> Result<()> {
    access::to_card(ctx.auth(), ctx.db(), card_id, MemberRole::Editor).await?;
    reminders::cancel(ctx, card_id).await?;
    Card::delete(card_id).execute(ctx.db()).await?;
    Ok(())
}

/// The cards of a board, column by column in no particular order, and from top to bottom in each.
pub(crate) async fn cards_of_board(db: &Db, board_id: Uuid) -> Result<Vec<CardSummary>> {
    sql!(
        CardSummary,
        "SELECT c.id, c.column_id, c.title, c.description <> '' AS has_description, c.priority, c.due, c.estimate, c.assignee_id,
                (SELECT count(*) FROM comments m WHERE m.card_id = c.id) AS comments
           FROM cards c JOIN columns l ON l.id = c.column_id
          WHERE l.board_id = {board_id}
          ORDER BY c.column_id, c.position"
    )
    .fetch_all(db)
    .await
}

/// A free position in a column, above a card or at the bottom, for a new card or for the one that moves. The caller holds
/// the board.
async fn place_in(db: &WriteDb, column: &BoardColumn, before: Option<Uuid>, moving: Option<Uuid>) -> Result<i64> {
    let others = || {
        let others = Card::query().filter(Card::COLUMN_ID.eq(column.id));
        match moving {
            Some(moving) => others.filter(Card::ID.ne(moving)),
            None => others,
        }
    };
    let stays = match moving {
        Some(moving) => Card::find(moving).filter(Card::COLUMN_ID.eq(column.id)).exists(db).await?,
        None => false,
    };
    if let Some(limit) = column.card_limit
        && !stays
        && others().count(db).await? >= i64::from(limit)
    {
        return Err(BoardError::ColumnFull { limit }.into());
    }
    let Some(before) = before else {
        let last = others().order_by(Card::POSITION.desc()).fetch_optional(db).await?;
        return Ok(last.map_or(0, |last| last.position + GAP));
    };
    for spread in [false, true] {
        if spread {
            make_room(db, column.id).await?;
        }
        let below = others().filter(Card::ID.eq(before)).fetch_optional(db).await?;
        let below = below.ok_or_else(|| Error::not_found("the card to stand above is not in that column any more"))?;
        let above = others().filter(Card::POSITION.lt(below.position)).order_by(Card::POSITION.desc());
        let above = above.fetch_optional(db).await?.map_or(below.position - 2 * GAP, |above| above.position);
        let between = above + (below.position - above) / 2;
        if between > above {
            return Ok(between);
        }
    }
    Err(Error::internal("two cards stand next to each other right after the column was spread"))
}

/// Puts the cards of a column as far apart as they should be, in the order they have.
async fn make_room(db: &WriteDb, column_id: Uuid) -> Result<()> {
    sql!(
        "UPDATE cards SET position = o.place * {GAP: i64}
           FROM (SELECT id, row_number() OVER (ORDER BY position) AS place FROM cards WHERE column_id = {column_id}) o
          WHERE cards.id = o.id"
    )
    .execute(db)
    .await?;
    Ok(())
}

fn hours(estimate: &Decimal) -> Result<(), String> {
    if estimate.is_sign_negative() && !estimate.is_zero() || *estimate > Decimal::from(10_000) {
        return Err("must be between 0 and 10000 hours".into());
    }
    if estimate.normalize().scale() > 2 {
        return Err("must have at most two digits after the point".into());
    }
    Ok(())
}
