//! Reads on a replica: used when it is there, never behind what the caller has written, done without when it is gone.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::servers::Servers;
use crate::support::server::connect;
use crate::support::{count, until};

struct App(std::process::Child, u16, reqwest::Client);

impl App {
    fn start(servers: &Servers) -> Self {
        // Free a moment ago, and nobody else in this test asks for one.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "[database]\nurl = {:?}\nreplica_urls = [{:?}]\nread_from_replica = true\nhealth_check_interval = \"100ms\"\nhealth_check_timeout = \"100ms\"\n",
            servers.url(6001),
            servers.url(6002)
        );
        let file = servers.dir.join("forge.toml");
        std::fs::write(&file, config).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_pipeline"))
            .env("FORGE_CONFIG", &file)
            .env("FORGE_PORT", port.to_string())
            .env("FORGE_SECRET", "a secret for tests, and for nothing else")
            .env_remove("DATABASE_URL")
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self(child, port, reqwest::Client::new())
    }

    /// Calls a function; the data, and the position if the answer has one.
    async fn call(&self, function: &str, args: &str, position: Option<&str>) -> (Value, Option<String>) {
        let (body, position) = self.ask(function, args, position).await;
        assert_eq!(body["success"], true, "{body}");
        (body["data"].clone(), position)
    }

    /// The same, whatever the answer is.
    async fn ask(&self, function: &str, args: &str, position: Option<&str>) -> (Value, Option<String>) {
        let mut request = self.2.post(format!("http://127.0.0.1:{}/rpc/{function}", self.1)).body(args.to_owned());
        if let Some(position) = position {
            request = request.header("x-forge-position", position);
        }
        let response = request.send().await.unwrap();
        let position = response.headers().get("x-forge-position").map(|value| value.to_str().unwrap().to_owned());
        (serde_json::from_str(&response.text().await.unwrap()).unwrap(), position)
    }

    async fn healthy_replicas(&self, wanted: u64) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Ok(response) = self.2.get(format!("http://127.0.0.1:{}/ready", self.1)).send().await {
                let ready: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
                if ready["status"] == "ready" && ready["replicas"]["healthy"] == wanted {
                    return;
                }
            }
            assert!(Instant::now() < deadline, "no {wanted} healthy replicas");
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn reads_go_to_a_replica_that_is_not_behind_their_caller() {
    let servers = Servers::start();
    let app = App::start(&servers);
    app.healthy_replicas(1).await;
    let batch = |n: u8| format!("{{\"batch\":\"00000000-0000-0000-0000-0000000000{n:02}\"}}");

    let (_, position) = app.call("add_three", &batch(1), None).await;
    assert!(position.is_some());
    assert_eq!(app.call("count_notes", "{}", position.as_deref()).await.0[0], "3");

    // A replica that stands still: whoever has written sees it on the primary, others may see the past.
    let (replica, connection) = tokio_postgres::connect(&servers.url(6002), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let deadline = Instant::now() + Duration::from_secs(30);
    while replica.query_one("SELECT count(*) FROM notes", &[]).await.unwrap().get::<_, i64>(0) != 3 {
        assert!(Instant::now() < deadline, "the replica does not catch up");
    }
    replica.batch_execute("SELECT pg_wal_replay_pause()").await.unwrap();
    let (_, position) = app.call("add_three", &batch(2), None).await;
    assert_eq!(app.call("count_notes", "{}", position.as_deref()).await.0[0], "6");
    assert_eq!(app.call("count_notes", "{}", None).await.0[0], "3", "the read was not answered by the replica");

    // An action's own reads are behind nothing that it has written, nor is whoever has its answer, also when it fails.
    for (n, fails) in [(3_u8, false), (4, true)] {
        let args = batch(n).replace('}', &format!(",\"fails\":{fails}}}"));
        let (answer, position) = app.ask("add_and_count", &args, None).await;
        assert_eq!(answer["success"], !fails, "{answer}");
        assert!(fails || answer["data"] == "9", "{answer}");
        let count = app.call("count_notes", "{}", position.as_deref()).await.0;
        assert_eq!(count[0], (u32::from(n) * 3).to_string(), "{position:?}");
    }
    // And a job sees what its dispatcher has written.
    app.call("add_and_count_later", &batch(5), None).await;
    let primary = connect(&servers.url(6001)).await;
    let counted =
        async |what: &str| count(&primary, &format!("SELECT count(*) FROM executions WHERE label LIKE '{what}'")).await;
    until("the job has counted", async || counted("counted %").await == 1).await;
    assert_eq!(counted("counted 15").await, 1, "it has read the past");

    // A replica that goes away is done without, from the very next read on.
    servers.control("replica", 6002, "stop");
    assert_eq!(app.call("count_notes", "{}", None).await.0[0], "15");
    app.healthy_replicas(0).await;
    // And used again once it is back.
    servers.control("replica", 6002, "start");
    app.healthy_replicas(1).await;
}
