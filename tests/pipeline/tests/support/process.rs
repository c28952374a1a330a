//! The app as a process of its own, which can be killed.

use std::ops::Deref;

use forge::testing::NodeProcess;
use rustix::process::{Pid, Signal, kill_process};

/// A node; what goes wrong with it is the end of the test. Killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Process(NodeProcess);

impl Process {
    /// Starts a node on a database and waits until it listens.
    pub(crate) async fn start(database: &str) -> Self {
        Self::start_with(database, &[]).await
    }

    /// The same with more settings, as environment variables.
    pub(crate) async fn start_with(database: &str, settings: &[(&str, &str)]) -> Self {
        let mut process = Self::spawn(database, settings);
        process.0.listening().await.unwrap();
        process
    }

    /// Starts a node, whatever comes of it.
    pub(crate) fn spawn(database: &str, settings: &[(&str, &str)]) -> Self {
        Self(NodeProcess::spawn(env!("CARGO_BIN_EXE_pipeline"), database, settings.iter().copied()).unwrap())
    }

    /// Waits until it may take traffic.
    pub(crate) async fn ready(self) -> Self {
        self.0.ready().await.unwrap();
        self
    }

    /// Ends it at once, in the middle of whatever it does.
    pub(crate) async fn kill(mut self) {
        self.0.kill().await.unwrap();
    }

    /// Waits for its end. Returns its exit code and what it had to say.
    pub(crate) async fn ended(mut self) -> (Option<i32>, String) {
        let status = self.0.ended().await.unwrap();
        (status.code(), self.0.log())
    }

    /// How much memory it has.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.0.pid())).unwrap();
        let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
        pages * rustix::param::page_size() as u64
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(i32::try_from(self.0.pid()).unwrap()).unwrap(), signal).unwrap();
    }
}

impl Deref for Process {
    type Target = NodeProcess;

    fn deref(&self) -> &NodeProcess {
        &self.0
    }
}
