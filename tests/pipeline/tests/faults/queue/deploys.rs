//! Nodes that are replaced one by one while they work.

use forge::prelude::*;
use serde_json::json;

use super::{Crowd, cluster, until_known};
use crate::is_long;
use crate::support::http::Request;
use crate::support::{count, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deploy_spends_no_attempt_and_loses_nothing() -> Result<()> {
    // Some jobs end within their time, others are handed back.
    let cluster =
        cluster().setting("FORGE_WORKER_CONCURRENCY", "20").setting("FORGE_WORKER_DRAIN_TIMEOUT", "300ms").start(2).await?;
    let sql = cluster.sql().await?;
    let (size, deploys) = if is_long() { (3_000, 10) } else { (400, 2) };
    let slow = Crowd::dispatch(&sql, cluster.node(1), "slow", size / 20, 3_000).await?;
    let quick = Crowd::dispatch(&sql, cluster.node(0), "quick", size, 100).await?;
    let (one, other) = (cluster.node(0), cluster.node(1));
    until("slow ones run", async || {
        slow.begun_by(one.id().await.unwrap()).await + slow.begun_by(other.id().await.unwrap()).await > 0
    })
    .await;
    // First the one that has slow ones, while it has them: what it hands back is the point.
    let first_has_them = slow.held_by(one.id().await?).await > slow.held_by(other.id().await?).await;
    for deploy in 0..deploys {
        for node in if first_has_them { [one, other] } else { [other, one] } {
            let (id, before) = (node.id().await?, quick.done().await);
            let begun = async || quick.begun_by(id).await + slow.begun_by(id).await;
            until("it is at work", async || begun().await > 0 || quick.done().await == quick.size).await;
            until("they get on", async || quick.done().await > before || before == quick.size).await;
            node.stop().await?;
            assert_eq!(quick.held_by(id).await + slow.held_by(id).await, 0, "it left nothing behind");
            node.restart().await?;
        }
        println!("deploy {deploy}: {} quick and {} slow ones done", quick.done().await, slow.done().await);
    }
    let (quick, slow) = (quick.judge().await, slow.judge().await);
    println!("quick: {quick:?}, slow: {slow:?}");
    for record in [&quick, &slow] {
        assert_eq!((record.taken_over, record.repeated), (0, 0), "no crash, and no attempt");
    }
    assert!(slow.executions > i64::from(size / 20), "none was handed back, which proves little");
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_asked_to_drain_does_what_one_does_that_is_told_to_stop() -> Result<()> {
    const TOKEN: &str = "an-admin-token-for-tests";
    const SIZE: u32 = 30;
    let cluster = cluster().setting("FORGE_ADMIN_TOKEN", TOKEN).setting("FORGE_WORKER_CONCURRENCY", "8").start(2).await?;
    let sql = cluster.sql().await?;
    until_known(&sql, cluster.nodes()).await;
    let (stays, leaves) = (cluster.node(0), cluster.node(1));
    let ask = async |node: Uuid, dry_run: bool| {
        let path = format!("/_api/cluster/nodes/{node}/drain");
        Request::post(&path, &json!({"dryRun": dry_run})).bearer(TOKEN).send(&stays.url()).await
    };
    let slow = Crowd::dispatch(&sql, leaves, "slow", SIZE, 3_000).await?;
    let id = leaves.id().await?;
    until("it is at work", async || slow.begun_by(id).await > 0).await;
    let plan = ask(id, true).await.data();
    assert_eq!((&plan["status"], &plan["changed"], &plan["onlyOneFor"]), (&json!("active"), &json!(false), &json!([])));
    assert!(plan["jobs"].as_i64() > Some(0) && plan["roles"].as_array().unwrap().len() == 4, "{plan}");
    let asked = "SELECT (SELECT count(*) FROM forge_node_drains) + (SELECT count(*) FROM forge_admin_audit WHERE action = 'nodes.drain')";
    assert_eq!(count(&sql, asked).await, 0, "nothing was done");
    assert_eq!(ask(id, false).await.data()["changed"], true);
    assert_eq!(ask(id, false).await.data()["changed"], false, "it was asked before");
    let draining = format!("SELECT count(*) FROM forge_nodes WHERE id = '{id}' AND status = 'draining'");
    until("it drains", async || count(&sql, &draining).await == 1).await;
    assert_ne!(leaves.readiness().await, 200);
    // That its process is told to stop as well is nothing new to it: what it has begun, it finishes.
    leaves.stop().await?;
    assert_eq!(slow.held_by(id).await, 0, "it left nothing behind");
    let record = slow.judge().await;
    assert_eq!((record.executions, record.taken_over, record.repeated), (i64::from(SIZE), 0, 0), "{record:?}");
    until("nothing is left of it", async || count(&sql, "SELECT count(*) FROM forge_node_drains").await == 0).await;
    assert_eq!(ask(id, false).await.failure(), (404, "NOT_FOUND".into()));

    // One that is gone cannot drain; and without a signal it ends as well.
    leaves.restart().await?;
    let id = leaves.id().await?;
    leaves.kill().await?;
    let dead = format!("SELECT count(*) FROM forge_nodes WHERE id = '{id}' AND status = 'dead'");
    until("it is dead", async || count(&sql, &dead).await == 1).await;
    assert_eq!(ask(id, false).await.failure(), (409, "CONFLICT".into()));
    leaves.restart().await?;
    assert_eq!(ask(leaves.id().await?, false).await.data()["changed"], true);
    leaves.ended().await?;
    let alone = ask(stays.id().await?, true).await.data();
    assert_eq!(alone["onlyOneFor"], json!(["gateway", "function", "worker", "scheduler"]), "{alone}");
    assert_eq!(count(&sql, "SELECT count(*) FROM forge_admin_audit WHERE action = 'nodes.drain'").await, 2);
    cluster.stop().await
}
