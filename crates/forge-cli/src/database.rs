//! Which database an app works with on a developer's machine: the configured one, else one on a private server.

use forge_core::Result;
use forge_pg::{Options, PrivateServer};
use forge_runtime::config::{Loaded, Source};

use crate::app::App;
use crate::status::Status;

/// The database of an app.
#[derive(Debug)]
pub(crate) struct Database {
    /// Its address.
    pub(crate) url: String,
    /// The private server that has it, if it is on one.
    pub(crate) server: Option<PrivateServer>,
    /// Which one it is, for people; without a password.
    pub(crate) words: String,
}

/// The database that the configuration names; else starts the app's private server and makes a database there.
///
/// # Errors
/// Those of the private server.
pub(crate) async fn of(app: &App, config: &Loaded, status: &Status) -> Result<Database> {
    if let Some(url) = &config.config.database.url {
        let words = match config.explain().into_iter().find(|key| key.key == "database.url").map(|key| key.source) {
            Some(Source::Env { var }) => format!("the one that {var} names"),
            Some(Source::File { line }) => format!("the one that line {line} of {} names", app.config_file().display()),
            Some(Source::Default) | None => "the configured one".to_owned(),
        };
        return Ok(Database { url: url.expose().to_owned(), server: None, words });
    }
    let server = private(app, status).await?;
    let name = app.database_name();
    server.create_database_if_missing(&name).await?;
    let words = format!("{name} on a private PostgreSQL {}, {}", server.version(), server.url(&name));
    Ok(Database { url: server.url(&name), server: Some(server), words })
}

/// The private server of an app, started if need be.
pub(crate) async fn private(app: &App, status: &Status) -> Result<PrivateServer> {
    app.private_folder()?;
    let said = status.clone();
    let server = PrivateServer::ensure(Options::dev(&app.root).progress(move |line| said.line(line))).await;
    status.clear();
    server
}

/// What tells the app's program to use a database, and nothing else that the configuration may name.
pub(crate) fn environment(url: &str) -> [(&'static str, &str); 3] {
    [("FORGE_DATABASE_URL", url), ("FORGE_DATABASE_DIRECT_URL", url), ("FORGE_DATABASE_READ_FROM_REPLICA", "false")]
}
