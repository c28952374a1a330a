//! Queries whose results are kept.

use forge::prelude::*;

use crate::bump;

/// The number of a counter.
#[forge::query(public, cache = "10m")]
pub async fn kept_counter(ctx: &QueryContext, name: String) -> Result<Option<i64>> {
    sql!(i64, "SELECT value FROM counters WHERE name = {name}").fetch_optional(ctx.db()).await
}

/// All that is counted: any change of the table concerns it.
#[forge::query(public, cache = "10m")]
pub async fn kept_total(ctx: &QueryContext) -> Result<i64> {
    sql!(i64, "SELECT coalesce(sum(value), 0)::bigint FROM counters").fetch_one(ctx.db()).await
}

/// The number of a counter, and how many notes there are, read one after the other.
#[forge::query(public, cache = "10m", timeout = "60s")]
pub async fn kept_pair(ctx: &QueryContext, name: String) -> Result<(Option<i64>, i64)> {
    let value = sql!(i64, "SELECT value FROM counters WHERE name = {name}").fetch_optional(ctx.db()).await?;
    Ok((value, sql!(i64, "SELECT count(*) FROM notes").fetch_one(ctx.db()).await?))
}

/// What the caller has counted: a counter of their own name.
#[forge::query(cache = "10m")]
pub async fn kept_mine(ctx: &QueryContext) -> Result<(String, Option<i64>)> {
    let name = ctx.require_user()?.id.clone();
    let value = sql!(i64, "SELECT value FROM counters WHERE name = {name}").fetch_optional(ctx.db()).await?;
    Ok((name, value))
}

/// The total, for administrators.
#[forge::query(role = "admin", cache = "10m")]
pub async fn kept_for_admins(ctx: &QueryContext) -> Result<i64> {
    ctx.query(kept_total, ()).await
}

/// The counter of the caller when asked to look at them, else the total.
#[forge::query(public, cache = "10m")]
pub async fn kept_either(ctx: &QueryContext, look: bool) -> Result<Option<String>> {
    Ok(if look { ctx.user_id().map(str::to_owned) } else { None })
}

/// The id of the request, which is no other call's.
#[forge::query(public, cache = "10m")]
pub async fn kept_request(ctx: &QueryContext) -> Result<String> {
    Ok(ctx.request().request_id.clone())
}

/// The database's time, which no change tells of.
#[forge::query(public, cache = "10m")]
pub async fn kept_clock(ctx: &QueryContext) -> Result<Timestamp> {
    sql!(Timestamp, "SELECT clock_timestamp()").fetch_one(ctx.db()).await
}

/// The same, where age alone decides.
#[forge::query(public, cache(ttl = "10m", follow = false))]
pub async fn aged_clock(ctx: &QueryContext) -> Result<Timestamp> {
    sql!(Timestamp, "SELECT clock_timestamp()").fetch_one(ctx.db()).await
}

/// The number of a counter, where age alone decides.
#[forge::query(public, cache(ttl = "10m", follow = false))]
pub async fn aged_counter(ctx: &QueryContext, name: String) -> Result<Option<i64>> {
    sql!(i64, "SELECT value FROM counters WHERE name = {name}").fetch_optional(ctx.db()).await
}

/// The number of a counter, for a moment.
#[forge::query(public, cache = "300ms")]
pub async fn kept_briefly(ctx: &QueryContext, name: String) -> Result<Option<i64>> {
    sql!(i64, "SELECT value FROM counters WHERE name = {name}").fetch_optional(ctx.db()).await
}

/// Divides by a count, so that it fails when there is nothing to divide by.
#[forge::query(public, cache = "10m")]
pub async fn kept_share(ctx: &QueryContext, name: String) -> Result<i64> {
    let value = sql!(i64, "SELECT value FROM counters WHERE name = {name}").fetch_one(ctx.db()).await?;
    100_i64.checked_div(value).ok_or_else(|| Error::conflict("there is nothing to divide by"))
}

/// The same, and 0 when that fails in the database.
#[forge::query(public, cache = "10m")]
pub async fn kept_share_or_none(ctx: &QueryContext, name: String) -> Result<i64> {
    let share = sql!(i64, "SELECT 100 / value FROM counters WHERE name = {name}").fetch_one(ctx.db()).await;
    Ok(share.unwrap_or(0))
}

/// A text of so many bytes; `n` tells one from the other.
#[forge::query(public, cache = "10m")]
pub async fn kept_text(_ctx: &QueryContext, n: i32, bytes: u32) -> Result<String> {
    Ok(n.to_string().repeat(bytes as usize))
}

/// Counts, and reads what is kept elsewhere. Fails in the end when it is told to.
#[forge::mutation(public)]
pub async fn bump_and_read(ctx: &MutationContext, name: String, fail: bool) -> Result<Option<i64>> {
    ctx.mutate(bump, name.clone()).await?;
    let read = ctx.query(kept_counter, name).await?;
    if fail { Err(Error::conflict(format!("{read:?}"))) } else { Ok(read) }
}

/// Counts in a mutation, then reads: two calls of their own.
#[forge::action(public)]
pub async fn bump_then_read(ctx: &ActionContext, name: String) -> Result<(i64, Option<i64>)> {
    Ok((ctx.mutate(bump, name.clone()).await?, ctx.query(kept_counter, name).await?))
}
