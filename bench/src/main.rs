//! Benchmarks: one per promise, each run beside its floor, and stated as a ratio to it.
//!
//! `cargo run --release -p bench -- call` prints tables for people and then one line of JSON for machines. What is measured, and
//! what came of it, is in `docs/benchmarks.md`.
//!
//! ```text
//!  core 0: the server that is measured          core 1: load client, PostgreSQL
//! ```
//!
//! Everything is real: release builds in processes of their own, a private PostgreSQL that syncs to disk, HTTP over loopback. A
//! machine is never quiet, so contestants take turns, round after round, and ratios are taken within a round.
//!
//! Not here: what a floor is, see `bench/floors`; the app that is measured, see `bench/app`.

mod call;
mod cores;
mod cpu;
mod http;
mod load;
mod postgres;
mod programs;
mod report;
mod server;

use std::io::Write as _;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const USAGE: &str = "usage: bench call

  call   a query by primary key and a mutation of one insert, beside bare handlers
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["call"] => run(),
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

fn run() -> Result<()> {
    let programs = programs::build()?;
    // Before there is a second thread: threads and processes inherit it.
    cores::pin_to(cores::LOAD)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let postgres = postgres::Postgres::start().await?;
        let (url, pid) = (postgres.url(), postgres.pid());
        let measured = tokio::select! {
            done = tokio::task::spawn_blocking(move || call::run(&programs, &url, pid)) => done?,
            () = told_to_stop()? => Err("stopped".into()),
        };
        // Whatever came of it, nothing is left behind.
        postgres.remove().await?;
        measured
    })
    // A measurement that was told to stop ends now, as its servers have lost their database.
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
