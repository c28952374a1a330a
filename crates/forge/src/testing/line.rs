//! What lies between a node and its database, so that it can be cut.
//!
//! A proxy in the test's own process, one per node. It listens on a socket in a folder that only its owner can enter, as the private server does: on a
//! TCP port, whoever is on the machine could come in through it.

use std::path::PathBuf;
use std::time::Duration;

use forge_core::{Error, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::config::Host;

/// How much of what one side says is carried at once.
const CHUNK: usize = 16 * 1024;

/// How long connections may take to end once they are cut.
const CUT_WITHIN: Duration = Duration::from_secs(30);

/// How a line is.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// Nobody gets through; whoever tries is told at once.
    cut: bool,
    /// How often it was cut: what began before the last time is over.
    cuts: u64,
    /// Nothing passes, and nobody is told.
    frozen: bool,
}

/// A line. It ends, with all that goes over it, when it is dropped.
#[derive(Debug)]
pub(super) struct Line {
    state: watch::Sender<State>,
    open: watch::Receiver<usize>,
    accepting: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

#[derive(Debug, Clone)]
enum Server {
    Socket(PathBuf),
    Port(String, u16),
}

impl Line {
    /// A line to the server that a URL leads to. Returns it and the URL that leads over it.
    pub(super) fn before(url: &str) -> Result<(Self, String)> {
        let no = |what: &str| Error::config("CONFIG_INVALID", format!("the URL of the test's database {what}"));
        let config: tokio_postgres::Config =
            url.parse().map_err(|why: tokio_postgres::Error| no("cannot be used").with_source(why))?;
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let server = match config.get_hosts().first() {
            Some(Host::Unix(folder)) => Server::Socket(folder.join(format!(".s.PGSQL.{port}"))),
            Some(Host::Tcp(host)) => Server::Port(host.clone(), port),
            None => return Err(no("names no host")),
        };
        let dir = tempfile::tempdir()?;
        let listener = UnixListener::bind(dir.path().join(".s.PGSQL.5432"))?;
        let mut through = format!(
            "postgresql:///{}?host={}&port=5432",
            encoded(config.get_dbname().unwrap_or_default().as_bytes()),
            encoded(dir.path().as_os_str().as_encoded_bytes())
        );
        let said = [("user", config.get_user().map(str::as_bytes)), ("password", config.get_password())];
        for (name, value) in said {
            if let Some(value) = value {
                through.push_str(&format!("&{name}={}", encoded(value)));
            }
        }
        let state = watch::Sender::new(State::default());
        let (opened, open) = watch::channel(0);
        let seen = state.subscribe();
        let accepting = tokio::spawn(async move {
            while let Ok((node, _)) = listener.accept().await {
                tokio::spawn(connect(node, server.clone(), seen.clone(), Open::new(&opened)));
            }
        });
        Ok((Self { state, open, accepting, _dir: dir }, through))
    }

    /// Ends all connections, and lets none in. They have ended when this returns.
    pub(super) async fn cut(&self) -> Result<()> {
        self.state.send_modify(|state| *state = State { cut: true, cuts: state.cuts + 1, frozen: false });
        let mut open = self.open.clone();
        let ended = tokio::time::timeout(CUT_WITHIN, open.wait_for(|open| *open == 0)).await;
        ended
            .map(drop)
            .map_err(|_| Error::internal(format!("connections that were cut have not ended within {CUT_WITHIN:?}")))
    }

    /// Holds back whatever is said from now on, by either side.
    pub(super) fn freeze(&self) {
        self.state.send_modify(|state| state.frozen = true);
    }

    /// Everything passes again, what was held back first.
    pub(super) fn heal(&self) {
        self.state.send_modify(|state| *state = State { cut: false, frozen: false, ..*state });
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.accepting.abort();
        // What goes over it ends with its state.
    }
}

/// Counts as a connection as long as it lives.
struct Open(watch::Sender<usize>);

impl Open {
    fn new(open: &watch::Sender<usize>) -> Self {
        open.send_modify(|open| *open += 1);
        Self(open.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

async fn connect(node: UnixStream, server: Server, mut state: watch::Receiver<State>, _open: Open) {
    let began = *state.borrow();
    if began.cut || passable(&mut state, began.cuts).await.is_none() {
        return;
    }
    let (from_node, to_node) = node.into_split();
    match server {
        Server::Socket(path) => {
            let Ok(server) = UnixStream::connect(path).await else { return };
            let (from_server, to_server) = server.into_split();
            carry_both((from_node, to_server), (from_server, to_node), &state, began.cuts).await;
        }
        Server::Port(host, port) => {
            let Ok(server) = TcpStream::connect((host, port)).await else { return };
            // As a driver that speaks to the server itself would have it.
            if server.set_nodelay(true).is_err() {
                return;
            }
            let (from_server, to_server) = server.into_split();
            carry_both((from_node, to_server), (from_server, to_node), &state, began.cuts).await;
        }
    }
}

async fn carry_both(
    there: (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    back: (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    state: &watch::Receiver<State>,
    began: u64,
) {
    // When either side ends, so does the other's connection.
    tokio::select! {
        () = carry(there, state.clone(), began) => {}
        () = carry(back, state.clone(), began) => {}
    }
}

/// Carries what one side says to the other, until it has nothing more to say or the line is cut.
async fn carry(
    (mut from, mut to): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    mut state: watch::Receiver<State>,
    began: u64,
) {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = tokio::select! {
            read = from.read(&mut chunk) => read,
            _ = state.wait_for(|state| state.cuts != began) => return,
        };
        // That a side has hung up is held back like all that it says.
        if passable(&mut state, began).await.is_none() {
            return;
        }
        match read {
            Ok(n) if n > 0 && to.write_all(&chunk[..n]).await.is_ok() => {}
            _ => return,
        }
    }
}

/// Waits until something may pass; nothing when the line was cut instead, or is gone.
async fn passable(state: &mut watch::Receiver<State>, began: u64) -> Option<()> {
    let state = state.wait_for(|state| !state.frozen || state.cuts != began).await.ok()?;
    (state.cuts == began).then_some(())
}

/// As a part of a URL.
fn encoded(text: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(*byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A server that says back what it is told.
    async fn echo() -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join(".s.PGSQL.7000")).unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.into_split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        let url = format!("postgresql:///d?host={}&port=7000&user=u", dir.path().display());
        (dir, url)
    }

    async fn call(through: &str) -> UnixStream {
        let config: tokio_postgres::Config = through.parse().unwrap();
        let Host::Unix(folder) = &config.get_hosts()[0] else { panic!("{through}") };
        UnixStream::connect(folder.join(".s.PGSQL.5432")).await.unwrap()
    }

    async fn say(stream: &mut UnixStream, what: &[u8]) -> Vec<u8> {
        stream.write_all(what).await.unwrap();
        let mut back = vec![0; what.len()];
        stream.read_exact(&mut back).await.map(|_| back).unwrap_or_default()
    }

    #[tokio::test]
    async fn what_is_frozen_arrives_late_and_what_is_cut_never() {
        let (_dir, url) = echo().await;
        let (line, through) = Line::before(&url).unwrap();
        assert_eq!(through.parse::<tokio_postgres::Config>().unwrap().get_user(), Some("u"));
        let mut one = call(&through).await;
        assert_eq!(say(&mut one, b"hello").await, b"hello");
        line.freeze();
        let mut two = call(&through).await;
        two.write_all(b"late").await.unwrap();
        one.write_all(b"too").await.unwrap();
        // A short look, as what is held back never comes by itself.
        let mut back = [0; 3];
        let early = tokio::time::timeout(Duration::from_millis(50), one.read_exact(&mut back)).await;
        assert!(early.is_err());
        line.heal();
        one.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"too");
        let mut back = [0; 4];
        two.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"late");
        line.cut().await.unwrap();
        assert_eq!(*line.open.borrow(), 0);
        assert_eq!(one.read(&mut back).await.unwrap_or(0), 0);
        assert_eq!(call(&through).await.read(&mut back).await.unwrap_or(0), 0);
        // However soon it is healed: what was cut stays so.
        let mut three = {
            line.heal();
            call(&through).await
        };
        assert_eq!(say(&mut three, b"again").await, b"again");
        line.cut().await.unwrap();
        line.heal();
        assert_eq!(three.read(&mut back).await.unwrap_or(0), 0);
    }

    #[test]
    fn any_name_is_found_again_in_a_url() {
        let name = "a b/c?d&e%é";
        let url = format!("postgresql:///{}?host=/tmp&user=u", encoded(name.as_bytes()));
        assert_eq!(url.parse::<tokio_postgres::Config>().unwrap().get_dbname(), Some(name));
    }
}
