//! How many, and how many at a time.

use std::time::{Duration, Instant};

use forge::JobStatus;
use forge::prelude::*;
use forge::testing::TestApp;
use pipeline::*;

use super::executions;
use crate::support::{count, until};

#[forge::test]
async fn a_second_one_with_the_key_of_a_live_one_is_the_first(app: TestApp) -> Result<()> {
    let ada = app.user("ada");
    let (first, new) = ada.call(order_once, "a".to_owned()).await?;
    assert!(new);
    assert_eq!(ada.call(order_once, "a".to_owned()).await?, (first, false));
    assert!(ada.call(order_once, "b".to_owned()).await?.1);
    app.run_jobs().await?;
    assert_eq!(executions(&app, "a").await.len(), 1);
    let (second, new) = ada.call(order_once, "a".to_owned()).await?;
    assert!(new && second != first, "it had ended");
    Ok(())
}

#[forge::test]
async fn twenty_that_dispatch_the_same_key_at_once_make_one(app: TestApp) -> Result<()> {
    let calls = (0..20).map(|_| {
        let ada = app.user("ada");
        tokio::spawn(async move { ada.call(order_once, "one".to_owned()).await })
    });
    let mut made = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        made.push(call.await.unwrap()?);
    }
    assert_eq!(made.iter().filter(|(_, new)| *new).count(), 1, "{made:?}");
    assert!(made.iter().all(|(id, _)| *id == made[0].0), "{made:?}");
    Ok(())
}

#[forge::test]
async fn a_key_has_no_more_at_a_time_than_its_places(app: TestApp) -> Result<()> {
    let ada = app.user("ada");
    ada.call(order_in_pairs, ("red".to_owned(), 6, 60)).await?;
    ada.call(order_in_pairs, ("blue".to_owned(), 6, 60)).await?;
    app.run_jobs().await?;
    let sql = app.sql().await?;
    // How many of a key ran when each was begun, itself included.
    let most = "SELECT max(n) FROM (SELECT count(*) AS n FROM executions a JOIN executions b ON a.label = b.label AND b.began_at <= a.began_at \
                AND (b.ended_at IS NULL OR b.ended_at > a.began_at) GROUP BY a.n) x";
    assert_eq!(sql.query_one(most, &[]).await.unwrap().get::<_, i64>(0), 2);
    assert_eq!((executions(&app, "red").await.len(), executions(&app, "blue").await.len()), (6, 6));
    Ok(())
}

#[forge::test]
async fn no_more_are_begun_in_a_window_than_the_rate_allows(app: TestApp) -> Result<()> {
    app.user("ada").call(order_slowly, ("slow".to_owned(), 10)).await?;
    let began = Instant::now();
    app.run_jobs().await?;
    // Four at once, four after a second, two after another.
    assert!(began.elapsed() >= Duration::from_millis(1_900), "{:?}", began.elapsed());
    assert_eq!(executions(&app, "slow").await.len(), 10);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn parents_that_wait_leave_their_places_to_their_children() {
    let app = TestApp::start_with(|config| config.worker.concurrency = 2).await.unwrap();
    let parents = app.user("ada").call(order_delegates, (4, 3)).await.unwrap();
    app.run_jobs().await.unwrap();
    for parent in parents {
        let job = app.parts().job(parent).await.unwrap();
        assert_eq!((job.status, job.output), (JobStatus::Completed, Some(serde_json::json!(3))));
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_limit_that_is_gone_is_let_in_by_whoever_began_last() {
    let app = TestApp::start_with(|config| config.cluster.heartbeat_interval = Duration::from_millis(200)).await.unwrap();
    let sql = app.sql().await.unwrap();
    let ada = app.user("ada");
    ada.call(order_to_endure, ("former".to_owned(), 3, 0)).await.unwrap();
    ada.call(order_in_pairs, ("pair".to_owned(), 1, 0)).await.unwrap();
    let held = "UPDATE forge_jobs SET state = 3, concurrency_key = coalesce(concurrency_key, '')";
    assert_eq!(sql.execute(held, &[]).await.unwrap(), 4);
    // A version that has a limit for them is taking this one's place.
    let newer = "INSERT INTO forge_nodes (id, hostname, roles, capabilities, status, version, forge_version, started_at, last_heartbeat)
        SELECT gen_random_uuid(), 'newer', roles, capabilities, 'active', version, forge_version, started_at + interval '1 second',
               now() + interval '1 hour' FROM forge_nodes";
    assert_eq!(sql.execute(newer, &[]).await.unwrap(), 1);
    for _ in 0..2 {
        // It has looked who is there.
        let beat = "SELECT (extract(epoch FROM last_heartbeat) * 1000000)::int8 FROM forge_nodes WHERE hostname <> 'newer'";
        let before = count(&sql, beat).await;
        until("it has beaten", async || count(&sql, beat).await > before).await;
    }
    app.work();
    until("what has a limit is let in", async || executions(&app, "pair").await == [(1, true)]).await;
    assert_eq!(count(&sql, "SELECT count(*) FROM forge_jobs WHERE kind = 'endure' AND state = 3").await, 3);
    sql.execute("DELETE FROM forge_nodes WHERE hostname = 'newer'", &[]).await.unwrap();
    until("the others are", async || executions(&app, "former").await == [(1, true); 3]).await;
    app.stop().await;
}
