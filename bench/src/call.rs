//! `call`: a query by primary key and a mutation of one insert through the whole pipeline, beside bare handlers.
//!
//! All servers run at the same time; only the one that is asked does anything. Each round asks each of them, beginning with
//! another one every time.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::cpu::Used;
use crate::load::Load;
use crate::programs::Programs;
use crate::report::{Aim, Ratio, Report, Sample, Series};
use crate::server::Server;
use crate::{Result, cores, http};

/// Many short rounds rather than a few long ones: what a machine's speed does from second to second then meets all alike.
const ROUNDS: usize = 15;
/// Before the first round of a series.
const FIRST_WARM_UP: Duration = Duration::from_secs(1);
const WARM_UP: Duration = Duration::from_millis(200);
const MEASURE: Duration = Duration::from_millis(700);
const CONNECTIONS: [usize; 2] = [16, 64];
/// How many items there are.
const ITEMS: u64 = 100_000;
/// Signs the caller's token; the process and its database last a few minutes.
const SECRET: &str = "kept-by-nobody-0123456789-abcdefghijklmnopqrstuvwxyz";

const FORGE: &str = "forge";
const FLOOR: &str = "axum-tokio-postgres";
const SQLX: &str = "axum-sqlx";
const FASTIFY: &str = "fastify-pg";

/// A call that is measured.
#[derive(Debug, Clone, Copy)]
struct Workload {
    name: &'static str,
    function: &'static str,
    body: fn(u64) -> String,
    /// What an answer to the call with 42 contains.
    expected: &'static str,
    contestants: &'static [&'static str],
}

const QUERY: Workload = Workload {
    name: "query",
    function: "get_item",
    body: |n| format!("{{\"id\":{n}}}"),
    expected: "\"name\":\"item 42\"",
    contestants: &[FORGE, FLOOR, SQLX, FASTIFY],
};

const MUTATION: Workload = Workload {
    name: "mutation",
    function: "add_audit",
    body: |n| format!("{{\"itemId\":{n},\"note\":\"looked at, and found to be in order\"}}"),
    expected: "\"note\":\"looked at, and found to be in order\"",
    contestants: &[FORGE, FLOOR],
};

/// Measures, and prints what came of it.
pub(crate) fn run(programs: &Programs, url: &str, postgres: u32) -> Result<()> {
    let logs = tempfile::tempdir()?;
    let mut bench =
        Bench { servers: start(programs, url, logs.path())?, token: token()?, postgres, random: 0x9E37_79B9_7F4A_7C15 };
    bench.check()?;
    let mut report = Report::new("call");
    for workload in [QUERY, MUTATION] {
        for connections in CONNECTIONS {
            report.add(bench.series(&workload, connections)?)?;
        }
    }
    report.finish(&ratios())
}

/// What is promised.
fn ratios() -> Vec<Ratio> {
    let rate = |name, series: (&'static str, usize), to, least| Ratio {
        name,
        series,
        of: Sample::rate,
        to,
        aim: Aim::AtLeast(least),
    };
    let p99 =
        |name, series: (&'static str, usize)| Ratio { name, series, of: Sample::p99_ms, to: FLOOR, aim: Aim::AtMost(1.25) };
    let cpu =
        |name, series: (&'static str, usize)| Ratio { name, series, of: Sample::server_us, to: FLOOR, aim: Aim::None };
    vec![
        rate("query_floor", ("query", 16), FLOOR, 0.95),
        rate("query_floor_64", ("query", 64), FLOOR, 1.0),
        rate("query_sqlx", ("query", 16), SQLX, 1.4),
        rate("query_sqlx_64", ("query", 64), SQLX, 1.4),
        rate("query_fastify", ("query", 16), FASTIFY, 1.3),
        rate("query_fastify_64", ("query", 64), FASTIFY, 1.3),
        rate("mutation_floor", ("mutation", 16), FLOOR, 1.0),
        rate("mutation_floor_64", ("mutation", 64), FLOOR, 1.0),
        p99("p99_floor", ("query", 16)),
        p99("p99_floor_64", ("query", 64)),
        p99("mutation_p99_floor", ("mutation", 16)),
        p99("mutation_p99_floor_64", ("mutation", 64)),
        cpu("query_cpu_floor", ("query", 16)),
        cpu("query_cpu_floor_64", ("query", 64)),
        cpu("mutation_cpu_floor", ("mutation", 16)),
        cpu("mutation_cpu_floor_64", ("mutation", 64)),
    ]
}

fn start(programs: &Programs, url: &str, logs: &Path) -> Result<Vec<Server>> {
    let core = Some(cores::SERVER);
    let floor = |mode: &'static str| {
        move |port: u16| {
            let mut command = Command::new(&programs.floors);
            command.args([mode, &port.to_string(), url]);
            command
        }
    };
    Ok(vec![
        Server::start(FORGE, logs, core, |port| {
            let mut command = Command::new(&programs.app);
            command.current_dir(&programs.app_folder);
            command.env("FORGE_SECRET", SECRET).env("FORGE_PORT", port.to_string()).env("DATABASE_URL", url);
            command
        })?,
        Server::start(FLOOR, logs, core, floor("dp"))?,
        Server::start(SQLX, logs, core, floor("sqlx"))?,
        Server::start(FASTIFY, logs, core, |port| {
            let mut command = Command::new("node");
            command.env("NODE_ENV", "production").arg(&programs.fastify).args([&port.to_string(), url]);
            command
        })?,
    ])
}

/// A token of a user, good for an hour.
fn token() -> Result<String> {
    let claims = serde_json::json!({"sub": "u1", "exp": jsonwebtoken::get_current_timestamp() + 3600, "roles": ["editor"]});
    Ok(jsonwebtoken::encode(
        &jsonwebtoken::Header::default(),
        &claims,
        &jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes()),
    )?)
}

struct Bench {
    servers: Vec<Server>,
    token: String,
    /// PostgreSQL's process.
    postgres: u32,
    random: u64,
}

impl Bench {
    /// Every server gives the right answer to every call that it is measured with.
    fn check(&mut self) -> Result<()> {
        let mut request = Vec::new();
        for workload in [QUERY, MUTATION] {
            http::write_request(&mut request, workload.function, Some(&self.token), &(workload.body)(42));
            for server in &mut self.servers {
                if workload.contestants.contains(&server.name) {
                    server.expect(&request, workload.expected)?;
                }
            }
        }
        Ok(())
    }

    fn series(&mut self, workload: &Workload, connections: usize) -> Result<Series> {
        let mut series = Series::new(workload.name, connections, workload.contestants);
        for round in 0..ROUNDS {
            for turn in 0..workload.contestants.len() {
                let contestant = (round + turn) % workload.contestants.len();
                let warm_up = if round == 0 { FIRST_WARM_UP } else { WARM_UP };
                series.push(contestant, self.sample(workload, connections, workload.contestants[contestant], warm_up)?);
            }
        }
        Ok(series)
    }

    fn sample(&mut self, workload: &Workload, connections: usize, name: &str, warm_up: Duration) -> Result<Sample> {
        let server = self.servers.iter().find(|server| server.name == name).ok_or("there is no such server")?;
        server.empty_log()?;
        let load = Load { address: server.address, connections, warm_up, measure: MEASURE };
        let mut looks = Vec::with_capacity(2);
        let random = &mut self.random;
        let request = |buffer: &mut Vec<u8>| {
            http::write_request(buffer, workload.function, Some(&self.token), &(workload.body)(1 + next(random) % ITEMS));
        };
        let measured = load.run(request, || {
            looks.push(Used::now(server.pid(), self.postgres)?);
            Ok(())
        });
        let measured = measured.map_err(|why| format!("{name}, {}, {connections} connections: {why}", workload.name))?;
        let [before, after] = &looks[..] else { return Err("a measurement has a beginning and an end".into()) };
        let used = after.since(before);
        let per_call_us = |used: Duration| used.as_secs_f64() * 1e6 / measured.calls().max(1) as f64;
        Ok(Sample {
            rate: measured.rate(),
            p50_ms: measured.quantile_ms(0.5),
            p99_ms: measured.quantile_ms(0.99),
            server_us: per_call_us(used.server),
            postgres_us: per_call_us(used.postgres),
            others: used.others().as_secs_f64() / measured.took.as_secs_f64(),
        })
    }
}

/// The next of a sequence of numbers without a pattern that matters here (xorshift).
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}
