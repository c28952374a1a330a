//! Nodes that are replaced one by one while they work.

use forge::prelude::*;

use super::{Crowd, cluster};
use crate::is_long;
use crate::support::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deploy_spends_no_attempt_and_loses_nothing() -> Result<()> {
    // Some jobs end within their time, others are handed back.
    let cluster =
        cluster().setting("FORGE_WORKER_CONCURRENCY", "20").setting("FORGE_WORKER_DRAIN_TIMEOUT", "300ms").start(2).await?;
    let sql = cluster.sql().await?;
    let (size, deploys) = if is_long() { (3_000, 10) } else { (400, 2) };
    let slow = Crowd::dispatch(&sql, cluster.node(1), "slow", size / 20, 3_000).await?;
    let quick = Crowd::dispatch(&sql, cluster.node(0), "quick", size, 100).await?;
    for deploy in 0..deploys {
        for node in cluster.nodes() {
            let (id, before) = (node.id().await?, quick.done().await);
            until("it is at work", async || quick.begun_by(id).await > 0 || quick.done().await == quick.size).await;
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
