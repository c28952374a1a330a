//! The app's processes: started on a socket that is handed down, watched until they are ready or have ended, stopped.

use std::io::PipeReader;
use std::net::TcpListener;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use forge_core::{Error, Result, ResultExt as _};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::app::App;
use crate::binary;
use crate::failure;
use crate::status::Status;

/// How long output may still come from a process that has ended: from a child of its own that holds the pipe.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Starts processes of the app. They all listen on the same socket.
#[derive(Debug)]
pub(crate) struct Nodes {
    app: Arc<App>,
    listener: TcpListener,
    environment: Vec<(String, String)>,
    status: Status,
    events: (mpsc::UnboundedSender<Event>, mpsc::UnboundedReceiver<Event>),
}

/// What became of a process.
#[derive(Debug)]
pub(crate) struct Event {
    /// Which one.
    pub(crate) pid: Pid,
    /// What.
    pub(crate) what: What,
}

/// What became of a process.
#[derive(Debug)]
pub(crate) enum What {
    /// It answers.
    Ready,
    /// It has ended; all it said has been shown.
    Ended(ExitStatus),
}

impl Nodes {
    /// On a socket that listens.
    pub(crate) fn new(app: Arc<App>, listener: TcpListener, environment: Vec<(String, String)>, status: Status) -> Self {
        Self { app, listener, environment, status, events: mpsc::unbounded_channel() }
    }

    /// What processes that are started from now on run in.
    pub(crate) fn surround(&mut self, environment: Vec<(String, String)>) {
        self.environment = environment;
    }

    /// Where the app is reached.
    pub(crate) fn url(&self) -> Result<String> {
        Ok(format!("http://{}", self.listener.local_addr()?))
    }

    /// Starts a process. What becomes of it is told by [`next`](Self::next).
    pub(crate) fn start(&self, program: &Path) -> Result<Pid> {
        let (ready, tell_ready) = std::io::pipe().context("making a pipe")?;
        let mut command = binary::command(&self.app, program);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.env("FORGE_GATEWAY_PORT", self.listener.local_addr()?.port().to_string());
        command.env("FORGE_LISTEN_FD", self.listener.as_raw_fd().to_string());
        command.env("FORGE_READY_FD", tell_ready.as_raw_fd().to_string());
        if self.status.has_colour() {
            command.env("CLICOLOR_FORCE", "1");
        }
        hand_down(&mut command, [self.listener.as_raw_fd(), tell_ready.as_raw_fd()]);
        let child = command.spawn().map_err(failure::program(&program.display().to_string(), "is the app"))?;
        // Ours must go, so that the pipe closes when the process ends.
        drop(tell_ready);
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let pid = pid.ok_or_else(|| Error::internal("a process that was just started has no id"))?;
        tokio::spawn(follow(pid, child, readable(ready)?, self.status.clone(), self.events.0.clone()));
        Ok(pid)
    }

    /// Waits for the next thing that becomes of a process. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Event {
        match self.events.1.recv().await {
            Some(event) => event,
            // There is a sender in this very value.
            None => std::future::pending().await,
        }
    }
}

/// Tells a process to finish what it does and end.
pub(crate) fn stop(pid: Pid) {
    // An error says that it has ended already.
    let _ = kill_process(pid, Signal::TERM);
}

/// Ends a process and what it has started, at once.
pub(crate) fn end(pid: Pid) {
    // As above.
    let _ = kill_process_group(pid, Signal::KILL);
}

/// Lets a child have file descriptors of ours under their own numbers, and end when this program dies without a word.
fn hand_down(command: &mut Command, descriptors: [RawFd; 2]) {
    let prepare = move || {
        for descriptor in descriptors {
            // SAFETY: they are open in the parent at the time of the fork, since the parent owns them until `spawn` has
            // returned, so they are open in the child.
            #[allow(unsafe_code)]
            let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(descriptor) };
            rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::empty())?;
        }
        #[cfg(target_os = "linux")]
        rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
        Ok(())
    };
    // SAFETY: between fork and exec only functions may be called that are safe in a signal handler: these are plain system
    // calls, and nothing is allocated.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(prepare);
    }
}

fn readable(pipe: PipeReader) -> Result<pipe::Receiver> {
    pipe::Receiver::from_owned_fd(OwnedFd::from(pipe)).context("reading a pipe")
}

/// Sees a process through to its end.
async fn follow(pid: Pid, mut child: Child, mut ready: pipe::Receiver, status: Status, tell: mpsc::UnboundedSender<Event>) {
    let words = [
        child.stdout.take().map(|out| tokio::spawn(pass_on(out, status.clone()))),
        child.stderr.take().map(|err| tokio::spawn(pass_on(err, status.clone()))),
    ];
    let mut told = false;
    let ended = loop {
        let mut byte = [0];
        tokio::select! {
            ended = child.wait() => break ended,
            read = ready.read(&mut byte), if !told => {
                // Closed without a word: it has ended, or will never say.
                told = true;
                if matches!(read, Ok(1..)) {
                    let _ = tell.send(Event { pid, what: What::Ready });
                }
            }
        }
    };
    for words in words.into_iter().flatten() {
        let _ = tokio::time::timeout(LAST_WORDS, words).await;
    }
    match ended {
        // Nobody listens any more when the command is ending.
        Ok(ended) => drop(tell.send(Event { pid, what: What::Ended(ended) })),
        Err(why) => status.failure(&Error::internal("a process cannot be waited for").with_source(why)),
    }
}

/// Shows what a process says.
async fn pass_on(words: impl AsyncRead + Unpin, status: Status) {
    let mut lines = BufReader::new(words).split(b'\n');
    loop {
        match lines.next_segment().await {
            Ok(Some(line)) => status.line(String::from_utf8_lossy(&line).trim_end()),
            Ok(None) => return,
            Err(why) => return status.line(&format!("what the app says cannot be read: {why}")),
        }
    }
}
