//! What the tests of the command share: the command itself, apps in folders of their own, and requests.

// Each test uses a part of it.
#![allow(dead_code)]

pub(crate) mod terminal;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

/// The command, with the environment of a test: no colours, no settings from outside but which PostgreSQL the tests run on.
pub(crate) fn forge(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forge"));
    command.current_dir(folder).env("NO_COLOR", "1");
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let setting = text.starts_with("FORGE_") && text != "FORGE_PG_BIN";
        if setting || ["DATABASE_URL", "PORT", "RUST_LOG"].contains(&&*text) {
            command.env_remove(&name);
        }
    }
    // Apps under test share what is built already.
    command.env("CARGO_TARGET_DIR", target());
    command
}

/// The target folder that this test was built in.
pub(crate) fn target() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_forge")).ancestors().nth(2).expect("target/debug/forge").to_owned()
}

/// What a command that has ended said.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// Runs the command to its end.
pub(crate) fn run(folder: &Path, words: &[&str]) -> Said {
    forge(folder).args(words).output().expect("the command runs").into()
}

/// Runs the command, which must succeed.
pub(crate) fn fine(folder: &Path, words: &[&str]) -> Said {
    let said = run(folder, words);
    assert_eq!(said.code, Some(0), "forge {words:?}\n{}{}", said.out, said.err);
    said
}

/// A folder in which the user that runs a private database server can work, too.
pub(crate) fn folder() -> tempfile::TempDir {
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    tempfile::Builder::new().prefix("forge-cli-").permissions(open).tempdir().expect("a folder")
}

/// A new app in a folder, called so.
pub(crate) fn app(folder: &Path, name: &str) -> PathBuf {
    fine(folder, &["new", name]);
    folder.join(name)
}

/// Replaces a piece of a file, which must be there.
pub(crate) fn edit(file: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(file).expect("the file is there");
    assert!(text.contains(from), "{} has {from:?}", file.display());
    std::fs::write(file, text.replace(from, to)).expect("the file can be written");
}

/// Sends one request over a connection of its own. Gives the status and the body.
pub(crate) fn request(address: &str, method: &str, path: &str, body: &str) -> Result<(u16, String), String> {
    let wrong = |what: &str| format!("{method} {path}: {what}");
    let mut stream = TcpStream::connect(address).map_err(|why| wrong(&format!("connecting: {why}")))?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(|why| wrong(&why.to_string()))?;
    let head =
        format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\n");
    let text = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).map_err(|why| wrong(&format!("sending: {why}")))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|why| wrong(&format!("receiving: {why}")))?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| wrong(&format!("no answer: {answer:?}")))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(|| wrong(head))?;
    Ok((status, body.to_owned()))
}
