//! The command line of an app's binary.

use std::io::Write as _;

use forge_core::{Error, Result, ResultExt as _};

use super::explain::{self, Wish};
use super::{App, Node};
use crate::config::{Config, Loaded, Mode};
use crate::db::Database;
use crate::migrate::{Migrator, Progress, State};
use crate::observability;

const HELP: &str = "\
usage: {name} [COMMAND]

  serve            run the app (the default)
  migrate          apply the migrations that are pending
  migrate status   show where each migration stands
  check            check the app's SQL and models against the migrated database
  doctor           look at the database server: how live queries work on it, what is wrong, what to do
  manifest         describe the app as JSON
  explain-query NAME [--args JSON [--user ID] [--role ROLE]..]
                   what a live query reads, and which changes run it again
  help             this text

The configuration is read from forge.toml (another file: FORGE_CONFIG) and the environment.
";

/// Does what the arguments say.
pub(super) async fn run(app: App) -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] | ["serve"] => serve(app).await,
        ["manifest"] => print(&serde_json::to_string_pretty(&app.manifest()?)?),
        ["migrate"] => migrate(&app).await,
        ["migrate", "status"] => status(&app).await,
        ["check"] => check(&app).await,
        ["explain-query", words @ ..] => explain_query(&app, words).await,
        ["doctor"] => doctor(&app).await,
        ["help" | "--help" | "-h"] => print(HELP.replace("{name}", app.name()).trim_end()),
        ["version" | "--version" | "-V"] => print(&format!("{} {}", app.name(), app.version())),
        other => Err(Error::config(
            "COMMAND_UNKNOWN",
            format!(
                "`{}` is not a command of this program; there are serve, migrate, migrate status, check, doctor, manifest, explain-query and help",
                other.join(" ")
            ),
        )),
    }
}

fn load(app: &App) -> Result<Loaded> {
    let file = std::env::var_os("FORGE_CONFIG").map_or_else(|| "forge.toml".into(), std::path::PathBuf::from);
    let mut loaded = Config::load(Some(&file), &|name| std::env::var(name).ok())?;
    if loaded.config.project.name == Config::defaults(Mode::Development).project.name {
        loaded.config.project.name = app.name().to_owned();
    }
    Ok(loaded)
}

async fn serve(app: App) -> Result<()> {
    let config = load(&app)?.config;
    let _log = observability::init_logging(&config.observability);
    let counts: Vec<String> = app.counts().into_iter().map(|(what, n)| format!("{n} {what}")).collect();
    tracing::info!(app = app.name(), version = app.version(), mode = ?config.mode, "registered: {}", counts.join(", "));
    let node = Node::start(app, config).await?;
    super::drain::until_told(node).await
}

async fn migrate(app: &App) -> Result<()> {
    let config = load(app)?.config;
    let migrator = Migrator::new(&config.database, &config.migrations, app.migrations()?)?;
    let applied = migrator
        .run(|progress| match progress {
            Progress::Waiting(holder) => note(&format!(
                "waiting for another migrator{}",
                holder.map(|pid| format!(" (server process {pid})")).unwrap_or_default()
            )),
            Progress::Applying(migration) => note(&format!("applying {} {}", migration.set, migration.label())),
            Progress::Applied(_, took) => note(&format!("  done in {} ms", took.as_millis())),
        })
        .await?;
    note(&if applied == 0 { "nothing to apply".to_owned() } else { format!("{applied} applied") });
    Ok(())
}

async fn status(app: &App) -> Result<()> {
    let config = load(app)?.config;
    let migrator = Migrator::new(&config.database, &config.migrations, app.migrations()?)?;
    for status in migrator.status().await? {
        let state = match status.state {
            State::Applied => "applied",
            State::Pending => "pending",
            State::Changed => "CHANGED",
            State::Missing => "missing",
        };
        print(
            format!(
                "{state:8} {:5} {:04}_{} {}",
                status.set,
                status.version,
                status.name,
                status.applied_at.unwrap_or_default()
            )
            .trim_end(),
        )?;
    }
    Ok(())
}

async fn check(app: &App) -> Result<()> {
    let config = load(app)?.config;
    let database = Database::new(app.name(), &config.database)?;
    let checked = app.check(&database).await?;
    note(&format!("{checked} statements and {} models fit the database", app.tables.len()));
    Ok(())
}

async fn explain_query(app: &App, words: &[&str]) -> Result<()> {
    let wish = Wish::of(words)?;
    let config = load(app)?.config;
    print(explain::explain(app, &config, &wish).await?.trim_end())
}

async fn doctor(app: &App) -> Result<()> {
    let report = super::doctor::examine(app.name(), &load(app)?.config).await?;
    print(report.text.trim_end())?;
    report.wrong.map_or(Ok(()), Err)
}

/// Data goes to stdout.
fn print(text: &str) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{text}").context("writing to standard output")
}

/// Everything else goes to stderr; when that is closed there is nobody to tell.
fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
