//! `forge dev`: an app that runs while it is edited.
//!
//! ```text
//! a file changes ─▶ build ─▶ new process on the same socket ─ ready ─▶ it serves; the old one finishes and ends
//!                     │                    └ ends before that ─┐
//!                     └ does not build ────────────────────────┴▶ the old one goes on serving
//! ```
//!
//! Promises: the socket is opened once and handed from process to process, so no connection is refused while a new version
//! takes over; a change that does not build or start changes nothing; at the end every process that was started has ended,
//! except the private database server unless that is asked for.

mod changes;
mod keys;
mod making;
mod node;
mod session;
mod surroundings;
mod watch;

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use forge_core::{Error, Result};
use forge_runtime::config::Loaded;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin::place;
use crate::app::App;
use crate::status::Status;
use crate::voice;
use making::Maker;
use node::Nodes;
use session::Session;
use surroundings::Surroundings;

/// What the command line asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wishes {
    /// The port to listen on, if not the configured one.
    pub(crate) port: Option<u16>,
    /// Whether to build as for production.
    pub(crate) release: bool,
    /// Whether to stop the private database server at the end.
    pub(crate) stop_database: bool,
}

/// Runs until it is told to stop.
pub(crate) async fn run(path: &Path, wishes: Wishes) -> Result<()> {
    let mut signals = Signals::listen()?;
    let status = Status::new();
    let session = tokio::select! {
        session = prepare(path, wishes, &status) => session?,
        () = signals.told() => return Ok(()),
    };
    let surroundings = session.run(&mut signals).await?;
    match surroundings.server() {
        Some(server) if wishes.stop_database => {
            server.stop().await?;
            status.line("stopped, the database server too");
        }
        Some(_) => status.line("stopped; the database server stays running: `forge db stop` ends it"),
        None => status.line("stopped"),
    }
    Ok(())
}

/// Everything that is there before the first build: port, database, secret.
async fn prepare(path: &Path, wishes: Wishes, status: &Status) -> Result<Session> {
    let app = Arc::new(App::open(path)?);
    // First of all, as it is what fails most often.
    let listener = listen(&app.config()?, wishes.port)?;
    status.line(&format!("{}  {}", voice::bold(&app.name), app.root.display()));
    let surroundings = Surroundings::of(&app, status).await?;
    let crates = app.crates().await?;
    let nodes = Nodes::new(app.clone(), listener, surroundings.environment(), status.clone());
    // For `forge jobs` and the like, in this folder.
    place::serves_at(&app, &nodes.url()?)?;
    let maker = Maker::new(app, wishes.release, status.clone());
    Session::new(maker, crates, nodes, surroundings, status.clone())
}

fn listen(config: &Loaded, port: Option<u16>) -> Result<TcpListener> {
    let gateway = &config.config.gateway;
    let (host, port) = (gateway.host.as_str(), port.unwrap_or(gateway.port));
    TcpListener::bind((host, port)).map_err(|why| {
        if why.kind() == std::io::ErrorKind::AddrInUse {
            let other = port.checked_add(1).unwrap_or(8080);
            let text = format!("another program listens on {host}:{port}; stop it, or take another port: `forge dev --port {other}`");
            return Error::config("PORT_IN_USE", text).with_source(why);
        }
        let text = format!("cannot listen on {host}:{port}: {why}; gateway.host must be an address of this machine, and a port below 1024 needs rights");
        Error::config("LISTEN_FAILED", text).with_source(why)
    })
}

/// The signals that end the command.
#[derive(Debug)]
pub(crate) struct Signals([Signal; 3]);

impl Signals {
    fn listen() -> Result<Self> {
        let on = |kind| signal(kind).map_err(|why| Error::internal("signals cannot be received").with_source(why));
        Ok(Self([on(SignalKind::interrupt())?, on(SignalKind::terminate())?, on(SignalKind::hangup())?]))
    }

    /// Waits for the next one.
    async fn told(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
