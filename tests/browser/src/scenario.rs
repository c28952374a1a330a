//! What a browser does.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::{artifacts, board::Board, build};

/// How long a scenario may take. Each of its steps has a shorter limit of its own, and says which one it was.
const PATIENCE: Duration = Duration::from_secs(180);

/// Browsers that the scenarios know how to start.
const BROWSERS: &[&str] = &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];

/// Has a browser go through `scenarios/{name}.mjs` on a board of its own, which then must stop well.
///
/// # Panics
/// When the scenario fails; what it saw is in `tests/artifacts`.
pub async fn run_scenario(name: &str) {
    let folder = build::browser_driver();
    let board = Board::start(name).await;
    let mut node = Command::new("node");
    node.arg(format!("scenarios/{name}.mjs"))
        .current_dir(folder)
        .env("BOARD_URL", board.url())
        .env("BROWSER", browser())
        .env("ARTIFACTS", artifacts())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let ended = timeout(PATIENCE, node.output()).await;
    let Ok(ended) = ended else { panic!("the scenario {name} takes longer than {PATIENCE:?}") };
    let ended = ended.unwrap_or_else(|why| panic!("node cannot be run ({why}); the browser tests need Node 20 or later"));
    let (said, wrong) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "the scenario {name} failed; see {}\n{said}\n{wrong}", artifacts().display());
    let status = board.stop().await;
    assert!(status.success(), "the board ended with {status}");
}

fn browser() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).flat_map(|dir| BROWSERS.iter().map(move |name| dir.join(name)));
    places.find(|place| place.is_file()).unwrap_or_else(|| {
        panic!("no browser is on the PATH (one of {}); on Debian: apt-get install chromium", BROWSERS.join(", "))
    })
}
