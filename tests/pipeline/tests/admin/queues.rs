//! Queues: how they stand, paused and let go on, wherever the worker is.

use std::time::Duration;

use forge::testing::TestApp;
use forge::{App, JobStatus, Node};
use forge_runtime::config::{Config, Mode, Role, Secret};
use pipeline::*;
use serde_json::{Value, json};

use super::{TOKEN, audit, bury, count, done, get, post, start};
use crate::support::{token, until};

async fn queue(app: &TestApp, name: &str) -> Value {
    let queues = get(app, "/_api/queues").await;
    let queues = queues["queues"].as_array().unwrap();
    queues.iter().find(|queue| queue["queue"] == name).unwrap_or_else(|| panic!("{queues:?}")).clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_shown_as_it_stands() {
    let app = start().await;
    let ada = app.user("ada");
    let empty = queue(&app, "families").await;
    assert_eq!((&empty["ready"], &empty["paused"], &empty["oldestReadySeconds"]), (&json!(0), &json!(false), &Value::Null));
    for n in 0..3 {
        let orders = Orders { label: format!("n{n}"), ..Orders::default() };
        ada.call(order, (orders, if n == 0 { 3_600_000 } else { 0 }, false)).await.unwrap();
    }
    bury(&app, "obey", 2, "AS_TOLD").await;
    ada.call(order_in_pairs, ("red".to_owned(), 2, 0)).await.unwrap();
    let paused = post(&app, "/_api/queues/default/pause", json!({})).await.data();
    assert_eq!(paused, json!({"queue": "default", "paused": true, "changed": true}));
    let stands = queue(&app, "default").await;
    let [ready, held, scheduled, running, dead, died] =
        ["ready", "held", "scheduled", "running", "deadLetters", "diedPerMinute"]
            .map(|name| stands[name].as_i64().unwrap());
    // Whether those that waited for a place of their key have been let in already does not matter here.
    assert_eq!((ready + held, scheduled, running, dead, died), (4, 1, 0, 2, 2), "{stands}");
    assert_eq!((&stands["paused"], &stands["pausedBy"]), (&json!(true), &json!("token")));
    assert!(
        stands["oldestReadySeconds"].as_f64().unwrap() >= 0.0 && stands["nextDueSeconds"].as_f64().unwrap() > 3_000.0,
        "{stands}"
    );
    // What is paused does not keep tests from ending.
    app.run_jobs().await.unwrap();
    assert_eq!(count(&app, "SELECT count(*) FROM executions").await, 0);
    let again = post(&app, "/_api/queues/default/pause", json!({})).await.data();
    assert_eq!(again["changed"], false);
    assert_eq!(post(&app, "/_api/queues/default/resume", json!({})).await.data()["changed"], true);
    app.run_jobs().await.unwrap();
    until("what was completed is counted", async || queue(&app, "default").await["completedPerMinute"] == 4).await;
    let stands = queue(&app, "default").await;
    assert_eq!((&stands["ready"], &stands["held"]), (&json!(0), &json!(0)), "{stands}");
    assert_eq!(audit(&app).await, [done("queues.pause", Some("default"), 1), done("queues.resume", Some("default"), 1)]);
    app.stop().await;
}

/// A node that answers, and another one that works.
async fn apart() -> (TestApp, Node) {
    let started = TestApp::start_with(|config| {
        config.admin.token = Some(TOKEN.into());
        config.node.roles = vec![Role::Gateway, Role::Function];
        config.cluster.heartbeat_interval = Duration::from_millis(200);
    });
    let app = started.await.unwrap();
    let mut config = Config::load_for(None, &|_| None, Mode::Test).unwrap().config;
    config.database.url = Some(Secret::new(app.database_url()));
    config.node.roles = vec![Role::Worker];
    config.cluster.heartbeat_interval = Duration::from_millis(200);
    config.security.auth.secret = Some(Secret::new(token::SECRET));
    let mut worker = Node::start(App::linked(&[]).unwrap(), config).await.unwrap();
    worker.ready().await.unwrap();
    (app, worker)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_completed_is_told_wherever_it_was_and_whether_or_not_it_is_kept() {
    let (app, mut worker) = apart().await;
    app.anonymous().call(order_surveys, ("elsewhere".to_owned(), 30)).await.unwrap();
    app.anonymous().call(order_many, ("kept".to_owned(), 20)).await.unwrap();
    let done = async || {
        (
            queue(&app, "surveys").await["completedPerMinute"].as_i64(),
            queue(&app, "default").await["completedPerMinute"].as_i64(),
        )
    };
    until("the other node has told of all", async || done().await == (Some(30), Some(20))).await;
    assert_eq!(count(&app, "SELECT count(*) FROM forge_jobs_done WHERE kind = 'survey'").await, 0);
    worker.stop().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_nobody_knows_is_not_paused_by_mistake() {
    let app = start().await;
    for verb in ["pause", "resume"] {
        let refused = post(&app, &format!("/_api/queues/familys/{verb}"), json!({})).await;
        assert_eq!(refused.failure(), (404, "NOT_FOUND".into()), "{verb}");
        let text = refused.text();
        assert!(
            text.contains("did you mean `families`?") && text.contains("default, families, lasting, surveys"),
            "{text}"
        );
    }
    assert_eq!(count(&app, "SELECT count(*) FROM forge_job_queues").await, 0);
    // Those of another app's nodes, and whatever has jobs, are known.
    let sql = app.sql().await.unwrap();
    let joins =
        "INSERT INTO forge_nodes (id, hostname, roles, capabilities, status, version, forge_version, started_at, queues)
                 VALUES (gen_random_uuid(), 'other', '{worker}', '{general}', 'active', '2', '1', now(), '{tomorrow}')";
    sql.batch_execute(joins).await.unwrap();
    bury(&app, "obey", 1, "AS_TOLD").await;
    sql.batch_execute("UPDATE forge_jobs_dead SET queue = 'yesterday'").await.unwrap();
    for name in ["tomorrow", "yesterday"] {
        assert_eq!(post(&app, &format!("/_api/queues/{name}/pause"), json!({})).await.data()["changed"], true, "{name}");
    }
    // So are those that are paused all the same, until they go on.
    let forced = post(&app, "/_api/queues/next-week/pause", json!({"force": true})).await.data();
    assert_eq!(forced, json!({"queue": "next-week", "paused": true, "changed": true}));
    assert_eq!(post(&app, "/_api/queues/next-week/resume", json!({})).await.data()["changed"], true);
    assert_eq!(post(&app, "/_api/queues/next-week/resume", json!({})).await.status, 404);
    let audited: Vec<_> = audit(&app).await.into_iter().map(|(_, action, target, _)| (action, target.unwrap())).collect();
    let wanted = [("pause", "tomorrow"), ("pause", "yesterday"), ("pause", "next-week"), ("resume", "next-week")];
    assert_eq!(audited, wanted.map(|(verb, queue)| (format!("queues.{verb}"), queue.to_owned())));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paused_at_one_node_a_queue_rests_at_all() {
    let (app, mut worker) = apart().await;
    let ada = app.user("ada");
    let order_one = async |label: &str| {
        let orders = Orders { label: label.to_owned(), ..Orders::default() };
        ada.call(order, (orders, 0, false)).await.unwrap()
    };
    let completed = async |id| app.parts().job(id).await.unwrap().status == JobStatus::Completed;
    let before = order_one("before").await;
    until("the other node works", async || completed(before).await).await;
    assert_eq!(post(&app, "/_api/queues/default/pause", json!({})).await.status, 200);
    let held = order_one("held").await;
    for _ in 0..3 {
        // What is of another queue is done meanwhile, and after it was written down.
        let other = app.user("ada").call(order_delegates, (1, 0)).await.unwrap()[0];
        until("other queues go on", async || completed(other).await).await;
    }
    assert_eq!(app.parts().job(held).await.unwrap().status, JobStatus::Pending);
    assert_eq!(post(&app, "/_api/queues/default/resume", json!({})).await.status, 200);
    until("it goes on", async || completed(held).await).await;
    worker.stop().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_is_shown_as_its_nodes_see_it() {
    let started = TestApp::start_with(|config| {
        config.admin.token = Some(TOKEN.into());
        config.cluster.heartbeat_interval = Duration::from_millis(200);
    });
    let app = started.await.unwrap();
    until("a beat has told that it is at work", async || {
        get(&app, "/_api/cluster").await["nodes"][0]["status"] == "active"
    })
    .await;
    let view = get(&app, "/_api/cluster").await;
    let node = &view["nodes"][0];
    assert_eq!(node["id"], view["me"], "{view}");
    assert_eq!(node["roles"].as_array().unwrap().len(), 4);
    assert!(node["jobsMax"].is_number() && node["memoryBytes"].as_u64().is_some() && node["version"].is_string(), "{view}");
    app.parts().run_crons().await.unwrap();
    until("it leads, and a beat has told so", async || {
        let leaders = get(&app, "/_api/cluster").await["leaders"].clone();
        leaders[0]["role"] == "scheduler" && leaders[0]["node"] == view["me"] && leaders[0]["term"].as_i64() >= Some(1)
    })
    .await;
    app.stop().await;
}
