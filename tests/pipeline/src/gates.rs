//! Functions that can be held up at a known place, or that take as long as they are told to.

use forge::prelude::*;

use crate::Note;

/// The writes of `add_three`, with a gate before each of them and one before the end: a test that holds the advisory lock
/// `gate + n` holds the call up there.
#[forge::mutation(public, timeout = "60s")]
pub async fn add_three_gated(ctx: &MutationContext, batch: Uuid, gate: i64) -> Result<()> {
    for n in 0..3 {
        pass(ctx, gate + i64::from(n)).await?;
        let title = format!("{batch} {n}");
        Note::insert([Note::BATCH.set(batch), Note::TITLE.set(title), Note::POSITION.set(n)]).execute(ctx.db()).await?;
    }
    pass(ctx, gate + 3).await
}

/// Counts, and takes the row's lock from its first statement on. Held up at a gate in the middle.
#[forge::mutation(public, timeout = "60s")]
pub async fn write_gated(ctx: &MutationContext, name: String, gate: i64) -> Result<()> {
    sql!(
        "INSERT INTO counters (name, value) VALUES ({name}, 1) ON CONFLICT (name) DO UPDATE SET value = counters.value + 1"
    )
    .execute(ctx.db())
    .await?;
    pass(ctx, gate).await
}

/// Waits at a gate.
#[forge::query(public, timeout = "60s")]
pub async fn read_gated(ctx: &QueryContext, gate: i64) -> Result<()> {
    sql!((), "SELECT pg_advisory_xact_lock_shared({gate})").fetch_one(ctx.db()).await
}

async fn pass(ctx: &MutationContext, gate: i64) -> Result<()> {
    sql!((), "SELECT pg_advisory_xact_lock_shared({gate})").fetch_one(ctx.db()).await
}

/// Reads that take as long as `rows` says: one statement, sometimes short, sometimes not.
#[forge::query(public, timeout = "20s")]
pub async fn count_rows(ctx: &QueryContext, rows: i64) -> Result<i64> {
    sql!(i64, "SELECT count(*) FROM generate_series(1::bigint, {rows: i64}) AS n WHERE n % 7 <> 8")
        .fetch_one(ctx.db())
        .await
}

/// The same with a statement of its own, as what is known of a statement holds for the whole process.
#[forge::query(public, timeout = "20s")]
pub async fn count_odd_rows(ctx: &QueryContext, rows: i64) -> Result<i64> {
    sql!(i64, "SELECT count(*) FROM generate_series(1::bigint, {rows: i64}) AS n WHERE n % 2 = 1").fetch_one(ctx.db()).await
}

/// The number of a counter, by a short read.
#[forge::query(public)]
pub async fn counter(ctx: &QueryContext, name: String) -> Result<Option<i64>> {
    sql!(i64, "SELECT value FROM counters WHERE name = {name}").fetch_optional(ctx.db()).await
}

/// The process id of a session of its own, and what it is called.
#[forge::query(public)]
pub async fn own_session(ctx: &QueryContext) -> Result<(i32, String)> {
    let client = ctx.db().raw().await?;
    let failed = |why| Error::internal("the session").with_source(why);
    let row =
        client.query_one("SELECT pg_backend_pid(), current_setting('application_name')", &[]).await.map_err(failed)?;
    Ok((row.get(0), row.get(1)))
}

/// Counts in one statement that leaves no other trace.
#[forge::mutation(public, isolation = "read_committed")]
pub async fn bump(ctx: &MutationContext, name: String) -> Result<i64> {
    sql!(
        i64,
        "INSERT INTO counters (name, value) VALUES ({name}, 1)
         ON CONFLICT (name) DO UPDATE SET value = counters.value + 1 RETURNING value"
    )
    .fetch_one(ctx.db())
    .await
}
