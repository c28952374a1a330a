//! Starting the server on a data folder, whatever state the last one left it in.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use forge_core::{Error, Result};
use rustix::process::Signal;
use tokio::runtime::Runtime;

use crate::failure;
use crate::find::Installation;
use crate::place::Place;
use crate::postmaster::Postmaster;
use crate::process;
use crate::settings;

/// How long a start may take, recovery after a crash included.
const DEADLINE: Duration = Duration::from_secs(60);
/// At this size the log is set aside at the next start.
const LARGE_LOG: u64 = 10 << 20;

/// Starts the server and waits until it answers. The caller holds the lock and knows that none is running.
pub(crate) fn start(
    place: &Place,
    installation: &Installation,
    socket: &Path,
    tcp_port: Option<u16>,
    runtime: &Runtime,
) -> Result<Postmaster> {
    let port = tcp_port.unwrap_or(settings::DEFAULT_PORT);
    clear_socket(socket, port)?;
    disown_pid(&place.data())?;
    let (log, begin) = open_log(&place.log())?;
    let spawn = || {
        let mut command = process::server_command(&installation.bin().join("postgres"), &place.user);
        command.args(settings::arguments(place.purpose, &place.data(), socket, tcp_port));
        command.stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log.try_clone()?);
        // A group of its own, so that Ctrl-C in the terminal of the caller does not reach it.
        command.process_group(0).spawn()
    };
    let not_started = |reason: &str, said: &str| {
        let code = failure::classify(said).unwrap_or(failure::START_FAILED);
        let mut message = format!(
            "PostgreSQL {} did not start on {} (port {port}): {reason}. Its log is {}",
            installation.version(),
            place.data().display(),
            place.log().display()
        );
        if !said.is_empty() {
            message.push_str(&format!(", which ends with:\n{}", failure::tail(said, 12)));
        }
        message.push_str(&format!("\n{}", failure::advice(code)));
        Error::config(code, message)
    };

    let started = Instant::now();
    let mut child = spawn().map_err(|error| not_started(&error.to_string(), ""))?;
    loop {
        if let Some(status) = child.try_wait().map_err(|error| not_started(&error.to_string(), ""))? {
            let said = read_from(&log, begin)?;
            // After `kill -9` of a server its sessions end a moment later; only then may another one begin.
            if said.contains("pre-existing shared memory block") && started.elapsed() < DEADLINE {
                thread::sleep(process::PAUSE * 10);
                child = spawn().map_err(|error| not_started(&error.to_string(), ""))?;
                continue;
            }
            return Err(not_started(&format!("it ended with {status}"), &said));
        }
        if let Some(postmaster) = Postmaster::running_on(&place.data())
            && runtime.block_on(postmaster.shown(place.purpose)).is_ok()
        {
            process::reap(child);
            return Ok(postmaster);
        }
        if started.elapsed() > DEADLINE {
            give_up(child);
            let said = read_from(&log, begin)?;
            return Err(not_started(&format!("it did not answer within {} s", DEADLINE.as_secs()), &said));
        }
        thread::sleep(process::PAUSE);
    }
}

/// Ends a server that never became ready. Its failure is being reported already.
fn give_up(child: Child) {
    let _ = process::signal(child.id().cast_signed(), Signal::QUIT);
    process::reap(child);
}

/// Removes the socket of a server that is gone. A folder that a person named may hold that of another project.
pub(crate) fn clear_socket(folder: &Path, port: u16) -> Result<()> {
    let socket = folder.join(format!(".s.PGSQL.{port}"));
    let lock = folder.join(format!(".s.PGSQL.{port}.lock"));
    // Like `postmaster.pid`: the process id, then the data folder.
    let owner = fs::read_to_string(&lock).ok().and_then(|text| {
        let mut lines = text.lines().map(str::trim);
        Some((lines.next()?.parse::<i32>().ok()?, lines.next()?.to_owned()))
    });
    if let Some((pid, data)) = owner
        && process::runs_with(pid, data.as_ref())
    {
        let message = format!(
            "process {pid}, the database server of {data}, uses the socket {}. Ask for another socket folder.",
            socket.display()
        );
        return Err(Error::config(failure::START_FAILED, message));
    }
    for file in [socket, lock] {
        match fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failure::file("remove the old", &file)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A server refuses to start when the process id in an old `postmaster.pid` has been given to another program of
/// the same user since. It ignores its parent's id, so ours takes that place: the other lines must stay, since
/// with them it makes sure that no session of the old server still writes to the data.
fn disown_pid(data: &Path) -> Result<()> {
    let file = data.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&file) else {
        return Ok(());
    };
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    if !first.trim().parse().is_ok_and(process::exists) {
        return Ok(());
    }
    fs::write(&file, format!("{}\n{rest}", std::process::id())).map_err(failure::file("write", &file))
}

/// The log, and where in it this start begins.
fn open_log(path: &Path) -> Result<(File, u64)> {
    if fs::metadata(path).is_ok_and(|found| found.len() > LARGE_LOG) {
        fs::rename(path, path.with_extension("log.old")).map_err(failure::file("set aside", path))?;
    }
    let log = File::options().read(true).append(true).create(true).open(path).map_err(failure::file("open", path))?;
    let begin = log.metadata().map_err(failure::file("look at", path))?.len();
    Ok((log, begin))
}

fn read_from(mut log: &File, begin: u64) -> Result<String> {
    let mut bytes = Vec::new();
    log.seek(SeekFrom::Start(begin))?;
    log.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pid_of_another_program_is_replaced_and_the_other_lines_stay() {
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join("postmaster.pid");
        // Process 1 lives wherever tests run.
        fs::write(&file, "1\n/data\n17\n5432\n/s\n\n 12 0\nready\n").unwrap();
        disown_pid(data.path()).unwrap();
        let expected = format!("{}\n/data\n17\n5432\n/s\n\n 12 0\nready\n", std::process::id());
        assert_eq!(fs::read_to_string(&file).unwrap(), expected);
    }

    #[test]
    fn a_log_is_read_from_where_this_start_began() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.log");
        fs::write(&path, "old\n").unwrap();
        let (log, begin) = open_log(&path).unwrap();
        std::io::Write::write_all(&mut &log, b"new\n").unwrap();
        assert_eq!(read_from(&log, begin).unwrap(), "new\n");
    }
}
