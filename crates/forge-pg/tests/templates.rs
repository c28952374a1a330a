//! Databases for tests, copied from templates. These tests run a real PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails, also outside of test functions")]

mod project;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use forge_core::{Error, Result};
use forge_pg::{Options, PrivateServer, Templates};
use project::{Removed, answers, connect, eventually, in_another_process, open_folder, try_connect};

/// A preparation that takes long enough to race with, and counts its runs.
async fn prepare(url: String, runs: &AtomicU32) -> Result<()> {
    runs.fetch_add(1, Ordering::SeqCst);
    let client = connect(&url).await;
    client.batch_execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1); SELECT pg_sleep(0.3)").await.unwrap();
    Ok(())
}

async fn databases(server: &PrivateServer, beginning: &str) -> Vec<String> {
    let client = connect(&server.url("postgres")).await;
    let sql = "SELECT datname FROM pg_database WHERE starts_with(datname, $1) ORDER BY 1";
    client.query(sql, &[&beginning]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn eight_at_once_prepare_once_and_get_databases_of_their_own() {
    let project = open_folder();
    let server = Removed::ensure(Options::test(project.path())).await;
    let templates = Arc::new(Templates::new(&server));
    let runs = Arc::new(AtomicU32::new(0));
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let (templates, runs) = (templates.clone(), runs.clone());
            tokio::task::spawn_blocking(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(templates.database("key", async |url| prepare(url, &runs).await)).unwrap()
            })
        })
        .collect();
    let mut all = Vec::new();
    for call in calls {
        all.push(call.await.unwrap());
    }
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    for database in &all {
        let client = connect(database.url()).await;
        client.execute("INSERT INTO t VALUES (2)", &[]).await.unwrap();
        let count: i64 = client.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get(0);
        assert_eq!(count, 2, "{} is shared", database.name());
    }
    assert_eq!(databases(&server, "forge_template_").await.len(), 1);
}

#[tokio::test]
async fn processes_that_race_prepare_once() {
    let project = open_folder();
    let server = Removed::ensure(Options::test(project.path())).await;
    let others: Vec<_> = (0..4).map(|_| in_another_process("racer", project.path())).collect();
    let outputs: Vec<_> = others.into_iter().map(|other| other.join().unwrap()).collect();
    let prepared: usize = outputs.iter().map(|output| answers(output, "prepared").len()).sum();
    let mut names: Vec<String> = outputs.iter().flat_map(|output| answers(output, "database")).collect();
    names.sort();
    names.dedup();
    assert_eq!((prepared, names.len()), (1, 4));

    // All four have ended without dropping theirs: the next run does it.
    let templates = Templates::new(&server);
    let mine = templates.database("key", async |_| Err(Error::internal("there is a template"))).await.unwrap();
    assert_eq!(databases(&server, "forge_t_").await, [mine.name()]);
}

/// One of the processes of the race above.
#[tokio::test]
async fn racer() {
    let Some(project) = project::project_of_this_process() else {
        return;
    };
    let server = PrivateServer::ensure(Options::test(project).obtain(false)).await.unwrap();
    let runs = AtomicU32::new(0);
    let database = Templates::new(&server).database("key", async |url| prepare(url, &runs).await).await.unwrap();
    if runs.into_inner() == 1 {
        println!("prepared");
    }
    println!("database {}", database.name());
    std::mem::forget(database);
}

#[tokio::test]
async fn a_preparation_that_fails_leaves_nothing_and_the_next_one_may_succeed() {
    let project = open_folder();
    let server = Removed::ensure(Options::test(project.path())).await;
    let templates = Templates::new(&server);
    let failing = async |url: String| {
        connect(&url).await.batch_execute("CREATE TABLE half (a int)").await.unwrap();
        Err(Error::config("MY_CODE", "the third migration is wrong"))
    };
    let error = templates.database("key", failing).await.unwrap_err();
    assert_eq!((error.code(), error.message()), ("MY_CODE", "the third migration is wrong"));
    assert_eq!(databases(&server, "forge_t").await, [""; 0]);

    let database = templates.database("key", async |url| prepare(url, &AtomicU32::new(0)).await).await.unwrap();
    let client = connect(database.url()).await;
    assert!(client.query("SELECT * FROM half", &[]).await.is_err());
}

#[tokio::test]
async fn a_preparation_that_was_abandoned_is_done_again() {
    let project = open_folder();
    let server = Removed::ensure(Options::test(project.path())).await;
    let templates = Templates::new(&server);
    let (reached, halfway) = tokio::sync::oneshot::channel();
    let abandoned = templates.database("key", async move |url| {
        let client = connect(&url).await;
        client.batch_execute("CREATE TABLE half (a int)").await.unwrap();
        reached.send(()).unwrap();
        std::future::pending().await
    });
    tokio::select! {
        _ = abandoned => panic!("it never ends"),
        told = halfway => told.unwrap(),
    }
    let database = templates.database("key", async |url| prepare(url, &AtomicU32::new(0)).await).await.unwrap();
    let client = connect(database.url()).await;
    assert!(client.query("SELECT * FROM half", &[]).await.is_err());
    client.query("SELECT * FROM t", &[]).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_the_preparation_left_open_does_not_hinder_copies() {
    let project = open_folder();
    let server = Removed::ensure(Options::test(project.path())).await;
    let templates = Templates::new(&server);
    let mut left = None;
    let database = templates.database("key", async |url| {
        left = Some(connect(&url).await);
        Ok(())
    });
    let database = database.await.unwrap();
    connect(database.url()).await;
    assert!(left.unwrap().query("SELECT 1", &[]).await.is_err(), "the session on the template still lives");
}

#[tokio::test]
async fn a_database_goes_with_its_value_even_while_its_changes_are_being_read() {
    let project = open_folder();
    let server = Removed::ensure(Options::test(project.path())).await;
    let templates = Templates::new(&server);
    let first = templates.database("key", async |_| Ok(())).await.unwrap();
    let client = connect(first.url()).await;
    let slot = "SELECT pg_create_logical_replication_slot('s', 'pgoutput', true)";
    client.query(slot, &[]).await.unwrap();
    let second = templates.database("key", async |_| Err(Error::internal("not again"))).await.unwrap();
    let (first_name, second_name) = (first.name().to_owned(), second.name().to_owned());
    first.remove().await.unwrap();
    assert_eq!(databases(&server, "forge_t_").await, [second_name.as_str()]);
    assert_ne!(first_name, second_name);

    drop(second);
    eventually("the drop of the database", async || databases(&server, "forge_t_").await.is_empty()).await;
}

#[tokio::test]
async fn a_template_that_somebody_dropped_is_made_again() {
    let project = open_folder();
    let server = Removed::ensure(Options::test(project.path())).await;
    let (templates, runs) = (Templates::new(&server), AtomicU32::new(0));
    templates.database("key", async |url| prepare(url, &runs).await).await.unwrap();
    let template = databases(&server, "forge_template_").await.remove(0);
    let admin = connect(&server.url("postgres")).await;
    assert!(try_connect(&server.url(&template)).await.is_err(), "a ready template takes no connections");
    admin.batch_execute(&format!("ALTER DATABASE {template} IS_TEMPLATE false")).await.unwrap();
    admin.batch_execute(&format!("DROP DATABASE {template}")).await.unwrap();
    let database = templates.database("key", async |url| prepare(url, &runs).await).await.unwrap();
    connect(database.url()).await.query("SELECT * FROM t", &[]).await.unwrap();
    assert_eq!(runs.into_inner(), 2);
}

#[tokio::test]
async fn templates_of_long_ago_are_dropped() {
    let project = open_folder();
    let server = Removed::ensure(Options::test(project.path())).await;
    Templates::new(&server).database("old", async |_| Ok(())).await.unwrap();
    let old = databases(&server, "forge_template_").await.remove(0);
    let admin = connect(&server.url("postgres")).await;
    let comment = format!("COMMENT ON DATABASE {old} IS 'FORGE test template, used 1000000000'");
    admin.batch_execute(&comment).await.unwrap();
    Templates::new(&server).database("new", async |_| Ok(())).await.unwrap();
    let left = databases(&server, "forge_template_").await;
    assert!(left.len() == 1 && left[0] != old, "{left:?}");
}

#[tokio::test]
async fn any_server_will_do_whose_user_may_create_databases() {
    let project = open_folder();
    let server = Removed::ensure(Options::test(project.path())).await;
    let admin = connect(&server.url("postgres")).await;
    admin.batch_execute("CREATE ROLE plain LOGIN CREATEDB").await.unwrap();
    // A database of somebody else that looks like a leftover is none of ours.
    admin.batch_execute("CREATE DATABASE forge_t_abcdef_1_1_1").await.unwrap();
    let templates = Templates::on_url(server.url("postgres").replace("user=forge", "user=plain"));
    let runs = AtomicU32::new(0);
    let mut left = None;
    let database = templates.database("key", async |url| {
        left = Some(connect(&url).await);
        prepare(url, &runs).await
    });
    let database = database.await.unwrap();
    assert!(database.url().contains("user=plain"));
    connect(database.url()).await.query("SELECT * FROM t", &[]).await.unwrap();
    database.remove().await.unwrap();
    assert_eq!(databases(&server, "forge_t_").await, ["forge_t_abcdef_1_1_1"]);
}
