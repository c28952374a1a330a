//! `forge migrate`: the app's own `migrate`, on the database that the app has here.

use std::path::Path;

use forge_core::Result;

use crate::app::App;
use crate::binary;
use crate::cargo::{self, Profile};
use crate::database;
use crate::status::Status;

/// Builds the app and runs its command.
pub(crate) async fn run(path: &Path, words: &[&str], status: &Status) -> Result<()> {
    let app = App::open(path)?;
    let config = app.config()?;
    let crates = app.crates().await?;
    let built = cargo::build(&app, &crates, Profile::Dev, status).await?;
    let database = database::of(&app, &config, status).await?;
    let env = [("DATABASE_URL", database.url.as_str())];
    // A configured database is the program's own to find, with all that is configured beside it.
    binary::run(&app, &built.program, words, if database.server.is_some() { &env } else { &[] }).await
}
