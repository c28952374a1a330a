//! Live queries when nodes die, the database goes away, and clients do not read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use forge::prelude::*;
use serde_json::{Value, json};

use crate::support::balancer::Balancer;
use crate::support::http::{Connection, Request};
use crate::support::live::{Live, applied};
use crate::support::process::Process;
use crate::support::server::{Server, connect, empty_database};
use crate::support::{token, until};
use crate::{is_long, lasting};

fn number(value: &Value) -> i64 {
    value.as_str().unwrap().parse().unwrap()
}

/// Transfers between counters until it is told to stop. Answers other than 200 are the caller's business.
async fn transfers(url: String, seed: usize, stop: Arc<AtomicBool>) {
    let mut connection = Connection::open(&url).await.unwrap();
    let mut n = seed;
    while !stop.load(Ordering::Relaxed) {
        n = (n * 7 + 3) % 1000;
        let args =
            json!({"from": format!("n{}", n % 10), "to": format!("n{}", n / 10 % 10), "amount": (n % 5).to_string()});
        let request = Request::call("transfer", &args).header("x-forge-mutation-id", forge::new_uuid().to_string());
        while connection.send(&request).await.is_ok_and(|answer| answer.status != 200) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A client that watches the total, perhaps also by a query that takes its time, the list of all counters, and each counter by itself; and
/// fails when a frame leaves it with things that do not fit each other. Every one of these is right at any moment, so only what is of
/// different moments does not fit: one that gave, and another that has not taken yet.
struct Watcher {
    live: Live,
    total: Value,
    slow: Value,
    counters: Value,
    each: Vec<Value>,
}

/// The first of the subscriptions to each counter.
const EACH: u64 = 10;

impl Watcher {
    async fn open(url: &str, with_slow: bool) -> Self {
        let mut live = Live::open(url, None).await;
        live.subscribe(1, "total", json!({})).await;
        live.subscribe(2, "counters", json!({})).await;
        if with_slow {
            live.subscribe(3, "late_total", json!({"milliseconds": 30})).await;
        }
        for n in 0..10 {
            live.subscribe(EACH + n, "counter", json!({"name": format!("n{n}")})).await;
        }
        Self { live, total: Value::Null, slow: Value::Null, counters: Value::Null, each: vec![Value::Null; 10] }
    }

    async fn frame(&mut self) {
        let frame = self.live.next().await;
        for result in frame["results"].as_array().unwrap() {
            let known = match result["id"].as_u64().unwrap() {
                1 => &mut self.total,
                2 => &mut self.counters,
                3 => &mut self.slow,
                one => &mut self.each[usize::try_from(one - EACH).unwrap()],
            };
            *known = applied(known, result);
        }
        for total in [&self.total, &self.slow] {
            assert!(total.is_null() || total == "1000", "torn: {frame}");
        }
        if !self.each.contains(&Value::Null) {
            let sum: i64 = self.each.iter().map(number).sum();
            assert_eq!(sum, 1000, "torn between subscriptions: {:?} {frame}", self.each);
        }
        if let Some(counters) = self.counters.as_array() {
            let values: Vec<&Value> = counters.iter().map(|pair| &pair[1]).collect();
            let same = |(one, other): (&Value, &&Value)| one.is_null() || one == *other;
            assert!(self.each.iter().zip(&values).all(same), "torn: {:?} {values:?} {frame}", self.each);
        }
    }

    /// Reads frames until it shows what is there.
    async fn converges(&mut self, sql: &tokio_postgres::Client) {
        let rows = sql.query("SELECT name, value::text FROM counters ORDER BY name", &[]).await.unwrap();
        let want: Value = rows.iter().map(|row| json!([row.get::<_, &str>(0), row.get::<_, &str>(1)])).collect();
        while self.counters != want {
            self.frame().await;
        }
    }
}

const FILL: &str = "INSERT INTO counters SELECT 'n' || n, 100 FROM generate_series(0, 9) n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_two_nodes_see_the_same_whole_frames() -> Result<()> {
    let database = empty_database().await?;
    let nodes = [Process::start(database.url()).await.ready().await, Process::start(database.url()).await.ready().await];
    let sql = connect(database.url()).await;
    sql.batch_execute(FILL).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..8).map(|n| tokio::spawn(transfers(nodes[n % 2].url().to_owned(), n, stop.clone()))).collect();
    let until = Instant::now() + lasting(60, 600);
    let balancer = Balancer::before(&[nodes[0].url(), nodes[1].url()]).await;
    let watchers = (0..4).map(|n| {
        let url = balancer.url().to_owned();
        tokio::spawn(async move {
            let mut watcher = Watcher::open(&url, n >= 2).await;
            let mut frames = 0;
            while Instant::now() < until {
                watcher.frame().await;
                frames += 1;
            }
            assert!(frames > 50, "{frames}");
            println!("{frames} whole frames");
            watcher
        })
    });
    let watchers: Vec<_> = watchers.collect();
    let mut done = Vec::new();
    for watcher in watchers {
        done.push(watcher.await.unwrap());
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    for watcher in &mut done {
        watcher.converges(&sql).await;
    }
    // What one node has told, the other knows again.
    let mut first = Live::open(nodes[0].url(), None).await;
    first.subscribe(1, "total", json!({})).await;
    let version = first.next().await["results"][0]["version"].clone();
    let mut second = Live::open(nodes[1].url(), None).await;
    second.send(json!({"type": "subscribe", "id": 1, "function": "total", "args": {}, "version": version})).await;
    assert_eq!(second.next().await["results"][0]["current"], true);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_goes_away_under_subscribers() -> Result<()> {
    for crash in [false, true] {
        let mut server = Server::new().await?;
        let process = Process::start(server.url()).await.ready().await;
        connect(server.url()).await.batch_execute(FILL).await.unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let writer = tokio::spawn(transfers(process.url().to_owned(), 1, stop.clone()));
        let mut watcher = Watcher::open(process.url(), true).await;
        for _ in 0..20 {
            watcher.frame().await;
        }
        if crash {
            server.crash().await;
        } else {
            server.stop().await?;
        }
        until("it is not ready", async || process.readiness().await == 503).await;
        server.start().await?;
        // On the same connection, without the client having done anything.
        for _ in 0..20 {
            watcher.frame().await;
        }
        stop.store(true, Ordering::Relaxed);
        writer.await.unwrap();
        watcher.converges(&connect(server.url()).await).await;
        process.kill().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_not_refused_because_the_database_is_away() -> Result<()> {
    let server = Server::new().await?;
    let process = Process::start(server.url()).await.ready().await;
    let answer = Request::call("sign_in_as", &json!({"name": "ada"})).send(process.url()).await;
    let token = answer.json()["data"]["access"].as_str().unwrap().to_owned();
    server.stop().await?;
    until("it is not ready", async || process.readiness().await == 503).await;
    // For a moment it is still believed what was known of the session last.
    let ended = loop {
        let mut live = Live::open(process.url(), None).await;
        live.send(json!({"type": "auth", "token": token})).await;
        match live.next_or_close().await {
            Ok(message) => assert_eq!(message["type"], "authenticated", "{message}"),
            Err(code) => break code,
        }
    };
    assert_eq!(ended, 1013, "come again, and not: sign in again");
    process.kill().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_over_hard_disconnects() -> Result<()> {
    let database = empty_database().await?;
    let node = Process::start(database.url()).await.ready().await;
    let sql = connect(database.url()).await;
    sql.batch_execute(FILL).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..2).map(|n| tokio::spawn(transfers(node.url().to_owned(), n, stop.clone()))).collect();
    let (mut known, mut version, mut whole, mut changed) = (Value::Null, Value::Null, 0, 0);
    for round in 0..if is_long() { 200 } else { 20 } {
        let mut live = Live::open(node.url(), None).await;
        let mut wish = json!({"type": "subscribe", "id": 1, "function": "counters", "args": {}});
        if !version.is_null() {
            wish["version"] = version.clone();
        }
        live.send(wish).await;
        for _ in 0..=round % 3 {
            let frame = live.next().await;
            let result = &frame["results"][0];
            whole += i32::from(result.get("data").is_some());
            changed += i32::from(result.get("delta").is_some());
            known = applied(&known, result);
            version = result["version"].clone();
            let sum: i64 = known.as_array().unwrap().iter().map(|pair| number(&pair[1])).sum();
            assert_eq!(sum, 1000);
        }
        live.cut();
    }
    println!("{whole} whole results, {changed} patches");
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    let mut watcher = Watcher::open(node.url(), true).await;
    watcher.converges(&sql).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_harms_nobody() -> Result<()> {
    let database = empty_database().await?;
    let node = Process::start(database.url()).await.ready().await;
    let sql = connect(database.url()).await;
    let (ada, batch) = (token::of("ada", &[]), forge::new_uuid());
    let fill =
        "INSERT INTO notes (id, batch, title) SELECT gen_random_uuid(), $1, 'note ' || n FROM generate_series(1, 1000) n";
    sql.execute(fill, &[&batch]).await.unwrap();
    let mut stalled = Live::open(node.url(), Some(&ada)).await;
    stalled.takes_little();
    stalled.subscribed(1, "list_notes", json!({"batch": batch})).await;
    let mut reader = Live::open(node.url(), Some(&ada)).await;
    reader.subscribed(1, "list_notes", json!({"batch": batch})).await;
    let before = node.resident_bytes();
    for n in 0..300 {
        // The whole list changes each time: 200 kB that the one does not take, and the other does.
        let text = format!("UPDATE notes SET title = title || 'x', extra = '{{\"big\": \"{n}\", \"tags\": []}}'");
        sql.batch_execute(&text.replace("title || 'x'", "left(md5(title), 30)")).await.unwrap();
        let frame = reader.next().await;
        assert_eq!(frame["results"][0]["id"], 1);
    }
    let grown = node.resident_bytes().saturating_sub(before);
    println!("the node grew by {grown} bytes");
    assert!(grown < 64 * 1024 * 1024, "the node grew by {grown} bytes");
    drop(stalled);
    Ok(())
}

/// Changes the list and the counter, at a steady pace, while everybody reads the counter. Returns how late the slowest hundredth of all that was
/// shown came.
async fn p99(sql: &tokio_postgres::Client, readers: &mut Vec<Live>, changes: usize) -> Duration {
    let began = Instant::now();
    let since = move || i64::try_from(began.elapsed().as_micros()).unwrap();
    let reading: Vec<_> = std::mem::take(readers)
        .into_iter()
        .map(|mut live| {
            tokio::spawn(async move {
                let mut late = Vec::with_capacity(changes);
                // The counter is when it was written, in microseconds; what is less than nothing is the end.
                while let Ok(written) = u64::try_from(number(&live.next().await["results"][0]["data"])) {
                    late.push(began.elapsed().saturating_sub(Duration::from_micros(written)));
                }
                (live, late)
            })
        })
        .collect();
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    for n in 0..=changes {
        pace.tick().await;
        sql.batch_execute("UPDATE notes SET title = md5(title)").await.unwrap();
        let value = if n < changes { since() } else { -since() };
        sql.execute("UPDATE counters SET value = $1", &[&value]).await.unwrap();
    }
    let mut late = Vec::new();
    for one in reading {
        let (live, seen) = one.await.unwrap();
        readers.push(live);
        late.extend(seen);
    }
    late.sort();
    late[late.len() * 99 / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_who_does_not_read_does_not_hold_up_the_others() -> Result<()> {
    const ROUNDS: usize = 3;
    let (many, changes) = if is_long() { (1000, 200) } else { (100, 40) };
    let database = empty_database().await?;
    let node = Process::start(database.url()).await.ready().await;
    let sql = connect(database.url()).await;
    let (ada, batch) = (token::of("ada", &[]), forge::new_uuid());
    let fill =
        "INSERT INTO notes (id, batch, title) SELECT gen_random_uuid(), $1, md5(n::text) FROM generate_series(1, 1000) n";
    sql.execute(fill, &[&batch]).await.unwrap();
    sql.batch_execute("INSERT INTO counters VALUES ('a', 1)").await.unwrap();
    let mut readers = Vec::with_capacity(many);
    for _ in 0..many {
        let mut live = Live::open(node.url(), None).await;
        live.subscribed(1, "counter", json!({"name": "a"})).await;
        readers.push(live);
    }
    // Somebody reads the list at all times, so that it is made, whether or not there is one who does not read it.
    let mut keen = Live::open(node.url(), Some(&ada)).await;
    keen.subscribed(1, "list_notes", json!({"batch": batch})).await;
    let reading = tokio::spawn(async move {
        loop {
            keen.next().await;
        }
    });
    p99(&sql, &mut readers, changes).await;
    let (mut without, mut with, mut grown) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(p99(&sql, &mut readers, changes).await);
        let mut stalled = Live::open(node.url(), Some(&ada)).await;
        stalled.takes_little();
        stalled.subscribed(1, "list_notes", json!({"batch": batch})).await;
        // What the system keeps for it is full by then.
        p99(&sql, &mut readers, 40).await;
        let before = node.resident_bytes();
        with.push(p99(&sql, &mut readers, changes).await);
        grown.push(node.resident_bytes().saturating_sub(before));
        drop(stalled);
    }
    reading.abort();
    println!("{many} readers: p99 without {without:?}, with {with:?}; grown by {grown:?} bytes");
    without.sort();
    with.sort();
    // On a machine that does other things as well. What waits for a client that does not read is late by its time-out.
    assert!(with[ROUNDS / 2] < without[ROUNDS / 2] * 2 + Duration::from_millis(50), "{without:?} {with:?}");
    assert!(grown.iter().all(|bytes| *bytes < 4 << 20), "{grown:?}");
    Ok(())
}
