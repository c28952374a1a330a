//! What a worker finds out by itself.

use std::time::Duration;

use forge::prelude::*;
use forge::testing::TestApp;
use pipeline::*;

use super::{executions, status};
use crate::support::{count, until, until_within};

/// The node that the app is.
async fn node(sql: &tokio_postgres::Client) -> Uuid {
    let me = "SELECT count(*) FROM forge_nodes WHERE status = 'active'";
    until("the node is there", async || count(sql, me).await == 1).await;
    sql.query_one("SELECT id FROM forge_nodes", &[]).await.unwrap().get(0)
}

#[forge::test]
async fn what_a_claim_took_whose_answer_was_lost_is_given_back(app: TestApp) -> Result<()> {
    let orders = Orders { label: "stranded".into(), ..Orders::default() };
    let id = app.user("ada").call(order, (orders, 0, false)).await?;
    let sql = app.sql().await?;
    // What the database does of such a claim.
    let claim = "UPDATE forge_jobs SET state = 2, worker = $2, attempt = 1, claims = 1, claimed_at = clock_timestamp() WHERE id = $1";
    assert_eq!(sql.execute(claim, &[&id, &node(&sql).await]).await.unwrap(), 1);
    app.work();
    until("it is run", async || executions(&app, "stranded").await == [(1, true)]).await;
    app.run_jobs().await?;
    assert_eq!(status(&app, id).await.0, "completed");
    Ok(())
}

#[forge::test]
async fn a_job_that_takes_its_workers_down_is_kept_as_long_as_its_kind_says(app: TestApp) -> Result<()> {
    app.user("ada").call(order_slowly, ("poison".to_owned(), 1)).await?;
    let sql = app.sql().await?;
    let lost = "UPDATE forge_jobs SET state = 2, worker = gen_random_uuid(), attempt = 1, claims = 3, crashes = 2";
    assert_eq!(sql.execute(lost, &[]).await.unwrap(), 1);
    app.work();
    let dead = "SELECT count(*) FROM forge_jobs_dead";
    until("it is a dead letter", async || count(&sql, dead).await == 1).await;
    let text = "SELECT extract(epoch FROM expires_at - died_at)::float8 FROM forge_jobs_dead";
    let kept: f64 = sql.query_one(text, &[]).await.unwrap().get(0);
    assert!((3590.0..=3610.0).contains(&kept), "{kept}");
    Ok(())
}

#[forge::test]
async fn jobs_of_many_keys_are_let_in_at_once(app: TestApp) -> Result<()> {
    let sql = app.sql().await?;
    // They end as soon as they are let in and claimed. By a few hundred in each look all of this would take two minutes.
    let held = "INSERT INTO forge_jobs (id, kind, queue, state, concurrency_key, cancel_requested)
                SELECT gen_random_uuid(), 'in_pairs', 'default', 3, 'key ' || n, true FROM generate_series(1, 5000) AS n";
    assert_eq!(sql.execute(held, &[]).await.unwrap(), 5000);
    app.work();
    let left = "SELECT count(*) FROM forge_jobs";
    until_within(Duration::from_secs(60), "all have ended", async || count(&sql, left).await == 0).await;
    Ok(())
}

#[forge::test]
async fn what_waits_for_a_place_is_let_in_when_its_kind_has_no_limit_any_more(app: TestApp) -> Result<()> {
    let sql = app.sql().await?;
    let held = "INSERT INTO forge_jobs (id, kind, queue, state, concurrency_key, cancel_requested)
                SELECT gen_random_uuid(), 'once', 'default', 3, '', true FROM generate_series(1, 100)";
    assert_eq!(sql.execute(held, &[]).await.unwrap(), 100);
    app.work();
    until("all have ended", async || count(&sql, "SELECT count(*) FROM forge_jobs").await == 0).await;
    Ok(())
}

#[forge::test]
async fn children_of_which_nothing_is_to_be_kept_can_be_waited_for_long_after_they_have_ended(app: TestApp) -> Result<()> {
    let parent = app.user("ada").call(order_delegated_surveys, "family".to_owned()).await?;
    app.run_jobs().await?;
    app.advance(Duration::from_secs(3601)).await?;
    let job = app.parts().job(parent).await?;
    assert_eq!((job.status, job.output), (forge::JobStatus::Completed, Some(serde_json::json!(3))), "{:?}", job.error);
    let sql = app.sql().await?;
    assert_eq!(count(&sql, "SELECT count(*) FROM executions WHERE label LIKE 'family/%'").await, 3, "each once");
    Ok(())
}
