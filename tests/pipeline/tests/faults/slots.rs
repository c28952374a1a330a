//! Two schedulers, and clocks that jump: each time of a cron is decided once.

use std::collections::BTreeMap;
use std::time::Duration;

use forge::prelude::*;
use forge::{App, Config, Node, Secret};
use forge_pg::TestDatabase;
use rand::RngExt as _;
use tokio_postgres::Client;

use crate::is_long;
use crate::support::server::{connect, empty_database};
use crate::support::{count, token, until};

const HOUR: Duration = Duration::from_secs(3600);

/// A node in this process, whose clock the test can turn.
async fn node(database: &TestDatabase) -> Result<Node> {
    let mut config = Config::load_for(None, &|_: &str| None::<String>, forge_runtime::config::Mode::Test)?.config;
    config.database.url = Some(Secret::new(database.url()));
    config.database.pool_size = 5;
    config.gateway.port = 0;
    config.security.auth.secret = Some(Secret::new(token::SECRET));
    config.cluster.heartbeat_interval = Duration::from_millis(200);
    config.cluster.dead_threshold = Duration::from_secs(4);
    let mut node = Node::start(App::linked(&[])?, config).await?;
    node.ready().await?;
    Ok(node)
}

/// Who leads, and in which term.
async fn leader(sql: &Client) -> Option<(Uuid, i64)> {
    let row = sql.query_opt("SELECT node_id, term FROM forge_leaders WHERE lease_until > now()", &[]).await.unwrap()?;
    Some((row.get::<_, Option<Uuid>>(0)?, row.get(1)))
}

/// How many times have passed by the leader's clock that nobody has decided.
async fn undecided(sql: &Client, ahead: Duration) -> i64 {
    let text = "SELECT floor((extract(epoch FROM clock_timestamp())::float8 + $1) / 3600)::int8 - floor(extract(epoch FROM last_slot) / 3600)::int8
                FROM forge_crons WHERE name = 'hourly'";
    sql.query_one(text, &[&ahead.as_secs_f64()]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_time_is_decided_once_whoever_leads_and_whatever_clocks_do() -> Result<()> {
    let database = empty_database().await?;
    let nodes = [node(&database).await?, node(&database).await?];
    let sql = connect(database.url()).await;
    until("somebody leads, and knows the crons", async || {
        leader(&sql).await.is_some() && count(&sql, "SELECT count(*) FROM forge_crons WHERE name = 'hourly'").await == 1
    })
    .await;
    let hour = "SELECT floor(extract(epoch FROM last_slot) / 3600)::int8 FROM forge_crons WHERE name = 'hourly'";
    let before = count(&sql, hour).await;
    let mut terms = BTreeMap::new();
    for round in 0..if is_long() { 200 } else { 15 } {
        let jump = HOUR * rand::rng().random_range(0..5);
        // Either may be ahead of the other, and either may lead.
        let at = rand::rng().random_range(0..2);
        nodes[at].parts().clock().advance(jump);
        let Some((id, term)) = leader(&sql).await else { continue };
        terms.insert(term, id);
        let Some(leads) = nodes.iter().find(|node| node.parts().cluster().me() == Some(id)) else { continue };
        let ahead = leads.parts().clock().offset();
        until("what is due by the leader's clock is decided", async || {
            undecided(&sql, ahead).await <= 0 || leader(&sql).await.is_none_or(|(_, now)| now != term)
        })
        .await;
        if round % 3 == 2 {
            // Its session ends; whoever is first to notice follows, itself or the other one.
            let end = "SELECT pg_terminate_backend(backend_pid, 10000) FROM forge_nodes WHERE id = $1";
            sql.execute(end, &[&id]).await.unwrap();
            until("somebody leads again", async || leader(&sql).await.is_some_and(|(_, now)| now > term)).await;
        }
    }
    // One is left, which has the last word.
    let [mut gone, mut last] = nodes;
    gone.stop().await;
    let me = last.parts().cluster().me();
    until("it leads", async || leader(&sql).await.is_some_and(|(id, _)| Some(id) == me)).await;
    let ahead = last.parts().clock().offset();
    until("what is due is decided", async || undecided(&sql, ahead).await <= 0).await;
    last.parts().run_jobs().await?;
    let hours = count(&sql, hour).await - before;
    let decided = count(&sql, "SELECT count(*) FROM forge_cron_runs WHERE cron = 'hourly'").await;
    let missed = count(&sql, "SELECT missed FROM forge_crons WHERE name = 'hourly'").await;
    let dispatched = count(&sql, "SELECT count(job) FROM forge_cron_runs WHERE cron = 'hourly'").await;
    let run = count(&sql, "SELECT count(*) FROM executions WHERE label LIKE 'hourly %'").await;
    let different =
        count(&sql, "SELECT count(DISTINCT split_part(label, ' ', 2)) FROM executions WHERE label LIKE 'hourly %'").await;
    println!("{hours} hours: {run} runs, {} left out, {missed} missed, in {} terms", decided - dispatched, terms.len());
    assert_eq!((run, different), (dispatched, dispatched), "each is run once");
    assert_eq!(decided + missed, hours, "and each time is either decided or missed");
    assert!(run >= 3 && terms.len() > 1, "{run} runs in {} terms prove little", terms.len());
    last.stop().await;
    database.remove().await
}
