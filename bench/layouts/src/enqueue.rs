//! Ways to write jobs down.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use futures_util::SinkExt as _;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::layout::{Layout, OWNER, TRACE};
use layouts::Result;
use layouts::database::{connect, fresh};

const KIND: &str = "kind_0";
const QUEUE: &str = "default";
const BULK: usize = 1000;

#[derive(Debug, Serialize)]
struct Input {
    n: usize,
}

#[allow(clippy::cast_precision_loss)]
fn rate(jobs: usize, start: Instant) -> f64 {
    jobs as f64 / start.elapsed().as_secs_f64()
}

/// A transaction for each job, from sixteen connections.
pub(crate) async fn single(url: &str, layout: &Layout, jobs: usize) -> Result<f64> {
    fresh(url, &layout.schema).await?;
    let owner: serde_json::Value = serde_json::from_str(OWNER)?;
    let mut clients = Vec::new();
    for _ in 0..16 {
        let client = connect(url).await?;
        let statement = client.prepare(&layout.enqueue).await?;
        clients.push((client, statement, owner.clone()));
    }
    let next = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let mut callers = JoinSet::new();
    for (client, statement, owner) in clients {
        let next = Arc::clone(&next);
        callers.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= jobs {
                    return Result::Ok(());
                }
                client
                    .execute(
                        &statement,
                        &[&Uuid::now_v7(), &KIND, &QUEUE, &50_i16, &20_i16, &Json(Input { n }), &Json(&owner), &TRACE],
                    )
                    .await?;
            }
        });
    }
    while let Some(done) = callers.join_next().await {
        done??;
    }
    Ok(rate(jobs, start))
}

/// Callers who each wait for the commit, and one connection that writes whatever waits as one statement.
pub(crate) async fn coalesced(url: &str, layout: &Layout, callers: usize, jobs: usize) -> Result<f64> {
    fresh(url, &layout.schema).await?;
    let client = connect(url).await?;
    let statement = client.prepare(&layout.coalesced).await?;
    let (send, mut wait) = mpsc::channel::<(Uuid, Json<Input>, oneshot::Sender<()>)>(1024);
    let owner: serde_json::Value = serde_json::from_str(OWNER)?;
    let writer = tokio::spawn(async move {
        let mut batch = Vec::new();
        while wait.recv_many(&mut batch, BULK).await > 0 {
            let (mut ids, mut inputs, mut acknowledged) = (Vec::new(), Vec::new(), Vec::new());
            for (id, input, done) in batch.drain(..) {
                ids.push(id);
                inputs.push(input);
                acknowledged.push(done);
            }
            let len = ids.len();
            client
                .execute(
                    &statement,
                    &[
                        &ids,
                        &vec![KIND; len],
                        &vec![QUEUE; len],
                        &vec![50_i16; len],
                        &vec![20_i16; len],
                        &inputs,
                        &vec![Json(&owner); len],
                        &vec![TRACE; len],
                    ],
                )
                .await?;
            for done in acknowledged {
                // A caller that went away needs no answer.
                let _ = done.send(());
            }
        }
        Result::Ok(())
    });
    let next = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let (next, send) = (Arc::clone(&next), send.clone());
        tasks.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= jobs {
                    return Result::Ok(());
                }
                let (done, committed) = oneshot::channel();
                send.send((Uuid::now_v7(), Json(Input { n }), done)).await?;
                committed.await?;
            }
        });
    }
    drop(send);
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let rate = rate(jobs, start);
    writer.await??;
    Ok(rate)
}

/// A thousand at a time, as arrays.
pub(crate) async fn unnest(url: &str, layout: &Layout, jobs: usize) -> Result<f64> {
    fresh(url, &layout.schema).await?;
    let client = connect(url).await?;
    let statement = client.prepare(&layout.unnest).await?;
    let owner: serde_json::Value = serde_json::from_str(OWNER)?;
    let start = Instant::now();
    for from in (0..jobs).step_by(BULK) {
        let ids: Vec<Uuid> = (0..BULK).map(|_| Uuid::now_v7()).collect();
        let inputs: Vec<Json<Input>> = (from..from + BULK).map(|n| Json(Input { n })).collect();
        client.execute(&statement, &[&ids, &inputs, &KIND, &QUEUE, &50_i16, &20_i16, &Json(&owner), &TRACE]).await?;
    }
    Ok(rate(jobs, start))
}

/// A thousand at a time, by COPY.
pub(crate) async fn copy(url: &str, layout: &Layout, jobs: usize) -> Result<f64> {
    fresh(url, &layout.schema).await?;
    let client = connect(url).await?;
    let slot = if layout.copy.contains("slot") { "\t0" } else { "" };
    let start = Instant::now();
    for from in (0..jobs).step_by(BULK) {
        let mut text = String::with_capacity(BULK * 256);
        for n in from..from + BULK {
            let id = Uuid::now_v7();
            writeln!(text, "{id}\t{KIND}\t{QUEUE}\t50\t20\t{{\"n\": {n}}}\t{OWNER}\t{TRACE}{slot}")?;
        }
        let mut sink = Box::pin(client.copy_in(&layout.copy).await?);
        sink.send(Bytes::from(text)).await?;
        sink.close().await?;
    }
    Ok(rate(jobs, start))
}
