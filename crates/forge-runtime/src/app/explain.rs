//! `explain-query`: what a query is known to read, and so which changes run it again while it is live.

use std::fmt::Write as _;
use std::sync::Arc;

use forge_core::auth::{AuthContext, AuthUser};
use forge_core::function::TrackingMode;
use forge_core::{Error, Result};

use super::App;
use super::node::caller_for;
use crate::auth::Accounts;
use crate::cluster::Cluster;
use crate::config::Config;
use crate::db::{CheckedSql, Database, Recorder, Verb};
use crate::function::{Entry, FunctionExecutor, FunctionRouter, Run, World};
use crate::jobs::Jobs;
use crate::read_set::Catalogue;
use crate::realtime::Live;

/// What is asked.
#[derive(Debug, Default)]
pub(super) struct Wish {
    pub(super) name: String,
    /// With which arguments it is run. Without any, it is not run.
    pub(super) args: Option<String>,
    /// As whom.
    pub(super) user: Option<String>,
    pub(super) roles: Vec<String>,
}

impl Wish {
    /// Of the words after the command.
    ///
    /// # Errors
    /// When they are not understood.
    pub(super) fn of(words: &[&str]) -> Result<Self> {
        let wrong = |why: String| Error::config("COMMAND_UNKNOWN", format!("{why}; {USAGE}"));
        let mut wish = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value =
                || words.next().map(|word| (*word).to_owned()).ok_or_else(|| wrong(format!("`{word}` needs a value")));
            match *word {
                "--args" => wish.args = Some(value()?),
                "--user" => wish.user = Some(value()?),
                "--role" => wish.roles.push(value()?),
                name if !name.starts_with('-') && wish.name.is_empty() => wish.name = name.to_owned(),
                other => return Err(wrong(format!("`{other}` is not understood"))),
            }
        }
        if wish.name.is_empty() { Err(wrong("the query's name is missing".into())) } else { Ok(wish) }
    }
}

const USAGE: &str = "usage: explain-query NAME [--args JSON [--user ID] [--role ROLE]..]";

/// Explains a query: its written statements, or, with arguments, those of a run in a transaction that only reads.
///
/// # Errors
/// When there is no such query, the database cannot be asked, or the run fails.
pub(super) async fn explain(app: &App, config: &Config, wish: &Wish) -> Result<String> {
    let entry = app.functions().get(&wish.name).ok_or_else(|| {
        let hint = app.functions().nearest(&wish.name).map(|near| format!("; did you mean `{near}`?"));
        Error::not_found(format!("there is no function `{}`{}", wish.name, hint.unwrap_or_default()))
    })?;
    if !matches!(entry.run, Run::Query(_)) {
        return Err(Error::invalid_argument(format!("`{}` is no query; only queries can be live", wish.name)));
    }
    let database = Database::new(app.name(), &config.database)?;
    let mut text = head(entry);
    match &wish.args {
        None => written(app, entry, &database, &mut text).await?,
        Some(args) => ran(app, entry, config, &database, (args, wish), &mut text).await?,
    }
    Ok(text)
}

fn head(entry: &Entry) -> String {
    let info = &entry.info;
    let mut text = format!("{} ({}:{})\n", info.name, info.file, info.line);
    // Writing to a string succeeds.
    if let Some(every) = info.refresh_every {
        let _ = writeln!(text, "runs again every {every:?} while it is live, and may read what cannot be followed");
    }
    if let Some(interval) = info.min_interval {
        let _ = writeln!(text, "runs at most once in {interval:?} while it is live");
    }
    match info.tracking {
        TrackingMode::Auto => {}
        TrackingMode::Table => text.push_str("tracking = \"table\": every change of a table below runs it again\n"),
        TrackingMode::None => text.push_str("tracking = \"none\": no change runs it again\n"),
    }
    text
}

/// The statements that stand between this function and the next one of its file.
async fn written(app: &App, entry: &Entry, database: &Database, text: &mut String) -> Result<()> {
    let info = &entry.info;
    let others = app.functions().infos().filter(|other| other.file == info.file && other.line > info.line);
    let end = others.map(|other| other.line).min().unwrap_or(u32::MAX);
    let within = |sql: &&CheckedSql| {
        let (file, line) = sql.statement.file_and_line();
        file == info.file && (info.line..end).contains(&line) && sql.statement.shape().verb != Verb::Write
    };
    let mut statements: Vec<&CheckedSql> = CheckedSql::all().filter(within).collect();
    statements.sort_by_key(|sql| sql.statement.file_and_line());
    let lease = database.live().get().await?;
    for sql in &statements {
        let statement = sql.statement;
        let _ = writeln!(text, "\n{}: {}", statement.place(), one_line(statement.text()));
        for (n, param) in statement.params().iter().enumerate() {
            let _ = writeln!(text, "  ${} is {}", n + 1, param.name);
        }
        match Catalogue::read(lease.client(), statement.text()).await? {
            Ok(reading) => text.push_str(&reading.explained()),
            Err(why) => {
                let _ = writeln!(text, "  cannot be followed: {}", why.0);
            }
        }
    }
    let found = if statements.is_empty() {
        "No `sql!` statement is written in it."
    } else {
        "These are the `sql!` statements written in it."
    };
    let _ = write!(
        text,
        "\n{found} What it asks through models, other functions or text made at run time is known once it has run:\n  explain-query {} --args '{{..}}'     (runs it once, in a transaction that only reads)\n",
        info.name
    );
    Ok(())
}

/// What a run asked for.
async fn ran(
    app: &App,
    entry: &Arc<Entry>,
    config: &Config,
    database: &Database,
    (args, wish): (&str, &Wish),
    text: &mut String,
) -> Result<()> {
    let accounts = Arc::new(Accounts::new(&config.security.auth, database));
    let (live, _wishes) = Live::new();
    let router = FunctionRouter::new(app.functions().clone());
    let depth = config.gateway.max_json_depth;
    let cluster = Cluster::new();
    let jobs = Jobs::new(app.jobs().clone(), &config.jobs, database.jobs().clone(), cluster.clone());
    let mail = crate::mail::Mailer::new(&config.mail, config.mode)?;
    let world = World { cluster, accounts, jobs, mail };
    let executor = FunctionExecutor::new(router, database.clone(), world, config.function.clone(), depth, live)?;
    let auth = match &wish.user {
        None if wish.roles.is_empty() => AuthContext::anonymous(),
        user => {
            let mut user = AuthUser::new(user.clone().unwrap_or_else(|| "explain-query".to_owned()));
            user.roles.clone_from(&wish.roles);
            AuthContext::of(user)
        }
    };
    let snapshot = Arc::new(database.begin_live(false).await?);
    let recorder = Arc::new(Recorder::default());
    let run = executor.run_live(entry, args.as_bytes(), caller_for(auth), snapshot.clone(), recorder.clone());
    let result = run.await;
    let (asked, _) = recorder.take();
    snapshot.rollback().await;
    let bytes = result?.len();
    let _ = writeln!(text, "ran with {args}: {} statements, {bytes} bytes of JSON", asked.len());
    let lease = database.live().get().await?;
    for (shape, arguments) in asked {
        let _ = writeln!(text, "\n{}", one_line(&shape.text));
        match Catalogue::read(lease.client(), &shape.text).await? {
            Ok(reading) => {
                let bound = reading.bind(&arguments);
                bound.iter().for_each(|one| {
                    let _ = writeln!(text, "{}", one.explained());
                });
                if bound.is_empty() {
                    text.push_str("  no row can matter with these arguments\n");
                }
                reading.notes.iter().for_each(|note| {
                    let _ = writeln!(text, "  narrows nothing: {note}");
                });
            }
            Err(why) => {
                let _ = writeln!(text, "  cannot be followed: {}", why.0);
            }
        }
    }
    Ok(())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
