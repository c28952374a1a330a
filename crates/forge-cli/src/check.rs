//! `forge check`: does the app build, do its migrations apply to an empty database, and do its statements and models
//! fit it.

use std::path::Path;

use forge_core::Result;
use forge_pg::{Options, PrivateServer, Templates};

use crate::app::App;
use crate::binary;
use crate::cargo::{self, Profile, seconds};
use crate::database::environment;
use crate::status::Status;

/// The template of all scratch databases: an empty one.
const EMPTY: &str = "an empty database";

/// Builds the app, and runs its `migrate` and `check` on a database of their own, which is removed afterwards.
pub(crate) async fn run(path: &Path, status: &Status) -> Result<()> {
    let began = std::time::Instant::now();
    let app = App::open(path)?;
    app.config()?;
    let crates = app.crates().await?;
    let built = cargo::build(&app, &crates, Profile::Dev, status).await?;
    let templates = match std::env::var("FORGE_TEST_DATABASE_URL") {
        Ok(url) if !url.is_empty() => Templates::on_url(url),
        _ => {
            let said = status.clone();
            let options = Options::test(&crates.workspace).progress(move |line| said.line(line));
            Templates::new(&PrivateServer::ensure(options).await?)
        }
    };
    let database = templates.database(EMPTY, async |_| Ok(())).await?;
    let env = environment(database.url());
    let checked = async {
        binary::run(&app, &built.program, &["migrate"], &env).await?;
        binary::run(&app, &built.program, &["check"], &env).await
    }
    .await;
    // What an interrupted run leaves behind, the next one sweeps away.
    let removed = database.remove().await;
    checked.and(removed)?;
    status.line(&format!("`{}` is fine · {}", app.name, seconds(began.elapsed())));
    Ok(())
}
