//! What a parent process may hand to a node: the socket to listen on, and a pipe to tell that it is ready.
//!
//! A supervisor (`forge dev`, or one of a deployment) binds the port once and gives the socket to one process after the other, so
//! that no connection is refused while a new version takes over.
//!
//! - `FORGE_LISTEN_FD`: the number of an inherited file descriptor, a TCP socket that listens.
//! - `FORGE_READY_FD`: the number of an inherited file descriptor that a line is written to once the node is ready.

use std::fs::File;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use forge_core::{Error, Result};

static LISTENER_TAKEN: AtomicBool = AtomicBool::new(false);
static READY_TAKEN: AtomicBool = AtomicBool::new(false);

/// The socket that was handed over, if one was. It can be taken once.
pub(crate) fn listener() -> Result<Option<TcpListener>> {
    let Some(fd) = inherited("FORGE_LISTEN_FD", &LISTENER_TAKEN)? else { return Ok(None) };
    let listener = TcpListener::from(fd);
    let unusable = |why: std::io::Error| {
        Error::config("LISTEN_FAILED", format!("FORGE_LISTEN_FD is not a socket that listens: {why}")).with_source(why)
    };
    listener.local_addr().map_err(unusable)?;
    listener.set_nonblocking(true).map_err(unusable)?;
    Ok(Some(listener))
}

/// Tells the parent that the node is ready, if it asked to be told.
pub(super) fn tell_ready() -> Result<()> {
    let Some(fd) = inherited("FORGE_READY_FD", &READY_TAKEN)? else { return Ok(()) };
    // A parent that is gone needs no news.
    let _ = File::from(fd).write_all(b"ready\n");
    Ok(())
}

/// Takes ownership of an inherited file descriptor, at most once per process.
fn inherited(variable: &'static str, taken: &AtomicBool) -> Result<Option<OwnedFd>> {
    let Ok(text) = std::env::var(variable) else { return Ok(None) };
    if taken.swap(true, Ordering::AcqRel) {
        return Ok(None);
    }
    let fd: RawFd = text.parse().ok().filter(|fd| *fd > 2).ok_or_else(|| {
        Error::config("LISTEN_FAILED", format!("{variable} = {text:?} is not the number of an inherited file descriptor"))
    })?;
    // SAFETY: the parent passes the number of a descriptor that it opened for this process alone; `taken` makes sure that it is
    // owned once. A wrong number gives errors on use, not undefined behaviour of ours.
    #[allow(unsafe_code)]
    Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
}
