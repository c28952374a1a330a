//! A server under measurement: a process of its own.

use std::fs::{File, OpenOptions};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Result, cores, http};

/// How long a server may take from its start to its first right answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that runs. It is ended when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    child: Child,
    log: File,
}

impl Server {
    /// Starts a server, on one core or wherever the system puts it; what it prints goes to a file in `folder`. `command` is told the port
    /// to listen on.
    pub(crate) fn start(
        name: &'static str,
        folder: &Path,
        core: Option<usize>,
        command: impl FnOnce(u16) -> Command,
    ) -> Result<Self> {
        // Free now; that somebody takes it before the server does would be a strange coincidence, and is noticed.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = command(address.port());
        let log = OpenOptions::new().create(true).append(true).open(folder.join(format!("{name}.log")))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
        let mut spawn = || command.spawn().map_err(|why| format!("cannot start {name} ({command:?}): {why}").into());
        let child = match core {
            Some(core) => cores::on(core, spawn)?,
            None => spawn()?,
        };
        Ok(Self { name, address, child, log })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it takes connections.
    pub(crate) fn until_listening(&self) -> Result<()> {
        let began = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if began.elapsed() > PATIENCE {
                return Err(format!("{} does not listen within {PATIENCE:?}", self.name).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Waits until a call is answered with a text that contains the one expected.
    pub(crate) fn expect(&mut self, request: &[u8], expected: &str) -> Result<()> {
        let began = Instant::now();
        loop {
            let why = match http::ask(self.address, request) {
                Ok(body) if body.contains(expected) => return Ok(()),
                Ok(body) => format!("it answers {body} instead of something with {expected}"),
                Err(why) => why.to_string(),
            };
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("{} ended with {status}", self.name).into());
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("{} does not work: {why}", self.name).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Empties its log, which would otherwise grow by gigabytes.
    pub(crate) fn empty_log(&self) -> Result<()> {
        Ok(self.log.set_len(0)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
