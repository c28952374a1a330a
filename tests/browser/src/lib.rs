//! Runs the board as it is deployed, and has a browser use it.
//!
//! ```text
//! built page ─┐
//! built board ┴▶ board process ◀── HTTP ── Chromium ◀── a scenario (scenarios/*.mjs, run by Node)
//!                     └─▶ a database of the test's own
//! ```
//!
//! Needs Node 20 or later and a Chromium or Chrome on the `PATH`. What a scenario saw when it failed (a picture, the
//! page, the board's log) is in `tests/artifacts`.

mod board;
mod build;
mod scenario;

pub use board::Board;
pub use scenario::run_scenario;

use std::path::{Path, PathBuf};

/// The checkout.
pub(crate) fn checkout() -> PathBuf {
    // tests/browser is two folders below it.
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map_or_else(PathBuf::new, Path::to_path_buf)
}

/// Where failures leave what they saw.
pub(crate) fn artifacts() -> PathBuf {
    checkout().join("tests/artifacts")
}
