//! One job at a time for each key: claimed ones that find the key taken are held, and what ends lets the next one go.
//!
//! The lock that decides is the key's row: a claim takes it before it holds a job back, an end takes it before it looks for what is held.
//! So the end sees what was held before it, and what comes after it finds the key free.

use tokio_postgres::Client;

use super::measure;
use crate::drain::WORKER;
use crate::layout::Rows;
use layouts::Result;
use layouts::database::fresh;

const SCHEMA: &str = "CREATE TABLE forge_job_keys (
    kind text NOT NULL, key text NOT NULL, running int NOT NULL, PRIMARY KEY (kind, key)
) WITH (fillfactor = 50)";
/// The rows of the keys of a claim's jobs, locked. Parameters: kinds and keys, each pair once, in order.
const TAKE: &str = "INSERT INTO forge_job_keys AS k (kind, key, running) SELECT kind, key, 1 FROM unnest($1::text[], $2::text[]) AS f (kind, key)
    ON CONFLICT (kind, key) DO UPDATE SET running = k.running + 1 WHERE k.running < $3 RETURNING kind, key";
/// Those of a claim that found their key taken.
const HOLD: &str = "UPDATE forge_jobs SET state = 3, worker = NULL, claimed_at = NULL, attempt = attempt - 1 WHERE id = ANY ($1) AND worker = $2";
const GIVE: &str =
    "UPDATE forge_job_keys AS k SET running = k.running - 1 FROM unnest($1::text[], $2::text[]) AS f (kind, key)
    WHERE k.kind = f.kind AND k.key = f.key";
/// In a statement of its own, after the keys are locked: only a new snapshot sees what was held meanwhile.
const RELEASE: &str = "UPDATE forge_jobs AS j SET state = 0, ready_at = clock_timestamp()
    FROM unnest($1::text[], $2::text[]) AS f (kind, key)
    CROSS JOIN LATERAL (
        SELECT id FROM forge_jobs WHERE kind = f.kind AND concurrency_key = f.key AND state = 3 ORDER BY ready_at LIMIT 1 FOR UPDATE SKIP LOCKED
    ) AS next
    WHERE j.id = next.id RETURNING j.kind, j.priority, j.ready_at";

pub(super) async fn run(url: &str) -> Result<()> {
    let client = fresh(url, &(Rows::CHOSEN.layout().schema + SCHEMA)).await?;
    client
        .batch_execute(&format!(
            "INSERT INTO forge_jobs (id, kind, state, worker, attempt, concurrency_key, input)
             SELECT gen_random_uuid(), 'keyed', 2, '{WORKER}', 1, 'key ' || n % 1000, '{{}}' FROM generate_series(1, 10000) AS n"
        ))
        .await?;
    client.batch_execute("VACUUM ANALYZE").await?;
    measure(&client, "claimed with a key: take or hold, 1000 keys, 100 a claim", 10_000, 300, async || hold(&client).await)
        .await?;
    measure(&client, "ended with a key: give back and release, 100 at once", 1000, 40, async || release(&client).await)
        .await
}

async fn hold(client: &Client) -> Result<()> {
    let claimed = client.query("SELECT id, concurrency_key FROM forge_jobs WHERE state = 2 ORDER BY ctid", &[]).await?;
    let (take, hold) = (client.prepare(TAKE).await?, client.prepare(HOLD).await?);
    let mut free = 0;
    for batch in claimed.chunks(100) {
        let keys: Vec<&str> = batch.iter().map(|row| row.get(1)).collect();
        let kinds = vec!["keyed"; keys.len()];
        client.batch_execute("BEGIN").await?;
        let taken = client.query(&take, &[&kinds, &keys, &1_i32]).await?;
        let taken: Vec<&str> = taken.iter().map(|row| row.get(1)).collect();
        let held: Vec<uuid::Uuid> =
            batch.iter().filter(|row| !taken.contains(&row.get::<_, &str>(1))).map(|row| row.get(0)).collect();
        client.execute(&hold, &[&held, &WORKER]).await?;
        client.batch_execute("COMMIT").await?;
        free += taken.len();
    }
    if free == 1000 { Ok(()) } else { Err(format!("{free} of 1000 keys were taken").into()) }
}

async fn release(client: &Client) -> Result<()> {
    let (give, release) = (client.prepare(GIVE).await?, client.prepare(RELEASE).await?);
    for from in (0..1000).step_by(100) {
        let keys: Vec<String> = (from..from + 100).map(|n| format!("key {n}")).collect();
        let kinds = vec!["keyed"; keys.len()];
        client.batch_execute("BEGIN").await?;
        client.execute(&give, &[&kinds, &keys]).await?;
        let released = client.query(&release, &[&kinds, &keys]).await?.len();
        client.batch_execute("COMMIT").await?;
        if released != keys.len() {
            return Err(format!("{released} of {} were released", keys.len()).into());
        }
    }
    Ok(())
}
