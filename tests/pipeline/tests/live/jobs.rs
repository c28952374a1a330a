//! Jobs that are followed: told to whoever may know, as they get on, wherever they run.

use forge::prelude::*;
use forge::testing::TestApp;
use pipeline::{Orders, order, order_to_wait};
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio_postgres::{AsyncMessage, Client};

use crate::support::http::{Connection, Request};
use crate::support::live::Live;
use crate::support::process::Process;
use crate::support::server::empty_database;
use crate::support::sse::Sse;
use crate::support::{Gate, PATIENCE, count, token};

fn orders(label: &str) -> Orders {
    Orders { label: label.into(), ..Orders::default() }
}

fn follow(id: u64, job: Uuid) -> Value {
    json!({"type": "subscribeJob", "id": id, "jobId": job})
}

/// What a client that calls `order` sends.
fn given(label: &str, takes_ms: u64) -> Value {
    let orders = json!({
        "label": label, "failures": 0, "takesMs": takes_ms.to_string(), "panics": false, "snoozeMs": null, "giveUp": null, "dies": false,
    });
    json!({"orders": orders, "delayMs": "0", "fail": false})
}

/// News of a job until it is so.
async fn told(live: &mut Live, condition: impl Fn(&Value) -> bool) -> Value {
    loop {
        let message = live.next().await;
        assert_eq!(message["type"], "job", "{message}");
        if condition(&message) {
            return message;
        }
    }
}

fn is(status: &'static str) -> impl Fn(&Value) -> bool {
    move |message| message["status"] == status
}

#[forge::test]
async fn whoever_dispatched_a_job_is_told_how_it_gets_on_until_it_ends(app: TestApp) -> Result<()> {
    let ada = app.user("ada");
    let job = ada.call(order, (Orders { takes_ms: 19_000, ..orders("long") }, 0, false)).await?;
    let mut live = Live::open(&app.url(), Some(&token::of("ada", &[]))).await;
    live.send(follow(7, job)).await;
    let waits = told(&mut live, is("pending")).await;
    assert_eq!((&waits["id"], &waits["job"], &waits["attempt"]), (&json!(7), &json!("obey"), &json!(0)));
    assert_eq!((&waits["progress"], &waits["message"], waits.get("output")), (&Value::Null, &Value::Null, None));
    app.work();
    let runs = told(&mut live, |message| message["progress"] == 50).await;
    assert_eq!((&runs["status"], &runs["message"], &runs["attempt"]), (&json!("running"), &json!("half way"), &json!(1)));
    app.parts().cancel_job(job, "enough").await?;
    let over = told(&mut live, is("cancelled")).await;
    assert_eq!(over["error"]["code"], "CANCELLED", "{over}");

    let quick = ada.call(order, (orders("quick"), 0, false)).await?;
    live.send(follow(8, quick)).await;
    let done = told(&mut live, is("completed")).await;
    assert_eq!((&done["output"], &done["progress"], done.get("error")), (&json!("ada did quick"), &json!(100), None));
    // It is over: the number is free, and one that has ended before is told at once.
    live.send(follow(8, quick)).await;
    assert_eq!(told(&mut live, is("completed")).await["id"], 8);
    Ok(())
}

/// What nodes tell each other of jobs, from now on, and the session that hears it.
async fn hear(url: &str) -> (Client, UnboundedReceiver<String>) {
    let (client, mut connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    let (heard, hearing) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(told) = message {
                // The test may be over.
                let _ = heard.send(told.payload().to_owned());
            }
        }
    });
    client.batch_execute("LISTEN forge_jobs").await.unwrap();
    (client, hearing)
}

#[forge::test]
async fn that_a_job_was_begun_is_told_of_those_that_somebody_follows(app: TestApp) -> Result<()> {
    let gate = Gate::shut(app.sql().await?, 8_100).await;
    let (_session, mut hearing) = hear(app.database_url()).await;
    let ada = app.user("ada");
    app.work();
    let alone = ada.call(order_to_wait, 8_100).await?;
    gate.until_waiting(1).await;
    app.parts().hold_jobs(true);
    let followed = ada.call(order_to_wait, 8_100).await?;
    let mut live = Live::open(&app.url(), Some(&token::of("ada", &[]))).await;
    live.send(follow(1, followed)).await;
    told(&mut live, is("pending")).await;
    app.work();
    told(&mut live, is("running")).await;
    // Not by a look now and then: its worker has said so, and nothing of the other one.
    let mut said = String::new();
    while !said.contains(&format!("b {followed}")) {
        let more = tokio::time::timeout(PATIENCE, hearing.recv()).await;
        said += &more.unwrap_or_else(|_| panic!("nobody tells that it was begun: {said}")).unwrap();
    }
    assert!(!said.contains(&alone.to_string()), "{said}");
    gate.open().await;
    told(&mut live, is("completed")).await;
    Ok(())
}

#[forge::test]
async fn why_it_failed_is_told_as_far_as_a_client_may_know(app: TestApp) -> Result<()> {
    app.work();
    let ada = app.user("ada");
    let mut live = Live::open(&app.url(), Some(&token::of("ada", &[]))).await;
    let fails = ada.call(order, (Orders { failures: 1, ..orders("fails") }, 0, false)).await?;
    live.send(follow(1, fails)).await;
    let again = told(&mut live, is("retry")).await;
    assert_eq!(again["error"], json!({"code": "AS_TOLD", "message": "attempt 1 fails"}));
    live.send(json!({"type": "unsubscribe", "id": 1})).await;
    let panics = ada.call(order, (Orders { panics: true, ..orders("panics") }, 0, false)).await?;
    live.send(follow(2, panics)).await;
    let again = told(&mut live, is("retry")).await;
    assert_eq!(again["error"]["code"], "INTERNAL_ERROR");
    assert!(!again.to_string().contains("as it was told"), "{again}");
    Ok(())
}

#[forge::test]
async fn to_others_it_is_as_if_it_were_not_there(app: TestApp) -> Result<()> {
    let (sql, url) = (app.sql().await?, app.url());
    let job = app.user("ada").call(order, (orders("private"), 0, false)).await?;
    let nowhere = forge::new_uuid();
    for token in [Some(token::of("eve", &["editor"])), None] {
        let mut live = Live::open(&url, token.as_deref()).await;
        let mut refused = Vec::new();
        for id in [job, nowhere] {
            live.send(follow(1, id)).await;
            let message = live.next().await;
            assert_eq!((&message["type"], &message["status"]), (&json!("error"), &json!(404)), "{message}");
            refused.push(message.to_string().replace(&id.to_string(), "it"));
        }
        assert_eq!(refused[0], refused[1]);
    }
    assert_eq!(count(&sql, "SELECT count(*) FROM forge_jobs WHERE tracked").await, 0, "nobody leaves a trace");
    let mut auditor = Live::open(&url, Some(&token::of("eve", &["auditor"]))).await;
    auditor.send(follow(1, job)).await;
    told(&mut auditor, is("pending")).await;
    // With another token it is looked at again whether they may.
    auditor.send(json!({"type": "auth", "token": token::of("eve", &[])})).await;
    let mut said = [auditor.next().await, auditor.next().await];
    said.sort_by_key(|message| message["type"].to_string());
    assert_eq!((&said[0]["type"], &said[1]["code"]), (&json!("authenticated"), &json!("NOT_FOUND")), "{said:?}");
    auditor.send(json!({"type": "subscribeJob", "id": 2, "jobId": "none"})).await;
    assert_eq!(auditor.next().await["code"], "INVALID_ARGUMENT");
    Ok(())
}

#[forge::test]
async fn it_is_followed_over_http_alone_as_well(app: TestApp) -> Result<()> {
    let job = app.user("ada").call(order, (orders("plain"), 0, false)).await?;
    let mut sse = Sse::open(&app.url(), Some(&token::of("ada", &[]))).await;
    sse.send(follow(3, job)).await;
    assert_eq!(sse.next().await["status"], "pending");
    app.work();
    let mut message = sse.next().await;
    while message["status"] != "completed" {
        message = sse.next().await;
    }
    assert_eq!((&message["id"], &message["output"]), (&json!(3), &json!("ada did plain")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_count_among_a_sessions_subscriptions() -> Result<()> {
    let app = TestApp::start_with(|config| config.gateway.max_subscriptions_per_connection = 1).await?;
    let ada = app.user("ada");
    let first = ada.call(order, (orders("first"), 0, false)).await?;
    let second = ada.call(order, (orders("second"), 0, false)).await?;
    let mut live = Live::open(&app.url(), Some(&token::of("ada", &[]))).await;
    live.send(follow(1, first)).await;
    told(&mut live, is("pending")).await;
    live.send(follow(2, second)).await;
    assert_eq!(live.next().await["code"], "TOO_MANY_SUBSCRIPTIONS");
    // The same number may be about another one; and one that has ended takes no room.
    live.send(follow(1, second)).await;
    told(&mut live, is("pending")).await;
    app.work();
    told(&mut live, is("completed")).await;
    live.send(follow(2, first)).await;
    assert_eq!(told(&mut live, is("completed")).await["output"], "ada did first");
    app.stop().await;
    Ok(())
}

#[forge::test]
async fn whoever_is_signed_out_is_told_nothing_more(app: TestApp) -> Result<()> {
    let url = app.url();
    let mut connection = Connection::open(&url).await.unwrap();
    let signed_in = connection.send(&Request::call("sign_in_as", &json!({"name": "ada"}))).await.unwrap().data();
    let access = signed_in["access"].as_str().unwrap().to_owned();
    let job = connection.send(&Request::call("order", &given("secret", 0)).bearer(&access)).await.unwrap().data();
    let mut live = Live::open(&url, Some(&access)).await;
    live.send(follow(1, job.as_str().unwrap().parse().unwrap())).await;
    told(&mut live, is("pending")).await;
    connection.send(&Request::call("sign_out", &json!({})).bearer(&access)).await.unwrap();
    app.work();
    let said = live.next().await;
    assert_eq!(said["code"], "UNAUTHORIZED", "{said}");
    assert_eq!(live.next_or_close().await, Err(4401));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_another_node_runs_is_followed_here() -> Result<()> {
    let database = empty_database().await?;
    let url = database.url();
    let gateway = Process::start_with(url, &[("FORGE_NODE_ROLES", "gateway,function")]).await.ready().await;
    let worker = Process::start_with(url, &[("FORGE_NODE_ROLES", "worker,gateway,function")]).await.ready().await;
    let token = token::of("ada", &[]);
    let mut live = Live::open(gateway.url(), Some(&token)).await;
    live.send(json!({"type": "call", "id": 1, "function": "order", "args": given("far", 19_000)})).await;
    let job: Uuid = live.next().await["data"].as_str().unwrap().parse().unwrap();
    live.send(follow(2, job)).await;
    let runs = told(&mut live, |message| message["progress"] == 50).await;
    assert_eq!(runs["status"], "running");
    // The connection goes; whoever comes back, to whichever node, is told again.
    live.cut();
    let mut live = Live::open(worker.url(), Some(&token)).await;
    live.send(follow(1, job)).await;
    assert_eq!(told(&mut live, |message| message["progress"] == 50).await["message"], "half way");
    Ok(())
}
