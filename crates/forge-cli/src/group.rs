//! A child process with everything it starts, which ends together with the value that stands for it.

use std::process::ExitStatus;

use forge_core::{Result, ResultExt as _};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

/// A child process in a group of its own. Dropped before it has ended, the whole group is told to end.
#[derive(Debug)]
pub(crate) struct Group {
    child: Child,
    group: Option<Pid>,
}

impl Group {
    /// Starts a command.
    pub(crate) fn spawn(command: &mut Command) -> std::io::Result<Self> {
        let child = command.process_group(0).spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok(Self { child, group })
    }

    /// Its output, if that is piped and was not taken yet.
    pub(crate) fn output(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        (self.child.stdout.take(), self.child.stderr.take())
    }

    /// Waits for its end.
    pub(crate) async fn wait(&mut self) -> Result<ExitStatus> {
        let status = self.child.wait().await.context("waiting for a child process")?;
        self.group = None;
        Ok(status)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // An error says that it has ended meanwhile.
            let _ = kill_process_group(group, Signal::TERM);
        }
    }
}
