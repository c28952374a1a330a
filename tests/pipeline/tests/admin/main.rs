//! Operating the app from outside: who may, what they see, what they do, and that all of it is written down.

#[path = "../support/mod.rs"]
mod support;

// A crate that nothing names is not linked, and would bring no functions.
use pipeline as _;

mod crons;
mod guard;
mod jobs;
mod queues;

use forge::testing::TestApp;
use serde_json::{Value, json};

use support::http::{Answer, Request};

/// What lets a machine in.
const TOKEN: &str = "an-admin-token-for-tests";

/// An app that lets the token in, and auditors.
async fn start() -> TestApp {
    let started = TestApp::start_with(|config| {
        config.admin.token = Some(TOKEN.into());
        config.admin.role = Some("auditor".into());
    });
    started.await.unwrap()
}

async fn get(app: &TestApp, path: &str) -> Value {
    Request::get(path).bearer(TOKEN).send(&app.url()).await.data()
}

async fn post(app: &TestApp, path: &str, body: Value) -> Answer {
    Request::post(path, &body).bearer(TOKEN).send(&app.url()).await
}

/// What the audit has: who, what, on what, how many; the oldest first.
async fn audit(app: &TestApp) -> Vec<(String, String, Option<String>, i64)> {
    let mut actions: Vec<_> = get(app, "/_api/audit").await["actions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|action| {
            let text = |name: &str| action[name].as_str().map(str::to_owned);
            (text("who").unwrap(), text("action").unwrap(), text("target"), action["count"].as_i64().unwrap())
        })
        .collect();
    actions.reverse();
    actions
}

/// An entry of the audit by the machine.
fn done(action: &str, target: Option<&str>, count: i64) -> (String, String, Option<String>, i64) {
    ("token".into(), action.into(), target.map(str::to_owned), count)
}

/// Writes dead letters down, as if jobs had failed for good.
async fn bury(app: &TestApp, kind: &str, count: i32, code: &str) {
    let sql = app.sql().await.unwrap();
    let text = "INSERT INTO forge_jobs_dead (id, kind, queue, priority, attempt, crashes, input, error, created_at, expires_at)
                SELECT (lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::int8), 12, '0') || '7' || right(md5($1 || $3 || n), 19))::uuid,
                       $1, 'default', 50, 3, 0, json_build_object('label', 'buried', 'failures', 0, 'takesMs', 0, 'panics', false, 'dies', false), json_build_object('code', $3, 'message', 'as it was told'),
                       now(), now() + interval '7 days'
                FROM generate_series(1, $2) AS n";
    assert_eq!(sql.execute(text, &[&kind, &count, &code]).await.unwrap(), count as u64);
}

async fn count(app: &TestApp, text: &str) -> i64 {
    support::count(&app.sql().await.unwrap(), text).await
}

/// All doors: method, path and what is said there.
fn doors() -> Vec<(&'static str, &'static str)> {
    vec![
        ("GET", "/_api/jobs"),
        ("GET", "/_api/jobs/01981f0e-7a10-7c3e-9d0b-3f1f6f9f0a11"),
        ("POST", "/_api/jobs/01981f0e-7a10-7c3e-9d0b-3f1f6f9f0a11/retry"),
        ("POST", "/_api/jobs/01981f0e-7a10-7c3e-9d0b-3f1f6f9f0a11/discard"),
        ("POST", "/_api/jobs/01981f0e-7a10-7c3e-9d0b-3f1f6f9f0a11/cancel"),
        ("POST", "/_api/jobs/retry"),
        ("POST", "/_api/jobs/discard"),
        ("POST", "/_api/jobs/cancel"),
        ("GET", "/_api/queues"),
        ("POST", "/_api/queues/default/pause"),
        ("POST", "/_api/queues/default/resume"),
        ("GET", "/_api/crons"),
        ("GET", "/_api/crons/hourly"),
        ("GET", "/_api/crons/hourly/runs"),
        ("POST", "/_api/crons/hourly/run"),
        ("POST", "/_api/crons/hourly/pause"),
        ("POST", "/_api/crons/hourly/resume"),
        ("GET", "/_api/cluster"),
        ("POST", "/_api/cluster/nodes/01981f0e-7a10-7c3e-9d0b-3f1f6f9f0a11/drain"),
        ("GET", "/_api/audit"),
        ("GET", "/_api"),
        ("GET", "/_api/"),
        ("GET", "/_api/nothing/of/the/sort"),
        ("DELETE", "/_api/jobs"),
    ]
}

fn door((method, path): (&str, &str)) -> Request {
    let request = Request::new(method, path);
    if method == "POST" { request.body(json!({}).to_string()) } else { request }
}
