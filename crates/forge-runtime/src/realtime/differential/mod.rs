//! The differential test: whatever is written, every query whose result changed must have been marked.
//!
//! ```text
//!  seed ─▶ schema, queries ─▶ read sets ─▶ triggers, index          (what the engine does, done by its own parts)
//!      └─▶ write ─▶ one snapshot: the feed's batch ─▶ index ─▶ marked?
//!                              └─ all results anew ─────────▶ changed?     changed and not marked: a failure
//! ```
//!
//! A case is one transaction, checked against every query of its schema. `FORGE_DIFFERENTIAL_CASES` says how many there are,
//! `FORGE_DIFFERENTIAL_SEED` which schema is the first; a failure names the seed that shows it again.

mod datum;
mod dice;
mod faults;
mod grammar;
mod refused;
mod schema;
mod world;
mod writes;

pub(crate) use world::{Place, config, connect};
use world::{Tally, World};

/// How many cases there are when nobody says.
const CASES: usize = 5_000;

/// How many transactions a schema lives for.
const WRITES: usize = 250;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// Runs on one thread, where planted faults are seen by everything.
pub(crate) fn on_one_thread<T>(body: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(body)
}

#[test]
fn a_result_that_changed_was_marked() {
    on_one_thread(async {
        let cases = number("FORGE_DIFFERENTIAL_CASES").map_or(CASES, |cases| usize::try_from(cases).unwrap());
        let first = number("FORGE_DIFFERENTIAL_SEED").unwrap_or(1);
        let place = Place::make().await;
        let mut tally = Tally::default();
        for seed in first.. {
            let world =
                World::new(&place, seed, &mut tally.invalid).await.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
            if let Err(why) = world.run(WRITES.min(cases - tally.writes), &mut tally).await {
                panic!("seed {seed} (FORGE_DIFFERENTIAL_SEED={seed} shows it again): {why}");
            }
            if tally.writes >= cases {
                break;
            }
        }
        eprintln!("{tally}");
        tally.check();
    });
}
