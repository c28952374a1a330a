//! The database crashes while a queue is drained.

use std::time::Duration;

use forge::prelude::*;

use super::{Crowd, DONE_WITHIN, cluster};
use crate::is_long;
use crate::support::server::{Server, connect};
use crate::support::until_within;

/// How fast a queue is drained after a crash, compared with before: as fast, on a machine that does nothing else.
const AGAIN: f64 = 0.3;

/// How many are done by then, and how long it took since the first of them, by the database's clock. From a time on.
async fn rate(sql: &tokio_postgres::Client, since: f64) -> f64 {
    let text = "SELECT count(*)::float8, extract(epoch FROM max(finished_at) - min(finished_at))::float8
                FROM forge_jobs_done WHERE finished_at > to_timestamp($1)";
    let row = sql.query_one(text, &[&since]).await.unwrap();
    row.get::<_, f64>(0) / row.get::<_, Option<f64>>(1).unwrap_or(0.0).max(0.001)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_crashes_while_a_queue_is_drained_and_the_drain_goes_on() -> Result<()> {
    let mut server = Server::new().await?;
    // The server is gone for less than that.
    let cluster = cluster()
        .setting("FORGE_CLUSTER_DEAD_THRESHOLD", "30s")
        .setting("FORGE_DATABASE_HEALTH_CHECK_INTERVAL", "500ms")
        .setting("FORGE_DATABASE_HEALTH_CHECK_TIMEOUT", "400ms")
        .database(server.url())
        .start(2)
        .await?;
    let (size, crashes) = if is_long() { (60_000, 5) } else { (6_000, 1) };
    let sql = connect(server.url()).await;
    let ids = [cluster.node(0).id().await?, cluster.node(1).id().await?];
    let crowd = Crowd::dispatch(&sql, cluster.node(0), "drained", size, 0).await?;
    let label = crowd.label.clone();
    let mut since = 0.0;
    for n in 1..=crashes {
        let sql = connect(server.url()).await;
        let crowd = Crowd { sql: &sql, label: label.clone(), size: i64::from(size) };
        let part = i64::from(size) * i64::from(n) / i64::from(crashes + 1);
        until_within(DONE_WITHIN, "a part is done", async || crowd.done().await >= part).await;
        let before = rate(&sql, since).await;
        server.crash().await;
        until_within(DONE_WITHIN, "both notice", async || {
            cluster.node(0).readiness().await == 503 && cluster.node(1).readiness().await == 503
        })
        .await;
        server.start().await?;
        let sql = connect(server.url()).await;
        since = super::now(&sql).await;
        let crowd = Crowd { sql: &sql, label: label.clone(), size: i64::from(size) };
        let done = crowd.done().await;
        let enough = part + (i64::from(size) - part) / 4;
        assert!(done < enough, "{done} of {size} were done before the crash: what is left proves little");
        until_within(DONE_WITHIN, "it goes on", async || crowd.done().await >= enough).await;
        let after = rate(&sql, since).await;
        println!("crash {n}: {done} done, {before:.0}/s before it, {after:.0}/s after it");
        assert!(after > before * AGAIN, "{before:.0}/s before the crash, {after:.0}/s after it");
    }
    let sql = connect(server.url()).await;
    let crowd = Crowd { sql: &sql, label, size: i64::from(size) };
    let record = crowd.judge().await;
    println!("{record:?}");
    for (node, id) in cluster.nodes().iter().zip(ids) {
        assert_eq!(node.id().await?, id, "nobody was taken for dead, and no process ended");
        until_within(Duration::from_secs(30), "it is ready", async || node.readiness().await == 200).await;
    }
    assert_eq!(record.taken_over, 0);
    // Those that ran when it happened, each time, may have failed.
    assert!(record.repeated <= i64::from(crashes) * 2 * 100, "{record:?}");
    cluster.stop().await
}
