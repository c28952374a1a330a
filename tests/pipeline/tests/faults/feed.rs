//! The change feed on both of its sinks: who is seen, who is not, and what happens when the way is cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use forge::prelude::*;
use futures_util::SinkExt as _;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::support::http::Request;
use crate::support::live::Live;
use crate::support::process::Process;
use crate::support::server::{Server, connect, empty_database};
use crate::support::{count, until};

pub(crate) const SINKS: [&str; 2] = ["wal", "changelog"];

/// Long enough for a frame that should not come to have come.
pub(crate) const SILENCE: Duration = Duration::from_millis(300);

pub(crate) async fn node(database: &str, capture: &str) -> Process {
    Process::start_with(database, &[("FORGE_REACTIVITY_CAPTURE", capture)]).await.ready().await
}

/// What the next frame shows.
pub(crate) async fn shown(live: &mut Live) -> Value {
    live.next().await["results"][0]["data"].clone()
}

/// Reads frames until one shows this.
pub(crate) async fn shows(live: &mut Live, wanted: &str) {
    while shown(live).await != wanted {}
}

pub(crate) async fn sink(sql: &Client) -> String {
    sql.query_one("SELECT sink FROM forge_feed", &[]).await.unwrap().get(0)
}

pub(crate) async fn metric(url: &str, name: &str) -> u64 {
    let text = Request::get("/metrics").send(url).await.text();
    let line = text.lines().find(|line| line.split(' ').next() == Some(name)).unwrap_or_else(|| panic!("{name} in {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_write_is_seen_and_nothing_else() -> Result<()> {
    for capture in SINKS {
        let database = empty_database().await?;
        let node = node(database.url(), capture).await;
        let sql = connect(database.url()).await;
        assert_eq!(sink(&sql).await, capture);
        sql.batch_execute("INSERT INTO sensors VALUES ('a'), ('b')").await.unwrap();
        let mut live = Live::open(node.url(), None).await;
        assert_eq!(live.subscribed(1, "reading", json!({"sensor": "a"})).await, "0");
        let mut rows = Box::pin(sql.copy_in::<_, Bytes>("COPY readings FROM STDIN").await.unwrap());
        for day in 0..2000 {
            rows.send(Bytes::from(format!("{}\t{}\t1\n", if day % 2 == 0 { "a" } else { "b" }, day % 200))).await.unwrap();
        }
        rows.close().await.unwrap();
        assert_eq!(shown(&mut live).await, "1000", "{capture}: COPY");
        sql.batch_execute("INSERT INTO readings_early VALUES ('a', 5, 7)").await.unwrap();
        assert_eq!(shown(&mut live).await, "1007", "{capture}: a partition");
        sql.batch_execute("UPDATE readings SET day = 500, value = 8 WHERE value = 7").await.unwrap();
        assert_eq!(shown(&mut live).await, "1008", "{capture}: from one partition to another");
        sql.batch_execute("TRUNCATE readings_early").await.unwrap();
        assert_eq!(shown(&mut live).await, "508", "{capture}: TRUNCATE of a partition");
        // Of all that is tried, only what is committed.
        let changes = metric(node.url(), "live_changes_total").await;
        sql.batch_execute("BEGIN; INSERT INTO readings VALUES ('a', 1, 1000); ROLLBACK").await.unwrap();
        let savepoints = "BEGIN; SAVEPOINT one; INSERT INTO readings VALUES ('a', 1, 1); SAVEPOINT two;
                          INSERT INTO readings VALUES ('a', 1, 1000); ROLLBACK TO two; RELEASE one; COMMIT";
        sql.batch_execute(savepoints).await.unwrap();
        assert_eq!(shown(&mut live).await, "509", "{capture}: savepoints");
        assert_eq!(
            metric(node.url(), "live_changes_total").await,
            changes + 1,
            "{capture}: nothing else was even looked at"
        );
        sql.batch_execute("UPDATE readings SET value = value WHERE sensor = 'a'").await.unwrap();
        sql.batch_execute("UPDATE readings SET value = 2 WHERE sensor = 'b'").await.unwrap();
        assert!(live.is_silent_for(SILENCE).await, "{capture}: what changes nothing");
        sql.batch_execute("DELETE FROM sensors WHERE name = 'a'").await.unwrap();
        assert_eq!(shown(&mut live).await, "0", "{capture}: a cascade");
        sql.batch_execute("INSERT INTO sensors VALUES ('a'); INSERT INTO readings VALUES ('a', 1, 3)").await.unwrap();
        assert_eq!(shown(&mut live).await, "3");
        sql.batch_execute("TRUNCATE readings").await.unwrap();
        assert_eq!(shown(&mut live).await, "0", "{capture}: TRUNCATE of all");
        node.kill().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_need_no_right_but_that_to_the_table() -> Result<()> {
    for capture in SINKS {
        let database = empty_database().await?;
        let node = node(database.url(), capture).await;
        let sql = connect(database.url()).await;
        let mut live = Live::open(node.url(), None).await;
        live.subscribed(1, "counter", json!({"name": "a"})).await;
        let role = format!("writer_{}", forge::new_uuid().simple());
        sql.batch_execute(&format!("CREATE ROLE {role}; GRANT INSERT, UPDATE, SELECT ON counters TO {role}"))
            .await
            .unwrap();
        // Under a search path that does not even have our tables.
        sql.batch_execute(&format!("CREATE SCHEMA other; SET search_path = other; SET ROLE {role}")).await.unwrap();
        sql.batch_execute("INSERT INTO public.counters VALUES ('a', 1)").await.unwrap();
        assert_eq!(shown(&mut live).await, "1", "{capture}");
        sql.batch_execute("UPDATE public.counters SET value = 2").await.unwrap();
        assert_eq!(shown(&mut live).await, "2", "{capture}");
        sql.batch_execute(&format!("RESET ROLE; REVOKE ALL ON public.counters FROM {role}; DROP ROLE {role}"))
            .await
            .unwrap();
        node.kill().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_waits_for_a_transaction_that_is_idle() -> Result<()> {
    let server = Server::new().await?;
    for capture in SINKS {
        let node = node(server.url(), capture).await;
        let sql = connect(server.url()).await;
        let mut live = Live::open(node.url(), None).await;
        sql.batch_execute("INSERT INTO counters VALUES ('a', 0) ON CONFLICT (name) DO UPDATE SET value = 0").await.unwrap();
        assert_eq!(live.subscribed(1, "counter", json!({"name": "a"})).await, "0");
        // One that has written something, in another database.
        let elsewhere = connect(&server.url().replace("///app?", "///postgres?")).await;
        elsewhere.batch_execute("BEGIN; SELECT pg_current_xact_id()").await.unwrap();
        // And one that has written to the very table.
        let open = connect(server.url()).await;
        open.batch_execute("BEGIN; INSERT INTO counters VALUES ('b', 1) ON CONFLICT (name) DO UPDATE SET value = 5")
            .await
            .unwrap();
        let behind = async || metric(node.url(), "live_feed_behind_total").await;
        let before = behind().await;
        for n in 1..20_i64 {
            sql.execute("UPDATE counters SET value = $1 WHERE name = 'a'", &[&n]).await.unwrap();
            assert_eq!(shown(&mut live).await, n.to_string(), "{capture}");
        }
        // A round that waited for one of them would give up after a while, and take everything as changed.
        let behind = behind().await - before;
        assert!(behind < 10, "{capture}: {behind} of 19 rounds waited in vain");
        open.batch_execute("UPDATE counters SET value = 77 WHERE name = 'a'; COMMIT").await.unwrap();
        assert_eq!(shown(&mut live).await, "77", "{capture}");
        elsewhere.batch_execute("ROLLBACK").await.unwrap();
        node.kill().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_is_prepared_is_seen_when_it_is_committed() -> Result<()> {
    let mut server = Server::new().await?;
    connect(server.url()).await.batch_execute("ALTER SYSTEM SET max_prepared_transactions = 10").await.unwrap();
    server.stop().await?;
    server.start().await?;
    for capture in SINKS {
        let node = node(server.url(), capture).await;
        let sql = connect(server.url()).await;
        sql.batch_execute("INSERT INTO counters VALUES ('a', 0) ON CONFLICT (name) DO UPDATE SET value = 0").await.unwrap();
        let mut live = Live::counting(node.url(), "0").await;
        sql.batch_execute("BEGIN; UPDATE counters SET value = 1 WHERE name = 'a'; PREPARE TRANSACTION 'one'")
            .await
            .unwrap();
        assert!(live.is_silent_for(SILENCE).await, "{capture}: not committed yet");
        sql.batch_execute("COMMIT PREPARED 'one'").await.unwrap();
        assert_eq!(shown(&mut live).await, "1", "{capture}");
        sql.batch_execute("BEGIN; UPDATE counters SET value = 2 WHERE name = 'a'; PREPARE TRANSACTION 'two'")
            .await
            .unwrap();
        sql.batch_execute("ROLLBACK PREPARED 'two'").await.unwrap();
        assert!(live.is_silent_for(SILENCE).await, "{capture}: rolled back");
        node.kill().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_not_visible_yet_is_shown_when_it_is() -> Result<()> {
    let server = Server::new().await?;
    for capture in SINKS {
        let node = node(server.url(), capture).await;
        let sql = connect(server.url()).await;
        sql.batch_execute("INSERT INTO counters VALUES ('a', 1), ('b', 1) ON CONFLICT (name) DO UPDATE SET value = 1")
            .await
            .unwrap();
        let mut live = Live::counting(node.url(), "1").await;
        // Commits wait for a standby that does not exist, when they are in the log already.
        sql.batch_execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await.unwrap();
        sql.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        let url = server.url().to_owned();
        let writer = tokio::spawn(async move {
            connect(&url).await.batch_execute("UPDATE counters SET value = 2 WHERE name = 'a'").await.unwrap();
        });
        let waiting =
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE 'UPDATE counters%'";
        until("the commit waits for its standby", async || count(&sql, waiting).await == 1).await;
        assert!(live.is_silent_for(SILENCE).await, "{capture}: nobody sees it yet");
        // Another one becomes visible meanwhile, and is shown.
        sql.batch_execute("SET synchronous_commit = local; UPDATE counters SET value = 7 WHERE name = 'b'").await.unwrap();
        let mut other = Live::open(node.url(), None).await;
        assert_eq!(other.subscribed(1, "counter", json!({"name": "b"})).await, "7");
        sql.batch_execute("ALTER SYSTEM RESET synchronous_standby_names").await.unwrap();
        sql.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        writer.await.unwrap();
        let began = Instant::now();
        assert_eq!(shown(&mut live).await, "2", "{capture}");
        assert!(
            began.elapsed() < Duration::from_secs(6),
            "{capture}: not when something else happens: {:?}",
            began.elapsed()
        );
        assert!(live.is_silent_for(SILENCE).await, "{capture}: once");
        node.kill().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_frozen_for_long_takes_everything_as_changed() -> Result<()> {
    let database = empty_database().await?;
    let node = node(database.url(), "changelog").await;
    let sql = connect(database.url()).await;
    sql.batch_execute("INSERT INTO counters VALUES ('a', 1)").await.unwrap();
    let mut live = Live::counting(node.url(), "1").await;
    node.signal(Signal::STOP);
    sql.batch_execute("UPDATE counters SET value = 2 WHERE name = 'a'").await.unwrap();
    // The others sweep away what is older than they need.
    sql.batch_execute("DELETE FROM forge_changes").await.unwrap();
    // Half the time that rows are kept, after which it may have missed some.
    tokio::time::sleep(Duration::from_secs(31)).await;
    node.signal(Signal::CONT);
    shows(&mut live, "2").await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_system_is_asked_nothing() -> Result<()> {
    let database = empty_database().await?;
    let node = node(database.url(), "wal").await;
    let sql = connect(database.url()).await;
    let mut live = Live::open(node.url(), None).await;
    live.subscribed(1, "counter", json!({"name": "a"})).await;
    let last = async || -> String {
        let ask = "SELECT max(query_start)::text FROM pg_stat_activity
                   WHERE application_name LIKE '%live queries' AND datname = current_database()";
        sql.query_one(ask, &[]).await.unwrap().get(0)
    };
    // It settles first: others of this server may have transactions open that began before the sink was decided.
    let mut before = last().await;
    until("nothing is asked any more", async || {
        tokio::time::sleep(SILENCE).await;
        let now = last().await;
        std::mem::replace(&mut before, now.clone()) == now
    })
    .await;
    sql.batch_execute("INSERT INTO counters VALUES ('b', 1)").await.unwrap();
    until("a change is looked at", async || last().await != before).await;
    Ok(())
}

/// Cuts the streams of this database's log.
pub(crate) const CUT: &str = "SELECT count(pg_terminate_backend(active_pid)) FROM pg_replication_slots
                              WHERE database = current_database() AND active_pid IS NOT NULL";

/// Reads frames until one shows at least so much.
async fn reaches(live: &mut Live, least: i64) {
    while shown(live).await.as_str().unwrap().parse::<i64>().unwrap() < least {}
}

/// Adds one again and again, by plain SQL, until told to stop. Returns how often.
async fn adds(url: String, stop: Arc<AtomicBool>) -> i64 {
    let sql = connect(&url).await;
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        sql.batch_execute("UPDATE counters SET value = value + 1 WHERE name = 'a'").await.unwrap();
        n += 1;
    }
    n
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sink_changes_under_writers_and_subscribers() -> Result<()> {
    let database = empty_database().await?;
    let first = node(database.url(), "auto").await;
    let sql = connect(database.url()).await;
    assert_eq!(sink(&sql).await, "wal");
    sql.batch_execute("INSERT INTO counters VALUES ('a', 0), ('b', 0), ('c', 0)").await.unwrap();
    let mut live = Live::open(first.url(), None).await;
    live.subscribed(1, "counter", json!({"name": "a"})).await;
    let mut quiet = Live::open(first.url(), None).await;
    assert_eq!(quiet.subscribed(1, "counter", json!({"name": "b"})).await, "0");
    // Written while it is the log, committed when it is the table.
    let straggler = connect(database.url()).await;
    straggler.batch_execute("BEGIN; UPDATE counters SET value = 5 WHERE name = 'b'").await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(adds(database.url().to_owned(), stop.clone()));
    let second = node(database.url(), "changelog").await;
    assert_eq!(sink(&sql).await, "changelog");
    let mut other = Live::open(second.url(), None).await;
    other.subscribed(1, "counter", json!({"name": "a"})).await;
    // Whoever read the log goes on with the table.
    let written: i64 = sql.query_one("SELECT value FROM counters WHERE name = 'a'", &[]).await.unwrap().get(0);
    reaches(&mut live, written).await;
    // The log is still needed for what began before, also when its stream has to begin anew.
    sql.query_one(CUT, &[]).await.unwrap();
    straggler.batch_execute("COMMIT").await.unwrap();
    shows(&mut quiet, "5").await;
    // One that may use the log does not take it back while another one may not.
    let third = node(database.url(), "auto").await;
    assert_eq!(sink(&sql).await, "changelog");
    third.kill().await;
    // And the other way round.
    straggler.batch_execute("BEGIN; UPDATE counters SET value = 6 WHERE name = 'b'").await.unwrap();
    second.signal(Signal::TERM);
    let objections = "SELECT count(*) FROM forge_feed_objections";
    until("the objection is taken back", async || count(&sql, objections).await == 0).await;
    let third = node(database.url(), "auto").await;
    assert_eq!(sink(&sql).await, "wal");
    straggler.batch_execute("COMMIT").await.unwrap();
    shows(&mut quiet, "6").await;
    stop.store(true, Ordering::Relaxed);
    let n = writer.await.unwrap();
    reaches(&mut live, n).await;
    sql.batch_execute("UPDATE counters SET value = 1 WHERE name = 'b'").await.unwrap();
    shows(&mut quiet, "1").await;
    third.kill().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prepared_transaction_outlives_a_change_of_the_sink() -> Result<()> {
    let mut server = Server::new().await?;
    connect(server.url()).await.batch_execute("ALTER SYSTEM SET max_prepared_transactions = 10").await.unwrap();
    server.stop().await?;
    server.start().await?;
    let first = node(server.url(), "auto").await;
    let sql = connect(server.url()).await;
    sql.batch_execute("INSERT INTO counters VALUES ('a', 0), ('b', 0)").await.unwrap();
    let mut live = Live::open(first.url(), None).await;
    live.subscribed(1, "counter", json!({"name": "a"})).await;
    let mut quiet = Live::open(first.url(), None).await;
    assert_eq!(quiet.subscribed(1, "counter", json!({"name": "b"})).await, "0");
    // It has written to the log, and nobody's connection shows that it is still open.
    sql.batch_execute("BEGIN; UPDATE counters SET value = 5 WHERE name = 'b'; PREPARE TRANSACTION 'p'").await.unwrap();
    let _second = node(server.url(), "changelog").await;
    assert_eq!(sink(&sql).await, "changelog");
    sql.query_one(CUT, &[]).await.unwrap();
    for n in 1..5_i64 {
        sql.execute("UPDATE counters SET value = $1 WHERE name = 'a'", &[&n]).await.unwrap();
        shows(&mut live, &n.to_string()).await;
    }
    sql.batch_execute("COMMIT PREPARED 'p'").await.unwrap();
    shows(&mut quiet, "5").await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_the_log_is_used_with_a_table_and_refused_when_the_log_is_demanded() -> Result<()> {
    let server = Server::new().await?;
    let sql = connect(server.url()).await;
    sql.batch_execute("CREATE ROLE plain LOGIN; GRANT ALL ON DATABASE app TO plain; GRANT ALL ON SCHEMA public TO plain")
        .await
        .unwrap();
    let url = server.url().replace("user=forge", "user=plain");
    assert_ne!(url, server.url());
    let node = node(&url, "auto").await;
    assert_eq!(sink(&sql).await, "changelog");
    let mut live = Live::open(node.url(), None).await;
    assert_eq!(live.subscribed(1, "counter", json!({"name": "a"})).await, Value::Null);
    sql.batch_execute("INSERT INTO counters VALUES ('a', 1)").await.unwrap();
    assert_eq!(shown(&mut live).await, "1");
    node.kill().await;
    let (status, log) = Process::spawn(&url, &[("FORGE_REACTIVITY_CAPTURE", "wal")]).ended().await;
    assert_eq!(status, Some(1), "{log}");
    assert!(log.contains("REACTIVITY_LOG_UNAVAILABLE") && log.contains("doctor"), "{log}");
    Ok(())
}
