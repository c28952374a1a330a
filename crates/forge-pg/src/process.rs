//! Running programs with a deadline, and looking at processes by their id.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::user::ServerUser;

/// How often a condition without a notification of its own is looked at again.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

/// What a program said, once it has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) output: String,
    pub(crate) errors: String,
}

impl Finished {
    /// Both streams, for a message about a failure.
    pub(crate) fn said(&self) -> String {
        format!("{}\n{}", self.output, self.errors)
    }
}

/// Runs a program to its end with both streams captured; past the deadline it is killed with all its children.
pub(crate) fn run(mut command: Command, deadline: Duration) -> io::Result<Finished> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn()?;
    let output = collect(child.stdout.take());
    let errors = collect(child.stderr.take());
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() > deadline {
            if let Some(group) = Pid::from_raw(child.id().cast_signed()) {
                rustix::process::kill_process_group(group, Signal::KILL)?;
            }
            child.wait()?;
            let message = format!("it did not end within {} s and was stopped", deadline.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        thread::sleep(PAUSE / 4);
    };
    Ok(Finished { status, output: output()?, errors: errors()? })
}

/// Reads a stream to its end on a thread of its own, so that a full pipe never stops the program.
fn collect(stream: Option<impl Read + Send + 'static>) -> impl FnOnce() -> io::Result<String> {
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.map_or(Ok(0), |mut stream| stream.read_to_end(&mut bytes))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    });
    move || reader.join().unwrap_or_else(|_| Err(io::Error::other("the reader of a program's output panicked")))
}

/// A command for a program of the server: as its user, in plain English, deaf to the caller's `PG…` variables.
///
/// A shell closes the files that the caller has open without knowing it, such as a lock that a script holds around a test run:
/// a server that outlives the caller would keep them. Then the shell becomes the program, so that the process is the same.
pub(crate) fn server_command(program: &Path, user: &ServerUser) -> Command {
    const CLOSE_AND_BECOME: &str = "exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; exec \"$0\" \"$@\"";
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(CLOSE_AND_BECOME).arg(program);
    user.apply(&mut command);
    for (name, _) in std::env::vars_os() {
        if name.as_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
    command.env("LC_ALL", "C");
    command
}

/// Waits for a child for as long as this process lives, so that its end leaves no zombie behind.
pub(crate) fn reap(mut child: Child) {
    // Nobody asks for the result: who needs to know whether the process lives looks at its id.
    thread::spawn(move || child.wait());
}

/// Whether a process lives and was started with exactly this argument. An id alone proves nothing: it may have
/// been given to another program since, and a zombie keeps it.
pub(crate) fn runs_with(pid: i32, argument: &OsStr) -> bool {
    if has_proc() {
        return proc_arguments(pid).is_some_and(|all| all.iter().any(|part| part == argument.as_bytes()));
    }
    ps(&["-p", &pid.to_string()]).contains(&*argument.to_string_lossy())
}

/// The processes called `postgres` that were started with exactly this argument.
pub(crate) fn servers_with(argument: &OsStr) -> Vec<i32> {
    if has_proc() {
        let Ok(entries) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        let all = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        return all.filter(|pid| is_server_with(*pid, argument)).collect();
    }
    let mark = format!("/postgres -D {}", argument.to_string_lossy());
    let said = ps(&["-ax"]);
    let lines = said.lines().filter(|line| line.contains(&mark));
    lines.filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
}

fn is_server_with(pid: i32, argument: &OsStr) -> bool {
    proc_arguments(pid).is_some_and(|all| {
        all.first().is_some_and(|program| program.ends_with(b"/postgres"))
            && all.iter().any(|part| part == argument.as_bytes())
    })
}

fn has_proc() -> bool {
    Path::new("/proc/self/cmdline").exists()
}

fn proc_arguments(pid: i32) -> Option<Vec<Vec<u8>>> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(line.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect())
}

/// Process ids and arguments as `ps` lists them, for systems without `/proc`.
fn ps(selection: &[&str]) -> String {
    let mut command = Command::new("ps");
    command.args(["-ww", "-o", "pid=,args="]).args(selection);
    run(command, Duration::from_secs(10)).map(|finished| finished.output).unwrap_or_default()
}

/// Whether any process has this id.
pub(crate) fn exists(pid: i32) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| match rustix::process::test_kill_process(pid) {
        Ok(()) => true,
        Err(error) => error == rustix::io::Errno::PERM,
    })
}

/// Sends a signal; a process that is gone already counts as told.
pub(crate) fn signal(pid: i32, signal: Signal) -> io::Result<()> {
    match Pid::from_raw(pid).map(|pid| rustix::process::kill_process(pid, signal)) {
        Some(Err(error)) if error != rustix::io::Errno::SRCH => Err(error.into()),
        _ => Ok(()),
    }
}

/// Looks at a condition until it holds (true) or the time is over (false).
pub(crate) fn wait_until(deadline: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    loop {
        if holds() {
            return true;
        }
        if started.elapsed() > deadline {
            return false;
        }
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_larger_than_a_pipe_arrives_whole() {
        let mut command = Command::new("sh");
        command.args(["-c", "head -c 300000 /dev/zero | tr '\\0' x; echo problem >&2; exit 3"]);
        let finished = run(command, Duration::from_secs(20)).unwrap();
        assert_eq!((finished.output.len(), finished.status.code()), (300_000, Some(3)));
        assert_eq!(finished.errors, "problem\n");
    }

    #[test]
    fn a_program_past_its_deadline_is_killed_with_its_children() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & wait"]);
        let started = Instant::now();
        let error = run(command, Duration::from_millis(200)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_process_is_known_by_its_arguments_until_it_ends() {
        let mut child = Command::new("sleep").arg("601").spawn().unwrap();
        let pid = child.id().cast_signed();
        assert!(wait_until(Duration::from_secs(10), || runs_with(pid, OsStr::new("601"))));
        assert!(!runs_with(pid, OsStr::new("60")) && exists(pid));
        child.kill().unwrap();
        // Until it is waited for, the id is still taken; nothing runs under it.
        assert!(wait_until(Duration::from_secs(10), || !runs_with(pid, OsStr::new("601"))));
        assert!(exists(pid));
        child.wait().unwrap();
        assert!(!exists(pid));
    }
}
