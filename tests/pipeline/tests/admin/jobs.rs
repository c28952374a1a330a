//! Jobs: seen, retried, discarded, called off.

use std::time::Duration;

use forge::Uuid;
use forge::testing::TestApp;
use pipeline::*;
use serde_json::json;

use super::{audit, bury, count, done, get, post, start};
use crate::support::until;

fn orders(label: &str) -> Orders {
    Orders { label: label.into(), ..Orders::default() }
}

async fn attempts(app: &TestApp, label: &str) -> Vec<i32> {
    let sql = app.sql().await.unwrap();
    let rows = sql.query("SELECT attempt FROM executions WHERE label = $1 ORDER BY n", &[&label]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_run_again_with_fresh_attempts() {
    let app = start().await;
    let id = app.user("ada").call(order, (Orders { failures: 9, ..orders("again") }, 0, false)).await.unwrap();
    app.run_jobs().await.unwrap();
    app.advance(Duration::from_secs(61)).await.unwrap();
    app.advance(Duration::from_secs(121)).await.unwrap();
    assert_eq!(attempts(&app, "again").await, [1, 2, 3]);
    let job = get(&app, &format!("/_api/jobs/{id}")).await;
    assert_eq!((&job["status"], &job["attempt"], &job["maxAttempts"]), (&json!("dead_letter"), &json!(3), &json!(3)));
    assert_eq!(
        (&job["error"]["code"], &job["owner"], &job["input"]["label"]),
        (&json!("AS_TOLD"), &json!("ada"), &json!("again"))
    );
    assert!(job["keptUntil"].is_string() && job["endedAt"].is_string(), "{job}");
    let target = id.to_string();
    let answer = post(&app, &format!("/_api/jobs/{id}/retry"), json!({})).await;
    assert_eq!(answer.data(), json!({"id": target, "status": "pending"}));
    // How often it was claimed is what whoever had it before is told apart by.
    assert_eq!(count(&app, "SELECT claims::int8 FROM forge_jobs WHERE attempt = 0").await, 3);
    assert_eq!(audit(&app).await, [done("jobs.retry", Some(&target), 1)]);
    // It waits, so there is nothing to retry or to discard.
    for verb in ["retry", "discard"] {
        let refused = post(&app, &format!("/_api/jobs/{id}/{verb}"), json!({})).await;
        assert_eq!(refused.failure(), (409, "CONFLICT".into()));
    }
    app.run_jobs().await.unwrap();
    app.advance(Duration::from_secs(61)).await.unwrap();
    app.advance(Duration::from_secs(121)).await.unwrap();
    assert_eq!(attempts(&app, "again").await, [1, 2, 3, 1, 2, 3]);
    assert_eq!(audit(&app).await.len(), 1, "what was refused is not among what was done");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_waits_runs_what_is_retried() {
    let app = start().await;
    app.work();
    bury(&app, "obey", 1, "AS_TOLD").await;
    assert_eq!(post(&app, "/_api/jobs/retry", json!({"all": true})).await.data()["changed"], 1);
    until("it has run", async || attempts(&app, "buried").await == [1]).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_counted_first_and_then_changed_batch_by_batch() {
    let app = start().await;
    bury(&app, "obey", 2_300, "AS_TOLD").await;
    bury(&app, "slowly", 5, "AS_TOLD").await;
    bury(&app, "obey", 7, "TIMEOUT").await;
    let filter = json!({"kind": "obey", "code": "AS_TOLD", "since": "1h"});
    let counted = post(&app, "/_api/jobs/retry", json!({"filter": filter, "dryRun": true})).await.data();
    assert_eq!(counted, json!({"matched": 2_300}));
    assert_eq!((count(&app, "SELECT count(*) FROM forge_jobs").await, audit(&app).await), (0, vec![]), "it only counts");
    let changed = post(&app, "/_api/jobs/retry", json!({"filter": filter})).await.data();
    assert_eq!(changed, json!({"changed": 2_300, "skipped": 0, "next": null}));
    assert_eq!(count(&app, "SELECT count(*) FROM forge_jobs WHERE state = 0 AND attempt = 0").await, 2_300);
    // From a place on: as if the request before had not had the time for all of them.
    let text = "SELECT id FROM forge_jobs_dead WHERE kind = 'obey' ORDER BY id LIMIT 3";
    let first: Uuid = app.sql().await.unwrap().query(text, &[]).await.unwrap()[2].get(0);
    for (after, changed) in [(Some(first), 4), (None, 3)] {
        let discarded = post(&app, "/_api/jobs/discard", json!({"filter": {"kind": "obey"}, "after": after})).await.data();
        assert_eq!(discarded["changed"], changed);
    }
    assert_eq!(count(&app, "SELECT count(*) FROM forge_jobs_done WHERE status = 'discarded' AND kind = 'obey'").await, 7);
    assert_eq!(count(&app, "SELECT count(*) FROM forge_jobs_dead").await, 5);
    let cancelled =
        post(&app, "/_api/jobs/cancel", json!({"filter": {"status": ["pending"]}, "reason": "not wanted"})).await.data();
    assert_eq!(cancelled["changed"], 2_300);
    let why = "SELECT count(*) FROM forge_jobs_done WHERE status = 'cancelled' AND error ->> 'message' = 'not wanted'";
    assert_eq!(count(&app, why).await, 2_300);
    let expected = [
        done("jobs.retry", None, 2_300),
        done("jobs.discard", None, 4),
        done("jobs.discard", None, 3),
        done("jobs.cancel", None, 2_300),
    ];
    assert_eq!(audit(&app).await, expected, "one row for each, with the sum of its batches");
    let details = get(&app, "/_api/audit").await["actions"][3]["details"].clone();
    assert_eq!((&details["filter"]["kind"], &details["filter"]["code"]), (&json!("obey"), &json!("AS_TOLD")));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_audit_cannot_tell_of_is_not_done() {
    let app = start().await;
    bury(&app, "obey", 1, "AS_TOLD").await;
    let id: Uuid = app.sql().await.unwrap().query_one("SELECT id FROM forge_jobs_dead", &[]).await.unwrap().get(0);
    let waiting = app.user("ada").call(order, (orders("waiting"), 0, false)).await.unwrap();
    let sql = app.sql().await.unwrap();
    sql.batch_execute("ALTER TABLE forge_admin_audit ADD CHECK (action = 'nothing')").await.unwrap();
    let slot = "2026-01-01T00:00:00Z";
    for (path, body) in [
        (format!("/_api/jobs/{id}/retry"), json!({})),
        (format!("/_api/jobs/{id}/discard"), json!({})),
        (format!("/_api/jobs/{waiting}/cancel"), json!({})),
        ("/_api/jobs/retry".to_owned(), json!({"all": true})),
        ("/_api/jobs/discard".to_owned(), json!({"all": true})),
        ("/_api/jobs/cancel".to_owned(), json!({"all": true})),
        ("/_api/queues/default/pause".to_owned(), json!({})),
        ("/_api/crons/hourly/pause".to_owned(), json!({})),
        ("/_api/crons/hourly/run".to_owned(), json!({"slot": slot})),
    ] {
        let refused = post(&app, &path, body).await;
        assert_eq!(refused.failure().0, 400, "{path}: {}", refused.text());
    }
    let left = "SELECT (SELECT count(*) FROM forge_jobs_dead) * 1000 + (SELECT count(*) FROM forge_jobs WHERE NOT cancel_requested) * 100
                + (SELECT count(*) FROM forge_jobs_done) + (SELECT count(*) FROM forge_job_queues WHERE paused)
                + (SELECT count(*) FROM forge_crons WHERE paused) + (SELECT count(*) FROM forge_cron_runs)";
    assert_eq!(count(&app, left).await, 1_100);
    sql.batch_execute("ALTER TABLE forge_admin_audit DROP CONSTRAINT forge_admin_audit_action_check").await.unwrap();
    assert_eq!(audit(&app).await, []);
    assert_eq!(post(&app, &format!("/_api/jobs/{id}/discard"), json!({})).await.data()["status"], "discarded");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_key_a_live_job_has_stays_a_dead_letter() {
    let app = start().await;
    let (live, _) = app.user("ada").call(order_once, "a".to_owned()).await.unwrap();
    bury(&app, "once", 2, "AS_TOLD").await;
    let sql = app.sql().await.unwrap();
    // Two of one key, of which one can come back.
    let key: String = sql.query_one("SELECT unique_key FROM forge_jobs WHERE id = $1", &[&live]).await.unwrap().get(0);
    sql.execute("UPDATE forge_jobs_dead SET unique_key = $1", &[&key]).await.unwrap();
    let id: Uuid = sql.query_one("SELECT id FROM forge_jobs_dead ORDER BY id LIMIT 1", &[]).await.unwrap().get(0);
    let refused = post(&app, &format!("/_api/jobs/{id}/retry"), json!({})).await;
    assert_eq!(refused.failure(), (409, "CONFLICT".into()));
    assert!(refused.text().contains("unique key"), "{}", refused.text());
    let all = post(&app, "/_api/jobs/retry", json!({"all": true})).await.data();
    assert_eq!(all, json!({"changed": 0, "skipped": 2, "next": null}));
    assert_eq!(post(&app, &format!("/_api/jobs/{live}/cancel"), json!({})).await.data()["status"], "cancelled");
    let all = post(&app, "/_api/jobs/retry", json!({"all": true})).await.data();
    assert_eq!(all, json!({"changed": 1, "skipped": 1, "next": null}));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_told_to_end_and_what_waits_ends() {
    let app = start().await;
    let ada = app.user("ada");
    let waiting = ada.call(order, (orders("waiting"), 60_000, false)).await.unwrap();
    let running = ada.call(order, (Orders { takes_ms: 60_000, ..orders("running") }, 0, false)).await.unwrap();
    app.work();
    until("it runs", async || !attempts(&app, "running").await.is_empty()).await;
    let seen = get(&app, "/_api/jobs?status=running").await;
    assert_eq!((&seen["jobs"][0]["id"], seen["jobs"].as_array().unwrap().len()), (&json!(running.to_string()), 1));
    let answer = post(&app, &format!("/_api/jobs/{waiting}/cancel"), json!({"reason": "not wanted"})).await;
    assert_eq!(answer.data()["status"], "cancelled");
    let answer = post(&app, &format!("/_api/jobs/{running}/cancel"), json!({})).await;
    assert_eq!(answer.data()["status"], "cancelling");
    let status = async |id: Uuid| get(&app, &format!("/_api/jobs/{id}")).await["status"].clone();
    until("it has ended", async || status(running).await == "cancelled").await;
    let again = post(&app, &format!("/_api/jobs/{running}/cancel"), json!({})).await;
    assert_eq!(again.failure(), (409, "CONFLICT".into()));
    let nowhere = post(&app, &format!("/_api/jobs/{}/cancel", Uuid::from_u128(7)), json!({})).await;
    assert_eq!(nowhere.failure(), (404, "NOT_FOUND".into()));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_go_on_where_they_left_off() {
    let app = start().await;
    let ada = app.user("ada");
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(
            ada.call(order, (orders(&format!("n{n}")), if n == 0 { 60_000 } else { 0 }, false)).await.unwrap().to_string(),
        );
    }
    bury(&app, "obey", 1, "AS_TOLD").await;
    let mut seen = Vec::new();
    let mut next = String::new();
    loop {
        let page = get(&app, &format!("/_api/jobs?limit=2&before={next}")).await;
        let jobs = page["jobs"].as_array().unwrap();
        assert!(jobs.len() <= 2);
        seen.extend(jobs.iter().map(|job| (job["id"].as_str().unwrap().to_owned(), job["status"].clone())));
        match page["next"].as_str() {
            Some(place) => next = place.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen.len(), 5);
    assert_eq!(seen[0].1, "dead_letter");
    let rest: Vec<String> = seen[1..].iter().rev().map(|(id, _)| id.clone()).collect();
    assert_eq!(rest, ids, "the newest first");
    let list = async |words: &str| get(&app, &format!("/_api/jobs?{words}")).await["jobs"].as_array().unwrap().len();
    assert_eq!(list("status=pending").await, 4);
    assert_eq!(list("status=pending,dead_letter&kind=obey&queue=default&since=1h").await, 5);
    assert_eq!(list("code=AS_TOLD").await, 1);
    assert_eq!(list("status=running,completed,cancelled,discarded,retry").await, 0);
    assert_eq!(list("until=1h").await, 0);
    let first = get(&app, &format!("/_api/jobs/{}", ids[0])).await;
    assert_eq!(
        (&first["waitsFor"], &first["priority"], first["dueAt"].is_string()),
        (&json!("time"), &json!("normal"), true)
    );
    app.run_jobs().await.unwrap();
    assert_eq!((list("status=completed").await, list("status=pending").await), (3, 1));
    let done = get(&app, &format!("/_api/jobs/{}", ids[1])).await;
    assert_eq!((&done["status"], &done["output"]), (&json!("completed"), &json!("ada did n1")));
    app.stop().await;
}
