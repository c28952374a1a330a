//! What a mutation dispatches is written as it commits, and not otherwise.

use std::sync::Arc;

use forge::prelude::*;
use forge::testing::TestApp;
use pipeline::*;

/// The labels of all jobs that wait.
async fn labels(app: &TestApp) -> Vec<String> {
    let sql = app.sql().await.unwrap();
    let rows = sql.query("SELECT input ->> 'label' FROM forge_jobs ORDER BY ready_at", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn count(app: &TestApp, text: &str) -> i64 {
    app.sql().await.unwrap().query_one(text, &[]).await.unwrap().get(0)
}

#[forge::test]
async fn what_a_mutation_dispatches_that_was_called_from_another_goes_with_it(app: TestApp) -> Result<()> {
    let ada = app.user("ada");
    ada.call(order_around, ("a".to_owned(), false, false)).await?;
    assert_eq!(labels(&app).await, ["a before", "a inner", "a after"]);
    ada.call(order_around, ("b".to_owned(), true, false)).await?;
    assert_eq!(labels(&app).await[3..], ["b before", "b after"]);
    assert_eq!(ada.call(order_around, ("c".to_owned(), false, true)).await.unwrap_err().code(), "AS_TOLD");
    assert_eq!(labels(&app).await.len(), 5);
    ada.call(order_deep, ("d".to_owned(), false)).await?;
    assert_eq!(labels(&app).await[5..], ["d before", "d inner", "d after", "d last"]);
    ada.call(order_deep, ("e".to_owned(), true)).await?;
    assert_eq!(labels(&app).await[9..], ["e last"]);
    app.run_jobs().await?;
    assert_eq!(count(&app, "SELECT count(*) FROM executions WHERE ended_at IS NOT NULL").await, 10);
    Ok(())
}

#[forge::test]
async fn one_that_was_left_half_done_takes_all_of_its_mutation_with_it(app: TestApp) -> Result<()> {
    let failed = app.user("ada").call(leaves_it_half_done, "a".to_owned()).await.unwrap_err();
    assert_eq!(failed.code(), "INTERNAL_ERROR");
    assert_eq!((labels(&app).await.len(), count(&app, "SELECT count(*) FROM counters").await), (0, 0));
    Ok(())
}

#[forge::test]
async fn a_mutation_can_cancel_what_it_has_dispatched(app: TestApp) -> Result<()> {
    assert!(app.user("ada").call(order_and_take_back, "a".to_owned()).await?);
    assert_eq!(labels(&app).await, ["a stays"]);
    assert_eq!(count(&app, "SELECT count(*) FROM forge_jobs_done WHERE status = 'cancelled'").await, 1);
    Ok(())
}

#[forge::test]
async fn a_mutation_that_is_run_again_dispatches_once(app: TestApp) -> Result<()> {
    let app = Arc::new(app);
    let calls: Vec<_> = (0..16)
        .map(|_| {
            let app = app.clone();
            tokio::spawn(async move { app.user("ada").call(count_and_order, "hot".to_owned()).await })
        })
        .collect();
    let mut kept = 0;
    for call in calls {
        kept += i64::from(call.await.unwrap().is_ok());
    }
    assert!(kept > 0);
    assert_eq!(count(&app, "SELECT value FROM counters").await, kept);
    assert_eq!(count(&app, "SELECT count(*) FROM forge_jobs").await, kept);
    Ok(())
}

#[forge::test]
async fn a_job_that_cannot_be_written_fails_its_mutation(app: TestApp) -> Result<()> {
    let rule = "ALTER TABLE forge_jobs ADD CONSTRAINT no_poison CHECK (input ->> 'label' NOT LIKE '%poison')";
    app.sql().await?.batch_execute(rule).await.unwrap();
    let ada = app.user("ada");
    // With a transaction of its own, and without.
    assert_eq!(ada.call(count_and_order_poison, "a".to_owned()).await.unwrap_err().code(), "VALIDATION_ERROR");
    let poison = Orders { label: "poison".into(), ..Orders::default() };
    assert_eq!(ada.call(order, (poison, 0, false)).await.unwrap_err().code(), "VALIDATION_ERROR");
    assert_eq!((labels(&app).await.len(), count(&app, "SELECT count(*) FROM counters").await), (0, 0));
    Ok(())
}
