//! A wake that races with going to sleep, and jobs that become visible behind a cursor: neither may be lost.

use tokio_postgres::Client;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::drain::{Claimer, Lanes, WORKER, Worker};
use crate::layout::{Layout, Rows, append};
use layouts::Result;
use layouts::database::{connect, fresh};
use layouts::table::say;

/// Sleeps unless something was sent since `$3` was seen.
const SLEEP: &str = "UPDATE forge_jobs SET state = 1, run_at = now() + interval '45 days', worker = NULL
    WHERE id = $1 AND worker = $2 AND signals = $3";
/// Counts what is sent, and wakes whoever sleeps.
const SEND: &str =
    "UPDATE forge_jobs SET signals = signals + 1, ready_at = CASE WHEN state = 1 THEN clock_timestamp() ELSE ready_at END,
        run_at = NULL, state = CASE WHEN state = 1 THEN 0 ELSE state END
    WHERE id = $1";
const TIMES: i32 = 2000;

pub(super) async fn run(url: &str) -> Result<()> {
    wake(url).await?;
    for layout in [Rows::CHOSEN.layout(), append()] {
        late(url, &layout).await?;
    }
    Ok(())
}

async fn wake(url: &str) -> Result<()> {
    let client =
        fresh(url, &(Rows::CHOSEN.layout().schema + "ALTER TABLE forge_jobs ADD signals int NOT NULL DEFAULT 0;")).await?;
    let other = connect(url).await?;
    let (sleep, send) = (client.prepare(SLEEP).await?, other.prepare(SEND).await?);
    let id = Uuid::now_v7();
    client
        .execute("INSERT INTO forge_jobs (id, kind, state, worker, input) VALUES ($1, 'run', 2, $2, '{}')", &[&id, &WORKER])
        .await?;
    let mut slept = 0;
    for seen in 0..TIMES {
        // Either may come first.
        let (to_sleep, to_send): ([&(dyn ToSql + Sync); 3], [&(dyn ToSql + Sync); 1]) = ([&id, &WORKER, &seen], [&id]);
        let (went, _) = tokio::try_join!(client.execute(&sleep, &to_sleep), other.execute(&send, &to_send))?;
        slept += went;
        let row = client.query_one("SELECT state, signals FROM forge_jobs WHERE id = $1", &[&id]).await?;
        let (state, signals): (i16, i32) = (row.get(0), row.get(1));
        // Who slept was woken; who did not sleep still runs and knows that it must look again.
        let right = if went == 1 { 0 } else { 2 };
        if state != right || signals != seen + 1 {
            return Err(format!("a wake was lost: state {state}, {signals} signals after {seen}, slept {went}").into());
        }
        client.execute("UPDATE forge_jobs SET state = 2, worker = $2 WHERE id = $1", &[&id, &WORKER]).await?;
    }
    say(&format!("A rows: {TIMES} wakes raced with going to sleep: none lost, {slept} times it slept first"))
}

async fn put(client: &Client, layout: &Layout) -> Result<()> {
    let input = serde_json::json!({"n": 1});
    client
        .execute(
            &layout.enqueue,
            &[&Uuid::now_v7(), &"kind_0", &"default", &50_i16, &20_i16, &input, &Option::<serde_json::Value>::None, &""],
        )
        .await?;
    Ok(())
}

/// One writer writes first and commits last: its job lies behind the cursor by then.
async fn late(url: &str, layout: &Layout) -> Result<()> {
    let (client, slow) = (fresh(url, &layout.schema).await?, connect(url).await?);
    let claimer = Claimer::new(url, layout, Worker::DEFAULT).await?;
    let mut lanes = Lanes::of(1);
    slow.batch_execute("BEGIN").await?;
    put(&slow, layout).await?;
    put(&client, layout).await?;
    let first = claimer.next(&mut lanes, 10).await?.len();
    slow.batch_execute("COMMIT").await?;
    lanes.wake();
    let (second, mut swept) = (claimer.next(&mut lanes, 10).await?.len(), 0);
    lanes.sweep();
    swept += claimer.next(&mut lanes, 10).await?.len();
    if (first, second + swept) != (1, 1) {
        return Err(format!("{}: of two jobs, {first}, {second} and {swept} were handed out", layout.name).into());
    }
    let how = if second == 1 { "by the next claim" } else { "by the hint's or the sweep's going back" };
    say(&format!("{}: a job that was written early and committed late was found {how}", layout.name))
}
