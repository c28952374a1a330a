//! Faults: what remains true when the app is killed, the database goes away, connections are cut and schemas change.
//!
//! The tests are shorter than they could be, so that they can run with every change; with `FORGE_LONG=1` they take their time.

#[path = "../support/mod.rs"]
mod support;

// A crate that nothing names is not linked, and would bring no functions.
use pipeline as _;

mod cluster;
mod commits;
mod doctor;
mod ends;
mod feed;
mod guarantees;
mod kills;
mod live;
mod load;
mod log;
mod migrations;
mod outages;
mod pooler;
mod proxy;
mod queue;
mod reads;
mod schema;
mod slots;
mod starts;
mod uncommitted;

use std::time::Duration;

/// A time for every run, and one for a run that takes its time.
fn lasting(short_s: u64, long_s: u64) -> Duration {
    Duration::from_secs(if is_long() { long_s } else { short_s })
}

fn is_long() -> bool {
    std::env::var_os("FORGE_LONG").is_some_and(|value| value == "1")
}
