//! Reminders: a mail when a card is due.
//!
//! The mutation that sets a due time dispatches the job that will remind of it, so that one exists exactly if the other does. Another
//! time cancels it and dispatches another one. What the job finds when it runs decides: a card that is gone, or due at another time, is not
//! reminded of.

use forge::WriteDb;
use forge::prelude::*;

use crate::cards::Card;
use crate::text::shortened;

/// How much of a card's title the subject of a mail says, in characters: with what is before it, it has to be 500 bytes at most, and a character takes up to four.
const SUBJECT_MAX: usize = 120;

/// A card that is due.
#[forge::input]
pub struct RemindOfCard {
    /// The card.
    pub card_id: Uuid,
    /// When it was due when this was dispatched.
    pub due: Timestamp,
}

/// Whom to remind, and of what.
#[derive(forge::FromRow)]
struct Due {
    title: String,
    board: String,
    due: Option<Timestamp>,
    name: Option<String>,
    email: Option<String>,
}

/// Reminds whoever a card was given to, else whoever made it, if they are still a member of its board. It is tried again for what may pass, not when
/// the mail itself is refused.
#[forge::job(
    queue = "mail",
    timeout = "1m",
    idempotent,
    retry(max_attempts = 8, initial = "30s", max_backoff = "1h", on = ["MAIL_UNAVAILABLE", "DATABASE_UNAVAILABLE", "TIMEOUT"])
)]
pub async fn remind_of_card(ctx: &JobContext, input: RemindOfCard) -> Result<()> {
    let card_id = input.card_id;
    let found = sql!(
        Due,
        "SELECT c.title, b.name AS board, c.due, u.name, u.email
           FROM cards c JOIN columns l ON l.id = c.column_id JOIN boards b ON b.id = l.board_id
           LEFT JOIN members m ON m.board_id = b.id AND m.user_id = coalesce(c.assignee_id, c.created_by)
           LEFT JOIN users u ON u.id = m.user_id
          WHERE c.id = {card_id}"
    );
    let Some(Due { title, board, due, name: Some(name), email: Some(email) }) = found.fetch_optional(ctx.db()).await?
    else {
        return Ok(());
    };
    if due != Some(input.due) {
        return Ok(());
    }
    let text = format!("Hello {name},\n\n“{title}” on the board “{board}” is due now.\n");
    let subject = format!("Due now: {}", shortened(&title, SUBJECT_MAX));
    ctx.mail().send(Mail::to_person(name, email).subject(subject).text(text)).await
}

/// Sees to it that a card is reminded of when it is due, and at no other time.
pub(crate) async fn schedule(ctx: &MutationContext, card: &Card) -> Result<()> {
    cancel(ctx, card.id).await?;
    // What is past needs no reminder.
    let Some(due) = card.due.filter(|due| *due > Timestamp::now()) else { return Ok(()) };
    let job = ctx.dispatch_job(RemindOfCard { card_id: card.id, due }).at(due).await?;
    remember(ctx.db(), card.id, job.id).await
}

/// There is nothing to be reminded of any more.
pub(crate) async fn cancel(ctx: &MutationContext, card_id: Uuid) -> Result<()> {
    let job =
        sql!(Uuid, "DELETE FROM reminders WHERE card_id = {card_id} RETURNING job_id").fetch_optional(ctx.db()).await?;
    if let Some(job) = job {
        ctx.cancel_job(job, "the card is due at another time, or gone").await?;
    }
    Ok(())
}

async fn remember(db: &WriteDb, card_id: Uuid, job_id: Uuid) -> Result<()> {
    sql!("INSERT INTO reminders (card_id, job_id) VALUES ({card_id}, {job_id})").execute(db).await.map(drop)
}
