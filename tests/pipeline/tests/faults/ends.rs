//! The answer to the statement that writes down how jobs ended gets lost. What was written stands, and nothing is taken for lost.

use forge::prelude::*;
use forge::testing::TestApp;
use forge_runtime::config::Secret;
use pipeline::order_to_endure;

use crate::feed::metric;
use crate::proxy::{Plan, Proxy, Statement};
use crate::support::server::connect;
use crate::support::{count, until};

#[tokio::test]
async fn a_job_whose_end_was_written_unheard_has_ended_once() -> Result<()> {
    let mut proxy = None;
    let app = TestApp::start_with(|config| {
        let (before, url) = Proxy::before(config.database.url.as_ref().unwrap().expose(), Statement::COMPLETE);
        config.database.url = Some(Secret::new(url));
        proxy = Some(before);
    })
    .await?;
    let (proxy, sql) = (proxy.unwrap(), connect(app.database_url()).await);

    app.work();
    proxy.plan(Plan::CutAfter);
    app.anonymous().call(order_to_endure, ("unheard".to_owned(), 1, 0)).await?;
    proxy.met(1).await;
    proxy.plan(Plan::Pass);
    // What is written after it says that its worker has done with it.
    app.anonymous().call(order_to_endure, ("after".to_owned(), 1, 0)).await?;
    let done = "SELECT count(*) FROM forge_jobs_done WHERE status = 'completed'";
    until("both have ended", async || count(&sql, done).await == 2).await;

    assert_eq!(count(&sql, "SELECT count(*) FROM forge_jobs").await, 0);
    assert_eq!(count(&sql, "SELECT count(*) FROM executions").await, 2, "each was begun once");
    assert_eq!(metric(&app.url(), "jobs_fenced_total").await, 0, "nobody has taken anything from this worker");
    app.stop().await;
    Ok(())
}
