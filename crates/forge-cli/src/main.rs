//! The `forge` command: makes an app, runs it while it is edited, builds it, and looks after what belongs to it.
//!
//! Promises: data goes to stdout and everything else to stderr; every command can run without a terminal, and asks nothing but before it changes many
//! jobs at once, unless `--yes` is said; every failure has a code with a page (`forge explain CODE`); what a command starts ends with it, except the
//! private database server, which says how it is stopped.
//!
//! Deliberately not here: running an app in production. The app's own binary does that, and its `migrate` and `manifest`; what operates it from outside
//! ([`admin`]) asks it over HTTP.

mod admin;
mod app;
mod arguments;
mod binary;
mod build;
mod cargo;
mod check;
mod config;
mod database;
mod db;
mod dev;
mod explain;
mod failure;
mod generate;
mod group;
mod migrate;
mod new;
mod page;
mod secret;
mod status;
mod voice;

use std::process::ExitCode;

use arguments::{Arguments, Command, ConfigCommand, DbCommand, MigrateCommand};
use clap::Parser as _;
use forge_core::{Error, Result};
use status::Status;

/// What a shell sees after Ctrl-C.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // One thread: the system ends an app together with the thread that started it, and this one lives longest.
    let ended = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let ended = runtime.block_on(run(arguments.command));
            // A thread that waits for a key must not hold up the end.
            runtime.shutdown_background();
            ended
        }
        Err(why) => Err(Error::internal("no async runtime could be made").with_source(why)),
    };
    ended.unwrap_or_else(|error| {
        voice::failure(&error);
        ExitCode::FAILURE
    })
}

async fn run(command: Command) -> Result<ExitCode> {
    if let Command::Dev { path, port, release, stop_database } = command {
        return dev::run(&path, dev::Wishes { port, release, stop_database }).await.map(|()| ExitCode::SUCCESS);
    }
    let interrupted = async {
        match tokio::signal::ctrl_c().await {
            Ok(()) => {}
            // Then the system's own way of ending a program holds.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        done = once(command) => done.map(|()| ExitCode::SUCCESS),
        () = interrupted => Ok(ExitCode::from(INTERRUPTED)),
    }
}

/// The commands that end by themselves.
async fn once(command: Command) -> Result<()> {
    let status = Status::new();
    match command {
        Command::New { path, path_to_forge } => new::run(&path, path_to_forge.as_deref()),
        // Has its own way to end.
        Command::Dev { .. } => Ok(()),
        Command::Build { path } => build::run(&path, &status).await,
        Command::Generate { path, check, force } => generate::run(&path, check, force, &status).await,
        Command::Migrate { command: Some(MigrateCommand::Status { path }), .. } => {
            migrate::run(&path, &["migrate", "status"], &status).await
        }
        Command::Migrate { command: None, path } => migrate::run(&path, &["migrate"], &status).await,
        Command::Check { path } => check::run(&path, &status).await,
        Command::ExplainQuery { name, path, args, user, role } => {
            let mut words = vec!["explain-query", name.as_str()];
            words.extend(args.iter().flat_map(|args| ["--args", args.as_str()]));
            words.extend(user.iter().flat_map(|user| ["--user", user.as_str()]));
            words.extend(role.iter().flat_map(|role| ["--role", role.as_str()]));
            migrate::run(&path, &words, &status).await
        }
        // The app looks itself, as its configuration and its way to the server are what matters.
        Command::Doctor { path } => migrate::run(&path, &["doctor"], &status).await,
        Command::Db { command: DbCommand::Stop { path } } => db::stop(&path).await,
        Command::Db { command: DbCommand::Url { path } } => db::url(&path, &status).await,
        Command::Db { command: DbCommand::Psql { path, arguments } } => db::psql(&path, &arguments, &status).await,
        Command::Config { command: ConfigCommand::Show { path, json } } => config::show(&path, json),
        Command::Config { command: ConfigCommand::Reference } => config::reference(),
        Command::Explain { code } => explain::run(code.as_deref()),
        Command::Jobs { command } => admin::jobs(command).await,
        Command::Queues { command } => admin::queues(command).await,
        Command::Cron { command } => admin::cron(command).await,
        Command::Cluster { command } => admin::cluster(command).await,
        Command::Audit { words } => admin::audit(words).await,
    }
}
