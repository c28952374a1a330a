//! The floors: PostgreSQL's own load program on a table of the least that a queue needs.

use std::path::Path;
use std::time::Instant;

use tokio::process::Command;

use crate::Result;
use crate::database::{Database, connect, fresh};

const SCHEMA: &str = include_str!("../floors/schema.sql");
const FILL: &str = "INSERT INTO j (payload) SELECT jsonb_build_object('n', g) FROM generate_series(1, $1::bigint) AS g";

/// Runs a script of `floors/` with so many clients, so many transactions altogether. Returns transactions per second.
async fn pgbench(database: &Database, script: &str, clients: usize, transactions: usize) -> Result<f64> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("floors").join(script);
    let (clients_of, each) = (clients.to_string(), (transactions / clients).to_string());
    let output = Command::new(&database.pgbench)
        .args(["-n", "-M", "prepared", "-j", "2", "-c", &clients_of, "-t", &each, "-f"])
        .arg(script)
        .arg(database.floor())
        .output()
        .await?;
    let text = String::from_utf8_lossy(&output.stdout);
    let rate = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split_whitespace().next()?.parse().ok());
    rate.ok_or_else(|| format!("pgbench failed: {}", String::from_utf8_lossy(&output.stderr)).into())
}

/// E: rows a second, each inserted by a transaction of its own.
pub(crate) async fn enqueue(database: &Database, clients: usize, rows: usize) -> Result<f64> {
    fresh(&database.floor(), SCHEMA).await?;
    pgbench(database, "ins_j.sql", clients, rows).await
}

/// B: rows a second of COPY from a file on the server.
pub(crate) async fn copy(database: &Database, rows: i64) -> Result<f64> {
    let client = fresh(&database.floor(), SCHEMA).await?;
    let file = format!("/tmp/forge-layouts-{}.copy", uuid::Uuid::now_v7());
    client
        .batch_execute(&format!(
            "COPY (SELECT jsonb_build_object('n', g) FROM generate_series(1, {rows}) AS g) TO '{file}'; CHECKPOINT"
        ))
        .await?;
    let start = Instant::now();
    let copied = client.batch_execute(&format!("COPY j (payload) FROM '{file}'")).await;
    let took = start.elapsed().as_secs_f64();
    std::fs::remove_file(&file)?;
    copied?;
    #[allow(clippy::cast_precision_loss)]
    Ok(rows as f64 / took)
}

/// D: jobs a second of one client that claims 100, commits, deletes them and commits.
pub(crate) async fn drain(database: &Database, rows: usize) -> Result<f64> {
    let client = fresh(&database.floor(), SCHEMA).await?;
    client.execute(FILL, &[&i64::try_from(rows)?]).await?;
    client.batch_execute("VACUUM ANALYZE j").await?;
    client.batch_execute("CHECKPOINT").await?;
    Ok(pgbench(database, "d2_100.sql", 1, rows / 100).await? * 100.0)
}

/// D again and again on one table, while something holds the horizon.
pub(crate) async fn cycles(database: &Database, rows: usize, cycles: usize) -> Result<Vec<f64>> {
    let client = connect(&database.floor()).await?;
    let mut rates = Vec::new();
    for _ in 0..cycles {
        client.execute(FILL, &[&i64::try_from(rows)?]).await?;
        client.batch_execute("ANALYZE j").await?;
        rates.push(pgbench(database, "d2_100.sql", 1, rows / 100).await? * 100.0);
    }
    Ok(rates)
}

pub(crate) async fn empty(database: &Database) -> Result<()> {
    fresh(&database.floor(), SCHEMA).await.map(drop)
}
