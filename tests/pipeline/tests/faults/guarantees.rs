//! What live queries promise, with clients on two nodes behind a balancer, while connections are cut and nodes are killed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use forge::prelude::*;
use rand::RngExt as _;
use serde_json::{Value, json};

use crate::is_long;
use crate::support::balancer::Balancer;
use crate::support::http::{Connection, Request};
use crate::support::live::{Live, applied};
use crate::support::process::Process;
use crate::support::server::{Server, connect, empty_database};
use crate::support::{PATIENCE, until};

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
    // Nobody has ever subscribed to anything of this table, so it has no trigger yet, and this change will have met none.
    sql.batch_execute("BEGIN; UPDATE counters SET value = 2").await.unwrap();
    let mut live = Live::open(node.url(), None).await;
    live.subscribe(1, "counter", json!({"name": "a"})).await;
    until("the trigger waits for the writer", async || {
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'counters'::regclass";
        crate::support::count(&other, waiting).await > 0
    })
    .await;
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
        let (mut replied, mut acknowledged) = (false, false);
        while !replied || !acknowledged {
            let message = writer.next().await;
            if message["type"] == "reply" {
                assert_eq!(number(&message["data"]), n);
                replied = true;
            } else {
                assert_eq!((&message["acks"], number(&message["results"][0]["data"])), (&json!([id]), n), "{message}");
                acknowledged = true;
            }
        }
        // By a call on either node, each time; by a new subscription there, now and then.
        for connection in &mut connections {
            assert_eq!(connection.send(&read).await.unwrap().data(), n.to_string());
        }
        if n % 10 == 0 {
            let live = &mut coming[usize::from(n % 20 == 0)];
            live.subscribe(n as u64, "counter", json!({"name": "a"})).await;
            // Of the subscription before this one something may still be under way.
            let first = loop {
                let frame = live.next().await;
                if frame["results"][0]["id"] == n {
                    break frame["results"][0]["data"].clone();
                }
            };
            assert_eq!(first, n.to_string(), "by a new subscription");
            live.send(json!({"type": "unsubscribe", "id": n})).await;
        }
        if !is_long() && n >= 2_000 {
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
    let stop = Arc::new(AtomicBool::new(false));
    let writers = [writer(database.url(), &stop, transfer), writer(database.url(), &stop, transfer)];
    let mut client = Returning::default();
    let rounds = if is_long() { 200 } else { 20 };
    for round in 0..rounds {
        // Somebody stays on each node, so that it has a patch at hand, to something else than what a client comes with.
        let mut staying = Vec::new();
        for node in nodes.iter().flatten() {
            let mut live = Live::open(node.url(), None).await;
            live.subscribed(1, "counters", json!({})).await;
            staying.push(live);
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
    let mut last_frames = 0;
    for round in 0..if is_long() { 400 } else { 40 } {
        // Now and then it ends on the other node, where this one hears of it within five seconds; else there and then.
        let elsewhere = round % 20 == 19;
        let (on, ending) = (&nodes[round % 2], &nodes[(round + usize::from(elsewhere)) % 2]);
        let mut connection = Connection::open(ending.url()).await.unwrap();
        let signed_in = connection.send(&Request::call("sign_in_as", &json!({"name": "ada"}))).await.unwrap().data();
        let access = signed_in["access"].as_str().unwrap().to_owned();
        let mut live = Live::open(on.url(), Some(&access)).await;
        live.subscribe(1, "counter", json!({"name": "clock"})).await;
        let mut shown = 0;
        let leaving = async {
            tokio::time::sleep(Duration::from_micros(random(0..30_000))).await;
            let out = connection.send(&Request::call("sign_out", &json!({})).bearer(&access)).await.unwrap();
            assert_eq!(out.status, 200);
            // From the answer on, the session is over.
            let row = sql.query_one("SELECT value FROM counters WHERE name = 'clock'", &[]).await.unwrap();
            (row.get::<_, i64>(0), Instant::now())
        };
        let watching = async {
            let mut last = Instant::now();
            loop {
                match live.next_or_close().await {
                    Ok(message) if message["type"] == "frame" => {
                        shown = number(&message["results"][0]["data"]);
                        last = Instant::now();
                        last_frames += 1;
                    }
                    Ok(message) => assert_eq!(message["code"], "UNAUTHORIZED", "{message}"),
                    Err(code) => break assert_eq!(code, 4401),
                }
            }
            last
        };
        let ((over_at, over), last) = tokio::join!(leaving, watching);
        if elsewhere {
            let late = last.saturating_duration_since(over);
            assert!(late < BELIEVED + Duration::from_secs(1), "shown something {late:?} after the session ended elsewhere");
        } else {
            assert!(shown <= over_at, "shown {shown} on a session that had ended at {over_at}");
        }
    }
    assert!(last_frames > 40, "{last_frames} frames prove little");
    stop.store(true, Ordering::Relaxed);
    ticking.await.unwrap();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_committed_is_never_shown() -> Result<()> {
    let mut server = Server::new().await?;
    let prepare = "ALTER SYSTEM SET max_prepared_transactions = 10";
    connect(server.url()).await.batch_execute(prepare).await.unwrap();
    server.stop().await?;
    server.start().await?;
    let nodes = two_nodes(server.url()).await;
    let balancer = Balancer::before(&[nodes[0].url(), nodes[1].url()]).await;
    let sql = connect(server.url()).await;
    sql.batch_execute("INSERT INTO counters VALUES ('a', 0)").await.unwrap();
    let mut watchers = Vec::new();
    for _ in 0..2 {
        let mut live = Live::open(balancer.url(), None).await;
        live.subscribe(1, "counter", json!({"name": "a"})).await;
        watchers.push((live, -1));
    }
    // What is to be seen is even and grows, what is not is odd.
    let set = |n: i64| format!("UPDATE counters SET value = {n} WHERE name = 'a'");
    let rounds = if is_long() { 2_000 } else { 200 };
    for n in 1..=rounds {
        let (yes, no) = (set(2 * n), set(2 * n + 1));
        match n % 6 {
            0 => sql.batch_execute(&format!("BEGIN; {no}; ROLLBACK; {yes}")).await.unwrap(),
            1 => {
                let text = format!("BEGIN; {yes}; SAVEPOINT s; {no}; ROLLBACK TO SAVEPOINT s; COMMIT");
                sql.batch_execute(&text).await.unwrap();
            }
            2 => {
                sql.batch_execute(&format!("BEGIN; {no}; PREPARE TRANSACTION 'p'")).await.unwrap();
                sql.batch_execute("ROLLBACK PREPARED 'p'").await.unwrap();
                sql.batch_execute(&yes).await.unwrap();
            }
            3 => {
                sql.batch_execute(&format!("BEGIN; {yes}; PREPARE TRANSACTION 'p'")).await.unwrap();
                sql.batch_execute("COMMIT PREPARED 'p'").await.unwrap();
            }
            4 => {
                // It fails in the middle.
                assert!(sql.batch_execute(&format!("BEGIN; {no}; SELECT 1 / 0; COMMIT")).await.is_err());
                sql.batch_execute(&format!("ROLLBACK; {yes}")).await.unwrap();
            }
            _ => {
                // The writer dies with its transaction open.
                let dying = connect(server.url()).await;
                dying.batch_execute(&format!("BEGIN; {no}")).await.unwrap();
                drop(dying);
                sql.batch_execute(&yes).await.unwrap();
            }
        }
        if n % 10 == 0 {
            for (live, shown) in &mut watchers {
                while *shown < 2 * n {
                    let value = number(&live.next().await["results"][0]["data"]);
                    assert!(value % 2 == 0 && value > *shown, "{value} after {shown}");
                    *shown = value;
                }
            }
        }
    }
    Ok(())
}
