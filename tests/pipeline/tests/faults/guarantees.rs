//! What live queries promise, with clients on two nodes behind a balancer, while connections are cut and nodes are killed.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use forge::prelude::*;
use rand::RngExt as _;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::is_long;
use crate::support::balancer::Balancer;
use crate::support::http::{Connection, Request};
use crate::support::live::{Live, applied};
use crate::support::process::Process;
use crate::support::server::{connect, empty_database};
use crate::support::{PATIENCE, until, waiting_for};

fn number(value: &Value) -> i64 {
    value.as_str().unwrap().parse().unwrap()
}

fn random<T: rand::distr::uniform::SampleUniform + PartialOrd>(range: std::ops::Range<T>) -> T {
    rand::rng().random_range(range)
}

/// How long a node believes that a session is alive, when another one has ended it.
const BELIEVED: Duration = Duration::from_secs(5);

const FILL: &str = "INSERT INTO counters SELECT 'n' || n, 100 FROM generate_series(0, 9) n";

async fn two_nodes(database: &str) -> [Process; 2] {
    [Process::start(database).await.ready().await, Process::start(database).await.ready().await]
}

/// All counters, as the query `counters` tells them.
async fn fresh(sql: &tokio_postgres::Client) -> Value {
    let rows = sql.query("SELECT name, value::text FROM counters ORDER BY name", &[]).await.unwrap();
    rows.iter().map(|row| json!([row.get::<_, &str>(0), row.get::<_, &str>(1)])).collect()
}

/// Another program that works with plain SQL until it is told to stop.
fn writer<F: Future<Output = ()> + Send + 'static>(
    url: &str,
    stop: &Arc<AtomicBool>,
    write: impl Fn(Arc<tokio_postgres::Client>, usize) -> F + Send + 'static,
) -> tokio::task::JoinHandle<()> {
    let (url, stop) = (url.to_owned(), stop.clone());
    tokio::spawn(async move {
        let sql = Arc::new(connect(&url).await);
        let mut n = 0;
        while !stop.load(Ordering::Relaxed) {
            write(sql.clone(), n).await;
            n += 1;
        }
    })
}

/// Moves one unit from one counter to another, in one transaction.
async fn transfer(sql: Arc<tokio_postgres::Client>, n: usize) {
    let (from, to) = (n * 7 % 10, (n * 3 + 1) % 10);
    // In the order of their names, so that writers do not wait for each other in a circle.
    let (first, change) = if from <= to { (from, -1) } else { (to, 1) };
    let second = from.max(to);
    let text = format!(
        "BEGIN; UPDATE counters SET value = value + {change} WHERE name = 'n{first}';
         UPDATE counters SET value = value - {change} WHERE name = 'n{second}'; COMMIT"
    );
    sql.batch_execute(&text).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_falls_between_a_subscription_and_its_first_result() -> Result<()> {
    // Keys that nobody has subscribed to yet, so that each time a query runs for the first time and is entered in the index.
    const INTERLEAVINGS: usize = 1_000;
    const AT_ONCE: usize = 20;
    let database = empty_database().await?;
    let nodes = two_nodes(database.url()).await;
    let balancer = Balancer::before(&[nodes[0].url(), nodes[1].url()]).await;
    let mut rounds = Vec::new();
    for worker in 0..AT_ONCE {
        let (url, sql) = (balancer.url().to_owned(), connect(database.url()).await);
        rounds.push(tokio::spawn(async move {
            let bump = "INSERT INTO counters VALUES ($1, 1) ON CONFLICT (name) DO UPDATE SET value = counters.value + 1";
            let bump = sql.prepare(bump).await.unwrap();
            let mut live = Live::open(&url, None).await;
            for round in 0..INTERLEAVINGS / AT_ONCE {
                let (name, id) = (format!("k{worker} {round}"), round as u64);
                let (writes, pause_us) = (random(1..12), random(0..15_000));
                let writing = async {
                    for _ in 0..writes {
                        sql.execute(&bump, &[&name]).await.unwrap();
                    }
                };
                let reading = async {
                    tokio::time::sleep(Duration::from_micros(pause_us)).await;
                    live.subscribe(id, "counter", json!({"name": name})).await;
                    let (mut known, mut seen) = (Value::Null, -1);
                    // The last write is the last state; who does not come to see it has lost something.
                    while known != *writes.to_string() {
                        let frame = tokio::time::timeout(PATIENCE, live.next()).await;
                        let frame = frame.unwrap_or_else(|_| panic!("{name}: still {known} after {writes} writes"));
                        let result = &frame["results"][0];
                        assert_eq!(result["id"], id, "{frame}");
                        known = applied(&known, result);
                        let now = known.as_str().map_or(0, |text| text.parse().unwrap());
                        assert!(now > seen, "{name}: {now} after {seen}");
                        seen = now;
                    }
                };
                tokio::join!(writing, reading);
                live.send(json!({"type": "unsubscribe", "id": id})).await;
            }
        }));
    }
    for round in rounds {
        round.await.unwrap();
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_who_was_at_work_before_anybody_watched_is_not_missed() -> Result<()> {
    let database = empty_database().await?;
    let node = Process::start(database.url()).await.ready().await;
    let (sql, other) = (connect(database.url()).await, connect(database.url()).await);
    sql.batch_execute("INSERT INTO counters VALUES ('a', 1)").await.unwrap();
    // The feed is being read for somebody else, so that nothing counts as changed but what has changed.
    let mut elsewhere = Live::open(node.url(), None).await;
    assert_eq!(elsewhere.subscribed(1, "reading", json!({"sensor": "s"})).await, "0");
    let follows = "SELECT count(*) FROM forge_feed WHERE sink = 'changelog' OR EXISTS (
                       SELECT FROM pg_replication_slots WHERE active AND database = current_database())";
    until("the feed is being read", async || crate::support::count(&other, follows).await == 1).await;
    sql.batch_execute("INSERT INTO sensors VALUES ('s'); INSERT INTO readings VALUES ('s', 1, 7)").await.unwrap();
    assert_eq!(elsewhere.next().await["results"][0]["data"], "7");
    // Nobody has ever subscribed to anything of this table, so it has no trigger yet, and this change will have met none.
    sql.batch_execute("BEGIN; UPDATE counters SET value = 2").await.unwrap();
    let mut live = Live::open(node.url(), None).await;
    live.subscribe(1, "counter", json!({"name": "a"})).await;
    until("the trigger waits for the writer", async || waiting_for(&other, "counters").await > 0).await;
    sql.batch_execute("COMMIT").await.unwrap();
    let mut known = Value::Null;
    while known != "2" {
        known = applied(&known, &live.next().await["results"][0]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_goes_back_also_not_on_another_node() -> Result<()> {
    let database = empty_database().await?;
    let nodes = two_nodes(database.url()).await;
    let balancer = Balancer::before(&[nodes[0].url(), nodes[1].url()]).await;
    let sql = connect(database.url()).await;
    sql.batch_execute(FILL).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    // Counters only ever grow, so a value that is less than one before is from before.
    let grow = |sql: Arc<tokio_postgres::Client>, n: usize| async move {
        let name = format!("n{}", n % 10);
        sql.execute("UPDATE counters SET value = value + 1 WHERE name = $1", &[&name]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    let writers = [writer(database.url(), &stop, grow), writer(database.url(), &stop, grow)];
    // Somebody stays on each node, so that it has a result at hand for whoever comes.
    let mut staying = [Live::open(nodes[0].url(), None).await, Live::open(nodes[1].url(), None).await];
    for live in &mut staying {
        live.subscribe(1, "counters", json!({})).await;
    }
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let url = balancer.url().to_owned();
            tokio::spawn(async move {
                let (mut highest, mut known, mut version) = (BTreeMap::new(), Value::Null, Value::Null);
                let mut frames = 0;
                for _ in 0..if is_long() { 500 } else { 50 } {
                    // The next connection is to the other node, or, as others connect as well, to the same.
                    let mut live = Live::open(&url, None).await;
                    let mut wish = json!({"type": "subscribe", "id": 1, "function": "counters", "args": {}});
                    if !version.is_null() {
                        wish["version"] = version.clone();
                    }
                    live.send(wish).await;
                    for _ in 0..random(1..5) {
                        let frame = live.next().await;
                        let result = &frame["results"][0];
                        known = applied(&known, result);
                        version = result["version"].clone();
                        for pair in known.as_array().unwrap() {
                            let (name, value) = (pair[0].as_str().unwrap().to_owned(), number(&pair[1]));
                            let before = highest.insert(name.clone(), value).unwrap_or(0);
                            assert!(value >= before, "{name}: {value} after {before}");
                        }
                        frames += 1;
                    }
                    live.cut();
                }
                frames
            })
        })
        .collect();
    for client in clients {
        let frames: usize = client.await.unwrap();
        assert!(frames >= 50, "{frames}");
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_looks_after_a_mutation_sees_it_on_either_node() -> Result<()> {
    let database = empty_database().await?;
    let nodes = two_nodes(database.url()).await;
    let mut writer = Live::open(nodes[0].url(), None).await;
    writer.subscribed(0, "counter", json!({"name": "a"})).await;
    let mut connections =
        [Connection::open(nodes[0].url()).await.unwrap(), Connection::open(nodes[1].url()).await.unwrap()];
    // Somebody stays on the other node, so that it has a result at hand for whoever comes.
    let mut staying = Live::open(nodes[1].url(), None).await;
    staying.subscribed(0, "counter", json!({"name": "a"})).await;
    let mut coming = [Live::open(nodes[0].url(), None).await, Live::open(nodes[1].url(), None).await];
    let read = Request::call("counter", &json!({"name": "a"}));
    for n in 1..=10_000_i64 {
        let id = format!("m{n}");
        writer.send(json!({"type": "call", "id": n, "function": "bump", "args": {"name": "a"}, "mutationId": id})).await;
        // On each node in turn, where somebody has been shown the result of before.
        let live = &mut coming[usize::from(n % 2 == 0)];
        let (mut replied, mut acknowledged) = (false, false);
        while !replied || !acknowledged {
            let message = writer.next().await;
            if message["type"] == "reply" {
                assert_eq!(number(&message["data"]), n);
                // At once, before anybody else can have seen to it that the node has heard of the change.
                live.subscribe(n as u64, "counter", json!({"name": "a"})).await;
                replied = true;
            } else {
                assert_eq!((&message["acks"], number(&message["results"][0]["data"])), (&json!([id]), n), "{message}");
                acknowledged = true;
            }
        }
        // Of the subscription before this one something may still be under way.
        let first = loop {
            let frame = live.next().await;
            if frame["results"][0]["id"] == n {
                break frame["results"][0]["data"].clone();
            }
        };
        assert_eq!(first, n.to_string(), "by a new subscription");
        live.send(json!({"type": "unsubscribe", "id": n})).await;
        // And by a call on either node.
        for connection in &mut connections {
            assert_eq!(connection.send(&read).await.unwrap().data(), n.to_string());
        }
        if !is_long() && n >= 1_000 {
            break;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_connections_are_cut_and_nodes_killed() -> Result<()> {
    let database = empty_database().await?;
    let [one, other] = two_nodes(database.url()).await;
    let balancer = Balancer::before(&[one.url(), other.url()]).await;
    let mut nodes = [Some(one), Some(other)];
    let sql = connect(database.url()).await;
    sql.batch_execute(FILL).await.unwrap();
    // So long a list that what changes of it is told as a patch.
    sql.batch_execute("INSERT INTO counters SELECT 'z' || n, 0 FROM generate_series(10, 99) n").await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writers = [writer(database.url(), &stop, transfer), writer(database.url(), &stop, transfer)];
    let mut client = Returning::default();
    let rounds = if is_long() { 200 } else { 20 };
    for round in 0..rounds {
        // Somebody stays on each node, so that it has a patch at hand, to something else than what a client comes with.
        let mut staying = JoinSet::new();
        for node in nodes.iter().flatten() {
            let mut live = Live::open(node.url(), None).await;
            live.subscribe(1, "counters", json!({})).await;
            let mut there = Returning { meaning: client.meaning.clone(), ..Returning::default() };
            assert!(there.frame(&mut live).await);
            staying.spawn(async move { while there.frame(&mut live).await {} });
        }
        if round % 5 == 4 {
            // In the middle of whatever it does, and another one in its place.
            let n = round / 5 % 2;
            let watching = client.watch(&balancer, None);
            let killing = async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                nodes[n].take().unwrap().kill().await;
                let node = Process::start(database.url()).await.ready().await;
                balancer.replace(n, node.url());
                nodes[n] = Some(node);
            };
            // Whoever was on the other one sees no end of frames, so it leaves by itself.
            tokio::join!(async { drop(tokio::time::timeout(Duration::from_secs(1), watching).await) }, killing);
        } else {
            client.watch(&balancer, Some(random(400..8_000))).await;
        }
        while let Some(ended) = staying.try_join_next() {
            ended.unwrap();
        }
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    let want = fresh(&sql).await;
    client.until(&balancer, &want).await;
    let Returning { whole, patches, current, .. } = client;
    println!("{whole} whole results, {patches} patches, {current} still right; {} connections cut", balancer.cuts());
    assert!(balancer.cuts() >= rounds / 2 && patches > 0, "{} cuts, {patches} patches", balancer.cuts());
    Ok(())
}

/// A client that comes back again and again with what it has.
#[derive(Default)]
struct Returning {
    known: Value,
    version: Value,
    whole: usize,
    patches: usize,
    current: usize,
    /// What each version is, whoever was told it and by which node.
    meaning: Arc<Mutex<HashMap<String, Value>>>,
}

impl Returning {
    /// Watches until the connection ends, after so many bytes at the latest.
    async fn watch(&mut self, balancer: &Balancer, bytes: Option<usize>) {
        balancer.cut_after(bytes.map(|bytes| bytes..bytes + 1));
        if let Some(mut live) = self.come(balancer).await {
            while self.frame(&mut live).await {}
        }
    }

    /// Watches until it shows what is wanted.
    async fn until(&mut self, balancer: &Balancer, wanted: &Value) {
        balancer.cut_after(None);
        let mut live = self.come(balancer).await.expect("nothing is cut any more");
        while self.known != *wanted {
            assert!(self.frame(&mut live).await, "nothing is cut any more");
        }
    }

    async fn come(&self, balancer: &Balancer) -> Option<Live> {
        let mut live = Live::attempt(balancer.url(), None).await?;
        let mut wish = json!({"type": "subscribe", "id": 1, "function": "counters", "args": {}});
        if !self.version.is_null() {
            wish["version"] = self.version.clone();
        }
        live.try_send(wish).await.then_some(live)
    }

    async fn frame(&mut self, live: &mut Live) -> bool {
        let Ok(frame) = live.next_or_close().await else { return false };
        let result = &frame["results"][0];
        self.whole += usize::from(result.get("data").is_some());
        self.patches += usize::from(result.get("delta").is_some());
        if result.get("current").is_some() {
            assert_eq!(result["version"], self.version, "what is still right is what the client has");
            self.current += 1;
        }
        self.known = applied(&self.known, result);
        self.version = result["version"].clone();
        let version = result["version"].as_str().unwrap().to_owned();
        let meaning = self.meaning.lock().unwrap().entry(version).or_insert_with(|| self.known.clone()).clone();
        assert_eq!(self.known, meaning, "patched to something else: {frame}");
        let sum: i64 = self.known.as_array().unwrap().iter().map(|pair| number(&pair[1])).sum();
        assert_eq!(sum, 1000, "torn: {frame}");
        true
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_was_signed_out_is_shown_nothing_of_later() -> Result<()> {
    let database = empty_database().await?;
    let nodes = two_nodes(database.url()).await;
    let sql = connect(database.url()).await;
    sql.batch_execute("INSERT INTO counters VALUES ('clock', 0)").await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    // A clock that never stands still: what it shows is when it was looked at.
    let tick = |sql: Arc<tokio_postgres::Client>, _: usize| async move {
        sql.execute("UPDATE counters SET value = value + 1 WHERE name = 'clock'", &[]).await.unwrap();
    };
    let ticking = writer(database.url(), &stop, tick);
    let mut frames = 0;
    for round in 0..if is_long() { 400 } else { 40 } {
        // Now and then it ends on the other node, where this one hears of it within five seconds; else there and then.
        let elsewhere = round % 20 == 19;
        let (on, ending) = (&nodes[round % 2], &nodes[(round + usize::from(elsewhere)) % 2]);
        let mut connection = Connection::open(ending.url()).await.unwrap();
        let signed_in = connection.send(&Request::call("sign_in_as", &json!({"name": "ada"}))).await.unwrap().data();
        let access = signed_in["access"].as_str().unwrap().to_owned();
        let mut live = Live::open(on.url(), Some(&access)).await;
        live.subscribe(1, "counter", json!({"name": "clock"})).await;
        // When it ended, and what the clock showed then.
        let over: OnceLock<(i64, Instant)> = OnceLock::new();
        let may_show = |shown: i64| match over.get() {
            Some((_, at)) if elsewhere => at.elapsed() < BELIEVED + Duration::from_secs(1),
            Some((over_at, _)) => shown <= *over_at,
            None => true,
        };
        let leaving = async {
            tokio::time::sleep(Duration::from_micros(random(0..30_000))).await;
            let out = connection.send(&Request::call("sign_out", &json!({})).bearer(&access)).await.unwrap();
            assert_eq!(out.status, 200);
            // From the answer on, the session is over.
            let row = sql.query_one("SELECT value FROM counters WHERE name = 'clock'", &[]).await.unwrap();
            over.set((row.get(0), Instant::now())).unwrap();
        };
        let watching = async {
            let mut last = 0;
            loop {
                match live.next_or_close().await {
                    Ok(message) if message["type"] == "frame" => {
                        last = number(&message["results"][0]["data"]);
                        assert!(may_show(last), "shown {last} on a session that had ended at {over:?}");
                        frames += 1;
                    }
                    Ok(message) => assert_eq!(message["code"], "UNAUTHORIZED", "{message}"),
                    Err(code) => {
                        assert_eq!(code, 4401);
                        return last;
                    }
                }
            }
        };
        // What was shown before the answer came may have been of after it as well.
        let ((), last) = tokio::join!(leaving, watching);
        assert!(elsewhere || may_show(last), "shown {last} on a session that had ended at {over:?}");
    }
    assert!(frames > 40, "{frames} frames prove little");
    stop.store(true, Ordering::Relaxed);
    ticking.await.unwrap();
    Ok(())
}
