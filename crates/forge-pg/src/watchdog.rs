//! A server for tests outlives every process that uses it, but not for long: a detached shell ends it and removes
//! its data when `last-used` has not been touched for a while. See `watchdog.sh` for the other side.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime};

use forge_core::{Error, Result};
use rustix::process::Signal;

use crate::failure;
use crate::place::Place;
use crate::postmaster::Postmaster;
use crate::process;

const SCRIPT: &str = include_str!("watchdog.sh");
/// The script's own name among its arguments, by which a running one is recognised.
const NAME: &str = "forge-pg-watchdog";
/// How long a watchdog may take to end a server that it has begun to retire.
const RETIRING: Duration = Duration::from_secs(10);
const RETIRED: Duration = Duration::from_secs(45);

/// Marks the server as used and makes sure that its folder is there. While a watchdog is retiring the last server,
/// waits for its end. The caller holds the lock.
pub(crate) fn open_home(place: &Place) -> Result<()> {
    let folder = place.home.parent().unwrap_or(&place.home);
    loop {
        if place.home.exists() {
            // Renamed away between the look and the touch: look again.
            if touch(&place.home)? {
                return Ok(());
            }
            continue;
        }
        let Some((gone, server)) = retiring(folder)? else {
            place.user.private_folder(&place.home)?;
            continue;
        };
        let data = place.data();
        let back_or_ended = || place.home.exists() || !server.runs_on(&data);
        if !process::wait_until(RETIRING, back_or_ended) {
            // The watchdog itself was ended in the middle.
            process::signal(server.pid, Signal::QUIT).map_err(failure::file("end the server of", &gone))?;
            if !process::wait_until(RETIRED, back_or_ended) {
                let message = format!("the retired test server with process id {} does not end", server.pid);
                return Err(Error::config(failure::STOP_FAILED, message));
            }
        }
        if !place.home.exists() {
            remove_folder(&gone)?;
        }
    }
}

/// A server that was being retired: its renamed home, which carries the process id in its name.
fn retiring(folder: &Path) -> Result<Option<(std::path::PathBuf, Postmaster)>> {
    for entry in fs::read_dir(folder).map_err(failure::file("look into", folder))?.flatten() {
        let name = entry.file_name();
        if let Some(Ok(pid)) = name.to_string_lossy().strip_prefix("gone-").map(str::parse) {
            return Ok(Some((entry.path(), Postmaster { pid, port: 0, socket: Default::default() })));
        }
    }
    Ok(None)
}

/// Removes a folder that somebody else may be removing at the same time.
pub(crate) fn remove_folder(folder: &Path) -> Result<()> {
    for _ in 0..100 {
        match fs::remove_dir_all(folder) {
            Ok(()) => return Ok(()),
            Err(_) if !folder.exists() => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failure::file("remove", folder)(error)),
        }
    }
    fs::remove_dir_all(folder).map_err(failure::file("remove", folder))
}

/// Says that the server is in use now. False when its folder is gone, because it has been retired.
pub(crate) fn touch(home: &Path) -> Result<bool> {
    let file = home.join("last-used");
    let touched = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&file)
        .and_then(|opened| opened.set_modified(SystemTime::now()));
    match touched {
        // The folder may have been renamed meanwhile, together with the file.
        Ok(()) => Ok(file.exists()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failure::file("touch", &file)(error)),
    }
}

/// Starts a watchdog for a server, unless one watches it already. The caller holds the lock.
pub(crate) fn watch(place: &Place, postmaster: &Postmaster, idle: Duration) -> Result<()> {
    let file = place.home.join("watchdog.pid");
    // The argument is the server's own id, so that the watchdog of an earlier server does not count.
    let mark = format!("{NAME}-{}", postmaster.pid);
    let watching = fs::read_to_string(&file).ok().and_then(|pid| pid.trim().parse().ok());
    if watching.is_some_and(|pid| process::runs_with(pid, OsStr::new(&mark))) {
        return Ok(());
    }
    let mut command = process::server_command(Path::new("/bin/sh"), &place.user);
    command.args(["-c", SCRIPT, &mark, &postmaster.pid.to_string()]).arg(&place.home);
    command.arg(idle.as_secs().max(1).to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let child = command.spawn().map_err(failure::file("start the watchdog of", &place.home))?;
    fs::write(&file, child.id().to_string()).map_err(failure::file("write", &file))?;
    process::reap(child);
    Ok(())
}

/// Touches `last-used` for as long as it lives, so that a long test keeps its server.
#[derive(Debug)]
pub(crate) struct KeepAlive {
    /// Dropping it ends the thread.
    _end: mpsc::Sender<()>,
}

impl KeepAlive {
    pub(crate) fn new(place: &Place, idle: Duration) -> Self {
        let (end, ended) = mpsc::channel::<()>();
        let home = place.home.clone();
        let pause = (idle / 5).max(Duration::from_millis(100));
        thread::spawn(move || {
            // A server that is gone has nothing to keep; its users notice by their connections.
            while ended.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Timeout) && matches!(touch(&home), Ok(true)) {}
        });
        Self { _end: end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touching_a_folder_that_was_renamed_tells_so() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("live");
        fs::create_dir(&home).unwrap();
        assert!(touch(&home).unwrap());
        fs::rename(&home, folder.path().join("gone-1")).unwrap();
        assert!(!touch(&home).unwrap());
    }

    #[test]
    fn a_folder_that_is_gone_counts_as_removed() {
        let folder = tempfile::tempdir().unwrap();
        remove_folder(&folder.path().join("none")).unwrap();
    }
}
