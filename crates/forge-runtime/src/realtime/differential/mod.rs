//! The differential test: whatever is written, every query whose result changed must have been marked.
//!
//! ```text
//!  seed ─▶ schema, queries ─▶ read sets ─▶ triggers, index          (what the engine does, done by its own parts)
//!      └─▶ write ─▶ one snapshot: the feed's batch ─▶ index ─▶ marked?
//!                              └─ all results anew ─────────▶ changed?     changed and not marked: a failure
//! ```
//!
//! A case is one transaction, checked against every query of its schema; a seed is a schema with [`WRITES`] of them, one after the other. Seeds are
//! taken by as many threads as there are cores. They are run with changes as rows, and fewer of them with changes in the log: what differs
//! there is the feed.
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

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub(crate) use dice::Dice;
pub(crate) use place::{Place, config, connect, templates};
use tally::Tally;
use world::World;

use crate::config::CaptureMode;

/// How many cases there are when nobody says.
const CASES: u64 = 100_000;

/// How many there are with changes in the log.
const WAL_CASES: u64 = 5_000;

/// How many transactions a schema lives for.
const WRITES: u64 = 250;

/// How many schemas live in one database, one after the other. Each leaves functions behind, and its sessions remember them.
const WORLDS: usize = 16;

/// How long to wait for what comes by itself, at once or within a second or so on a machine that has nothing else to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a long run says how far it is, in cases.
const TOLD_EVERY: usize = 50_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// Looks until it is so, and fails when it does not become so in time.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs on one thread, where planted faults are seen by everything.
pub(crate) fn on_one_thread<T>(body: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(body)
}

/// A range of seeds that several threads work on.
struct Run {
    capture: CaptureMode,
    /// Where the number of cases is said.
    cases: &'static str,
    next: AtomicU64,
    end: u64,
    tally: Mutex<Tally>,
}

impl Run {
    fn new(capture: CaptureMode, cases: &'static str, usual: u64) -> Self {
        let first = number("FORGE_DIFFERENTIAL_SEED").unwrap_or(1);
        let end = first + number(cases).unwrap_or(usual).div_ceil(WRITES);
        Self { capture, cases, next: AtomicU64::new(first), end, tally: Mutex::default() }
    }

    fn seed(&self) -> Option<u64> {
        Some(self.next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < self.end)
    }

    /// All of it.
    fn run(self) {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            let working: Vec<_> = (0..threads).map(|_| scope.spawn(|| on_one_thread(self.work()))).collect();
            let failures: Vec<String> = working.into_iter().filter_map(|one| one.join().unwrap().err()).collect();
            assert!(failures.is_empty(), "{}", failures.join("\n\n"));
        });
        let tally = self.tally.into_inner().unwrap();
        eprintln!("{tally}");
        tally.check();
    }

    /// The share of one thread.
    async fn work(&self) -> Result<(), String> {
        let mut next = self.seed();
        while next.is_some() {
            let mut place = Place::with(self.capture).await;
            for _ in 0..WORLDS {
                let Some(seed) = next else { break };
                let mut seen = Tally::default();
                let ran = async {
                    let world = World::new(&mut place, seed, &mut seen.invalid).await?;
                    world.run(WRITES as usize, &mut seen).await
                };
                let ran = ran.await;
                if ran.as_ref().is_err_and(|why| why.starts_with("TIMEOUT")) {
                    // Chance has made a join that does not end. What was seen before counts.
                    seen.endless += 1;
                } else if let Err(why) = ran {
                    // The others end with the seed that they are at.
                    self.next.store(self.end, Ordering::Relaxed);
                    let again = format!("{}={WRITES} FORGE_DIFFERENTIAL_SEED={seed}", self.cases);
                    return Err(format!("seed {seed} ({again} shows it again): {why}"));
                }
                self.add(seen);
                next = self.seed();
            }
            place.remove().await;
        }
        Ok(())
    }

    fn add(&self, seen: Tally) {
        let mut tally = self.tally.lock().unwrap();
        let before = tally.writes;
        tally.add(seen);
        if before / TOLD_EVERY != tally.writes / TOLD_EVERY {
            eprintln!("so far: {tally}");
        }
    }
}

#[test]
fn a_result_that_changed_was_marked() {
    Run::new(CaptureMode::Changelog, "FORGE_DIFFERENTIAL_CASES", CASES).run();
}

#[test]
fn a_result_that_changed_was_marked_through_the_log() {
    Run::new(CaptureMode::Wal, "FORGE_DIFFERENTIAL_WAL_CASES", WAL_CASES).run();
}
