//! Reads on a replica: used when it is there, never behind what the caller has written, done without when it is gone.

#![allow(clippy::unwrap_used)]

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use forge_pg::{Search, find_installation};
use serde_json::Value;

/// PostgreSQL does not run as root; then all of it runs as nobody.
const NOBODY: u32 = 65534;

struct Servers {
    bin: PathBuf,
    dir: PathBuf,
}

impl Servers {
    fn start() -> Self {
        let bin = find_installation(&Search::usual()).unwrap().bin().to_path_buf();
        // A path that is short enough for a socket, and that nobody may enter.
        let dir = PathBuf::from(format!("/tmp/forge-replica-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        if root() {
            std::os::unix::fs::chown(&dir, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let servers = Self { bin, dir };
        let primary = servers.dir.join("primary");
        servers.run("initdb", &["-D", text(&primary), "-U", "forge", "--auth=trust", "--no-locale", "-E", "UTF8", "-N"]);
        servers.control("primary", 6001, "start");
        let socket = text(&servers.dir).to_owned();
        let replica = servers.dir.join("replica");
        servers.run(
            "pg_basebackup",
            &["-h", &socket, "-p", "6001", "-U", "forge", "-D", text(&replica), "-R", "--no-sync", "-c", "fast"],
        );
        servers.control("replica", 6002, "start");
        servers
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(self.bin.join(program));
        command.args(arguments).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        if root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let ended = command.spawn().unwrap().wait_with_output().unwrap();
        assert!(ended.status.success(), "{program}: {}", String::from_utf8_lossy(&ended.stderr));
    }

    fn control(&self, which: &str, port: u16, what: &str) {
        let (data, socket) = (self.dir.join(which), text(&self.dir));
        let options = format!("-c listen_addresses='' -c unix_socket_directories={socket} -p {port} -c fsync=off");
        let log = self.dir.join(format!("{which}.log"));
        // `-l` takes over the output, so that pg_ctl itself ends.
        self.run("pg_ctl", &["-D", text(&data), "-o", &options, "-l", text(&log), "-w", "-m", "immediate", what]);
    }

    fn url(&self, port: u16) -> String {
        format!("postgresql:///postgres?host={}&port={port}&user=forge", self.dir.display())
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for which in ["replica", "primary"] {
            let data = self.dir.join(which);
            let pid = std::fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
            if let Some(pid) = pid.lines().next() {
                let _ = Command::new("kill").args(["-QUIT", pid]).status();
            }
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

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
        let mut request = self.2.post(format!("http://127.0.0.1:{}/rpc/{function}", self.1)).body(args.to_owned());
        if let Some(position) = position {
            request = request.header("x-forge-position", position);
        }
        let response = request.send().await.unwrap();
        let position = response.headers().get("x-forge-position").map(|value| value.to_str().unwrap().to_owned());
        let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert_eq!(body["success"], true, "{body}");
        (body["data"].clone(), position)
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

    // A replica that goes away is done without, from the very next read on.
    servers.control("replica", 6002, "stop");
    assert_eq!(app.call("count_notes", "{}", None).await.0[0], "6");
    app.healthy_replicas(0).await;
    // And used again once it is back.
    servers.control("replica", 6002, "start");
    app.healthy_replicas(1).await;
}
