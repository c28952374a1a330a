//! Functions to subscribe to.

use forge::prelude::*;

use crate::{bump, counter};

/// All that is counted.
#[forge::query(public)]
pub async fn total(ctx: &QueryContext) -> Result<i64> {
    forge::sql!(i64, "SELECT coalesce(sum(value), 0)::bigint FROM counters").fetch_one(ctx.db()).await
}

/// Everybody's count, and the sum of it.
#[forge::query(public)]
pub async fn counters(ctx: &QueryContext) -> Result<Vec<(String, i64)>> {
    forge::sql!((String, i64), "SELECT name, value FROM counters ORDER BY name").fetch_all(ctx.db()).await
}

/// Takes from one and gives to another.
#[forge::mutation(public)]
pub async fn transfer(ctx: &MutationContext, from: String, to: String, amount: i64) -> Result<()> {
    forge::sql!("UPDATE counters SET value = value - {amount} WHERE name = {from}").execute(ctx.db()).await?;
    forge::sql!("UPDATE counters SET value = value + {amount} WHERE name = {to}").execute(ctx.db()).await?;
    Ok(())
}

/// What the caller has counted: a counter of their own name.
#[forge::query]
pub async fn my_counter(ctx: &QueryContext) -> Result<Option<i64>> {
    let name = ctx.require_user()?.id.clone();
    forge::sql!(i64, "SELECT value FROM counters WHERE name = {name}").fetch_optional(ctx.db()).await
}

/// The database's time.
#[forge::query(public)]
pub async fn clock(ctx: &QueryContext) -> Result<Timestamp> {
    forge::sql!(Timestamp, "SELECT now()").fetch_one(ctx.db()).await
}

/// Divides by a count, so that it fails when there is nothing to divide by.
#[forge::query(public)]
pub async fn share(ctx: &QueryContext, name: String) -> Result<i64> {
    forge::sql!(i64, "SELECT 100 / value FROM counters WHERE name = {name}").fetch_one(ctx.db()).await
}

/// The sum of a sensor's readings.
#[forge::query(public)]
pub async fn reading(ctx: &QueryContext, sensor: String) -> Result<i64> {
    forge::sql!(i64, "SELECT coalesce(sum(value), 0)::bigint FROM readings WHERE sensor = {sensor}")
        .fetch_one(ctx.db())
        .await
}

/// All that is counted, and how many notes there are: who holds the notes' lock holds this up.
#[forge::query(public, timeout = "60s")]
pub async fn total_and_notes(ctx: &QueryContext) -> Result<(i64, i64)> {
    let sum = forge::sql!(i64, "SELECT coalesce(sum(value), 0)::bigint FROM counters").fetch_one(ctx.db()).await?;
    Ok((sum, forge::sql!(i64, "SELECT count(*) FROM notes").fetch_one(ctx.db()).await?))
}

/// All that is counted, told a while after it was looked up.
#[forge::query(public)]
pub async fn late_total(ctx: &QueryContext, milliseconds: i32) -> Result<i64> {
    let sum = forge::sql!(i64, "SELECT coalesce(sum(value), 0)::bigint FROM counters").fetch_one(ctx.db()).await?;
    tokio::time::sleep(std::time::Duration::from_millis(u64::from(milliseconds.unsigned_abs()))).await;
    Ok(sum)
}

/// As `share`, and nothing when it fails.
#[forge::query(public)]
pub async fn share_if_any(ctx: &QueryContext, name: String) -> Result<Option<i64>> {
    let found = forge::sql!(i64, "SELECT 100 / value FROM counters WHERE name = {name}").fetch_one(ctx.db()).await;
    Ok(found.ok())
}

/// How much is kept.
#[forge::query(public)]
pub async fn kept_count(ctx: &QueryContext) -> Result<i64> {
    forge::sql!(i64, "SELECT count(*) FROM kept").fetch_one(ctx.db()).await
}

/// The database's time, again and again.
#[forge::query(public, refresh_every = "150ms")]
pub async fn ticking(ctx: &QueryContext) -> Result<Timestamp> {
    forge::sql!(Timestamp, "SELECT now()").fetch_one(ctx.db()).await
}

/// A counter, which any change of the table runs again.
#[forge::query(public, tracking = "table")]
pub async fn counter_by_table(ctx: &QueryContext, name: String) -> Result<Option<i64>> {
    forge::sql!(i64, "SELECT value FROM counters WHERE name = {name}").fetch_optional(ctx.db()).await
}

/// A counter as it was.
#[forge::query(public, tracking = "none", refresh_every = "1h")]
pub async fn counter_now_and_then(ctx: &QueryContext, name: String) -> Result<Option<i64>> {
    forge::sql!(i64, "SELECT value FROM counters WHERE name = {name}").fetch_optional(ctx.db()).await
}

/// A counter, looked at now and then.
#[forge::query(public)]
#[min_interval = "400ms"]
pub async fn paced_counter(ctx: &QueryContext, name: String) -> Result<Option<i64>> {
    forge::sql!(i64, "SELECT value FROM counters WHERE name = {name}").fetch_optional(ctx.db()).await
}

/// All that is counted, looked at somewhat more often.
#[forge::query(public, min_interval = "220ms")]
pub async fn paced_total(ctx: &QueryContext) -> Result<i64> {
    forge::sql!(i64, "SELECT coalesce(sum(value), 0)::bigint FROM counters").fetch_one(ctx.db()).await
}

/// Counters from a value on, and how many there are in all.
#[forge::query(public)]
pub async fn counters_above(ctx: &QueryContext, value: i64) -> Result<Vec<(String, i64)>> {
    forge::sql!(
        (String, i64),
        "SELECT name, value FROM counters WHERE value > {value} AND lower(name) <> 'x' ORDER BY name"
    )
    .fetch_all(ctx.db())
    .await
}

/// What is in a room, for those who are let in.
#[forge::query]
pub async fn room(ctx: &QueryContext, name: String) -> Result<i64> {
    let place = format!("{name} {}", ctx.require_user()?.id);
    let found = forge::sql!(i64, "SELECT value FROM counters WHERE name = {place}").fetch_optional(ctx.db()).await?;
    found.ok_or_else(|| Error::forbidden("you are not let into this room"))
}

/// A counter that anybody may see while it is not negative, and only those who are signed in when it is.
#[forge::query(public)]
pub async fn club(ctx: &QueryContext, name: String) -> Result<i64> {
    let value = forge::sql!(i64, "SELECT value FROM counters WHERE name = {name}").fetch_one(ctx.db()).await?;
    if value < 0 && ctx.require_user().is_err() {
        return Err(Error::forbidden("this club is for members only"));
    }
    Ok(value)
}

/// Counts, and tells whoever looks at the count.
#[forge::mutation(public)]
pub async fn announce(ctx: &MutationContext, name: String, text: String, fails: bool) -> Result<i64> {
    let value = ctx.mutate(bump, name.clone()).await?;
    ctx.emit(counter, name.clone(), "counted", value).await?;
    ctx.emit(counter, name.clone(), "said", text).await?;
    if fails { Err(Error::conflict("on purpose")) } else { Ok(value) }
}

/// Tells whoever is in a room.
#[forge::mutation(public)]
pub async fn shout(ctx: &MutationContext, name: String, text: String) -> Result<()> {
    ctx.emit(room, name, "shouted", text).await
}

/// Tells whoever looks at a count, without counting.
#[forge::action(public)]
pub async fn call_out(ctx: &ActionContext, name: String, text: String) -> Result<()> {
    ctx.emit(counter, name, "called", text).await
}

/// Gives back a number.
#[forge::query(public)]
pub async fn echo_number(_ctx: &QueryContext, number: i32) -> Result<i32> {
    Ok(number)
}
