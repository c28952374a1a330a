//! The differential test: whatever is written, every query whose result changed must have been marked.
//!
//! ```text
//!  seed ─▶ schema, queries ─▶ read sets ─▶ triggers, index          (what the engine does, done by its own parts)
//!      └─▶ write ─▶ one snapshot: the feed's batch ─▶ index ─▶ marked?
//!                              └─ all results anew ─────────▶ changed?     changed and not marked: a failure
//! ```
//!
//! A case is one transaction, checked against every query of its schema; a seed is a schema with [`WRITES`] of them, one after the other. Shares of
//! the seeds are tests of their own, so that they run at the same time. They are run with changes as rows, and fewer of them with changes in the
//! log: what differs there is the feed.
//!
//! `FORGE_DIFFERENTIAL_CASES` says how many cases there are, `FORGE_DIFFERENTIAL_WAL_CASES` how many with changes in the log, and
//! `FORGE_DIFFERENTIAL_SEED` which seed is the first. A failure names the seed that shows it again.

mod datum;
mod dice;
mod faults;
mod grammar;
mod look;
mod place;
mod refused;
mod schema;
mod tally;
mod world;
mod writes;

use place::Place;
use tally::Tally;
use world::World;

use crate::config::CaptureMode;

/// How many cases there are when nobody says.
const CASES: u64 = 100_000;

/// How many of them there are with changes in the log.
const WAL_CASES: u64 = 5_000;

/// How many transactions a schema lives for.
const WRITES: u64 = 250;

/// How many schemas live in one database, one after the other. Each leaves functions behind, and memory of its sessions.
const WORLDS: usize = 16;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// Runs on one thread, where planted faults are seen by everything.
fn on_one_thread<T>(body: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(body)
}

/// One share of the seeds, of so many shares.
fn run(capture: CaptureMode, share: usize, of: usize) {
    let name = if capture == CaptureMode::Wal { "FORGE_DIFFERENTIAL_WAL_CASES" } else { "FORGE_DIFFERENTIAL_CASES" };
    let cases = number(name).unwrap_or(if capture == CaptureMode::Wal { WAL_CASES } else { CASES });
    let first = number("FORGE_DIFFERENTIAL_SEED").unwrap_or(1);
    let seeds: Vec<u64> = (first..first + cases.div_ceil(WRITES)).skip(share).step_by(of).collect();
    on_one_thread(async {
        let mut tally = Tally::default();
        for some in seeds.chunks(WORLDS) {
            let mut place = Place::with(capture).await;
            for seed in some {
                let world = World::new(&mut place, *seed, &mut tally.invalid).await;
                let world = world.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
                if let Err(why) = world.run(WRITES as usize, &mut tally).await {
                    panic!("seed {seed} ({name}={WRITES} FORGE_DIFFERENTIAL_SEED={seed} shows it again): {why}");
                }
            }
            place.remove().await;
        }
        eprintln!("{tally}");
        tally.check();
    });
}

macro_rules! shares {
    ($capture:ident, $of:literal: $($name:ident = $share:literal)*) => {
        $(#[test] fn $name() { run(CaptureMode::$capture, $share, $of); })*
    };
}

/// Whatever is written, a result that changed was marked.
mod changes_that_are_rows {
    use super::*;

    shares!(Changelog, 8: share_1 = 0 share_2 = 1 share_3 = 2 share_4 = 3 share_5 = 4 share_6 = 5 share_7 = 6 share_8 = 7);
}

/// The same, with the log.
mod changes_in_the_log {
    use super::*;

    shares!(Wal, 2: share_1 = 0 share_2 = 1);
}
