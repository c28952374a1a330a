//! The durable queue, from dispatch to end.

use pipeline as _;

mod crons;
mod ends;
mod limits;
mod noted;
#[path = "../support/mod.rs"]
mod support;
mod worker;

use forge::Uuid;
use forge::testing::TestApp;

/// What was executed under a label, as often as it was begun: attempt, and whether it came to its end.
async fn executions(app: &TestApp, label: &str) -> Vec<(i32, bool)> {
    let sql = app.sql().await.unwrap();
    let rows = sql
        .query("SELECT attempt, ended_at IS NOT NULL FROM executions WHERE label = $1 ORDER BY n", &[&label])
        .await
        .unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// How a job stands: its status, and the code of its error.
async fn status(app: &TestApp, id: Uuid) -> (String, Option<String>) {
    let job = app.parts().job(id).await.unwrap();
    (job.status.to_string(), job.error.and_then(|error| error["code"].as_str().map(str::to_owned)))
}
