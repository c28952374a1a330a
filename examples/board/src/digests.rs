//! Digests: what is due, by mail, at eight in the morning of wherever somebody is.
//!
//! A cron looks every quarter of an hour for which time zones it is morning, and dispatches a job for each person there who wants a digest
//! and has had none that day; until noon, should nobody have looked at eight. The job's key is the person and the day, so that one that is still waiting, or tries again, is not
//! dispatched twice; what was sent is written down, so that the next quarter does not begin again.

use forge::prelude::*;
use jiff::tz::TimeZone;

use crate::access;
use crate::errors::BoardError;

/// The hour in which digests are sent, on everybody's own clock.
const HOUR: i8 = 8;

/// The hour from which on none is sent any more that could not be in time: it would be of use to nobody.
const NOON: i8 = 12;

/// How many cards a digest lists.
const CARDS_MAX: i64 = 50;

/// Whether somebody gets a digest, and by which clock.
#[forge::input]
#[derive(forge::FromRow)]
pub struct DigestSettings {
    /// Whether they get one.
    pub enabled: bool,
    /// The time zone in which it is sent at eight in the morning, such as `Europe/Berlin`.
    #[validate(length(min = 1, max = 64))]
    pub time_zone: String,
}

/// A digest to be sent.
#[forge::input]
pub struct SendDigest {
    /// To whom.
    pub user_id: Uuid,
    /// For which day, where they are.
    pub day: Date,
    /// By which clock.
    pub time_zone: String,
}

/// A card in a digest.
#[derive(forge::FromRow)]
struct DueCard {
    title: String,
    board: String,
    due: Timestamp,
}

/// How I want my digest; null when I have never said.
#[forge::query]
pub async fn get_digest_settings(ctx: &QueryContext) -> Result<Option<DigestSettings>> {
    let me = access::me(ctx.auth())?;
    sql!(DigestSettings, "SELECT enabled, time_zone FROM digests WHERE user_id = {me}").fetch_optional(ctx.db()).await
}

/// Says how I want my digest.
#[forge::mutation]
pub async fn set_digest_settings(ctx: &MutationContext, input: DigestSettings) -> Result<DigestSettings> {
    let me = access::me(ctx.auth())?;
    let DigestSettings { enabled, time_zone } = input;
    let Ok(zone) = TimeZone::get(&time_zone) else {
        return Err(BoardError::NoSuchTimeZone { time_zone }.into());
    };
    // Whoever wants one from now on, after eight, has the first one tomorrow.
    let there = Timestamp::now().to_zoned(zone);
    let over = (there.hour() >= HOUR).then(|| there.date());
    sql!(
        DigestSettings,
        "INSERT INTO digests (user_id, enabled, time_zone, last_day) VALUES ({me}, {enabled}, {time_zone}, {over})
         ON CONFLICT (user_id) DO UPDATE SET enabled = excluded.enabled, time_zone = excluded.time_zone,
             last_day = CASE WHEN excluded.enabled AND NOT digests.enabled THEN excluded.last_day ELSE digests.last_day END
         RETURNING enabled, time_zone"
    )
    .fetch_one(ctx.db())
    .await
}

/// Dispatches the digests of those for whom it is morning.
#[forge::cron("*/15 * * * *", catch_up = true, catch_up_limit = 1)]
pub async fn send_digests(ctx: &CronContext) -> Result<()> {
    let zones = sql!(String, "SELECT DISTINCT time_zone FROM digests WHERE enabled").fetch_all(ctx.db()).await?;
    for time_zone in zones {
        let Ok(zone) = TimeZone::get(&time_zone) else { continue };
        let there = ctx.scheduled_time().to_zoned(zone);
        if !(HOUR..NOON).contains(&there.hour()) {
            continue;
        }
        let day = there.date();
        let people = sql!(
            Uuid,
            "SELECT user_id FROM digests WHERE enabled AND time_zone = {time_zone} AND (last_day IS NULL OR last_day < {day})"
        );
        let people = people.fetch_all(ctx.db()).await?;
        let digests = people.into_iter().map(|user_id| SendDigest { user_id, day, time_zone: time_zone.clone() });
        ctx.dispatch_jobs(digests.collect()).await?;
    }
    Ok(())
}

/// Sends a digest, unless nothing is due or it was sent before. It is dispatched by the app itself, so no user's roles apply.
#[forge::job(
    queue = "mail",
    timeout = "1m",
    idempotent,
    retry(max_attempts = 8, initial = "30s", max_backoff = "1h", on = ["MAIL_UNAVAILABLE", "DATABASE_UNAVAILABLE", "TIMEOUT"])
)]
pub async fn send_digest(ctx: &JobContext, input: SendDigest) -> Result<()> {
    let SendDigest { user_id, day, time_zone } = input;
    let person = sql!(
        (String, String),
        "SELECT u.name, u.email FROM digests d JOIN users u ON u.id = d.user_id
          WHERE d.user_id = {user_id} AND d.enabled AND (d.last_day IS NULL OR d.last_day < {day})"
    );
    let Some((name, email)) = person.fetch_optional(ctx.db()).await? else { return Ok(()) };
    let zone = TimeZone::get(&time_zone).map_err(|why| Error::internal("a time zone is gone").with_source(why))?;
    let tonight = day.tomorrow().and_then(|next| next.to_zoned(zone.clone()));
    let tonight = tonight.map_err(|why| Error::internal("a day has no end").with_source(why))?.timestamp();
    let cards = sql!(
        DueCard,
        "SELECT c.title, b.name AS board, c.due
           FROM cards c JOIN columns l ON l.id = c.column_id JOIN boards b ON b.id = l.board_id
           JOIN members m ON m.board_id = b.id AND m.user_id = {user_id}
          WHERE c.due < {tonight} AND c.assignee_id = {user_id}
          ORDER BY c.due, c.id LIMIT {CARDS_MAX: i64}"
    );
    let cards = cards.fetch_all(ctx.db()).await?;
    let sent = if cards.is_empty() { Ok(()) } else { ctx.mail().send(digest(&name, &email, &cards, &zone)).await };
    match &sent {
        Err(why) if !["MAIL_REFUSED", "MAIL_INVALID"].contains(&why.code()) => return sent,
        // What is refused is so the next quarter of an hour as well: once a day is enough.
        _ => ctx.mutate(digest_sent, (user_id, day)).await?,
    }
    sent
}

/// Writes down that somebody has had the digest of a day.
#[forge::mutation(role = "system")]
pub async fn digest_sent(ctx: &MutationContext, user_id: Uuid, day: Date) -> Result<()> {
    sql!("UPDATE digests SET last_day = {day} WHERE user_id = {user_id}").execute(ctx.db()).await.map(drop)
}

fn digest(name: &str, email: &str, cards: &[DueCard], zone: &TimeZone) -> Mail {
    let when = |card: &DueCard| card.due.to_zoned(zone.clone()).strftime("%a, %d %b, %H:%M").to_string();
    let cards_word = if cards.len() == 1 { "card is" } else { "cards are" };
    let head = format!("Good morning {name}, {} {cards_word} due by tonight:", cards.len());
    let lines: String = cards.iter().map(|card| format!("- {} ({}): {}\n", card.title, card.board, when(card))).collect();
    let items: String = cards
        .iter()
        .map(|card| {
            let (title, board) = (crate::text::in_html(&card.title), crate::text::in_html(&card.board));
            format!("<li><b>{title}</b> ({board}): {}</li>", when(card))
        })
        .collect();
    Mail::to_person(name, email)
        .subject(format!("{} {cards_word} due today", cards.len()))
        .text(format!("{head}\n\n{lines}"))
        .html(format!("<p>{}</p><ul>{items}</ul>", crate::text::in_html(&head)))
}
