//! The log as a sink of changes: what is in the way of reading it, and what a node does about that.

use std::time::{Duration, Instant};

use forge::prelude::*;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::feed::{CUT, SILENCE, SINKS, metric, node, shown, shows, sink};
use crate::support::live::Live;
use crate::support::server::{Server, connect, empty_database};
use crate::support::{count, until, until_within};

/// Says more in the log, in the transaction that it is part of, than a node keeps.
const TOO_MUCH: &str = r#"SELECT count(pg_logical_emit_message(true, 'forge',
    '{"t":1,"k":["a"],"c":null,"r":[["' || repeat('x', 1000000) || '"]]}')) FROM generate_series(1, 50)"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_that_are_not_written_out_yet_are_seen() -> Result<()> {
    let server = Server::new().await?;
    let sql = connect(server.url()).await;
    // So that nobody else writes the log out in time.
    sql.batch_execute("ALTER SYSTEM SET wal_writer_delay = '10s'").await.unwrap();
    sql.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    sql.batch_execute("ALTER DATABASE app SET synchronous_commit = off").await.unwrap();
    for capture in SINKS {
        let node = node(server.url(), capture).await;
        sql.batch_execute("INSERT INTO counters VALUES ('a', 0) ON CONFLICT (name) DO UPDATE SET value = 0").await.unwrap();
        let mut live = Live::counting(node.url(), "0").await;
        let behind = async || metric(node.url(), "live_feed_behind_total").await;
        let before = behind().await;
        for n in 1..=50 {
            // Of this node: it knows that there is something, and the frame with the acknowledgement shows it.
            let (_, frame) = live.bump(n, &format!("{capture}-{n}")).await;
            assert_eq!(frame["results"][0]["data"], n.to_string(), "{capture}: {frame}");
        }
        // Each time, it has the log written out. Nobody else does, and a round that has waited in vain takes everything as changed.
        let behind = behind().await - before;
        assert!(behind < 25, "{capture}: in {behind} of 50 rounds the log was not written out");
        node.kill().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_cut_loses_nothing() -> Result<()> {
    let database = empty_database().await?;
    let node = node(database.url(), "wal").await;
    let sql = connect(database.url()).await;
    sql.batch_execute("INSERT INTO counters VALUES ('a', 0)").await.unwrap();
    let mut live = Live::counting(node.url(), "0").await;
    let lost = metric(node.url(), "live_feed_streams_lost_total").await;
    for n in 1..=20_i64 {
        if n % 2 == 0 {
            sql.query_one(CUT, &[]).await.unwrap();
        }
        sql.execute("UPDATE counters SET value = $1 WHERE name = 'a'", &[&n]).await.unwrap();
        if n % 2 == 1 {
            sql.query_one(CUT, &[]).await.unwrap();
        }
        shows(&mut live, &n.to_string()).await;
    }
    assert!(metric(node.url(), "live_feed_streams_lost_total").await > lost);
    let slots = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database() AND NOT temporary";
    assert_eq!(count(&sql, slots).await, 0, "no slot outlives its connection");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_can_wait_is_a_gap() -> Result<()> {
    let database = empty_database().await?;
    let node = node(database.url(), "wal").await;
    let sql = connect(database.url()).await;
    sql.batch_execute("INSERT INTO counters VALUES ('a', 0)").await.unwrap();
    let mut live = Live::counting(node.url(), "0").await;
    let (dropped, memory) = (metric(node.url(), "live_feed_dropped_total").await, node.resident_bytes());
    for n in 1..=3_i64 {
        // More in one transaction than is kept.
        sql.batch_execute("BEGIN").await.unwrap();
        sql.execute("UPDATE counters SET value = $1 WHERE name = 'a'", &[&n]).await.unwrap();
        sql.batch_execute(TOO_MUCH).await.unwrap();
        sql.batch_execute("COMMIT").await.unwrap();
        shows(&mut live, &n.to_string()).await;
    }
    // A round does not wait for so much to be decoded, if that takes long.
    until("each was dropped", async || metric(node.url(), "live_feed_dropped_total").await == dropped + 3).await;
    let grown = node.resident_bytes().saturating_sub(memory);
    assert!(grown < 96 << 20, "the node grew by {grown} bytes");
    // And what is not understood: here it is all that tells of the change.
    let unheard = "BEGIN; SET LOCAL session_replication_role = replica; UPDATE counters SET value = 9 WHERE name = 'a';
                   SELECT pg_logical_emit_message(true, 'forge', 'what?'); COMMIT";
    sql.batch_execute(unheard).await.unwrap();
    shows(&mut live, "9").await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_dropped_before_it_became_visible_is_shown_when_it_is() -> Result<()> {
    let server = Server::new().await?;
    let node = node(server.url(), "wal").await;
    let sql = connect(server.url()).await;
    sql.batch_execute("INSERT INTO counters VALUES ('a', 1), ('b', 1)").await.unwrap();
    let mut live = Live::counting(node.url(), "1").await;
    sql.batch_execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await.unwrap();
    sql.batch_execute("SELECT pg_reload_conf(); SET synchronous_commit = local").await.unwrap();
    let url = server.url().to_owned();
    let writer = tokio::spawn(async move {
        connect(&url).await.batch_execute("UPDATE counters SET value = 2 WHERE name = 'a'").await.unwrap();
    });
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE 'UPDATE counters%'";
    until("the commit waits for its standby", async || count(&sql, waiting).await == 1).await;
    // It has arrived, and waits. Then comes more than may wait, and is seen at once.
    let dropped = metric(node.url(), "live_feed_dropped_total").await;
    sql.batch_execute(&format!("BEGIN; UPDATE counters SET value = 7 WHERE name = 'b'; {TOO_MUCH}; COMMIT")).await.unwrap();
    let mut other = Live::open(node.url(), None).await;
    assert_eq!(other.subscribed(1, "counter", json!({"name": "b"})).await, "7");
    until("it is dropped", async || metric(node.url(), "live_feed_dropped_total").await == dropped + 1).await;
    assert!(live.is_silent_for(SILENCE).await, "nobody sees it yet");
    sql.batch_execute("ALTER SYSTEM RESET synchronous_standby_names").await.unwrap();
    sql.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    writer.await.unwrap();
    let began = Instant::now();
    assert_eq!(shown(&mut live).await, "2");
    assert!(began.elapsed() < Duration::from_secs(6), "not when something else happens: {:?}", began.elapsed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_keeps_no_log_for_a_node_that_reads_it() -> Result<()> {
    let server = Server::new().await?;
    let node = node(server.url(), "wal").await;
    let sql = connect(server.url()).await;
    let mut live = Live::open(node.url(), None).await;
    live.subscribed(1, "counter", json!({"name": "a"})).await;
    let kept = async || {
        let ask = "SELECT (pg_current_wal_lsn() - confirmed_flush_lsn)::bigint FROM pg_replication_slots";
        count(&sql, ask).await
    };
    for _ in 0..3 {
        // Somebody else's, which says nothing to the node. It does not wait until it next looks after its connection.
        sql.batch_execute("SELECT pg_logical_emit_message(false, 'theirs', repeat('x', 8000000))").await.unwrap();
        until_within(Duration::from_secs(5), "it is read and given up", async || kept().await < 2 << 20).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_stands_still_holds_nobody_up() -> Result<()> {
    let server = Server::new().await?;
    let node = node(server.url(), "wal").await;
    let sql = connect(server.url()).await;
    let mut live = Live::open(node.url(), None).await;
    live.subscribed(1, "counter", json!({"name": "a"})).await;
    until("the log is read", async || count(&sql, "SELECT count(*) FROM pg_stat_replication").await == 1).await;
    let pid: i32 = sql.query_one("SELECT pid FROM pg_stat_replication", &[]).await.unwrap().get(0);
    let pid = Pid::from_raw(pid).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    for n in 1..=3 {
        // Nothing arrives of it; the round goes on without, and takes everything as changed.
        let began = Instant::now();
        let (_, frame) = live.bump(n, &format!("m{n}")).await;
        assert_eq!(frame["results"][0]["data"], n.to_string(), "{frame}");
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
    kill_process(pid, Signal::CONT).unwrap();
    sql.batch_execute("UPDATE counters SET value = 9").await.unwrap();
    shows(&mut live, "9").await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_slot_changes_are_still_seen_and_then_rows() -> Result<()> {
    let server = Server::new().await?;
    // Making a slot waits for this one.
    let open = connect(&server.url().replace("///app?", "///postgres?")).await;
    open.batch_execute("BEGIN; SELECT pg_current_xact_id()").await.unwrap();
    let node = node(server.url(), "auto").await;
    let sql = connect(server.url()).await;
    assert_eq!(sink(&sql).await, "wal");
    sql.batch_execute("INSERT INTO counters VALUES ('a', 0)").await.unwrap();
    let mut live = Live::counting(node.url(), "0").await;
    sql.batch_execute("UPDATE counters SET value = 1").await.unwrap();
    let began = Instant::now();
    assert_eq!(shown(&mut live).await, "1");
    assert!(began.elapsed() < Duration::from_secs(6), "not while it is being tried: {:?}", began.elapsed());
    until_within(Duration::from_secs(60), "it gives up", async || sink(&sql).await == "changelog").await;
    sql.batch_execute("UPDATE counters SET value = 2").await.unwrap();
    shows(&mut live, "2").await;
    let why: String = sql.query_one("SELECT why FROM forge_feed_objections", &[]).await.unwrap().get(0);
    assert!(why.contains("stays open"), "{why}");
    let slots = "SELECT count(*) FROM pg_replication_slots";
    until("no slot is left behind", async || count(&sql, slots).await == 0).await;
    Ok(())
}
