//! The verbs of rows claimed by UPDATE.

use std::time::Instant;

use tokio_postgres::Client;
use uuid::Uuid;

use super::{AROUND, measure};
use crate::drain::WORKER;
use crate::layout::{Rows, Running};
use layouts::Result;
use layouts::database::fresh;
use layouts::table::say;

const PROMOTE: &str = "WITH ready AS (
        UPDATE forge_jobs SET state = 0, ready_at = clock_timestamp(), run_at = NULL
        WHERE id = ANY (ARRAY(
            SELECT id FROM forge_jobs WHERE state = 1 AND run_at <= now() ORDER BY run_at LIMIT $1 FOR UPDATE SKIP LOCKED
        ))
        RETURNING kind, priority, ready_at
    )
    SELECT kind, priority, min(ready_at), count(*) FROM ready GROUP BY kind, priority";
const RETRY: &str = "UPDATE forge_jobs SET state = 1, run_at = now() + ($3::jsonb -> id::text ->> 'after')::int * interval '1 second', worker = NULL,
        claimed_at = NULL, last_error = $3 -> id::text ->> 'error'
    WHERE id = ANY ($1::uuid[]) AND worker = $2 RETURNING id";
const SNOOZE: &str =
    "UPDATE forge_jobs AS j SET state = 1, run_at = now() + $3 * interval '1 second', worker = NULL, claimed_at = NULL,
        attempt = attempt - 1, saved = $4
    WHERE id = $1 AND worker = $2";
const PROGRESS: &str = "UPDATE forge_jobs SET progress = $3, progress_message = $4
    WHERE id = $1 AND worker = $2 RETURNING cancel_requested";
const CANCEL: &str = "WITH gone AS (
        DELETE FROM forge_jobs WHERE id = $1 AND state <> 2 RETURNING *
    ), kept AS (
        INSERT INTO forge_jobs_done (id, ready_at, outcome, priority, attempt, crashes, kind, queue, input, owner, trace_id, parent, last_error)
        SELECT id, ready_at, 2, priority, attempt, crashes, kind, queue, input, owner, trace_id, parent, last_error FROM gone RETURNING 'cancelled'
    ), asked AS (
        UPDATE forge_jobs SET cancel_requested = true WHERE id = $1 AND state = 2 RETURNING 'asked'
    )
    SELECT * FROM kept UNION ALL SELECT * FROM asked";
const UNIQUE: &str = "INSERT INTO forge_jobs (id, kind, input, unique_key) VALUES ($1, 'once', '{}', $2)
    ON CONFLICT (kind, unique_key) WHERE unique_key IS NOT NULL DO NOTHING RETURNING id";
const TAKEOVER: &str = "UPDATE forge_jobs SET state = 0, ready_at = clock_timestamp(), worker = NULL, claimed_at = NULL,
        attempt = attempt - 1, crashes = crashes + 1
    WHERE id = ANY (ARRAY(SELECT id FROM forge_jobs WHERE worker = $1 AND state = 2 ORDER BY id FOR UPDATE)) RETURNING id";
const WAKE: &str = "UPDATE forge_jobs SET state = 0, ready_at = clock_timestamp(), run_at = NULL WHERE id = $1 AND state = 1 RETURNING kind";

/// Jobs of some state, with ids that count from some number on.
async fn put(client: &Client, kind: &str, state: i16, count: i64, due: &str) -> Result<Vec<Uuid>> {
    let worker = if state == 2 { format!("'{WORKER}'::uuid") } else { "NULL::uuid".to_owned() };
    let rows = client
        .query(
            &format!(
                "INSERT INTO forge_jobs (id, kind, state, run_at, worker, claimed_at, attempt, input)
                 SELECT gen_random_uuid(), '{kind}', {state}, {due}, {worker}, CASE WHEN {state} = 2 THEN now() END, 1, jsonb_build_object('n', n) FROM generate_series(1, {count}) AS n
                 RETURNING id"
            ),
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn each(client: &Client, text: &str, ids: &[Uuid], expect: u64) -> Result<()> {
    let statement = client.prepare(text).await?;
    for id in ids {
        if client.query(&statement, &[id]).await?.len() as u64 != expect {
            return Err(format!("not {expect} row: {text}").into());
        }
    }
    Ok(())
}

pub(super) async fn run(url: &str) -> Result<()> {
    for (running, with) in [(Running::Claimed, "with the"), (Running::No, "without an")] {
        let variant = Rows { running, ..Rows::CHOSEN };
        let client = fresh(url, &variant.layout().schema).await?;
        client.execute(&variant.layout().fill, &[&AROUND, &100_i64]).await?;
        client.batch_execute("VACUUM ANALYZE").await?;
        say(&format!("A rows, {with} index of what runs"))?;
        if running == Running::Claimed {
            verbs(&client).await?;
        }
        put(&client, "dead", 2, 500, "NULL").await?;
        let takeover = client.prepare(TAKEOVER).await?;
        measure(&client, "takeover of 500, of 200,000", 500, 1, async || {
            (client.query(&takeover, &[&WORKER]).await?.len() == 500)
                .then_some(())
                .ok_or_else(|| "not all taken over".into())
        })
        .await?;
    }
    sleepers(url).await
}

async fn verbs(client: &Client) -> Result<()> {
    put(client, "later", 1, AROUND, "now() + n * interval '1 minute'").await?;
    put(client, "due", 1, 10_000, "now()").await?;
    client.batch_execute("VACUUM ANALYZE").await?;
    let promote = client.prepare(PROMOTE).await?;
    measure(client, "promotion of 10,000 in thousands, of 200,000 later", 10_000, 10, async || {
        for _ in 0..10 {
            let count: i64 = client.query(&promote, &[&1000_i64]).await?.iter().map(|row| row.get::<_, i64>(3)).sum();
            if count != 1000 {
                return Err(format!("{count} promoted").into());
            }
        }
        Ok(())
    })
    .await?;
    let ids = put(client, "fails", 2, 5000, "NULL").await?;
    let retry = client.prepare(RETRY).await?;
    measure(client, "retry with backoff, 500 a statement", 5000, 10, async || {
        for some in ids.chunks(500) {
            let why = some
                .iter()
                .map(|id| (id.to_string(), serde_json::json!({"after": 30, "error": "the peer did not answer"})));
            let why = serde_json::Value::Object(why.collect());
            if client.query(&retry, &[&some, &WORKER, &why]).await?.len() != some.len() {
                return Err("not all put off".into());
            }
        }
        Ok(())
    })
    .await?;
    let ids = put(client, "naps", 2, 1000, "NULL").await?;
    let saved = serde_json::json!({"at": 3});
    measure(client, "snooze with saved state, one a statement", 1000, 1000, async || {
        let statement = client.prepare(SNOOZE).await?;
        for id in &ids {
            if client.execute(&statement, &[id, &WORKER, &60_f64, &saved]).await? != 1 {
                return Err("not put off".into());
            }
        }
        Ok(())
    })
    .await?;
    let ids = put(client, "works", 2, 1000, "NULL").await?;
    measure(client, "progress, one a statement", 1000, 1000, async || {
        let statement = client.prepare(PROGRESS).await?;
        for id in &ids {
            client.query_one(&statement, &[id, &WORKER, &50_i16, &"half of it"]).await?;
        }
        Ok(())
    })
    .await?;
    measure(client, "cancel of a running one", 1000, 1000, async || each(client, CANCEL, &ids, 1).await).await?;
    let ids = put(client, "waits", 0, 1000, "NULL").await?;
    measure(client, "cancel of a waiting one, history kept", 1000, 1000, async || each(client, CANCEL, &ids, 1).await)
        .await?;
    measure(client, "unique: the first", 1000, 1000, async || unique(client, 1).await).await?;
    measure(client, "unique: the second, answered with the first one's id", 1000, 2000, async || unique(client, 0).await)
        .await
}

async fn unique(client: &Client, rows: usize) -> Result<()> {
    let statement = client.prepare(UNIQUE).await?;
    let known = client.prepare("SELECT id FROM forge_jobs WHERE kind = 'once' AND unique_key = $1").await?;
    for n in 0..1000 {
        let key = format!("key {n}");
        let inserted = client.query(&statement, &[&Uuid::now_v7(), &key]).await?;
        if inserted.len() != rows {
            return Err("uniqueness is broken".into());
        }
        if inserted.is_empty() {
            client.query_one(&known, &[&key]).await?;
        }
    }
    Ok(())
}

/// A million that sleep for weeks: what one of them, what waking and what claiming beside them costs.
async fn sleepers(url: &str) -> Result<()> {
    let layout = Rows::CHOSEN.layout();
    let client = fresh(url, &layout.schema).await?;
    client
        .batch_execute(
            "INSERT INTO forge_jobs (id, kind, state, run_at, input) SELECT gen_random_uuid(), 'sleeper', 1, now() + interval '45 days', '{}' \
             FROM generate_series(1, 1000000)",
        )
        .await?;
    client.batch_execute("VACUUM ANALYZE").await?;
    let size: i64 = client.query_one("SELECT pg_total_relation_size('forge_jobs') / 1000000", &[]).await?.get(0);
    say(&format!("A rows, beside 1,000,000 sleepers of {size} bytes each, indexes included"))?;
    let ids: Vec<Uuid> = client
        .query("SELECT id FROM forge_jobs TABLESAMPLE SYSTEM (1) LIMIT 1000", &[])
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect();
    measure(&client, "waking one", 1000, 1000, async || each(&client, WAKE, &ids, 1).await).await?;
    let promote = client.prepare(PROMOTE).await?;
    measure(&client, "asking what is due when nothing is", 100, 100, async || {
        for _ in 0..100 {
            client.query(&promote, &[&1000_i64]).await?;
        }
        Ok(())
    })
    .await?;
    client.batch_execute("UPDATE forge_jobs SET run_at = now() - interval '1 second' WHERE state = 1").await?;
    client.batch_execute("VACUUM ANALYZE").await?;
    let start = Instant::now();
    let mut rounds = 0;
    while rounds < 50 {
        client.query(&promote, &[&1000_i64]).await?;
        rounds += 1;
    }
    say(&format!("  a million due at once: {:.0} promoted a second", 50_000.0 / start.elapsed().as_secs_f64()))
}
