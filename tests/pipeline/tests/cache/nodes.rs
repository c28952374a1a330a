//! Two nodes, and whoever else writes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use forge::prelude::*;
use rand::RngExt as _;
use serde_json::{Value, json};

use crate::support::http::{Answer, Connection, Request};
use crate::support::process::Process;
use crate::support::server::{Server, connect, empty_database};
use crate::support::until;
use crate::{ask, kept, metric, named};

/// What the guide promises about the commits of others.
const LAG_MAX: Duration = Duration::from_millis(50);

/// How many counters there are.
const NAMES: usize = 8;

/// How many reads are checked.
const READS: usize = 10_000;

fn name(n: usize) -> String {
    format!("n{n}")
}

fn number(value: &Value) -> i64 {
    value.as_str().map_or(0, |text| text.parse().unwrap())
}

/// What is known to have been committed, by those who were told so. Counters only grow.
#[derive(Default)]
struct Told {
    /// By node and counter.
    on_node: HashMap<(usize, usize), i64>,
    /// By counter, with the time of the telling.
    by_anybody: HashMap<usize, Vec<(Instant, i64)>>,
    /// The position that came with a counter's value.
    positions: Vec<(usize, i64, String)>,
}

impl Told {
    fn wrote(&mut self, node: Option<usize>, counter: usize, value: i64, position: Option<&str>) {
        if let Some(node) = node {
            let known = self.on_node.entry((node, counter)).or_default();
            *known = value.max(*known);
        }
        let times = self.by_anybody.entry(counter).or_default();
        times.retain(|(at, _)| at.elapsed() < LAG_MAX * 2);
        let most = times.iter().map(|(_, value)| *value).max().unwrap_or(0).max(value);
        times.push((Instant::now(), most));
        if let Some(position) = position {
            self.positions.push((counter, value, position.to_owned()));
        }
    }

    /// The least that a read of this counter on this node may show that is sent now.
    fn least(&self, node: usize, counter: usize) -> i64 {
        let here = self.on_node.get(&(node, counter)).copied().unwrap_or(0);
        let old = |(at, _): &&(Instant, i64)| at.elapsed() > LAG_MAX;
        let of_others = self.by_anybody.get(&counter).into_iter().flatten().filter(old).map(|(_, value)| *value).max();
        here.max(of_others.unwrap_or(0))
    }
}

async fn pause(most_ms: u64) {
    let ms = rand::rng().random_range(0..most_ms);
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

async fn write(nodes: [String; 2], told: Arc<Mutex<Told>>, stop: Arc<AtomicBool>) {
    let mut connections = [Connection::open(&nodes[0]).await.unwrap(), Connection::open(&nodes[1]).await.unwrap()];
    while !stop.load(Ordering::Relaxed) {
        let (node, counter) = (rand::rng().random_range(0..2), rand::rng().random_range(0..NAMES));
        let answer = connections[node].send(&Request::call("bump", &named(&name(counter)))).await.unwrap();
        let position = answer.header("x-forge-position").map(str::to_owned);
        assert!(position.is_some(), "{answer:?}");
        told.lock().unwrap().wrote(Some(node), counter, number(&answer.data()), position.as_deref());
        pause(20).await;
    }
}

async fn write_sql(database: String, told: Arc<Mutex<Told>>, stop: Arc<AtomicBool>) {
    let sql = connect(&database).await;
    while !stop.load(Ordering::Relaxed) {
        let counter = rand::rng().random_range(0..NAMES);
        let statement = "UPDATE counters SET value = value + 1 WHERE name = $1 RETURNING value";
        let row = sql.query_one(statement, &[&name(counter)]).await.unwrap();
        told.lock().unwrap().wrote(None, counter, row.get(0), None);
        pause(40).await;
    }
}

#[derive(Default)]
struct Uses {
    reads: AtomicUsize,
    hits: AtomicUsize,
}

async fn read(nodes: [String; 2], told: Arc<Mutex<Told>>, uses: Arc<Uses>) {
    let mut connections = [Connection::open(&nodes[0]).await.unwrap(), Connection::open(&nodes[1]).await.unwrap()];
    while uses.reads.fetch_add(1, Ordering::Relaxed) < READS {
        let (node, mut counter) = (rand::rng().random_range(0..2), rand::rng().random_range(0..NAMES));
        let mut request = None;
        let mut least = 0;
        if rand::rng().random_bool(0.3) {
            let told = told.lock().unwrap();
            // The latest of them: what was written just now.
            if let Some((of, value, position)) = told.positions.last() {
                (counter, least) = (*of, *value);
                let call = Request::call("kept_counter", &named(&name(counter)));
                request = Some(call.header("x-forge-position", position.clone()));
            }
        }
        let request = request.unwrap_or_else(|| Request::call("kept_counter", &named(&name(counter))));
        least = least.max(told.lock().unwrap().least(node, counter));
        let answer: Answer = connections[node].send(&request).await.unwrap();
        let shown = number(&answer.data());
        assert!(shown >= least, "stale: {shown} instead of {least} or more, from node {node}: {answer:?} to {request:?}");
        uses.hits.fetch_add(usize::from(answer.header("x-forge-cache") == Some("hit")), Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_is_staler_than_promised() -> Result<()> {
    let database = empty_database().await?;
    let nodes = [Process::start(database.url()).await.ready().await, Process::start(database.url()).await.ready().await];
    let urls = [nodes[0].url().to_owned(), nodes[1].url().to_owned()];
    let sql = connect(database.url()).await;
    sql.batch_execute(&format!("INSERT INTO counters SELECT 'n' || n, 0 FROM generate_series(0, {}) n", NAMES - 1))
        .await
        .unwrap();
    let (told, stop, uses) = (Arc::new(Mutex::new(Told::default())), Arc::new(AtomicBool::new(false)), Arc::default());
    let mut writers: Vec<_> = (0..2).map(|_| tokio::spawn(write(urls.clone(), told.clone(), stop.clone()))).collect();
    writers.push(tokio::spawn(write_sql(database.url().to_owned(), told.clone(), stop.clone())));
    let readers: Vec<_> = (0..6).map(|_| tokio::spawn(read(urls.clone(), told.clone(), Arc::clone(&uses)))).collect();
    let mut results = Vec::new();
    for reader in readers {
        results.push(reader.await);
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    for result in results {
        result.unwrap();
    }
    let uses: Arc<Uses> = uses;
    let hits = uses.hits.load(Ordering::Relaxed);
    let written: i64 = sql.query_one("SELECT sum(value)::bigint FROM counters", &[]).await.unwrap().get(0);
    println!("{READS} reads, {hits} of them hits, between {written} writes");
    assert!(hits > READS / 5, "{hits} hits of {READS} reads");
    assert!(written > 50, "{written}");
    for url in &urls {
        for n in 0..NAMES {
            let row = sql.query_one("SELECT value FROM counters WHERE name = $1", &[&name(n)]).await.unwrap();
            let value = row.get::<_, i64>(0).to_string();
            until("it converges", async || ask(url, "kept_counter", named(&name(n))).await.0 == value).await;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_what_they_wrote_elsewhere_sees_it() -> Result<()> {
    let database = empty_database().await?;
    let nodes = [Process::start(database.url()).await.ready().await, Process::start(database.url()).await.ready().await];
    kept(nodes[1].url(), "kept_counter", named("a")).await;
    let (mut writer, mut reader) =
        (Connection::open(nodes[0].url()).await.unwrap(), Connection::open(nodes[1].url()).await.unwrap());
    for n in 1..=300_i64 {
        let id = forge::new_uuid().to_string();
        let request = Request::call("bump", &named("a")).header("x-forge-mutation-id", id);
        let mut answer = writer.send(&request).await.unwrap();
        if n % 3 == 0 {
            // Repeated elsewhere, as when the first answer is lost.
            answer = reader.send(&request).await.unwrap();
        }
        assert_eq!(answer.data(), n.to_string());
        let mut read = Request::call("kept_counter", &named("a"));
        if n % 3 != 0 {
            read = read.header("x-forge-position", answer.header("x-forge-position").unwrap());
        }
        assert_eq!(reader.send(&read).await.unwrap().data(), n.to_string());
    }
    // A position of a transaction that never was does no harm, and is no way around what is right.
    let odd = Request::call("kept_counter", &named("a")).header("x-forge-position", "0-99999999999");
    let answer = reader.send(&odd).await.unwrap();
    assert_eq!((answer.data(), answer.header("x-forge-cache")), (json!("300"), Some("bypass")));
    assert_eq!(kept(nodes[1].url(), "kept_counter", named("a")).await, "300");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_kept_is_shown_while_the_database_is_away() -> Result<()> {
    let mut server = Server::new().await?;
    let node = Process::start(server.url()).await.ready().await;
    let url = node.url();
    connect(server.url()).await.batch_execute("INSERT INTO counters VALUES ('a', 1)").await.unwrap();
    assert_eq!(kept(url, "kept_counter", named("a")).await, "1");
    kept(url, "aged_counter", named("a")).await;
    server.crash().await;
    let away = Instant::now();
    until("the last look is too old", async || away.elapsed() > LAG_MAX * 2).await;
    for _ in 0..20 {
        let answer = Request::call("kept_counter", &named("a")).send(url).await;
        assert_eq!(answer.failure(), (503, "DATABASE_UNAVAILABLE".into()));
        // Where age alone decides, nobody is asked.
        assert_eq!(ask(url, "aged_counter", named("a")).await, (json!("1"), "hit".into()));
    }
    server.start().await?;
    connect(server.url()).await.batch_execute("UPDATE counters SET value = 2").await.unwrap();
    until("it is back", async || {
        let answer = Request::call("kept_counter", &named("a")).send(url).await;
        assert!(answer.status == 503 || answer.data() == "2", "{answer:?}");
        answer.status == 200
    })
    .await;
    assert_eq!(kept(url, "kept_counter", named("a")).await, "2");
    assert!(metric(url, "query_cache_looks_total").await > 0);
    Ok(())
}
