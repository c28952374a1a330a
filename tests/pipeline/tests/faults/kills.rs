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

/// What one call asks for: a batch of its own, told by whatever the caller's number is.
type Ask = fn(caller: usize, batch: Uuid) -> Request;

/// Kills nodes, each at some moment of its work, while callers ask for one batch after the other. Returns who asked for which batch, and
/// whether that was acknowledged.
async fn kill_at_work(url: &str, rounds: usize, ask: Ask) -> HashMap<Uuid, (usize, bool)> {
    let batches: Arc<Mutex<HashMap<Uuid, (usize, bool)>>> = Arc::default();
    for _ in 0..rounds {
        let process = Process::start(url).await.ready().await;
        let callers: Vec<_> = (0..8)
            .map(|caller| tokio::spawn(ask_until_it_dies(process.url().to_owned(), caller, ask, batches.clone())))
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
    let sql = connect(url).await;
    until("its sessions have ended", async || crate::support::count(&sql, SESSIONS).await == 0).await;
    let batches = batches.lock().unwrap();
    batches.clone()
}

async fn ask_until_it_dies(url: String, caller: usize, ask: Ask, batches: Arc<Mutex<HashMap<Uuid, (usize, bool)>>>) {
    let Ok(mut connection) = Connection::open(&url).await else { return };
    loop {
        let batch = forge::new_uuid();
        batches.lock().unwrap().insert(batch, (caller, false));
        match connection.send(&ask(caller, batch)).await {
            Ok(answer) => {
                assert_eq!(answer.status, 200, "{}", answer.text());
                batches.lock().unwrap().insert(batch, (caller, true));
            }
            Err(_) => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_under_load() -> Result<()> {
    let database = empty_database().await?;
    let rounds = if crate::is_long() { 200 } else { 20 };
    let ask: Ask = |_, batch| Request::call("add_three", &json!({"batch": batch}));
    let batches = kill_at_work(database.url(), rounds, ask).await;
    let sql = connect(database.url()).await;
    let counts = sql.query("SELECT batch, count(*) FROM notes GROUP BY batch", &[]).await.unwrap();
    let counts: HashMap<Uuid, i64> = counts.iter().map(|row| (row.get(0), row.get(1))).collect();
    for (batch, (_, answered)) in &batches {
        let count = counts.get(batch).copied().unwrap_or(0);
        assert!(count == 3 || (count == 0 && !answered), "{count} rows of batch {batch}, answered: {answered}");
    }
    let acknowledged = batches.values().filter(|(_, answered)| *answered).count();
    let unanswered = batches.len() - acknowledged;
    println!("{acknowledged} acknowledged batches, {unanswered} without an answer");
    assert!(acknowledged >= rounds && unanswered >= rounds, "{acknowledged} and {unanswered} prove little");
    database.remove().await
}

/// A job exists exactly if what its mutation has written does, and one that was acknowledged exists.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_jobs_are_dispatched() -> Result<()> {
    let database = empty_database().await?;
    // Of every other caller, the mutation writes something else as well.
    let writes = |caller: usize| caller.is_multiple_of(2);
    let ask: Ask = |caller, batch| match caller % 2 {
        0 => Request::call("note_and_order", &json!({"batch": batch})),
        _ => Request::call("only_order", &json!({"label": batch.to_string()})),
    };
    let batches = kill_at_work(database.url(), if crate::is_long() { 100 } else { 6 }, ask).await;
    let sql = connect(database.url()).await;
    let jobs = sql.query("SELECT split_part(input ->> 'label', ' ', 1)::uuid, count(*) FROM forge_jobs GROUP BY 1", &[]);
    let jobs: HashMap<Uuid, i64> = jobs.await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect();
    let notes = sql.query("SELECT batch FROM notes", &[]).await.unwrap();
    let notes: std::collections::HashSet<Uuid> = notes.iter().map(|row| row.get(0)).collect();
    for (batch, (caller, answered)) in &batches {
        let count = jobs.get(batch).copied().unwrap_or(0);
        assert!(count == 1 || (count == 0 && !answered), "{count} jobs of batch {batch}, answered: {answered}");
        assert!(!writes(*caller) || (count == 1) == notes.contains(batch), "{count} jobs of batch {batch} and a note");
    }
    let answered = batches.values().filter(|(_, answered)| *answered).count();
    assert!(answered > 20 && answered < batches.len(), "{answered} of {} prove little", batches.len());
    database.remove().await
}
