//! Stands between the app and PostgreSQL, understands just enough of their protocol to know a COMMIT, and cuts.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// What happens to a COMMIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    /// It passes, like everything.
    Pass,
    /// It never reaches the server; both sides lose their connection.
    CutBefore,
    /// The server commits; its answer never reaches the app, which loses its connection.
    CutAfter,
    /// It is held back, until the server goes away.
    Hold,
    /// Nobody is let in.
    Refuse,
}

/// A proxy on a socket of its own.
pub(crate) struct Proxy {
    state: Arc<State>,
    dir: tempfile::TempDir,
}

struct State {
    plan: Mutex<Plan>,
    commits: Mutex<usize>,
    met: Notify,
    server: PathBuf,
}

impl Proxy {
    /// Puts a proxy before the server that a URL leads to. Returns it and the URL that leads through it.
    pub(crate) fn before(url: &str) -> (Self, String) {
        let config: tokio_postgres::Config = url.parse().unwrap();
        let tokio_postgres::config::Host::Unix(folder) = &config.get_hosts()[0] else { panic!("not a socket: {url}") };
        let port = config.get_ports()[0];
        let state = Arc::new(State {
            plan: Mutex::new(Plan::Pass),
            commits: Mutex::default(),
            met: Notify::new(),
            server: folder.join(format!(".s.PGSQL.{port}")),
        });
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join(".s.PGSQL.5432")).unwrap();
        let accepting = state.clone();
        tokio::spawn(async move {
            while let Ok((app, _)) = listener.accept().await {
                tokio::spawn(serve(app, accepting.clone()));
            }
        });
        let name = config.get_dbname().unwrap();
        let through =
            format!("postgresql:///{name}?host={}&port=5432&user={}", dir.path().display(), config.get_user().unwrap());
        (Self { state, dir }, through)
    }

    /// What happens to COMMITs from now on.
    pub(crate) fn plan(&self, plan: Plan) {
        assert!(self.dir.path().exists());
        *self.state.plan.lock().unwrap() = plan;
    }

    /// Waits until so many COMMITs have met a plan other than to pass.
    pub(crate) async fn met(&self, wanted: usize) {
        loop {
            let changed = self.state.met.notified();
            if *self.state.commits.lock().unwrap() >= wanted {
                return;
            }
            tokio::time::timeout(crate::support::PATIENCE, changed).await.expect("no COMMIT came");
        }
    }
}

impl State {
    fn plan(&self) -> Plan {
        *self.plan.lock().unwrap()
    }

    fn note(&self) {
        *self.commits.lock().unwrap() += 1;
        self.met.notify_waiters();
    }
}

async fn serve(app: UnixStream, state: Arc<State>) {
    if state.plan() == Plan::Refuse {
        return;
    }
    let Ok(server) = UnixStream::connect(&state.server).await else { return };
    let ((from_app, to_app), (from_server, to_server)) = (app.into_split(), server.into_split());
    // Set before a COMMIT goes on whose answer is to be lost; cancelled when that is there.
    let (swallow, committed) = (CancellationToken::new(), CancellationToken::new());
    let asking = asks(from_app, to_server, &state, &swallow, &committed);
    let answering = answers(from_server, to_app, &swallow, &committed);
    // When either ends, both connections are closed.
    tokio::select! {
        () = asking => {}
        () = answering => {}
    }
}

/// From the app to the server.
async fn asks(
    mut app: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    state: &State,
    swallow: &CancellationToken,
    committed: &CancellationToken,
) {
    let mut commits = HashSet::new();
    let Some(start) = start(&mut app).await else { return };
    if server.write_all(&start).await.is_err() {
        return;
    }
    while let Some((kind, message)) = message(&mut app).await {
        let body = &message[5..];
        let mut words = body.split(|byte| *byte == 0);
        if kind == b'P' {
            let (name, text) = (words.next().unwrap_or_default().to_vec(), words.next().unwrap_or_default());
            if text == b"COMMIT" {
                commits.insert(name);
            }
        } else if kind == b'B' && words.nth(1).is_some_and(|name| commits.contains(name)) {
            match state.plan() {
                Plan::Pass | Plan::Refuse => {}
                Plan::CutBefore => return state.note(),
                Plan::Hold => {
                    state.note();
                    return std::future::pending().await;
                }
                Plan::CutAfter => {
                    swallow.cancel();
                    state.note();
                    // The rest of the burst: Execute and Sync.
                    let mut burst = message;
                    while let Some((kind, message)) = self::message(&mut app).await {
                        burst.extend_from_slice(&message);
                        if kind == b'S' {
                            break;
                        }
                    }
                    if server.write_all(&burst).await.is_ok() {
                        committed.cancelled().await;
                    }
                    return;
                }
            }
        }
        if server.write_all(&message).await.is_err() {
            return;
        }
    }
}

/// From the server to the app.
async fn answers(
    mut server: OwnedReadHalf,
    mut app: OwnedWriteHalf,
    swallow: &CancellationToken,
    committed: &CancellationToken,
) {
    while let Some((kind, message)) = message(&mut server).await {
        if swallow.is_cancelled() {
            if kind == b'C' && message[5..].starts_with(b"COMMIT\0") {
                committed.cancel();
                return std::future::pending().await;
            }
        } else if app.write_all(&message).await.is_err() {
            return;
        }
    }
}

/// The first message of a session, which has no kind.
async fn start(app: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let mut message = vec![0; 4];
    app.read_exact(&mut message).await.ok()?;
    let length = u32::from_be_bytes(message[..4].try_into().ok()?) as usize;
    message.resize(length, 0);
    app.read_exact(&mut message[4..]).await.ok()?;
    Some(message)
}

/// The next message: its kind, and all of it.
async fn message(from: &mut (impl AsyncRead + Unpin)) -> Option<(u8, Vec<u8>)> {
    let mut message = vec![0; 5];
    from.read_exact(&mut message).await.ok()?;
    let length = u32::from_be_bytes(message[1..5].try_into().ok()?) as usize;
    message.resize(length + 1, 0);
    from.read_exact(&mut message[5..]).await.ok()?;
    Some((message[0], message))
}
