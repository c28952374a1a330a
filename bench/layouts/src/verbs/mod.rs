//! What everything else costs that a queue does: time, write-ahead log and rows written for each job, among many that wait.

mod append;
mod keys;
mod race;
mod rows;

use std::time::Instant;

use tokio_postgres::Client;

use layouts::Result;
use layouts::database::Database;
use layouts::table::say;

/// How many jobs lie around while a verb is measured.
const AROUND: i64 = 200_000;

/// Rows inserted, updated, of these without touching an index, and deleted, in all tables of the database.
async fn written(client: &Client) -> Result<[i64; 4]> {
    client.batch_execute("SELECT pg_stat_force_next_flush()").await?;
    let row = client
        .query_one(
            "SELECT sum(n_tup_ins)::bigint, sum(n_tup_upd)::bigint, sum(n_tup_hot_upd)::bigint, sum(n_tup_del)::bigint FROM pg_stat_user_tables",
            &[],
        )
        .await?;
    Ok([row.get(0), row.get(1), row.get(2), row.get(3)])
}

async fn log_position(client: &Client) -> Result<i64> {
    Ok(client.query_one("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint", &[]).await?.get(0))
}

/// Measures work that handles so many jobs with so many statements altogether.
async fn measure(
    client: &Client,
    name: &str,
    jobs: u32,
    statements: u32,
    work: impl AsyncFnOnce() -> Result<()>,
) -> Result<()> {
    client.batch_execute("CHECKPOINT").await?;
    let (rows, log) = (written(client).await?, log_position(client).await?);
    let start = Instant::now();
    work().await?;
    let took = start.elapsed().as_secs_f64() * 1e6;
    let (rows_after, log_after) = (written(client).await?, log_position(client).await?);
    let per = f64::from(jobs);
    #[allow(clippy::cast_precision_loss)]
    let [inserted, updated, hot, deleted] = std::array::from_fn(|n| (rows_after[n] - rows[n]) as f64 / per);
    #[allow(clippy::cast_precision_loss)]
    let log = (log_after - log) as f64 / per;
    say(&format!(
        "  {name:52}{:>8.1}{:>10.1}{:>9.2}{log:>9.0}{inserted:>8.2}{updated:>8.2}{hot:>7.2}{deleted:>8.2}",
        took / f64::from(statements),
        took / per,
        f64::from(statements) / per,
    ))
}

pub(crate) async fn run(database: &Database) -> Result<()> {
    say(&format!(
        "\n{:54}{:>8}{:>10}{:>9}{:>9}{:>8}{:>8}{:>7}{:>8}",
        "verbs, for each job", "µs/stmt", "µs", "stmts", "WAL B", "ins", "upd", "hot", "del"
    ))?;
    let url = database.measured();
    rows::run(&url).await?;
    keys::run(&url).await?;
    append::run(&url).await?;
    race::run(&url).await
}
