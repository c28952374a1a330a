//! Stands between the app and PostgreSQL, understands just enough of their protocol to know a statement, and cuts.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// A statement that the proxy looks out for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Statement {
    /// Whether it is a text's.
    is: fn(&str) -> bool,
    /// How the server's word begins that it has run.
    tag: &'static [u8],
}

impl Statement {
    /// The end of a transaction.
    pub(crate) const COMMIT: Self = Self { is: |text| text == "COMMIT", tag: b"COMMIT" };
    /// What writes down that jobs were completed.
    pub(crate) const COMPLETE: Self = Self { is: |text| text.contains("INSERT INTO forge_jobs_done"), tag: b"SELECT" };
}

/// What happens to the statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    /// It passes, like everything.
    Pass,
    /// It never reaches the server; both sides lose their connection.
    CutBefore,
    /// The server runs and commits it; its answer never reaches the app, which loses its connection.
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
    statement: Statement,
    plan: Mutex<Plan>,
    count: Mutex<usize>,
    met: Notify,
    server: PathBuf,
}

impl Proxy {
    /// Puts a proxy before the server that a URL leads to, which looks out for a statement. Returns it and the URL that leads through it.
    pub(crate) fn before(url: &str, statement: Statement) -> (Self, String) {
        let config: tokio_postgres::Config = url.parse().unwrap();
        let tokio_postgres::config::Host::Unix(folder) = &config.get_hosts()[0] else { panic!("not a socket: {url}") };
        let port = config.get_ports()[0];
        let state = Arc::new(State {
            statement,
            plan: Mutex::new(Plan::Pass),
            count: Mutex::default(),
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

    /// What happens to the statement from now on.
    pub(crate) fn plan(&self, plan: Plan) {
        assert!(self.dir.path().exists());
        *self.state.plan.lock().unwrap() = plan;
    }

    /// Waits until it has met a plan other than to pass so many times.
    pub(crate) async fn met(&self, wanted: usize) {
        loop {
            let changed = self.state.met.notified();
            if *self.state.count.lock().unwrap() >= wanted {
                return;
            }
            tokio::time::timeout(crate::support::PATIENCE, changed).await.expect("it did not come");
        }
    }
}

impl State {
    fn plan(&self) -> Plan {
        *self.plan.lock().unwrap()
    }

    fn note(&self) {
        *self.count.lock().unwrap() += 1;
        self.met.notify_waiters();
    }
}

async fn serve(app: UnixStream, state: Arc<State>) {
    if state.plan() == Plan::Refuse {
        return;
    }
    let Ok(server) = UnixStream::connect(&state.server).await else { return };
    let ((from_app, to_app), (from_server, to_server)) = (app.into_split(), server.into_split());
    // Set before a statement goes on whose answer is to be lost; cancelled when that is there.
    let (swallow, answered) = (CancellationToken::new(), CancellationToken::new());
    let asking = asks(from_app, to_server, &state, &swallow, &answered);
    let answering = answers(from_server, to_app, state.statement.tag, &swallow, &answered);
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
    answered: &CancellationToken,
) {
    let mut names = HashSet::new();
    let Some(start) = start(&mut app).await else { return };
    if server.write_all(&start).await.is_err() {
        return;
    }
    while let Some((kind, message)) = message(&mut app).await {
        let body = &message[5..];
        let mut words = body.split(|byte| *byte == 0);
        if kind == b'P' {
            let (name, text) = (words.next().unwrap_or_default().to_vec(), words.next().unwrap_or_default());
            if (state.statement.is)(&String::from_utf8_lossy(text)) {
                names.insert(name);
            }
        } else if kind == b'B' && words.nth(1).is_some_and(|name| names.contains(name)) {
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
                        answered.cancelled().await;
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
    tag: &[u8],
    swallow: &CancellationToken,
    answered: &CancellationToken,
) {
    let mut has_run = false;
    while let Some((kind, message)) = message(&mut server).await {
        if swallow.is_cancelled() {
            has_run |= kind == b'C' && message[5..].starts_with(tag);
            // A statement that is no COMMIT is committed once the server is ready for the next.
            if has_run && kind == b'Z' {
                answered.cancel();
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
