//! The answer to a COMMIT gets lost. The caller learns what really happened.

use forge::prelude::*;
use forge::testing::TestApp;
use forge::{App, Config, Node};
use forge_runtime::config::{Mode, Role, Secret};
use futures_util::future::join_all;
use serde_json::json;

use crate::proxy::{Plan, Proxy, Statement};
use crate::support::http::Request;
use crate::support::server::{Server, connect};
use crate::support::{count, token};

/// A worker has transactions of its own, whose COMMIT might be the one that is met.
const ROLES: [Role; 2] = [Role::Gateway, Role::Function];

/// An app whose connections to its database go through a proxy.
async fn app() -> Result<(TestApp, Proxy)> {
    let mut proxy = None;
    let app = TestApp::start_with(|config| {
        let (before, url) = Proxy::before(config.database.url.as_ref().unwrap().expose(), Statement::COMMIT);
        config.database.url = Some(Secret::new(url));
        config.database.pool_size = 4;
        config.node.roles = ROLES.to_vec();
        proxy = Some(before);
    })
    .await?;
    Ok((app, proxy.unwrap()))
}

fn bump(name: &str, id: Option<&str>) -> Request {
    let request = Request::call("bump", &json!({"name": name}));
    match id {
        Some(id) => request.header("x-forge-mutation-id", id),
        None => request,
    }
}

#[tokio::test]
async fn lost_after_it_was_committed() -> Result<()> {
    let (app, proxy) = app().await?;
    let sql = connect(app.database_url()).await;
    for (n, id) in [None, Some("m-1")].into_iter().enumerate() {
        let name = format!("c{n}");
        proxy.plan(Plan::CutAfter);
        // The app asks on another connection, and that must not be cut again.
        let request = bump(&name, id);
        let url = app.url();
        let (answer, ()) = tokio::join!(request.send(&url), async {
            proxy.met(n + 1).await;
            proxy.plan(Plan::Pass);
        });
        assert_eq!(answer.data(), "1", "id {id:?}");
        assert_eq!(count(&sql, &format!("SELECT value FROM counters WHERE name = '{name}'")).await, 1);
        if id.is_some() {
            assert_eq!(request.send(&url).await.data(), "1", "and a repeat knows of it");
        }
    }
    app.stop().await;
    Ok(())
}

#[tokio::test]
async fn lost_before_it_reached_the_server() -> Result<()> {
    let (app, proxy) = app().await?;
    let sql = connect(app.database_url()).await;
    for (n, id) in [None, Some("m-1")].into_iter().enumerate() {
        proxy.plan(Plan::CutBefore);
        let request = bump("c", id);
        let url = app.url();
        let (answer, ()) = tokio::join!(request.send(&url), async {
            proxy.met(n + 1).await;
            proxy.plan(Plan::Pass);
        });
        assert_eq!(answer.failure(), (503, "DATABASE_UNAVAILABLE".into()), "id {id:?}");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(count(&sql, "SELECT count(*) FROM counters").await, 0, "nothing was written");
    }
    assert_eq!(bump("c", Some("m-1")).send(&app.url()).await.data(), "1", "a repeat takes effect");
    app.stop().await;
    Ok(())
}

/// A mutation that writes and dispatches a job, and one that only dispatches.
fn dispatching(n: usize, id: Option<&str>) -> [(Request, String); 2] {
    let name = format!("c{n}");
    let calls = [("count_and_order", json!({"name": name})), ("only_order", json!({"label": format!("{name} only")}))];
    calls.map(|(function, args)| {
        let request = Request::call(function, &args);
        let request = match id {
            Some(id) => request.header("x-forge-mutation-id", format!("{id}-{function}")),
            None => request,
        };
        let label = args.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned();
        (request, format!("{label} job"))
    })
}

async fn jobs_labelled(sql: &tokio_postgres::Client, label: &str) -> i64 {
    let text = "SELECT count(*) FROM forge_jobs WHERE input ->> 'label' = $1";
    sql.query_one(text, &[&label]).await.unwrap().get(0)
}

#[tokio::test]
async fn lost_with_jobs_in_it() -> Result<()> {
    let (app, proxy) = app().await?;
    let sql = connect(app.database_url()).await;
    let url = app.url();
    let mut met = 0;
    for (n, id) in [None, Some("m")].into_iter().enumerate() {
        for (request, label) in dispatching(n, id) {
            for (plan, answered, jobs) in [(Plan::CutBefore, 503, 0), (Plan::CutAfter, 200, 1)] {
                proxy.plan(plan);
                met += 1;
                let (answer, ()) = tokio::join!(request.send(&url), async {
                    proxy.met(met).await;
                    proxy.plan(Plan::Pass);
                });
                assert_eq!(answer.status, answered, "{plan:?} {label} id {id:?}: {}", answer.text());
                assert_eq!(jobs_labelled(&sql, &label).await, jobs, "{plan:?} {label} id {id:?}");
            }
            if id.is_some() {
                assert_eq!(request.send(&url).await.status, 200);
                assert_eq!(jobs_labelled(&sql, &label).await, 1, "a repeat knows of it: {label}");
            }
        }
    }
    app.stop().await;
    Ok(())
}

/// All of the pool's connections at once: finding out must not wait for one of them.
#[tokio::test]
async fn lost_by_everybody_at_once() -> Result<()> {
    let (app, proxy) = app().await?;
    let requests: Vec<Request> = (0..4)
        .map(|n| bump(&format!("c{n}"), (n % 2 == 0).then_some("m-1")).bearer(&token::of(&format!("u{n}"), &[])))
        .collect();
    let url = app.url();
    for request in &requests {
        assert_eq!(request.send(&url).await.status, 200);
    }
    proxy.plan(Plan::CutAfter);
    let again: Vec<Request> = (0..4)
        .map(|n| bump(&format!("c{n}"), (n % 2 == 0).then_some("m-2")).bearer(&token::of(&format!("u{n}"), &[])))
        .collect();
    let began = std::time::Instant::now();
    let (answers, ()) = tokio::join!(join_all(again.iter().map(|request| request.send(&url))), async {
        proxy.met(4).await;
        proxy.plan(Plan::Pass);
    });
    for answer in answers {
        assert_eq!(answer.data(), "2");
    }
    assert!(began.elapsed() < std::time::Duration::from_secs(4), "{:?}", began.elapsed());
    app.stop().await;
    Ok(())
}

/// The server crashes before the COMMIT reaches it. What the transaction had written, its number included, may then be in no log: the
/// server gives the number to somebody else, who commits. That is not to be taken for our commit.
#[tokio::test]
async fn lost_in_a_crash_that_forgets_the_transaction() -> Result<()> {
    let mut server = Server::new().await?;
    let (proxy, url) = Proxy::before(server.url(), Statement::COMMIT);
    let mut config = Config::defaults(Mode::Test);
    config.database.url = Some(Secret::new(url));
    config.gateway.port = 0;
    config.node.roles = ROLES.to_vec();
    let mut node = Node::start(App::linked(&[])?, config).await?;
    node.ready().await?;
    let url = format!("http://{}", node.address().unwrap());
    assert_eq!(bump("c", None).send(&url).await.data(), "1");
    for (n, id) in [None, Some("m-1")].into_iter().enumerate() {
        proxy.plan(Plan::Hold);
        let request = bump("c", id);
        let calling = tokio::spawn({
            let (request, url) = (request.clone(), url.clone());
            async move { request.send(&url).await }
        });
        proxy.met(n + 1).await;
        proxy.plan(Plan::Refuse);
        server.crash().await;
        server.start().await?;
        let sql = connect(server.url()).await;
        for _ in 0..20 {
            sql.execute("INSERT INTO counters (name, value) VALUES ('others', 1) ON CONFLICT (name) DO UPDATE SET value = counters.value + 1", &[])
                .await
                .unwrap();
        }
        proxy.plan(Plan::Pass);
        let answer = calling.await.unwrap();
        let value = count(&sql, "SELECT value FROM counters WHERE name = 'c'").await;
        assert_eq!(value, 1, "the COMMIT never reached the server");
        let (status, code) = answer.failure();
        assert!(status == 503 && ["DATABASE_UNAVAILABLE", "OUTCOME_UNKNOWN"].contains(&code.as_str()), "{status} {code}");
    }
    assert_eq!(bump("c", Some("m-1")).send(&url).await.data(), "2");
    node.stop().await;
    Ok(())
}
