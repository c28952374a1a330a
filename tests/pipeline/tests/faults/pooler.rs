//! PgBouncer between the app and the database: callers notice nothing of it, and nobody finds what belongs to another.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use forge::prelude::*;
use serde_json::json;
use tokio_postgres::SimpleQueryMessage;

use crate::schema::change_tables_under;
use crate::support::http::{Answer, Connection, Request};
use crate::support::pgbouncer::{PgBouncer, SERVER_CONNECTIONS};
use crate::support::process::Process;
use crate::support::server::{connect, empty_database};
use crate::support::{count, token, until};

/// A node that reaches a database through a pooler, and around it where it must.
async fn node(pooler: &str, database: &str) -> Process {
    Process::start_with(pooler, &[("FORGE_DATABASE_DIRECT_URL", database)]).await
}

fn increment(name: &str) -> Request {
    Request::call("increment", &json!({"name": name}))
}

/// Whether an answer is what this caller is to get.
type Right = fn(&Answer, &str) -> bool;

/// What a setting is on each of the pooler's connections to the server, as seen by another client of it.
async fn settings(pgbouncer: &PgBouncer, setting: &str) -> HashSet<String> {
    let mut clients = Vec::new();
    for _ in 0..SERVER_CONNECTIONS {
        let client = connect(&pgbouncer.url()).await;
        // Each holds one of them.
        client.simple_query("BEGIN").await.unwrap();
        clients.push(client);
    }
    let mut found = HashSet::new();
    for client in &clients {
        let answer = client.simple_query(&format!("SELECT current_setting('{setting}', true)")).await.unwrap();
        let row = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        });
        found.insert(row.unwrap());
    }
    for client in &clients {
        client.simple_query("ROLLBACK").await.unwrap();
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_calls_of_two_nodes_succeed() -> Result<()> {
    let database = empty_database().await?;
    let pgbouncer = PgBouncer::before(database.url(), "transaction", "");
    // One over TCP, one over the socket.
    let (one, two) = (pgbouncer.url(), pgbouncer.socket_url());
    let (one, two) = tokio::join!(node(&one, database.url()), node(&two, database.url()));
    let (one, two) = tokio::join!(one.ready(), two.ready());
    let batch = forge::new_uuid();
    let callers: Vec<_> = (0..20)
        .map(|n| {
            let process = if n % 2 == 0 { &one } else { &two };
            let (url, name) = (process.url().to_owned(), format!("user-{n}"));
            tokio::spawn(async move {
                let signed = token::of(&name, &[]);
                let add = json!({"batch": forge::new_uuid(), "title": name, "extra": {"big": "1", "tags": ["a"]}});
                let mut connection = Connection::open(&url).await.unwrap();
                let note = connection.send(&Request::call("add_note", &add).bearer(&signed)).await.unwrap();
                assert_eq!(note.data()["mood"], "calm", "an enum comes back");
                let mine = json!({"batch": add["batch"], "moods": ["calm", "very_busy"]});
                // Each with whether its answer is this caller's: nobody ever runs under the name of another.
                let requests: [(Request, Right); 5] = [
                    (Request::call("bump", &json!({"name": name})), |answer, _| answer.data().is_string()),
                    (Request::call("list_notes_sql", &mine).bearer(&signed), |answer, name| {
                        answer.data()[0]["title"] == name
                    }),
                    (Request::call("counter", &json!({"name": name})), |answer, _| answer.data().is_string()),
                    (Request::call("notes_twice", &json!({"batch": batch})), |_, _| true),
                    (Request::call("audit", &json!({})).bearer(&signed), |answer, name| answer.data()[0] == name),
                ];
                for _ in 0..100 {
                    for (request, right) in &requests {
                        let answer = connection.send(request).await.unwrap();
                        assert_eq!(answer.status, 200, "{request:?}: {}", answer.text());
                        assert!(right(&answer, &name), "{request:?}: {}", answer.text());
                    }
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap_or_else(|why| panic!("{why}\n{}\n{}", one.log(), two.log()));
    }
    let sql = connect(database.url()).await;
    assert_eq!(count(&sql, "SELECT count(*) FROM counters WHERE value = 100").await, 20);
    let pooled = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                  AND (application_name LIKE '%main' OR application_name LIKE '%side' OR application_name LIKE '%reads')";
    assert!(count(&sql, pooled).await <= i64::from(SERVER_CONNECTIONS), "the nodes went past the pooler");
    // What was set for calls has ended with them.
    for (setting, untouched) in [
        ("forge.user_id", ""),
        ("forge.function_name", ""),
        ("statement_timeout", "0"),
        ("default_transaction_read_only", "off"),
        ("transaction_isolation", "read committed"),
    ] {
        assert_eq!(settings(&pgbouncer, setting).await, HashSet::from([untouched.to_owned()]), "{setting}");
    }
    for process in [&one, &two] {
        assert_eq!(process.log().matches("reached through a pooler").count(), 1, "{}", process.log());
    }
    one.kill().await;
    two.kill().await;
    database.remove().await
}

#[tokio::test]
async fn session_pooling_is_lived_with_as_well() -> Result<()> {
    let database = empty_database().await?;
    // A server connection for each of the node's, as nobody gives one back.
    let pgbouncer = PgBouncer::before(database.url(), "session", "default_pool_size = 30");
    let process = node(&pgbouncer.url(), database.url()).await.ready().await;
    for n in 1..=50 {
        assert_eq!(increment("c").send(process.url()).await.data(), n.to_string());
        let read = Request::call("counter", &json!({"name": "c"})).send(process.url()).await;
        assert_eq!(read.data(), n.to_string());
    }
    assert!(process.log().contains("reached through a pooler"), "{}", process.log());
    process.kill().await;
    database.remove().await
}

#[tokio::test]
async fn timeouts_and_callers_who_leave_end_what_runs() -> Result<()> {
    let database = empty_database().await?;
    let pgbouncer = PgBouncer::before(database.url(), "transaction", "");
    let sql = connect(database.url()).await;
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' \
                    AND query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()";
    for address in [pgbouncer.url(), pgbouncer.socket_url()] {
        let process = node(&address, database.url()).await.ready().await;
        let began = Instant::now();
        let sleep = Request::call("sleep_long", &json!({"seconds": 60.0})).send(process.url()).await;
        assert_eq!(sleep.failure(), (504, "TIMEOUT".to_owned()));
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        until("the statement has ended", async || count(&sql, sleeping).await == 0).await;

        // This one may take a minute; its caller does not wait.
        let mut connection = Connection::open(process.url()).await?;
        let write = Request::call("write_patiently", &json!({"name": "patient", "seconds": 50.0}));
        connection.write(&write.bytes()).await?;
        until("it runs", async || count(&sql, sleeping).await == 1).await;
        drop(connection);
        until("it was cancelled", async || count(&sql, sleeping).await == 0).await;
        assert_eq!(count(&sql, "SELECT count(*) FROM counters WHERE name = 'patient'").await, 0);
        // Nobody else was hit, and everything goes on.
        for n in 1..=20 {
            let answer = increment(&address).send(process.url()).await;
            assert_eq!(answer.status, 200, "{}\n{}\n{}", answer.text(), process.log(), pgbouncer.log());
            assert_eq!(answer.data(), n.to_string());
        }
        process.kill().await;
    }
    database.remove().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_tables_disturb_no_caller_behind_a_pooler() -> Result<()> {
    let database = empty_database().await?;
    let pgbouncer = PgBouncer::before(database.url(), "transaction", "");
    let process = node(&pgbouncer.url(), database.url()).await.ready().await;
    change_tables_under(&process, database.url()).await;
    process.kill().await;
    database.remove().await
}

#[tokio::test]
async fn what_needs_a_session_goes_past_the_pooler() -> Result<()> {
    let database = empty_database().await?;
    let pgbouncer = PgBouncer::before(database.url(), "transaction", "");
    let process = node(&pgbouncer.url(), database.url()).await.ready().await;
    let mut seen = HashSet::new();
    for _ in 0..10 {
        let answer = Request::call("own_session", &json!({})).send(process.url()).await.data();
        assert!(answer[1].as_str().unwrap().ends_with(" direct"), "{answer}");
        assert!(seen.insert(answer[0].as_i64().unwrap()), "a session that was lent out is closed: {answer}");
    }
    assert_eq!(settings(&pgbouncer, "default_transaction_read_only").await, HashSet::from(["off".to_owned()]));
    process.kill().await;
    database.remove().await
}

#[tokio::test]
async fn a_missing_way_past_the_pooler_is_told_at_the_start() -> Result<()> {
    let database = empty_database().await?;
    let pgbouncer = PgBouncer::before(database.url(), "transaction", "");
    let again = pgbouncer.socket_url();
    let cases: [(&[(&str, &str)], &str); 2] = [
        (&[], "set database.direct_url"),
        (&[("FORGE_DATABASE_DIRECT_URL", again.as_str())], "database.direct_url leads to a pooler as well"),
    ];
    for (settings, told) in cases {
        let (code, log) = Process::spawn(&pgbouncer.url(), settings).ended().await;
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains("DATABASE_NOT_DIRECT") && log.contains(told), "{log}");
    }
    // Once the schema is there, and nobody here migrates, there is no need for one.
    node(&pgbouncer.url(), database.url()).await.ready().await.kill().await;
    let settings = [("FORGE_MIGRATIONS_ON_START", "false"), ("FORGE_OBSERVABILITY_REQUEST_LOG", "true")];
    let process = Process::start_with(&pgbouncer.url(), &settings).await.ready().await;
    assert_eq!(increment("c").send(process.url()).await.data(), "1");
    let session = Request::call("own_session", &json!({})).send(process.url()).await;
    assert_eq!(session.status, 500);
    until("the log says why", async || process.log().contains("DATABASE_NOT_DIRECT")).await;
    process.kill().await;
    database.remove().await
}

#[tokio::test]
async fn settings_in_the_address_are_refused_with_a_reason() -> Result<()> {
    let database = empty_database().await?;
    let pgbouncer = PgBouncer::before(database.url(), "transaction", "");
    let address = format!("{}?options=-csearch_path%3Dpublic", pgbouncer.url());
    let settings = [("FORGE_DATABASE_DIRECT_URL", database.url()), ("FORGE_MIGRATIONS_ON_START", "false")];
    let (code, log) = Process::spawn(&address, &settings[..1]).ended().await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("DATABASE_STARTUP_REFUSED") && log.contains("ALTER ROLE"), "{log}");
    database.remove().await
}

#[tokio::test]
async fn a_server_is_not_taken_for_a_pooler() -> Result<()> {
    let database = empty_database().await?;
    let process = Process::start(database.url()).await.ready().await;
    let sql = connect(database.url()).await;
    let shared = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE '%shared reads'";
    until("short reads are shared", async || {
        let read = Request::call("counter", &json!({"name": "none"})).send(process.url()).await;
        assert_eq!(read.status, 200);
        count(&sql, shared).await > 0
    })
    .await;
    assert!(!process.log().contains("pooler"), "{}", process.log());
    process.kill().await;
    database.remove().await
}
