//! The app is killed: a mutation has happened as a whole or not at all, and one that was acknowledged has happened.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forge::prelude::*;
use rand::RngExt as _;
use serde_json::json;

use crate::support::http::{Connection, Request};
use crate::support::process::Process;
use crate::support::server::{connect, empty_database};
use crate::support::{Gate, until};

/// Sessions of the app that are still there.
const SESSIONS: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'forge %'";

async fn rows(sql: &tokio_postgres::Client, batch: Uuid) -> i64 {
    sql.query_one("SELECT count(*) FROM notes WHERE batch = $1", &[&batch]).await.unwrap().get(0)
}

#[tokio::test]
async fn killed_between_any_two_statements() -> Result<()> {
    let database = empty_database().await?;
    let sql = connect(database.url()).await;
    // Before the first write, between them, and after the last one, before the end.
    for place in 0..4 {
        let process = Process::start(database.url()).await.ready().await;
        let batch = forge::new_uuid();
        let gate = Gate::shut(connect(database.url()).await, 100 + place).await;
        let call = Request::call("add_three_gated", &json!({"batch": batch, "gate": "100"}));
        let url = process.url().to_owned();
        let calling = tokio::spawn(async move { call.try_send(&url).await });
        gate.until_waiting(1).await;
        process.kill().await;
        assert!(calling.await.unwrap().is_err(), "nobody may have answered");
        gate.open().await;
        until("its sessions have ended", async || crate::support::count(&sql, SESSIONS).await == 0).await;
        assert_eq!(rows(&sql, batch).await, 0, "killed at place {place}");
    }
    // Where nothing kills it, all of it is there.
    let process = Process::start(database.url()).await.ready().await;
    let batch = forge::new_uuid();
    let call = Request::call("add_three_gated", &json!({"batch": batch, "gate": "100"}));
    assert_eq!(call.send(process.url()).await.status, 200);
    process.kill().await;
    assert_eq!(rows(&sql, batch).await, 3, "killed right after the answer");
    database.remove().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_under_load() -> Result<()> {
    let database = empty_database().await?;
    let sql = connect(database.url()).await;
    // Every batch that was sent, and whether it was acknowledged.
    let batches: Arc<Mutex<HashMap<Uuid, bool>>> = Arc::default();
    let rounds = if crate::is_long() { 200 } else { 20 };
    for _ in 0..rounds {
        let process = Process::start(database.url()).await.ready().await;
        let callers: Vec<_> =
            (0..8).map(|_| tokio::spawn(add_until_it_dies(process.url().to_owned(), batches.clone()))).collect();
        let before = batches.lock().unwrap().len();
        until("it is at work", async || batches.lock().unwrap().len() > before + 16).await;
        // The moment itself is what is random here.
        let pause_us = rand::rng().random_range(0..50_000);
        tokio::time::sleep(Duration::from_micros(pause_us)).await;
        process.kill().await;
        for caller in callers {
            caller.await.unwrap();
        }
    }
    until("its sessions have ended", async || crate::support::count(&sql, SESSIONS).await == 0).await;
    let counts = sql.query("SELECT batch, count(*) FROM notes GROUP BY batch", &[]).await.unwrap();
    let counts: HashMap<Uuid, i64> = counts.iter().map(|row| (row.get(0), row.get(1))).collect();
    let batches = batches.lock().unwrap().clone();
    let (mut acknowledged, mut unanswered) = (0, 0);
    for (batch, answered) in batches.iter() {
        let count = counts.get(batch).copied().unwrap_or(0);
        assert!(count == 3 || (count == 0 && !answered), "{count} rows of batch {batch}, answered: {answered}");
        if *answered { acknowledged += 1 } else { unanswered += 1 }
    }
    println!("{acknowledged} acknowledged batches, {unanswered} without an answer");
    assert!(acknowledged >= rounds && unanswered >= rounds, "{acknowledged} and {unanswered} prove little");
    database.remove().await
}

async fn add_until_it_dies(url: String, batches: Arc<Mutex<HashMap<Uuid, bool>>>) {
    let Ok(mut connection) = Connection::open(&url).await else { return };
    loop {
        let batch = forge::new_uuid();
        batches.lock().unwrap().insert(batch, false);
        match connection.send(&Request::call("add_three", &json!({"batch": batch}))).await {
            Ok(answer) => {
                assert_eq!(answer.status, 200, "{}", answer.text());
                batches.lock().unwrap().insert(batch, true);
            }
            Err(_) => return,
        }
    }
}

/// A job exists exactly if what its mutation has written does, and one that was acknowledged exists.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_jobs_are_dispatched() -> Result<()> {
    let database = empty_database().await?;
    let sql = connect(database.url()).await;
    // Every batch that was sent, whether its mutation writes something else as well, and whether it was acknowledged.
    let batches: Arc<Mutex<HashMap<Uuid, (bool, bool)>>> = Arc::default();
    for _ in 0..if crate::is_long() { 100 } else { 6 } {
        let process = Process::start(database.url()).await.ready().await;
        let callers: Vec<_> = (0..8)
            .map(|n| tokio::spawn(dispatch_until_it_dies(process.url().to_owned(), n % 2 == 0, batches.clone())))
            .collect();
        let before = batches.lock().unwrap().len();
        until("it is at work", async || batches.lock().unwrap().len() > before + 16).await;
        // The moment itself is what is random here.
        let pause_us = rand::rng().random_range(0..50_000);
        tokio::time::sleep(Duration::from_micros(pause_us)).await;
        process.kill().await;
        for caller in callers {
            caller.await.unwrap();
        }
    }
    until("its sessions have ended", async || crate::support::count(&sql, SESSIONS).await == 0).await;
    let jobs = sql.query("SELECT split_part(input ->> 'label', ' ', 1)::uuid, count(*) FROM forge_jobs GROUP BY 1", &[]);
    let jobs: HashMap<Uuid, i64> = jobs.await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect();
    let notes = sql.query("SELECT batch FROM notes", &[]).await.unwrap();
    let notes: std::collections::HashSet<Uuid> = notes.iter().map(|row| row.get(0)).collect();
    let batches = batches.lock().unwrap().clone();
    for (batch, (writes, answered)) in &batches {
        let count = jobs.get(batch).copied().unwrap_or(0);
        assert!(count == 1 || (count == 0 && !answered), "{count} jobs of batch {batch}, answered: {answered}");
        assert!(!writes || (count == 1) == notes.contains(batch), "{count} jobs of batch {batch} and a note");
    }
    let answered = batches.values().filter(|(_, answered)| *answered).count();
    assert!(answered > 20 && answered < batches.len(), "{answered} of {} prove little", batches.len());
    database.remove().await
}

async fn dispatch_until_it_dies(url: String, writes: bool, batches: Arc<Mutex<HashMap<Uuid, (bool, bool)>>>) {
    let Ok(mut connection) = Connection::open(&url).await else { return };
    loop {
        let batch = forge::new_uuid();
        batches.lock().unwrap().insert(batch, (writes, false));
        let request = if writes {
            Request::call("note_and_order", &json!({"batch": batch}))
        } else {
            Request::call("only_order", &json!({"label": batch.to_string()}))
        };
        match connection.send(&request).await {
            Ok(answer) => {
                assert_eq!(answer.status, 200, "{}", answer.text());
                batches.lock().unwrap().insert(batch, (writes, true));
            }
            Err(_) => return,
        }
    }
}
