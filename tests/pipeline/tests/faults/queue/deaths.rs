//! Nodes that are killed, freeze, or are cut off while they work.

use std::time::Duration;

use forge::prelude::*;
use forge::testing::TestCluster;
use pipeline::{Orders, order};

use super::{Crowd, cluster, now, until_known};
use crate::is_long;
use crate::support::http::Request;
use crate::support::{count, until, until_within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_claimed_jobs_of_a_killed_node_run_again_within_two_heartbeats() -> Result<()> {
    const JOBS: u32 = 500;
    const INTERVAL_S: f64 = 2.0;
    // By silence alone it would take a minute.
    let cluster = cluster()
        .setting("FORGE_CLUSTER_HEARTBEAT_INTERVAL", "2s")
        .setting("FORGE_CLUSTER_DEAD_THRESHOLD", "1m")
        .setting("FORGE_WORKER_CONCURRENCY", JOBS.to_string())
        .start(2)
        .await?;
    let sql = cluster.sql().await?;
    for round in 0..if is_long() { 10 } else { 2 } {
        let (killed, other) = (cluster.node(round % 2), cluster.node((round + 1) % 2));
        until_known(&sql, cluster.nodes()).await;
        let (dead, heir) = (killed.id().await?, other.id().await?);
        let crowd = Crowd::dispatch(&sql, killed, &format!("killed {round}"), JOBS, 4_000).await?;
        until("all of them are claimed", async || crowd.held_by(dead).await + crowd.held_by(heir).await == i64::from(JOBS))
            .await;
        // Some have been begun when it happens, others have not.
        until("some are begun", async || crowd.begun_by(dead).await > 20).await;
        let had = crowd.held_by(dead).await;
        let at = now(&sql).await;
        killed.kill().await?;
        until_within(Duration::from_secs(30), "all of them run again", async || {
            crowd.held_by(heir).await == i64::from(JOBS)
        })
        .await;
        // By the database's clock: when the last of them was claimed anew.
        let text = "SELECT extract(epoch FROM max(claimed_at))::float8 FROM forge_jobs WHERE worker = $1";
        let after: f64 = sql.query_one(text, &[&heir]).await.unwrap().get::<_, f64>(0) - at;
        let record = crowd.judge().await;
        println!("round {round}: {had} jobs of a killed node were claimed again after {after:.2} s; {record:?}");
        assert!(had > i64::from(JOBS) / 2, "{had} jobs prove little");
        assert!(after < 2.0 * INTERVAL_S, "{after} s");
        assert_eq!((record.taken_over, record.repeated), (had, 0), "a death is a crash, and no attempt");
        killed.restart().await?;
    }
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_takes_down_three_workers_is_a_dead_letter() -> Result<()> {
    let mut cluster: TestCluster = cluster().start(0).await?;
    // This one sees that the other is gone, and does none of its work.
    cluster.add_with(&[("FORGE_NODE_ROLES", "gateway,function,scheduler")]).await?;
    cluster.add().await?;
    let sql = cluster.sql().await?;
    let ada = cluster.node(0).user("ada");
    let orders = Orders { label: "poison".into(), dies: true, ..Orders::default() };
    let id: Uuid = ada.call(order, (orders, 0, false)).await?;
    for n in 1..=3 {
        let begun = "SELECT count(*) FROM executions WHERE label = 'poison'";
        until("it is begun", async || count(&sql, begun).await == n).await;
        let gone = "SELECT count(*) FROM forge_nodes WHERE status = 'dead'";
        until("its node is dead", async || count(&sql, gone).await == n).await;
        cluster.node(1).restart().await?;
    }
    let dead = "SELECT crashes, attempt, error ->> 'code' FROM forge_jobs_dead WHERE id = $1";
    until("it is a dead letter", async || sql.query_opt(dead, &[&id]).await.unwrap().is_some()).await;
    let row = sql.query_one(dead, &[&id]).await.unwrap();
    assert_eq!((row.get::<_, i32>(0), row.get::<_, String>(2)), (3, "JOB_POISON".to_owned()));
    // The node that did not die of it goes on with other work.
    Crowd::dispatch(&sql, cluster.node(0), "after poison", 10, 0).await?.judge().await;
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_frozen_past_its_lease_wakes_up_and_writes_nothing() -> Result<()> {
    const JOBS: u32 = 40;
    let cluster = cluster()
        .setting("FORGE_CLUSTER_HEARTBEAT_INTERVAL", "200ms")
        .setting("FORGE_CLUSTER_DEAD_THRESHOLD", "2s")
        .start(2)
        .await?;
    let sql = cluster.sql().await?;
    for round in 0..if is_long() { 10 } else { 2 } {
        let (frozen, other) = (cluster.node(round % 2), cluster.node((round + 1) % 2));
        until_known(&sql, cluster.nodes()).await;
        let (dead, heir) = (frozen.id().await?, other.id().await?);
        let crowd = Crowd::dispatch(&sql, frozen, &format!("frozen {round}"), JOBS, 2_500).await?;
        until("they run", async || crowd.begun_by(dead).await + crowd.begun_by(heir).await == i64::from(JOBS)).await;
        let had = crowd.held_by(dead).await;
        frozen.pause().await?;
        until("they run elsewhere", async || crowd.begun_by(heir).await == i64::from(JOBS)).await;
        // It wakes while they run there, believes that they are its own, and finds that all of them are over by its clock.
        frozen.resume().await?;
        until("it is back under another id", async || frozen.id().await.is_ok_and(|id| id != dead)).await;
        let record = crowd.judge().await;
        let by = "SELECT count(*) FROM forge_jobs_done WHERE worker = $1 AND input ->> 'label' = $2";
        let by_dead: i64 = sql.query_one(by, &[&dead, &crowd.label]).await.unwrap().get(0);
        println!("round {round}: {had} jobs of a frozen node; {record:?}");
        assert!(had > i64::from(JOBS) / 2, "{had} jobs prove little");
        assert_eq!((by_dead, record.taken_over, record.repeated), (0, had, 0));
        let metrics = Request::get("/metrics").send(&frozen.url()).await.text();
        let fenced = metrics.lines().find_map(|line| line.strip_prefix("jobs_fenced_total ")).unwrap();
        assert!(fenced.parse::<i64>().unwrap() >= had, "{fenced} of {had} were refused");
    }
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_connections_are_cut_for_a_moment_keeps_its_jobs() -> Result<()> {
    // A cut session is taken for a death after a quarter of an interval at the earliest.
    let cluster = cluster()
        .setting("FORGE_CLUSTER_HEARTBEAT_INTERVAL", "5s")
        .setting("FORGE_CLUSTER_DEAD_THRESHOLD", "30s")
        .setting("FORGE_WORKER_CONCURRENCY", "20")
        .start(2)
        .await?;
    let sql = cluster.sql().await?;
    let node = cluster.node(0);
    let id = node.id().await?;
    let size = if is_long() { 4_000 } else { 400 };
    let crowd = Crowd::dispatch(&sql, node, "cut", size, 200).await?;
    let mut cuts = 0;
    while crowd.done().await < i64::from(size) * 3 / 4 {
        let before = crowd.begun_by(id).await;
        node.cut().await?;
        // A moment, which is shorter than any lease.
        tokio::time::sleep(Duration::from_millis(300)).await;
        node.heal();
        cuts += 1;
        until("it works again", async || crowd.begun_by(id).await > before || crowd.done().await == i64::from(size)).await;
    }
    let record = crowd.judge().await;
    println!("{cuts} cuts; {record:?}");
    assert_eq!(node.id().await?, id, "it was never taken for dead");
    assert_eq!(record.taken_over, 0);
    assert!(cuts >= 2, "{cuts} cuts prove little");
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_cut_off_lets_go_and_others_do_its_work() -> Result<()> {
    const JOBS: u32 = 40;
    let cluster = cluster()
        .setting("FORGE_CLUSTER_HEARTBEAT_INTERVAL", "300ms")
        .setting("FORGE_CLUSTER_DEAD_THRESHOLD", "2s")
        .start(2)
        .await?;
    let sql = cluster.sql().await?;
    // Once told that the line is gone, once not.
    for (round, told) in [true, false].into_iter().cycle().take(if is_long() { 10 } else { 2 }).enumerate() {
        let (away, other) = (cluster.node(round % 2), cluster.node((round + 1) % 2));
        until_known(&sql, cluster.nodes()).await;
        let (dead, heir) = (away.id().await?, other.id().await?);
        let crowd = Crowd::dispatch(&sql, away, &format!("away {round}"), JOBS, 2_500).await?;
        until("they run", async || crowd.begun_by(dead).await + crowd.begun_by(heir).await == i64::from(JOBS)).await;
        if told {
            away.cut().await?;
        } else {
            away.freeze_line();
        }
        until("it says that it is cut off", async || away.readiness().await == 503).await;
        until("they run elsewhere", async || crowd.begun_by(heir).await == i64::from(JOBS)).await;
        // What it had said meanwhile arrives now, if it was held up.
        away.heal();
        until("it is back under another id", async || away.id().await.is_ok_and(|id| id != dead)).await;
        until("it is ready", async || away.readiness().await == 200).await;
        let record = crowd.judge().await;
        println!("round {round}: {record:?}");
        assert_eq!(record.repeated, 0, "being cut off is no attempt");
        assert!(record.taken_over > i64::from(JOBS) / 2, "{record:?} proves little");
    }
    // It is a node like any other again.
    let after = Crowd::dispatch(&sql, cluster.node(0), "after", 200, 1).await?;
    let began = now(&sql).await;
    after.judge().await;
    println!("200 jobs after that took {:.2} s", now(&sql).await - began);
    cluster.stop().await
}
