//! Crons: seen, run by hand, paused.

use std::time::Duration;

use forge::Timestamp;
use forge::testing::TestApp;
use serde_json::json;

use super::{audit, count, done, get, post, start};

const HOUR: Duration = Duration::from_secs(3600);

async fn runs(app: &TestApp) -> i64 {
    count(app, "SELECT count(*) FROM executions WHERE label LIKE 'hourly %'").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_has_one_run_whoever_asks_for_it() {
    let app = start().await;
    app.parts().run_crons().await.unwrap();
    let hourly = get(&app, "/_api/crons/hourly?next=2").await;
    let next: Vec<Timestamp> =
        hourly["next"].as_array().unwrap().iter().map(|at| at.as_str().unwrap().parse().unwrap()).collect();
    assert_eq!((next.len(), next[1].duration_since(next[0]).as_secs()), (2, 3600));
    let run = async |body| post(&app, "/_api/crons/hourly/run", body).await;
    let first = run(json!({"slot": next[0]})).await.data();
    assert_eq!((&first["new"], &first["slot"]), (&json!(true), &json!(next[0])));
    let second = run(json!({"slot": next[0]})).await.data();
    assert_eq!((&second["new"], &second["job"]), (&json!(false), &first["job"]));
    app.run_jobs().await.unwrap();
    assert_eq!(runs(&app).await, 1);
    // Its time comes, and it has had its run.
    app.advance(next[0].duration_since(app.parts().clock().now()).unsigned_abs() + Duration::from_secs(1)).await.unwrap();
    assert_eq!(runs(&app).await, 1);
    let again = run(json!({"slot": next[0], "again": true})).await.data();
    assert_eq!(again["new"], true);
    app.run_jobs().await.unwrap();
    assert_eq!(runs(&app).await, 2);
    let wrong = run(json!({"slot": "2026-01-01T00:30:00Z"})).await;
    assert_eq!(wrong.failure(), (400, "INVALID_ARGUMENT".into()));
    assert!(
        wrong.text().contains("the nearest times are 2026-01-01T00:00:00Z and 2026-01-01T01:00:00Z"),
        "{}",
        wrong.text()
    );
    // Now is no time of the clock's: each is a run of its own.
    for _ in 0..2 {
        assert_eq!(run(json!({})).await.data()["new"], true);
    }
    app.run_jobs().await.unwrap();
    assert_eq!(runs(&app).await, 4);
    assert_eq!(audit(&app).await, vec![done("crons.run", Some("hourly"), 1); 4], "not for the one that was there");
    let page = get(&app, "/_api/crons/hourly/runs?limit=3").await;
    let history = page["runs"].as_array().unwrap();
    assert!(history.iter().all(|run| run["status"] == "completed" && run["endedAt"].is_string()), "{page}");
    let rest = get(&app, &format!("/_api/crons/hourly/runs?limit=3&before={}", page["next"].as_str().unwrap())).await;
    assert_eq!(
        (history.len(), rest["runs"].as_array().unwrap().len(), rest["next"].is_null()),
        (3, 1, true),
        "{page} {rest}"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_left_out_can_be_run_after_all() {
    let app = start().await;
    app.parts().run_crons().await.unwrap();
    let slot: Timestamp = "2026-01-01T03:30:00Z".parse().unwrap();
    let sql = app.sql().await.unwrap();
    sql.execute("INSERT INTO forge_cron_runs (cron, slot) VALUES ('in_the_morning', $1)", &[&slot]).await.unwrap();
    let history = get(&app, "/_api/crons/in_the_morning/runs").await;
    assert_eq!((&history["runs"][0]["status"], &history["runs"][0]["slot"]), (&json!("skipped"), &json!(slot)));
    for new in [true, false] {
        assert_eq!(post(&app, "/_api/crons/in_the_morning/run", json!({"slot": slot})).await.data()["new"], new);
    }
    app.run_jobs().await.unwrap();
    assert_eq!(get(&app, "/_api/crons/in_the_morning").await["lastRun"]["status"], "completed");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_paused_is_left_out_until_it_goes_on() {
    let app = start().await;
    // Also one that no scheduler has seen yet.
    let paused = post(&app, "/_api/crons/hourly/pause", json!({})).await.data();
    assert_eq!(paused, json!({"cron": "hourly", "paused": true, "changed": true}));
    app.advance(5 * HOUR).await.unwrap();
    assert_eq!(runs(&app).await, 0);
    let list = get(&app, "/_api/crons").await;
    let hourly = list["crons"].as_array().unwrap().iter().find(|cron| cron["name"] == "hourly").unwrap().clone();
    assert_eq!((&hourly["paused"], &hourly["pausedBy"], &hourly["missed"]), (&json!(true), &json!("token"), &json!(5)));
    assert_eq!(hourly["next"].as_array().unwrap().len(), 3);
    // What passed while no scheduler looked is not made up for either.
    app.parts().clock().advance(5 * HOUR);
    assert_eq!(post(&app, "/_api/crons/hourly/resume", json!({})).await.data()["changed"], true);
    assert_eq!(post(&app, "/_api/crons/hourly/resume", json!({})).await.data()["changed"], false);
    app.advance(HOUR).await.unwrap();
    assert_eq!(runs(&app).await, 1);
    assert_eq!(audit(&app).await, [done("crons.pause", Some("hourly"), 1), done("crons.resume", Some("hourly"), 1)]);
    let nothing = post(&app, "/_api/crons/nothing/pause", json!({})).await;
    assert_eq!(nothing.failure(), (404, "NOT_FOUND".into()));
    app.stop().await;
}
