//! Nodes that end, freeze, and are cut off; what the others see of it, and when.

use std::time::{Duration, Instant};

use forge::prelude::*;
use forge::testing::TestCluster;
use rustix::process::Signal;
use serde_json::json;
use tokio_postgres::Client;

use crate::support::http::Request;
use crate::support::pgbouncer::PgBouncer;
use crate::support::process::Process;
use crate::support::server::{connect, empty_database};
use crate::support::{count, until};

/// Beats often enough for a test, and thresholds that a busy machine does not pass by accident.
const QUICK: &[(&str, &str)] = &[("FORGE_CLUSTER_HEARTBEAT_INTERVAL", "200ms"), ("FORGE_CLUSTER_DEAD_THRESHOLD", "2s")];
const INTERVAL: Duration = Duration::from_millis(200);
const DEAD: Duration = Duration::from_secs(2);

/// What a busy machine may add to what is promised.
const SLACK: Duration = Duration::from_millis(300);

/// A node, and its id.
struct Node {
    process: Process,
    id: Uuid,
}

impl Node {
    async fn start(sql: &Client, database: &str, settings: &[(&str, &str)]) -> Self {
        let known = ids(sql).await;
        let process = Process::start_with(database, settings).await.ready().await;
        let new: Vec<Uuid> = ids(sql).await.into_iter().filter(|id| !known.contains(id)).collect();
        assert_eq!(new.len(), 1, "{}", process.log());
        Self { process, id: new[0] }
    }

    /// As it sees the cluster: itself, the nodes, the leader and its term.
    async fn sees(&self) -> [String; 4] {
        sees(self.process.url()).await
    }

    /// What `/ready` says of it.
    async fn standing(&self) -> (u16, String) {
        standing(self.process.url()).await
    }
}

async fn sees(url: &str) -> [String; 4] {
    let answer = Request::call("cluster", &json!({})).send(url).await.data();
    let parts: Vec<String> = answer.as_str().unwrap().split(' ').map(str::to_owned).collect();
    parts.try_into().unwrap()
}

async fn standing(url: &str) -> (u16, String) {
    let answer = Request::get("/ready").send(url).await;
    let body: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
    (answer.status, body["node"].as_str().unwrap().to_owned())
}

/// All that were ever there, as far as the table knows.
async fn ids(sql: &Client) -> Vec<Uuid> {
    let exists = count(sql, "SELECT count(*) FROM pg_class WHERE oid = to_regclass('forge_nodes')").await;
    if exists == 0 {
        return Vec::new();
    }
    sql.query("SELECT id FROM forge_nodes", &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

async fn status(sql: &Client, id: Uuid) -> Option<String> {
    sql.query_opt("SELECT status FROM forge_nodes WHERE id = $1", &[&id]).await.unwrap().map(|row| row.get(0))
}

async fn until_dead(sql: &Client, id: Uuid) {
    until("it is marked dead", async || status(sql, id).await.as_deref() == Some("dead")).await;
}

/// Who leads, and in which term.
async fn leader(sql: &Client) -> (Option<Uuid>, i64) {
    let row = sql.query_opt("SELECT node_id, term FROM forge_leaders WHERE lease_until > now()", &[]).await.unwrap();
    row.map_or((None, 0), |row| (row.get(0), row.get(1)))
}

async fn until_led_by(sql: &Client, id: Uuid) -> i64 {
    until("it leads", async || leader(sql).await.0 == Some(id)).await;
    leader(sql).await.1
}

/// A write under a term, fenced as the guide says.
async fn fenced_write(sql: &Client, term: i64) -> u64 {
    let text = "WITH leads AS (SELECT term FROM forge_leaders WHERE role = 'scheduler' AND term = $1 FOR SHARE)
                INSERT INTO slots SELECT term FROM leads";
    sql.execute(text, &[&term]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_is_dead_and_followed_within_two_beats() -> Result<()> {
    let database = empty_database().await?;
    let sql = connect(database.url()).await;
    // By silence it would take a minute.
    let interval = Duration::from_secs(1);
    let settings = [("FORGE_CLUSTER_HEARTBEAT_INTERVAL", "1s"), ("FORGE_CLUSTER_DEAD_THRESHOLD", "1m")];
    let mut survivor = Node::start(&sql, database.url(), &settings).await;
    until_led_by(&sql, survivor.id).await;
    for round in 0..3 {
        let follower = Node::start(&sql, database.url(), &settings).await;
        let led = survivor;
        let (_, term) = leader(&sql).await;
        until("both know each other", async || {
            let known = format!("{}=active", led.id);
            follower.sees().await[1].contains(&known) && led.sees().await[1].contains(&follower.id.to_string())
        })
        .await;
        assert_eq!(follower.sees().await[2], led.id.to_string());
        // At another place between two beats each time.
        tokio::time::sleep(interval * round / 3).await;
        led.process.kill().await;
        let killed = Instant::now();
        let next = until_led_by(&sql, follower.id).await;
        let followed = killed.elapsed();
        until_dead(&sql, led.id).await;
        let dead = killed.elapsed();
        println!("round {round}: followed after {followed:?}, dead after {dead:?}");
        assert_eq!(next, term + 1);
        assert!(followed < interval * 2 && dead < interval * 2, "followed after {followed:?}, dead after {dead:?}");
        until("it knows that it leads", async || follower.sees().await[2] == follower.id.to_string()).await;
        let metrics = Request::get("/metrics").send(follower.process.url()).await.text();
        for line in [
            "cluster_nodes{status=\"active\"} 1",
            "leader_is_leader{role=\"scheduler\"} 1",
            "leader_elections_total 1",
            "leader_failovers_total 1",
            "node_joins_total 1",
            "node_leaves_total 0",
        ] {
            assert!(metrics.lines().any(|told| told == line), "{line} in {metrics}");
        }
        survivor = follower;
    }
    // One that is told to stop leaves no corpse, and nobody waits for its lease.
    let last = Node::start(&sql, database.url(), &settings).await;
    survivor.process.signal(Signal::TERM);
    until_led_by(&sql, last.id).await;
    let (code, log) = survivor.process.ended().await;
    assert_eq!((code, status(&sql, survivor.id).await), (Some(0), None), "{log}");
    last.process.kill().await;
    database.remove().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_leader_finds_out_when_it_wakes() -> Result<()> {
    let database = empty_database().await?;
    let sql = connect(database.url()).await;
    let frozen = Node::start(&sql, database.url(), QUICK).await;
    let term = until_led_by(&sql, frozen.id).await;
    let other = Node::start(&sql, database.url(), QUICK).await;
    sql.batch_execute("CREATE TABLE slots (term bigint)").await.unwrap();
    assert_eq!(fenced_write(&sql, term).await, 1);
    frozen.process.signal(Signal::STOP);
    let stopped = Instant::now();
    // Its session lives on the server, and so does its lock.
    let next = until_led_by(&sql, other.id).await;
    let followed = stopped.elapsed();
    println!("followed after {followed:?}");
    assert_eq!(next, term + 1);
    assert!(followed < DEAD + INTERVAL + SLACK, "{followed:?}");
    // It says so a moment after it leads.
    until("it has ended the session", async || other.process.log().contains("its session was ended")).await;
    until_dead(&sql, frozen.id).await;
    // Whatever it believes, its writes are refused; the successor's are not.
    assert_eq!((fenced_write(&sql, term).await, fenced_write(&sql, next).await), (0, 1));
    frozen.process.signal(Signal::CONT);
    until("it has joined anew", async || {
        let [me, ..] = frozen.sees().await;
        me != frozen.id.to_string() && frozen.standing().await == (200, "active".to_owned())
    })
    .await;
    assert_eq!(status(&sql, frozen.id).await.as_deref(), Some("dead"), "the id does not come back");
    let says = |what| frozen.process.log().contains(what);
    until("it says what it did", async || says("stops working for now") && says("leads no longer")).await;
    assert_eq!(leader(&sql).await, (Some(other.id), next));
    until("it knows who leads", async || frozen.sees().await[2] == other.id.to_string()).await;
    frozen.process.kill().await;
    other.process.kill().await;
    database.remove().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_lets_go_before_another_one_leads() -> Result<()> {
    // One interval lies between the two moments that are told apart here.
    let (interval, dead) = (Duration::from_secs(1), Duration::from_secs(4));
    let mut cluster = TestCluster::of(env!("CARGO_BIN_EXE_pipeline"))
        .setting("FORGE_CLUSTER_HEARTBEAT_INTERVAL", "1s")
        .setting("FORGE_CLUSTER_DEAD_THRESHOLD", "4s")
        .start(1)
        .await?;
    let sql = cluster.sql().await?;
    let id = cluster.node(0).id().await?;
    let term = until_led_by(&sql, id).await;
    cluster.add().await?;
    let (cut, heir) = (cluster.node(0), cluster.node(1).id().await?);
    let url = cut.url();
    // Half open: nothing passes any more, and nobody is told.
    cut.freeze_line();
    let frozen = Instant::now();
    until("it says that it is cut off", async || standing(&url).await == (503, "cut off from the database".to_owned()))
        .await;
    let let_go = frozen.elapsed();
    assert_ne!(status(&sql, id).await.as_deref(), Some("dead"), "it lets go before anybody takes it for dead");
    assert_eq!(leader(&sql).await.1, term, "and before anybody else leads");
    assert_eq!(Request::get("/health").send(&url).await.status, 200);
    let next = until_led_by(&sql, heir).await;
    let followed = frozen.elapsed();
    println!("let go after {let_go:?}, followed after {followed:?}");
    assert_eq!(next, term + 1);
    // Its session lives on for the server, and has the lock, so a candidate ends it.
    assert!(followed < dead + interval + SLACK, "{followed:?}");
    until_dead(&sql, id).await;
    cut.heal();
    until("it is back under another id", async || standing(&url).await.0 == 200 && sees(&url).await[0] != id.to_string())
        .await;
    assert_eq!(status(&sql, id).await.as_deref(), Some("dead"));
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_are_cut_are_replaced_and_nobody_dies() -> Result<()> {
    let database = empty_database().await?;
    let sql = connect(database.url()).await;
    let one = Node::start(&sql, database.url(), QUICK).await;
    let two = Node::start(&sql, database.url(), QUICK).await;
    let end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
               WHERE datname = current_database() AND application_name LIKE '%heartbeat'";
    for _ in 0..5 {
        let sessions = "SELECT count(*) FROM forge_nodes n JOIN pg_stat_activity a ON a.pid = n.backend_pid AND a.backend_start = n.backend_start";
        until("both have a session", async || count(&sql, sessions).await == 2).await;
        assert_eq!(sql.query(end, &[]).await.unwrap().len(), 2);
    }
    tokio::time::sleep(DEAD).await;
    for node in [&one, &two] {
        assert_eq!(status(&sql, node.id).await.as_deref(), Some("active"), "{}", node.process.log());
        assert_eq!(node.standing().await, (200, "active".to_owned()));
    }
    let led = leader(&sql).await.0;
    assert!(led == Some(one.id) || led == Some(two.id));
    one.process.kill().await;
    two.process.kill().await;
    database.remove().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_pooler_alone_a_node_joins_leads_and_says_what_it_lacks() -> Result<()> {
    let database = empty_database().await?;
    let sql = connect(database.url()).await;
    let pgbouncer = PgBouncer::before(database.url(), "transaction", "");
    // With a way past it, which is used.
    let direct = [QUICK, &[("FORGE_DATABASE_DIRECT_URL", database.url())]].concat();
    let node = Node::start(&sql, &pgbouncer.url(), &direct).await;
    let held = "SELECT count(*) FROM forge_nodes n JOIN pg_stat_activity a ON a.pid = n.backend_pid AND a.backend_start = n.backend_start \
                JOIN pg_locks l ON l.pid = a.pid AND l.locktype = 'advisory' WHERE a.application_name LIKE '%heartbeat'";
    until("it leads with a lock", async || count(&sql, held).await == 1).await;
    assert!(!node.process.log().contains("DATABASE_NOT_DIRECT"), "{}", node.process.log());
    let seen = node.id;
    node.process.kill().await;
    // Without one.
    let alone = [QUICK, &[("FORGE_MIGRATIONS_ON_START", "false")]].concat();
    let node = Node::start(&sql, &pgbouncer.url(), &alone).await;
    until_dead(&sql, seen).await;
    until_led_by(&sql, node.id).await;
    let log = node.process.log();
    assert!(log.contains("DATABASE_NOT_DIRECT") && log.contains("What does not"), "{log}");
    let unseen = "SELECT count(*) FROM forge_nodes WHERE status = 'active' AND backend_pid IS NULL";
    assert_eq!(count(&sql, unseen).await, 1);
    // Its end is noticed by its silence.
    let other = Node::start(&sql, database.url(), QUICK).await;
    let (_, term) = leader(&sql).await;
    node.process.kill().await;
    assert_eq!(until_led_by(&sql, other.id).await, term + 1);
    until_dead(&sql, node.id).await;
    other.process.kill().await;
    database.remove().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_node_sends_less_than_a_statement_a_second() -> Result<()> {
    let database = empty_database().await?;
    let sql = connect(database.url()).await;
    let node = Node::start(&sql, database.url(), &[]).await;
    let looks_at = if crate::is_long() { 60 } else { 30 };
    // Every statement of ours is a transaction of its own. An idle session reports what it did within ten seconds: until then, the start is.
    let commits = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()";
    tokio::time::sleep(Duration::from_secs(12)).await;
    // The server cleans up by itself now and then, which only ever adds: the least of some looks is the node's.
    let mut least = i64::MAX;
    for _ in 0..4 {
        let before = count(&sql, commits).await;
        tokio::time::sleep(Duration::from_secs(looks_at)).await;
        let sent = count(&sql, commits).await - before;
        println!("{sent} statements within {looks_at} s");
        least = least.min(sent);
        if least <= i64::try_from(looks_at).unwrap() {
            break;
        }
    }
    assert!(least > 0 && least <= i64::try_from(looks_at).unwrap(), "{least} statements within {looks_at} s");
    node.process.kill().await;
    database.remove().await
}
