//! `forge db`: the database of an app.

use std::os::unix::process::CommandExt as _;
use std::path::Path;

use forge_core::Result;
use forge_pg::PrivateServer;

use crate::app::App;
use crate::database;
use crate::failure;
use crate::status::Status;
use crate::voice;

/// Stops the private server.
pub(crate) async fn stop(path: &Path) -> Result<()> {
    let app = App::open(path)?;
    let Some(server) = PrivateServer::running(&app.root).await? else {
        voice::note("no private server of this app is running");
        return Ok(());
    };
    server.stop().await?;
    voice::note(&format!("stopped; the data stays in {}", server.data_folder().display()));
    Ok(())
}

/// Prints the address.
pub(crate) async fn url(path: &Path, status: &Status) -> Result<()> {
    let app = App::open(path)?;
    voice::data(&database::of(&app, &app.config()?, status).await?.url)
}

/// Becomes psql.
pub(crate) async fn psql(path: &Path, arguments: &[String], status: &Status) -> Result<()> {
    let app = App::open(path)?;
    let database = database::of(&app, &app.config()?, status).await?;
    let why = std::process::Command::new("psql").arg(&database.url).args(arguments).exec();
    Err(failure::program("psql", "is PostgreSQL's own client; another one can use the address that `forge db url` prints")(
        why,
    ))
}
