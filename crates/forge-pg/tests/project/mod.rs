//! A project folder for a test, and servers that are removed at its end however it ends.

#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use forge_pg::{Options, PrivateServer};
use tokio_postgres::{Client, NoTls};

/// A folder that every user can enter.
pub(crate) fn open_folder() -> tempfile::TempDir {
    tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o755)).tempdir().unwrap()
}

/// A folder that only its owner can enter, as the home of root is.
pub(crate) fn closed_folder() -> tempfile::TempDir {
    tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o700)).tempdir().unwrap()
}

/// A running server that is removed with its data when the test ends.
pub(crate) struct Removed(pub(crate) PrivateServer);

impl Removed {
    pub(crate) async fn ensure(options: Options) -> Self {
        Self(PrivateServer::ensure(options.obtain(false)).await.unwrap())
    }
}

impl Deref for Removed {
    type Target = PrivateServer;

    fn deref(&self) -> &PrivateServer {
        &self.0
    }
}

impl Drop for Removed {
    fn drop(&mut self) {
        let server = self.0.clone();
        let removed = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(server.remove())
        });
        let result = removed.join().unwrap();
        if !std::thread::panicking() {
            result.unwrap();
        }
    }
}

pub(crate) async fn connect(url: &str) -> Client {
    try_connect(url).await.unwrap()
}

pub(crate) async fn try_connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Whether a process runs; one that has ended but was not waited for does not.
pub(crate) fn runs(pid: u32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// Waits for a condition; a test fails loudly when it does not come true.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < Duration::from_secs(60), "{what} did not happen within 60 s");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A folder with programs that pretend to be PostgreSQL: `initdb` and `postgres` run these lines of shell.
pub(crate) fn pretended(initdb: &str, postgres: &str) -> tempfile::TempDir {
    let folder = open_folder();
    let version = "[ \"$1\" = --version ] && echo 'postgres (PostgreSQL) 17.1' && exit 0";
    write_program(&folder.path().join("initdb"), initdb);
    write_program(&folder.path().join("postgres"), &format!("{version}\n{postgres}"));
    folder
}

fn write_program(path: &Path, lines: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{lines}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Names the project to the copies of this program that [`in_another_process`] starts.
const PROJECT: &str = "FORGE_PG_TEST_PROJECT";

/// Starts one test of this program in a process of its own, for a project.
pub(crate) fn in_another_process(test: &str, project: &Path) -> std::thread::JoinHandle<Output> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(PROJECT, project);
    std::thread::spawn(move || command.output().unwrap())
}

/// The project of a test that was started by [`in_another_process`]. Started in any other way it has nothing to do.
pub(crate) fn project_of_this_process() -> Option<PathBuf> {
    std::env::var_os(PROJECT).map(PathBuf::from)
}

/// What the other process printed behind a word.
pub(crate) fn answers(output: &Output, word: &str) -> Vec<String> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter_map(|line| line.split_once(word)).map(|(_, answer)| answer.trim().to_owned()).collect()
}
