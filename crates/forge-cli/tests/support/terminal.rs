//! A terminal of its own for a command: it sits there alone, is asked, and answers.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::Said;

/// How long a command may be silent.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a command at a terminal, waits until it asks this, and types the answer. What it said there, what was typed included, is in `err`.
pub(crate) fn answered(mut command: Command, question: &str, answer: &[u8]) -> Said {
    let (mut typist, terminal) = open();
    let terminal_too = terminal.try_clone().expect("a terminal has two sides");
    command.stdin(Stdio::from(terminal)).stderr(Stdio::from(terminal_too)).stdout(Stdio::piped());
    let child = command.spawn().expect("the command runs");
    // With it goes this process's own hold on the terminal: it ends when the command has.
    drop(command);
    let mut screen = typist.try_clone().expect("a terminal can be watched");
    let (seen, seeing) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        loop {
            match screen.read(&mut bytes) {
                Ok(n) if n > 0 => {
                    if seen.send(String::from_utf8_lossy(&bytes[..n]).into_owned()).is_err() {
                        return;
                    }
                }
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                // Linux says EIO once nobody sits there any more.
                Ok(_) | Err(_) => return,
            }
        }
    });
    let (mut err, mut typed) = (String::new(), false);
    loop {
        match seeing.recv_timeout(PATIENCE) {
            Ok(more) => err += &more,
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("the command hangs: {err}"),
        }
        if !typed && err.contains(question) {
            typist.write_all(answer).expect("an answer can be typed");
            typed = true;
        }
    }
    assert!(typed, "it has not asked: {err}");
    let output = child.wait_with_output().expect("the command ends");
    Said { err, ..output.into() }
}

/// Both sides of a new terminal: whoever types and watches, and whoever sits there.
fn open() -> (File, OwnedFd) {
    let typist = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal can be had");
    grantpt(&typist).expect("it may be used");
    unlockpt(&typist).expect("it can be opened");
    let name = ptsname(&typist, Vec::new()).expect("it has a name");
    let terminal = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty());
    (typist.into(), terminal.expect("it can be opened"))
}
