//! A replica is promoted and takes the address of the server that it followed.

use serde_json::{Value, json};

use crate::servers::Servers;
use crate::support::live::{Live, applied};
use crate::support::process::Process;
use crate::support::server::connect;
use crate::support::{count, until};

/// The address that the nodes know.
const ADDRESS: u16 = 6000;

/// Everybody who is subscribed to the total.
struct Audience(Vec<(Live, Value)>);

impl Audience {
    async fn of(nodes: &[Process]) -> Self {
        let mut all = Vec::new();
        for node in nodes {
            let mut live = Live::open(node.url(), None).await;
            live.subscribe(1, "total", json!({})).await;
            all.push((live, Value::Null));
        }
        Self(all)
    }

    /// Reads frames, on the connections that there were at the beginning, until everybody is shown this.
    async fn sees(&mut self, wanted: i64) {
        for (live, known) in &mut self.0 {
            while *known != *wanted.to_string() {
                let frame = live.next().await;
                *known = applied(known, &frame["results"][0]);
            }
        }
    }
}

async fn caught_up(servers: &Servers, wanted: i64) {
    let replica = connect(&servers.url(6002)).await;
    let ask = "SELECT coalesce(sum(value), 0)::bigint FROM counters";
    until("the replica has caught up", async || count(&replica, ask).await == wanted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_are_shown_what_the_promoted_server_has() {
    for capture in ["wal", "changelog"] {
        let servers = Servers::start();
        servers.lead(ADDRESS, 6001);
        let settings = [("FORGE_REACTIVITY_CAPTURE", capture)];
        let mut nodes = Vec::new();
        for _ in 0..2 {
            nodes.push(Process::start_with(&servers.url(ADDRESS), &settings).await.ready().await);
        }
        let mut audience = Audience::of(&nodes).await;
        let primary = connect(&servers.url(6001)).await;
        primary.batch_execute("INSERT INTO counters VALUES ('a', 1), ('b', 1)").await.unwrap();
        audience.sees(2).await;
        caught_up(&servers, 2).await;
        // What the replica never hears of is shown, and is lost with the server.
        servers.control("replica", 6002, "stop");
        primary.batch_execute("UPDATE counters SET value = 70 WHERE name = 'a'").await.unwrap();
        audience.sees(71).await;
        servers.control("primary", 6001, "stop");
        servers.control("replica", 6002, "start");
        servers.promote();
        servers.lead(ADDRESS, 6002);
        audience.sees(2).await;
        // And from now on it is followed like the one before.
        let promoted = connect(&servers.url(6002)).await;
        for n in 2..10 {
            promoted.execute("UPDATE counters SET value = $1 WHERE name = 'b'", &[&n]).await.unwrap();
            audience.sees(1 + n).await;
        }
        assert_eq!(count(&promoted, &format!("SELECT count(*) FROM forge_feed WHERE sink = '{capture}'")).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_still_read_from_the_old_server_is_given_up() {
    let servers = Servers::start();
    servers.lead(ADDRESS, 6001);
    let settings = [("FORGE_REACTIVITY_CAPTURE", "wal")];
    let nodes = [Process::start_with(&servers.url(ADDRESS), &settings).await.ready().await];
    let mut audience = Audience::of(&nodes).await;
    let primary = connect(&servers.url(6001)).await;
    primary.batch_execute("INSERT INTO counters VALUES ('a', 1)").await.unwrap();
    audience.sees(1).await;
    caught_up(&servers, 1).await;
    // The old one lives on, and so does the stream of its log; everything else goes to the new one.
    servers.promote();
    servers.lead(ADDRESS, 6002);
    let everything_else = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                           WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    count(&primary, everything_else).await;
    let promoted = connect(&servers.url(6002)).await;
    let mut caller = Live::open(nodes[0].url(), None).await;
    let bump = json!({"type": "call", "id": 1, "function": "bump", "args": {"name": "a"}});
    // The first calls may still meet a connection that is gone.
    until("a mutation is taken", async || {
        caller.send(bump.clone()).await;
        caller.next().await.get("error").is_none()
    })
    .await;
    audience.sees(2).await;
    for n in 3..10_i64 {
        promoted.execute("UPDATE counters SET value = $1 WHERE name = 'a'", &[&n]).await.unwrap();
        audience.sees(n).await;
    }
}
