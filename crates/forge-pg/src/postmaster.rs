//! The server as a process: which one is running on a data folder, is it well, and how it ends.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use forge_core::{Error, Result};
use rustix::process::Signal;

use crate::connect;
use crate::failure;
use crate::process;
use crate::settings::{MAINTENANCE_DATABASE, Purpose, SUPERUSER, names};

/// A fast shutdown writes a checkpoint; with a slow disk that takes a while.
const FAST_DEADLINE: Duration = Duration::from_secs(30);
/// An immediate shutdown does nothing but end.
const IMMEDIATE_DEADLINE: Duration = Duration::from_secs(15);

/// What a running server says of itself in `postmaster.pid`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Postmaster {
    pub(crate) pid: i32,
    pub(crate) port: u16,
    pub(crate) socket: PathBuf,
}

impl Postmaster {
    /// The server that runs on a data folder. None when there is no such process, whatever files were left behind.
    pub(crate) fn running_on(data: &Path) -> Option<Self> {
        let postmaster = Self::parse(&fs::read_to_string(data.join("postmaster.pid")).ok()?)?;
        postmaster.runs_on(data).then_some(postmaster)
    }

    /// Ends servers whose data folder was removed, and perhaps made anew, while they ran. They still hold its path
    /// and would write into what is there now.
    pub(crate) fn stop_orphans_of(data: &Path) -> Result<()> {
        process::servers_with(data.as_os_str())
            .into_iter()
            .map(|pid| Self { pid, port: 0, socket: PathBuf::new() })
            .try_for_each(|orphan| orphan.stop(data))
    }

    /// Lines: process id, data folder, start time, port, first socket folder, listen address, …
    fn parse(text: &str) -> Option<Self> {
        let lines: Vec<&str> = text.lines().collect();
        Some(Self {
            pid: lines.first()?.trim().parse().ok()?,
            port: lines.get(3)?.trim().parse().ok()?,
            socket: lines.get(4)?.trim().into(),
        })
    }

    pub(crate) fn runs_on(&self, data: &Path) -> bool {
        process::runs_with(self.pid, data.as_os_str())
    }

    /// The address of a database of this server, for tokio-postgres and libpq.
    pub(crate) fn url(&self, database: &str) -> String {
        format!(
            "postgresql:///{}?host={}&port={}&user={SUPERUSER}",
            connect::encode(OsStr::new(database), false),
            connect::encode(self.socket.as_os_str(), true),
            self.port
        )
    }

    /// The settings that matter, as the server shows them; fails while it does not accept connections.
    pub(crate) async fn shown(&self, purpose: Purpose) -> Result<HashMap<String, String>> {
        let client = connect::connect(&self.url(MAINTENANCE_DATABASE)).await?;
        let rows = client
            .query("SELECT name, current_setting(name) FROM unnest($1::text[]) AS name", &[&names(purpose)])
            .await
            .map_err(failure::sql("read the settings of the database server"))?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// Ends the server and waits for its end: open transactions are rolled back, sessions closed. One that does not
    /// end that way is ended at once, and recovers at its next start.
    pub(crate) fn stop(&self, data: &Path) -> Result<()> {
        for (signal, deadline) in [(Signal::INT, FAST_DEADLINE), (Signal::QUIT, IMMEDIATE_DEADLINE)] {
            process::signal(self.pid, signal).map_err(|error| self.not_stopped(&error.to_string()))?;
            if process::wait_until(deadline, || !self.runs_on(data)) {
                return Ok(());
            }
        }
        Err(self.not_stopped("it did not end in time"))
    }

    fn not_stopped(&self, reason: &str) -> Error {
        let message = format!(
            "the database server with process id {} could not be stopped: {reason}. Look at what holds it (a full or \
             hanging disk, a debugger), then `kill -QUIT {}`.",
            self.pid, self.pid
        );
        Error::config(failure::STOP_FAILED, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PID_FILE: &str = "4711\n/data\n1732300000\n6001\n/tmp/forge-1\n\n  1234  0\nready   \n";

    #[test]
    fn the_pid_file_is_read_line_by_line() {
        let expected = Postmaster { pid: 4711, port: 6001, socket: "/tmp/forge-1".into() };
        assert_eq!(Postmaster::parse(PID_FILE), Some(expected));
        // A server that has just begun has written only the first lines.
        assert_eq!(Postmaster::parse("4711\n/data\n17323"), None);
    }

    #[test]
    fn a_pid_that_belongs_to_another_program_is_not_a_server() {
        let data = tempfile::tempdir().unwrap();
        let text = PID_FILE.replace("4711", &std::process::id().to_string());
        fs::write(data.path().join("postmaster.pid"), text).unwrap();
        assert_eq!(Postmaster::running_on(data.path()), None);
    }

    #[test]
    fn addresses_are_understood_by_the_driver() {
        let postmaster = Postmaster { pid: 1, port: 6001, socket: "/tmp/a b@c&d".into() };
        let config: tokio_postgres::Config = postmaster.url("x/y?z").parse().unwrap();
        let host = tokio_postgres::config::Host::Unix("/tmp/a b@c&d".into());
        assert_eq!((config.get_hosts(), config.get_ports()), (&[host][..], &[6001][..]));
        assert_eq!((config.get_dbname(), config.get_user()), (Some("x/y?z"), Some("forge")));
    }
}
