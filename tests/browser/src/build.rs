//! Builds what is tested, when it is not there or older than its sources.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::SystemTime;

use crate::checkout;

/// The board's binary, built from the sources as they are.
///
/// # Panics
/// When it does not build.
pub(crate) fn board_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--package", "board", "--message-format", "json-render-diagnostics"]).current_dir(checkout());
        let built = output(build.stderr(Stdio::inherit()), "the board");
        // One JSON object per line; the one about the binary says where it is.
        let messages = built.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let executable = messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).next_back();
        executable.unwrap_or_else(|| panic!("cargo did not say where the board's binary is:\n{built}"))
    })
}

/// Builds the board's page into `frontend/dist`.
///
/// # Panics
/// When it does not build.
pub(crate) fn page() {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let frontend = checkout().join("examples/board/frontend");
        let sources = ["src", "public", "index.html", "vite.config.ts", "svelte.config.js", "package-lock.json"];
        let changed = sources.iter().filter_map(|source| newest(&frontend.join(source))).max();
        if newest(&frontend.join("dist/index.html")) < changed {
            install(&frontend);
            output(npm(&frontend).args(["run", "build"]), "the board's page");
        }
    });
}

/// Installs what the scenarios need.
///
/// # Panics
/// When that fails.
pub(crate) fn browser_driver() -> PathBuf {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    let folder = checkout().join("tests/browser");
    INSTALLED.get_or_init(|| install(&folder));
    folder
}

/// Installs the packages of a lock file, unless they are there and as new as it.
fn install(folder: &Path) {
    // npm writes this one when it has finished.
    if newest(&folder.join("node_modules/.package-lock.json")) < newest(&folder.join("package-lock.json")) {
        output(npm(folder).args(["ci", "--no-audit", "--no-fund"]), "the packages of the browser tests");
    }
}

fn npm(folder: &Path) -> Command {
    let mut npm = Command::new("npm");
    npm.current_dir(folder);
    npm
}

/// What a command that makes something prints.
fn output(command: &mut Command, what: &str) -> String {
    let done = command.output().unwrap_or_else(|why| panic!("{command:?}, which makes {what}, cannot be run: {why}"));
    let printed = String::from_utf8_lossy(&done.stdout).into_owned();
    if !done.status.success() {
        panic!("{what} cannot be made: {command:?}: {}\n{printed}\n{}", done.status, String::from_utf8_lossy(&done.stderr));
    }
    printed
}

/// When a file, or the newest file below a folder, was changed; nothing when there is none.
fn newest(path: &Path) -> Option<SystemTime> {
    let about = std::fs::metadata(path).ok()?;
    if about.is_file() {
        return about.modified().ok();
    }
    let entries = std::fs::read_dir(path).ok()?;
    entries.filter_map(|entry| newest(&entry.ok()?.path())).max()
}
