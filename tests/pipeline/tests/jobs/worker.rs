//! What a worker finds out by itself.

use std::time::Duration;

use forge::prelude::*;
use forge::testing::TestApp;
use pipeline::*;

use crate::support::count;

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
