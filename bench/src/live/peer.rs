//! The peer: PostGraphile's live queries, on the same lists with the same writes.

use std::process::Command;
use std::time::Duration;

use super::audience::{Audience, Meter, Speech};
use super::figures::Figures;
use super::node::Sink;
use super::socket::Door;
use super::writers::{Paced, block_on, connect};
use super::{CLIENTS, Stage};
use crate::programs::{finish, install};
use crate::report::{Aim, Spread};
use crate::server::Server;
use crate::{Result, say};

const NAME: &str = "peer_p50";

/// How often it is asked; it takes longer than the others to come to rest.
const ROUNDS: usize = 2;

/// Measures it, or says in a line why not. `main` is the sink that it is compared with.
pub(super) fn measure(stage: &Stage, main: Sink, figures: &mut Figures) -> Result<()> {
    say(&format!("\n{CLIENTS} clients on PostGraphile 4 with subscriptions-lds"))?;
    if let Err(why) = obtain(stage) {
        figures.without(NAME);
        return say(&format!("  it is left out: {why}"));
    }
    let (url, script) = (stage.places.peer.as_str(), stage.programs.postgraphile.join("server.js"));
    let server = Server::start("postgraphile", stage.logs, None, |port| {
        let mut command = Command::new("node");
        command.env("NODE_ENV", "production").arg(script).args([&port.to_string(), url]);
        command
    })?;
    server.until_listening()?;
    let door = Door { address: server.address, path: "/graphql", protocol: "graphql-ws" };
    let mut audience = Audience::open(door, CLIENTS, Speech::Graphql)?;
    let first = audience.subscribe()?.as_secs_f64();
    figures.figure("peer_first_results_s", Spread::of(std::iter::once(first)), Aim::None)?;
    let pace = Paced { per_second: 100, connections: 1, lasting: Duration::from_secs(5), table: "todo" };
    let meter = Meter { node: None, server: server.pid(), postgres: stage.places.postgres };
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(audience.watch(url, pace, meter)?);
    }
    let of = |of: &dyn Fn(&super::audience::Round) -> f64| Spread::of(rounds.iter().map(of));
    let p50 = of(&|round| round.verdict.quantile_ms(0.5));
    figures.figure("peer_p50_ms", p50, Aim::None)?;
    figures.figure("peer_p99_ms", of(&|round| round.verdict.quantile_ms(0.99)), Aim::None)?;
    figures.figure("peer_cores", of(&|round| round.server_cores + round.postgres_cores), Aim::None)?;
    figures.figure("peer_missing", of(&|round| round.verdict.missing as f64), Aim::None)?;
    let ours = figures.of_sink(main, "p50_ms");
    let ratio = ours.zip(p50).and_then(|(ours, theirs)| Spread::of(std::iter::once(ours.median / theirs.median)));
    figures.ratio(NAME, ratio, Aim::AtMost(1.0 / 150.0))
}

/// Its packages, and the output plug-in that its replication slot needs.
fn obtain(stage: &Stage) -> Result<()> {
    install(&stage.programs.postgraphile)?;
    if let Err(why) = block_on(decodes(&stage.places.peer)) {
        let version = block_on(major(&stage.places.peer))?;
        let package = format!("postgresql-{version}-wal2json");
        // On a Debian that we may install on; elsewhere nobody is asked.
        finish(Command::new("apt-get").args(["install", "-y", "-qq", &package]))
            .map_err(|_| format!("PostgreSQL has no wal2json ({why}), and {package} cannot be installed"))?;
        block_on(decodes(&stage.places.peer))?;
    }
    block_on(async {
        let client = connect(&stage.places.peer).await?;
        // It does not recognise rows by a bigint, which GraphQL has as text and its slot as a number.
        let text = "ALTER TABLE todo ALTER id TYPE int, ALTER list_id TYPE int; ALTER TABLE todo REPLICA IDENTITY FULL";
        Ok(client.batch_execute(text).await?)
    })
}

/// Whether the server has the plug-in.
async fn decodes(url: &str) -> Result<()> {
    let client = connect(url).await?;
    client.execute("SELECT pg_create_logical_replication_slot('probe', 'wal2json', true)", &[]).await?;
    client.execute("SELECT pg_drop_replication_slot('probe')", &[]).await?;
    Ok(())
}

async fn major(url: &str) -> Result<i32> {
    let row = connect(url).await?.query_one("SELECT current_setting('server_version_num')::int / 10000", &[]).await?;
    Ok(row.get(0))
}
