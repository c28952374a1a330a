//! Random steps, checked one by one.

use crate::realtime::differential::{Place, on_one_thread};

use super::world::World;

/// How many steps a case has.
pub(super) const STEPS: usize = 150;

/// How many cases there are when nothing is said: some ten seconds.
const CASES: u64 = 40;

/// As the test runner calls it.
pub(super) const TEST: &str = "jobs::tests::random::the_queue_does_what_its_model_does";

/// Begins the line that says what is wrong.
pub(super) const DIFFERS: &str = "the queue differs from its model";

fn number(variable: &str, otherwise: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
        Err(_) => otherwise,
    }
}

#[test]
fn the_queue_does_what_its_model_does() {
    let (first, cases) = (number("FORGE_QUEUE_SEED", 1), number("FORGE_QUEUE_CASES", CASES));
    on_one_thread(async {
        crate::install_crypto();
        let place = Place::make().await;
        let mut counts = std::collections::BTreeMap::new();
        let mut steps = 0;
        for seed in first..first + cases {
            let mut world = World::new(&place, seed).await;
            for n in 0..STEPS {
                if let Err(why) = world.step().await {
                    let story = world.story.join("\n  ");
                    panic!("{DIFFERS}: {why}\nin step {n} of FORGE_QUEUE_SEED={seed} FORGE_QUEUE_CASES=1:\n  {story}");
                }
                steps += 1;
            }
            for (what, n) in world.counts {
                *counts.entry(what).or_insert(0_usize) += n;
            }
        }
        println!("{steps} steps from seed {first} on: {counts:?}");
        // Whatever hardly ever happens proves nothing.
        let rare = counts.values().filter(|n| **n < 2).count();
        assert!(cases < CASES || (rare == 0 && counts.len() == super::world::COUNTED), "too little happens: {counts:?}");
        place.remove().await;
    });
}
