//! Benchmarks: one per promise, each run beside its floor, and stated as a ratio to it.
//!
//! `cargo run --release -p bench -- call` prints tables for people and then one line of JSON for machines; so do `live` and `jobs`. What
//! is measured, and what came of it, is in `docs/benchmarks.md`.
//!
//! ```text
//!  call:   core 0: the server that is measured          core 1: load client, PostgreSQL
//!  live:   cores 0 and 1: all of them
//!  jobs:   cores 0 and 1: all of them
//! ```
//!
//! Everything is real: release builds in processes of their own, a private PostgreSQL that syncs to disk, HTTP over loopback. A
//! machine is never quiet, so contestants take turns, round after round, and ratios are taken within a round.
//!
//! Not here: what a floor is, see `bench/floors`; the app that is measured, see `bench/app`.

mod call;
mod cores;
mod cpu;
mod figures;
mod http;
mod jobs;
mod live;
mod load;
mod postgres;
mod programs;
mod report;
mod server;

use std::io::Write as _;
use std::process::ExitCode;

use postgres::Postgres;
use programs::Programs;
use tokio::signal::unix::{SignalKind, signal};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const USAGE: &str = "usage: bench call | live [capture|lists|crowd] | jobs [enqueue|drain|latency|pinned|crowd]

  call   a query by primary key and a mutation of one insert, beside bare handlers
  live   live queries: what following costs, how soon and how surely subscribers are told, beside bare readers and broadcasts;
         all of it, or one part
  jobs   the durable queue: dispatching, working off, latency, beside PostgreSQL's own load program and a bare client; all of it,
         or one part
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["call"] => run(call),
        ["live"] => run(|programs| live(programs, None)),
        ["live", part] => match live::Part::named(part) {
            Some(part) => run(|programs| live(programs, Some(part))),
            None => Err(USAGE.into()),
        },
        ["jobs"] => run(|programs| jobs(programs, None)),
        ["jobs", part] => match jobs::Part::named(part) {
            Some(part) => run(|programs| jobs(programs, Some(part))),
            None => Err(USAGE.into()),
        },
        ["help" | "--help" | "-h"] => say(USAGE.trim_end()),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // When stderr is closed there is nobody to tell.
            let _ = writeln!(std::io::stderr().lock(), "error: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Builds the programs, and runs a benchmark with them until it ends or is told to stop.
fn run<F: Future<Output = Result<()>>>(benchmark: impl FnOnce(Programs) -> F) -> Result<()> {
    let programs = programs::build()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(benchmark(programs))
    // A measurement that was told to stop ends now, as its servers have lost their database.
}

async fn call(programs: Programs) -> Result<()> {
    // Before there is a second thread: threads and processes inherit it.
    cores::pin_to(cores::LOAD)?;
    let postgres = Postgres::start(include_str!("../floors/schema.sql")).await?;
    let (url, pid) = (postgres.url(), postgres.pid());
    let measured = unless_stopped(move || call::run(&programs, &url, pid)).await;
    // Whatever came of it, nothing is left behind.
    postgres.remove().await?;
    measured
}

async fn live(programs: Programs, part: Option<live::Part>) -> Result<()> {
    let databases = live::Databases::start().await?;
    let places = databases.places();
    let measured = unless_stopped(move || live::run(&programs, &places, part)).await;
    databases.remove().await?;
    measured
}

async fn jobs(programs: Programs, part: Option<jobs::Part>) -> Result<()> {
    let database = layouts::database::Database::start().await?;
    let (floor, measured, pid) = (database.floor(), database.measured(), database.pid());
    let done = unless_stopped(move || jobs::run(&programs, floor, measured, pid, part)).await;
    database.remove().await?;
    done
}

/// Does work that blocks, unless it is told to stop meanwhile.
async fn unless_stopped(work: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
    tokio::select! {
        done = tokio::task::spawn_blocking(work) => done?,
        () = told_to_stop()? => Err("stopped".into()),
    }
}

/// Ends at SIGINT or SIGTERM.
fn told_to_stop() -> Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Prints a line.
fn say(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{line}")?)
}
