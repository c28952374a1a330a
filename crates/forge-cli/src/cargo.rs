//! Building with cargo: how far it is, what the compiler says, and where the program is.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use forge_core::{Error, Result, ResultExt as _};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Command;

use crate::app::{App, Crates};
use crate::failure;
use crate::group::Group;
use crate::status::Status;

/// How often the time on the status line moves.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// Which of cargo's profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Fast to build; the page is read from the disk.
    Dev,
    /// Fast to run; the page is part of the program.
    Release,
}

/// A program that was built.
#[derive(Debug, Clone)]
pub(crate) struct Built {
    /// Where it is.
    pub(crate) program: PathBuf,
    /// How long that took.
    pub(crate) took: Duration,
}

/// Cargo, without what cargo said to this program when it started it: builds must be the same as those of a plain shell.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(folder).stdin(Stdio::null());
    clean_environment(&mut command);
    command
}

/// Takes away what cargo tells a program about the package that the program, not the app, was built from.
pub(crate) fn clean_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_")
            || ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_CRATE_NAME", "CARGO_BIN_NAME", "OUT_DIR"]
                .contains(&&*name)
        {
            command.env_remove(&*name);
        }
    }
}

/// Builds the program of an app. What the compiler has to say goes to the terminal.
///
/// # Errors
/// `BUILD_FAILED` when it does not build.
pub(crate) async fn build(app: &App, crates: &Crates, profile: Profile, status: &Status) -> Result<Built> {
    let began = Instant::now();
    let mut command = command(&app.root);
    command
        .args(["build", "--message-format=json-render-diagnostics", "--bin", &crates.binary, "--manifest-path"])
        .arg(app.root.join("Cargo.toml"))
        .args(["--color", if status.has_colour() { "always" } else { "never" }])
        .args((profile == Profile::Release).then_some("--release"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if status.is_terminal() {
        // Cargo then counts for us: `Building [==>  ] 37/120`.
        command.envs([("CARGO_TERM_PROGRESS_WHEN", "always"), ("CARGO_TERM_PROGRESS_WIDTH", "100")]);
    }
    let mut cargo = Group::spawn(&mut command).map_err(failure::program("cargo", "builds the app"))?;
    let (Some(messages), Some(talk)) = cargo.output() else {
        return Err(Error::internal("cargo was started without pipes"));
    };
    let work = async {
        let (program, ()) = tokio::try_join!(program(messages, &crates.binary), listen(talk, status, began))?;
        let ended = cargo.wait().await?;
        Ok::<_, Error>((program, ended))
    };
    let done = work.await;
    status.clear();
    let (program, ended) = done?;
    match program {
        Some(program) if ended.success() => Ok(Built { program, took: began.elapsed() }),
        _ => Err(Error::config(
            "BUILD_FAILED",
            format!("`{}` does not build ({ended}); what cargo says about it stands above", app.name),
        )),
    }
}

/// Reads cargo's messages for machines: the path of the program.
async fn program(messages: impl tokio::io::AsyncRead + Unpin, binary: &str) -> Result<Option<PathBuf>> {
    let mut lines = BufReader::new(messages).lines();
    let mut program = None;
    while let Some(line) = lines.next_line().await.context("reading what cargo says")? {
        // Build scripts may print lines of their own in between.
        let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
        if message["reason"] == "compiler-artifact"
            && message["target"]["name"] == binary
            && let Some(path) = message["executable"].as_str()
        {
            program = Some(PathBuf::from(path));
        }
    }
    Ok(program)
}

/// Reads cargo's words for people: progress goes to the status line, the compiler's words are passed on, the rest is dropped.
async fn listen(mut talk: impl tokio::io::AsyncRead + Unpin, status: &Status, began: Instant) -> Result<()> {
    let mut buffer = [0; 8192];
    let mut pending = Vec::new();
    let mut doing = "building".to_owned();
    let mut tick = tokio::time::interval(TICK);
    loop {
        status.set(&format!("{doing} · {}", seconds(began.elapsed())));
        let read = tokio::select! {
            read = talk.read(&mut buffer) => read.context("reading what cargo says")?,
            _ = tick.tick() => continue,
        };
        if read == 0 {
            break;
        }
        pending.extend_from_slice(&buffer[..read]);
        while let Some(end) = pending.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let piece: Vec<u8> = pending.drain(..=end).collect();
            hear(&String::from_utf8_lossy(&piece[..end]), &mut doing, status);
        }
    }
    if !pending.is_empty() {
        hear(&String::from_utf8_lossy(&pending), &mut doing, status);
    }
    Ok(())
}

fn hear(piece: &str, doing: &mut String, status: &Status) {
    match heard(&anstream::adapter::strip_str(piece).to_string()) {
        Heard::Doing(what) => *doing = what,
        Heard::Chatter => {}
        // Cargo takes its own status line back before it says something.
        Heard::Words => status.line(piece.strip_prefix("\x1b[K").unwrap_or(piece)),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Doing(String),
    Chatter,
    Words,
}

/// What a line of cargo's is, without its colours.
fn heard(line: &str) -> Heard {
    let (verb, rest) = line.trim_start().split_once(' ').unwrap_or((line.trim(), ""));
    match verb {
        "Building" if rest.starts_with('[') => {
            match rest.split_once("] ").and_then(|(_, after)| after.split([':', ' ']).next()) {
                Some(count) if !count.is_empty() => Heard::Doing(format!("building {count}")),
                _ => Heard::Chatter,
            }
        }
        "Blocking" => Heard::Doing("waiting for another cargo".to_owned()),
        "Updating" | "Downloading" | "Downloaded" => Heard::Doing("fetching crates".to_owned()),
        "Compiling" | "Checking" | "Finished" | "Fresh" | "Dirty" | "Locking" | "Adding" | "Removing" => Heard::Chatter,
        _ if line.trim().is_empty() && line.len() > 1 => Heard::Chatter,
        _ => Heard::Words,
    }
}

/// A duration as people read it.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_words_are_told_apart() {
        assert_eq!(heard("    Building [====>     ] 37/120: hyper, tokio     "), Heard::Doing("building 37/120".into()));
        assert_eq!(
            heard("    Blocking waiting for file lock on build directory"),
            Heard::Doing("waiting for another cargo".into())
        );
        assert_eq!(heard("   Compiling hyper v1.0.0"), Heard::Chatter);
        assert_eq!(heard("    Finished `dev` profile [unoptimized] target(s) in 0.84s"), Heard::Chatter);
        for words in [
            "error[E0308]: mismatched types",
            "  --> src/lib.rs:1:1",
            "warning: unused variable: `x`",
            "1 | Building a house",
            "",
        ] {
            assert_eq!(heard(words), Heard::Words, "{words}");
        }
    }

    #[tokio::test]
    async fn the_program_is_the_one_with_the_name() {
        let messages = br#"
not json
{"reason":"compiler-artifact","target":{"name":"other"},"executable":"/other"}
{"reason":"compiler-artifact","target":{"name":"shop"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"shop"},"executable":"/shop"}
{"reason":"build-finished","success":true}
"#;
        assert_eq!(program(&messages[..], "shop").await.unwrap(), Some(PathBuf::from("/shop")));
        assert_eq!(program(&messages[..], "none").await.unwrap(), None);
    }
}
