//! What a browser does.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::{artifacts, board::Board, build};

/// How long a scenario may take. Each of its steps has a shorter limit of its own, and says which one it was.
const PATIENCE: Duration = Duration::from_secs(300);

/// Browsers that the scenarios know how to start.
const BROWSERS: &[&str] = &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];

/// Has a browser go through `scenarios/{name}.mjs` on a board of its own, which then must stop well.
///
/// # Panics
/// When the scenario fails; what it saw is in `tests/artifacts`.
pub async fn run_scenario(name: &str) {
    let folder = build::browser_driver();
    let mut board = Board::start(name).await;
    let mut node = Command::new("node");
    node.arg(format!("scenarios/{name}.mjs"))
        .current_dir(folder)
        .env("BOARD_URL", board.url())
        .env("BROWSER", browser())
        .env("ARTIFACTS", artifacts())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    let node = node.spawn();
    let mut node = node.unwrap_or_else(|why| panic!("node cannot be run ({why}); the browser tests need Node 20 or later"));
    let (Some(orders), Some(answers)) = (node.stdout.take(), node.stdin.take()) else {
        panic!("node's streams were piped")
    };
    let played = timeout(PATIENCE, async {
        obey(orders, answers, &mut board).await;
        node.wait().await
    });
    let Ok(ended) = played.await else { panic!("the scenario {name} takes longer than {PATIENCE:?}") };
    let ended = ended.unwrap_or_else(|why| panic!("node was lost: {why}"));
    assert!(ended.success(), "the scenario {name} failed; see above, and {}", artifacts().display());
    let status = board.stop().await;
    assert!(status.success(), "the board ended with {status}");
}

/// Does to the board what a scenario wants to be done, one line of its output each, until it ends; answers each with a line.
async fn obey(orders: ChildStdout, mut answers: ChildStdin, board: &mut Board) {
    let mut orders = BufReader::new(orders).lines();
    while let Ok(Some(order)) = orders.next_line().await {
        match order.as_str() {
            "board: kill" => board.kill().await,
            "board: terminate" => {
                let status = board.terminate().await;
                assert!(status.success(), "the board ended with {status}");
            }
            "board: start" => board.start_again().await,
            said => {
                eprintln!("{said}");
                continue;
            }
        }
        // A scenario that failed meanwhile does not read it; how it ends tells.
        if answers.write_all(b"done\n").await.is_err() {
            return;
        }
    }
}

fn browser() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).flat_map(|dir| BROWSERS.iter().map(move |name| dir.join(name)));
    places.find(|place| place.is_file()).unwrap_or_else(|| {
        panic!("no browser is on the PATH (one of {}); on Debian: apt-get install chromium", BROWSERS.join(", "))
    })
}
