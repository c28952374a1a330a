//! How jobs end, and that what they say of it is true.

use std::time::Duration;

use forge::JobStatus;
use forge::prelude::*;
use forge::testing::TestApp;
use pipeline::*;

use super::{executions, status};

fn orders(label: &str) -> Orders {
    Orders { label: label.into(), ..Orders::default() }
}

#[forge::test]
async fn a_job_exists_exactly_if_its_mutation_commits(app: TestApp) -> Result<()> {
    let ada = app.user("ada");
    let id = ada.call(order, (orders("kept"), 0, false)).await?;
    assert_eq!(ada.call(order, (orders("lost"), 0, true)).await.unwrap_err().code(), "AS_TOLD");
    app.assert_dispatched::<Orders>(|orders| orders.label == "kept").await;
    app.run_jobs().await?;
    assert_eq!(executions(&app, "kept").await, [(1, true)]);
    assert_eq!(executions(&app, "lost").await, []);
    let job = app.parts().job(id).await?;
    assert_eq!((job.status, job.output), (JobStatus::Completed, Some(serde_json::json!("ada did kept"))));
    Ok(())
}

#[forge::test]
async fn one_that_fails_is_tried_again_and_then_a_dead_letter(app: TestApp) -> Result<()> {
    let ada = app.user("ada");
    let twice = ada.call(order, (Orders { failures: 2, ..orders("twice") }, 0, false)).await?;
    let always = ada.call(order, (Orders { failures: 9, ..orders("always") }, 0, false)).await?;
    let panicking = ada.call(order, (Orders { panics: true, ..orders("panicking") }, 0, false)).await?;
    app.run_jobs().await?;
    assert_eq!(status(&app, twice).await, ("retry".into(), Some("AS_TOLD".into())));
    // A minute, then two: before that nothing happens.
    app.advance(Duration::from_secs(30)).await?;
    assert_eq!(executions(&app, "twice").await.len(), 1);
    app.advance(Duration::from_secs(31)).await?;
    assert_eq!(executions(&app, "twice").await.len(), 2);
    app.advance(Duration::from_secs(60)).await?;
    assert_eq!(executions(&app, "twice").await.len(), 2);
    app.advance(Duration::from_secs(61)).await?;
    assert_eq!(executions(&app, "twice").await, [(1, false), (2, false), (3, true)]);
    assert_eq!(status(&app, twice).await, ("completed".into(), None));
    assert_eq!(status(&app, always).await, ("dead_letter".into(), Some("AS_TOLD".into())));
    assert_eq!(status(&app, panicking).await, ("dead_letter".into(), Some("INTERNAL_ERROR".into())));
    Ok(())
}

#[forge::test]
async fn one_that_is_put_off_spends_no_attempt_and_keeps_what_it_saved(app: TestApp) -> Result<()> {
    let id = app.user("ada").call(order, (Orders { snooze_ms: Some(60_000), ..orders("later") }, 0, false)).await?;
    app.run_jobs().await?;
    app.advance(Duration::from_secs(61)).await?;
    app.advance(Duration::from_secs(61)).await?;
    assert_eq!(executions(&app, "later").await, [(1, false), (1, false), (1, true)]);
    assert_eq!(status(&app, id).await, ("completed".into(), None));
    Ok(())
}

#[forge::test]
async fn one_that_gives_up_is_cancelled_and_not_tried_again(app: TestApp) -> Result<()> {
    let orders = Orders { give_up: Some("the card is gone".into()), ..orders("pointless") };
    let id = app.user("ada").call(order, (orders, 0, false)).await?;
    app.run_jobs().await?;
    let job = app.parts().job(id).await?;
    assert_eq!((job.status, job.error.unwrap()["message"].as_str()), (JobStatus::Cancelled, Some("the card is gone")));
    Ok(())
}

#[forge::test]
async fn one_that_waits_can_be_cancelled_and_one_that_runs_is_told(app: TestApp) -> Result<()> {
    let ada = app.user("ada");
    let waiting = ada.call(order, (orders("waiting"), 60_000, false)).await?;
    assert!(app.parts().cancel_job(waiting, "not wanted").await?);
    assert_eq!(status(&app, waiting).await, ("cancelled".into(), Some("CANCELLED".into())));
    assert!(!app.parts().cancel_job(waiting, "again").await?);
    let running = ada.call(order, (Orders { takes_ms: 60_000, ..orders("running") }, 0, false)).await?;
    app.work();
    while executions(&app, "running").await.is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(app.parts().cancel_job(running, "not wanted").await?);
    app.run_jobs().await?;
    assert_eq!(status(&app, running).await, ("cancelled".into(), Some("CANCELLED".into())));
    assert_eq!(executions(&app, "running").await, [(1, false)]);
    Ok(())
}

#[forge::test]
async fn one_that_is_delayed_runs_when_it_is_due(app: TestApp) -> Result<()> {
    app.user("ada").call(order, (orders("tomorrow"), 86_400_000, false)).await?;
    app.run_jobs().await?;
    app.advance(Duration::from_secs(86_390)).await?;
    assert_eq!(executions(&app, "tomorrow").await, []);
    app.advance(Duration::from_secs(11)).await?;
    assert_eq!(executions(&app, "tomorrow").await, [(1, true)]);
    Ok(())
}

#[forge::test]
async fn a_job_sees_the_cluster_that_it_runs_in(app: TestApp) -> Result<()> {
    app.anonymous().call(order_surveys, ("here".to_owned(), 1)).await?;
    app.run_jobs().await?;
    let me = app.parts().cluster().me().unwrap();
    assert_eq!(executions(&app, &format!("here {me}")).await, [(1, false)]);
    Ok(())
}

#[forge::test]
async fn many_are_done_each_once(app: TestApp) -> Result<()> {
    app.user("ada").call(order_many, ("many".to_owned(), 2_000)).await?;
    app.run_jobs().await?;
    let sql = app.sql().await?;
    let row = sql
        .query_one("SELECT count(*), count(DISTINCT label) FROM executions WHERE ended_at IS NOT NULL", &[])
        .await
        .unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (2_000, 2_000));
    let row = sql
        .query_one("SELECT (SELECT count(*) FROM forge_jobs), (SELECT count(*) FROM forge_jobs_done)", &[])
        .await
        .unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (0, 2_000));
    Ok(())
}

#[forge::test]
async fn a_job_is_shown_to_who_dispatched_it_and_to_who_has_its_role(app: TestApp) -> Result<()> {
    let id = app.user("ada").call(order, (orders("private"), 0, false)).await?;
    assert_eq!(app.user("ada").call(job_status, id).await?, "pending");
    assert_eq!(app.user("eve").role("auditor").call(job_status, id).await?, "pending");
    for nobody in [app.user("eve"), app.anonymous()] {
        assert_eq!(nobody.call(job_status, id).await.unwrap_err().code(), "NOT_FOUND");
    }
    Ok(())
}
