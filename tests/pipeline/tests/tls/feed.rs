//! The change feed's own connection to the database: as safe as all others, and never silently dead.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::server::{Authority, Server};
use crate::support::live::Live;
use crate::support::process::Process;
use crate::support::{count, until, until_within};

/// Lets the app in over TLS only, with its password, which is never sent in clear text.
const STRICT: &str = "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n";

/// How the node is to know the server, and where it is to read changes.
fn settings(ca: &Path) -> [(&'static str, String); 3] {
    [
        ("FORGE_DATABASE_TLS", "verify-full".to_owned()),
        ("FORGE_DATABASE_TLS_CA_FILE", ca.display().to_string()),
        ("FORGE_REACTIVITY_CAPTURE", "wal".to_owned()),
    ]
}

/// A server with a database, and a user who has a password. None when this PostgreSQL was built without TLS.
async fn strict_server(authority: &Authority) -> Option<Server> {
    let server = Server::start(authority)?;
    server.is_up().await;
    let sql = server.superuser("postgres").await;
    sql.batch_execute("SET password_encryption = 'scram-sha-256'; CREATE ROLE app LOGIN REPLICATION PASSWORD 'right'")
        .await
        .unwrap();
    sql.batch_execute("CREATE DATABASE app OWNER app").await.unwrap();
    server.lets_in(STRICT);
    Some(server)
}

fn borrowed<'a>(settings: &'a [(&'static str, String); 3]) -> [(&'static str, &'a str); 3] {
    settings.each_ref().map(|(name, value)| (*name, &**value))
}

/// The connections that the log is read over, by whether they are encrypted.
async fn readers(sql: &tokio_postgres::Client, encrypted: bool) -> i64 {
    let ask =
        format!("SELECT count(*) FROM pg_stat_replication r JOIN pg_stat_ssl s USING (pid) WHERE s.ssl = {encrypted}");
    count(sql, &ask).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_read_over_tls_with_a_password_and_what_goes_wrong_later_is_told() {
    for fault in ["password", "certificate"] {
        let (ours, strangers) = (Authority::new(), Authority::new());
        let Some(server) = strict_server(&ours).await else {
            println!("this PostgreSQL was built without TLS; there is nothing to encrypt");
            return;
        };
        let settings = settings(&ours.file(server.file("ours.pem")));
        let node = Process::start_with(&server.url("app", "right", "app"), &borrowed(&settings)).await.ready().await;
        let sql = server.superuser("app").await;
        let mut live = Live::open(node.url(), None).await;
        live.subscribed(1, "counter", json!({"name": "a"})).await;
        sql.batch_execute("INSERT INTO counters VALUES ('a', 1)").await.unwrap();
        assert_eq!(live.next().await["results"][0]["data"], "1");
        let sink = "SELECT count(*) FROM forge_feed WHERE sink = 'wal'";
        assert_eq!(count(&sql, sink).await, 1);
        until("the log is read", async || readers(&sql, true).await == 1).await;
        assert_eq!(readers(&sql, false).await, 0);

        // What was good at the start is so no longer, and the stream has to begin anew.
        match fault {
            "password" => sql.batch_execute("ALTER ROLE app PASSWORD 'another'").await.unwrap(),
            _ => server.is_certified_by(&strangers),
        }
        let cut = async || {
            sql.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_replication", &[]).await.unwrap();
            readers(&sql, true).await == 0
        };
        until("it can be read no longer", cut).await;
        sql.batch_execute("UPDATE counters SET value = 2").await.unwrap();
        while live.next().await["results"][0]["data"] != "2" {}
        until_within(Duration::from_secs(60), "rows are used instead", async || count(&sql, sink).await == 0).await;
        let why = if fault == "password" { "password authentication failed" } else { "certificate" };
        let says = |words: &str| node.log().contains(words);
        until("it says why", async || says("the log of changes cannot be read") && says(why)).await;
        let objections: String = sql.query_one("SELECT why FROM forge_feed_objections", &[]).await.unwrap().get(0);
        assert!(objections.contains(why), "{fault}: {objections}");
        sql.batch_execute("UPDATE counters SET value = 3").await.unwrap();
        while live.next().await["results"][0]["data"] != "3" {}
        node.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_with_the_wrong_authority_or_password_says_so() {
    let (ours, strangers) = (Authority::new(), Authority::new());
    let Some(server) = strict_server(&ours).await else {
        println!("this PostgreSQL was built without TLS; there is nothing to verify");
        return;
    };
    let (ours, strangers) = (ours.file(server.file("ours.pem")), strangers.file(server.file("strangers.pem")));
    for (ca, password, words) in [(&strangers, "right", "certificate"), (&ours, "wrong", "password authentication failed")]
    {
        let settings = settings(ca);
        let node = Process::spawn(&server.url("app", password, "app"), &borrowed(&settings));
        until(&format!("it says `{words}`"), async || node.log().contains(words)).await;
        node.kill().await;
    }
}
