//! Starting: production refuses what is unsafe, and several processes may start at once.

use forge::prelude::*;
use serde_json::json;

use crate::support::http::Request;
use crate::support::process::Process;
use crate::support::server::{connect, empty_database};
use crate::support::{count, until_within};

const SECRET: &str = "dGhpcyBpcyBsb25nIGVub3VnaCBmb3IgYSB0ZXN0IG9mIHByb2R1Y3Rpb24";
const LOCAL: &str = "postgres:///x?host=/nowhere&user=x";

#[tokio::test]
async fn production_refuses_what_is_unsafe() {
    let far = "postgres://x:y@db.example:5432/x";
    type Case = (&'static str, &'static [(&'static str, &'static str)], &'static str);
    let cases: [Case; 7] = [
        (LOCAL, &[("FORGE_SECRET", "")], "security.auth.secret"),
        (LOCAL, &[("FORGE_SECRET", "short")], "security.auth.secret"),
        (LOCAL, &[("FORGE_SECRET", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")], "security.auth.secret"),
        (LOCAL, &[("FORGE_SECURITY_CORS_ALLOWED_ORIGINS", "*")], "security.cors.allowed_origins"),
        (far, &[("FORGE_DATABASE_TLS", "prefer")], "database.url"),
        ("", &[], "database.url"),
        (LOCAL, &[("FORGE_ENV", "prodution")], "FORGE_ENV"),
    ];
    for (database, settings, told) in cases {
        let base = [("FORGE_ENV", "production"), ("FORGE_SECRET", SECRET)];
        let settings: Vec<_> = base.into_iter().chain(settings.iter().copied()).collect();
        let (code, log) = Process::spawn(database, &settings).ended().await;
        assert_eq!(code, Some(1), "{settings:?}: {log}");
        assert!(log.contains(told), "{settings:?}: {log}");
        assert!(!log.contains("listening on"), "{settings:?}: {log}");
        // Not even what was wrong about a secret is shown.
        assert!(!log.contains("short\"") && !log.contains("aaaa") && !log.contains("x:y@"), "{log}");
    }
}

#[tokio::test]
async fn production_starts_with_what_is_safe() -> Result<()> {
    let database = empty_database().await?;
    let settings = [("FORGE_ENV", "production"), ("FORGE_SECRET", SECRET), ("FORGE_GATEWAY_HOST", "127.0.0.1")];
    let process = Process::start_with(database.url(), &settings).await.ready().await;
    let signed_in = Request::call("sign_in_as", &json!({"name": "ada"})).send(process.url()).await;
    let cookie = signed_in.set_cookie("__Host-forge_session").unwrap_or_else(|| panic!("{:?}", signed_in.headers));
    assert!(cookie.ends_with("; Path=/; Max-Age=900; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
    // Told to stop, it says so for a while, and then it ends well.
    process.signal(rustix::process::Signal::TERM);
    until_within(std::time::Duration::from_secs(3), "not ready", async || process.readiness().await == 503).await;
    let (code, log) = process.ended().await;
    assert_eq!(code, Some(0), "{log}");
    database.remove().await
}

#[tokio::test]
async fn two_processes_start_at_once_and_one_migrates() -> Result<()> {
    for _ in 0..3 {
        let database = empty_database().await?;
        let (one, two) = tokio::join!(Process::start(database.url()), Process::start(database.url()));
        let (one, two) = tokio::join!(one.ready(), two.ready());
        let applied = |process: &Process| process.log().matches("applied the migration app 0001").count();
        let sql = connect(database.url()).await;
        until_within(crate::support::PATIENCE, "the log is written", async || applied(&one) + applied(&two) == 1).await;
        let twice =
            "SELECT count(*) FROM (SELECT FROM forge_migrations GROUP BY set, version HAVING count(*) > 1) AS twice";
        assert_eq!(count(&sql, twice).await, 0);
        for process in [one, two] {
            assert_eq!(Request::call("bump", &json!({"name": "x"})).send(process.url()).await.status, 200);
            process.kill().await;
        }
        database.remove().await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_applied_migration_that_was_edited_stops_the_start() -> Result<()> {
    let database = empty_database().await?;
    let process = Process::start(database.url()).await.ready().await;
    process.kill().await;
    let sql = connect(database.url()).await;
    // As if the file had been another one when it was applied.
    sql.execute("UPDATE forge_migrations SET checksum = 'another' WHERE set = 'app' AND version = 2", &[]).await.unwrap();
    let (code, log) = Process::spawn(database.url(), &[]).ended().await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("MIGRATION_CHANGED") && log.contains("0002_accounts_and_kept"), "{log}");
    database.remove().await
}

#[tokio::test]
async fn a_port_that_is_taken_is_told() -> Result<()> {
    let database = empty_database().await?;
    let process = Process::start(database.url()).await;
    let port = process.url().rsplit(':').next().unwrap();
    let (code, log) = Process::spawn(database.url(), &[("FORGE_PORT", port)]).ended().await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("PORT_IN_USE") && log.contains(port), "{log}");
    process.kill().await;
    database.remove().await
}

#[tokio::test]
async fn a_node_without_a_gateway_says_that_it_listens_nowhere() -> Result<()> {
    let database = empty_database().await?;
    let process = Process::spawn(database.url(), &[("FORGE_ROLES", "function")]);
    until_within(std::time::Duration::from_secs(60), "it is ready", async || process.log().contains("\"ready\"")).await;
    let log = process.log();
    assert!(log.contains("this node is no gateway") && !log.contains("listening on"), "{log}");
    process.signal(rustix::process::Signal::TERM);
    let (code, log) = process.ended().await;
    assert_eq!(code, Some(0), "{log}");

    let (code, log) = Process::spawn(database.url(), &[("FORGE_ROLES", "gateway")]).ended().await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("node.roles") && log.contains("it needs both"), "{log}");
    database.remove().await
}
