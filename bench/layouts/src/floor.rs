//! The floors: PostgreSQL's own load program on a table of the least that a queue needs, and a client that does no more than it must.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::process::Command;
use tokio::sync::{Notify, mpsc};
use tokio_postgres::{AsyncMessage, NoTls};

use crate::Result;
use crate::database::{connect, fresh};

const SCHEMA: &str = include_str!("../../floors/jobs/schema.sql");
const FILL: &str = "INSERT INTO j (payload) SELECT jsonb_build_object('n', g) FROM generate_series(1, $1::bigint) AS g";

/// How a batch is worked off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// D: a hundred are claimed and that is committed; then they are deleted.
    Claimed,
    /// A hundred are deleted as they are taken: whoever dies loses them.
    Taken,
}

/// Where the floors are.
#[derive(Debug, Clone)]
pub struct Floor {
    /// The database's address.
    pub url: String,
    /// The load program.
    pub pgbench: PathBuf,
}

impl Floor {
    /// Runs a script with so many clients, so many transactions altogether. Returns transactions per second.
    async fn pgbench(&self, script: &str, clients: usize, transactions: usize) -> Result<f64> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../floors/jobs").join(script);
        let (clients_of, each) = (clients.to_string(), (transactions / clients).to_string());
        let output = Command::new(&self.pgbench)
            .args(["-n", "-M", "prepared", "-j", "2", "-c", &clients_of, "-t", &each, "-f"])
            .arg(script)
            .arg(&self.url)
            .output()
            .await?;
        let text = String::from_utf8_lossy(&output.stdout);
        let rate = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split_whitespace().next()?.parse().ok());
        rate.ok_or_else(|| format!("pgbench failed: {}", String::from_utf8_lossy(&output.stderr)).into())
    }

    /// E: rows a second, each inserted by a transaction of its own.
    ///
    /// # Errors
    /// When it cannot be measured, as everywhere here.
    pub async fn enqueue(&self, clients: usize, rows: usize) -> Result<f64> {
        fresh(&self.url, SCHEMA).await?;
        self.pgbench("ins_j.sql", clients, rows).await
    }

    /// Transactions a second that insert a row of something else and one of these.
    ///
    /// # Errors
    /// When it cannot be measured.
    pub async fn beside_rows(&self, clients: usize, rows: usize) -> Result<f64> {
        fresh(&self.url, SCHEMA).await?;
        self.pgbench("ins_bj.sql", clients, rows).await
    }

    /// B: rows a second of COPY from a file on the server.
    ///
    /// # Errors
    /// When it cannot be measured.
    pub async fn copy(&self, rows: i64) -> Result<f64> {
        let client = fresh(&self.url, SCHEMA).await?;
        let file = format!("/tmp/forge-queue-{}.copy", uuid::Uuid::now_v7());
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

    /// Jobs a second that one client works off.
    ///
    /// # Errors
    /// When it cannot be measured.
    pub async fn drain(&self, how: Drain, rows: usize) -> Result<f64> {
        let client = fresh(&self.url, SCHEMA).await?;
        client.execute(FILL, &[&i64::try_from(rows)?]).await?;
        client.batch_execute("VACUUM ANALYZE j").await?;
        client.batch_execute("CHECKPOINT").await?;
        let script = match how {
            Drain::Claimed => "d2_100.sql",
            Drain::Taken => "d1_100.sql",
        };
        Ok(self.pgbench(script, 1, rows / 100).await? * 100.0)
    }

    /// D again and again on one table, while something holds the horizon.
    ///
    /// # Errors
    /// When it cannot be measured.
    pub async fn cycles(&self, rows: usize, cycles: usize) -> Result<Vec<f64>> {
        let client = connect(&self.url).await?;
        let mut rates = Vec::new();
        for _ in 0..cycles {
            client.execute(FILL, &[&i64::try_from(rows)?]).await?;
            client.batch_execute("ANALYZE j").await?;
            rates.push(self.pgbench("d2_100.sql", 1, rows / 100).await? * 100.0);
        }
        Ok(rates)
    }

    /// Empties the table.
    ///
    /// # Errors
    /// When there is no connection.
    pub async fn empty(&self) -> Result<()> {
        fresh(&self.url, SCHEMA).await.map(drop)
    }

    /// How many milliseconds pass on an idle server between a client's insert that also notifies, and the moment in which another one that was
    /// listening has claimed the row: the least that it takes to begin a job elsewhere.
    ///
    /// # Errors
    /// When it cannot be measured.
    pub async fn latency(&self, samples: u32) -> Result<Vec<f64>> {
        const CLAIM: &str = "WITH c AS MATERIALIZED (SELECT id FROM j WHERE state = 0 AND queue = 'default' AND run_at <= now() \
            ORDER BY priority, run_at, id LIMIT 50 FOR UPDATE SKIP LOCKED) \
            UPDATE j SET state = 1, attempt = attempt + 1, locked_at = now(), locked_by = 1 FROM c WHERE j.id = c.id \
            RETURNING j.id, (j.payload ->> 'n')::int8";
        let enqueuer = fresh(&self.url, SCHEMA).await?;
        let insert =
            "WITH i AS (INSERT INTO j (payload) VALUES (jsonb_build_object('n', $1::int8))) SELECT pg_notify('j', '')";
        let insert = enqueuer.prepare(insert).await?;
        let (listener, mut connection) = tokio_postgres::connect(&self.url, NoTls).await?;
        let (told, mut wakes) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notification(_) = message
                    && told.send(()).is_err()
                {
                    return;
                }
            }
        });
        listener.batch_execute("LISTEN j").await?;
        let (claimer, finisher) = (connect(&self.url).await?, connect(&self.url).await?);
        let (claim, finish) = (claimer.prepare(CLAIM).await?, finisher.prepare("DELETE FROM j WHERE id = ANY ($1)").await?);
        let (starts, started) = (Arc::new(Mutex::new(HashMap::<i64, Instant>::new())), Arc::new(Notify::new()));
        let claiming = tokio::spawn({
            let (starts, started) = (starts.clone(), started.clone());
            async move {
                while wakes.recv().await.is_some() {
                    let rows = claimer.query(&claim, &[]).await?;
                    let now = Instant::now();
                    starts.lock().unwrap_or_else(PoisonError::into_inner).extend(rows.iter().map(|row| (row.get(1), now)));
                    started.notify_one();
                    let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
                    finisher.execute(&finish, &[&ids]).await?;
                }
                Result::Ok(())
            }
        });
        let mut took = Vec::new();
        for n in 0..i64::from(samples) {
            let began = Instant::now();
            enqueuer.execute(&insert, &[&n]).await?;
            let start = loop {
                match starts.lock().unwrap_or_else(PoisonError::into_inner).remove(&n) {
                    Some(start) => break start,
                    None if claiming.is_finished() => return Err("the ideal client failed".into()),
                    None => {}
                }
                started.notified().await;
            };
            took.push(start.duration_since(began).as_secs_f64() * 1e3);
            tokio::time::sleep(Duration::from_millis(10 + n.unsigned_abs() * 7919 % 20)).await;
        }
        claiming.abort();
        drop(listener);
        Ok(took)
    }
}
