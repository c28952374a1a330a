//! The command line. Each help text fits a screen and begins with an example.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::admin::{AuditWords, ClusterCommand, CronCommand, JobsCommand, QueuesCommand};

/// The `forge` command: one binary from functions, on PostgreSQL and nothing else.
#[derive(Debug, Parser)]
#[command(
    name = "forge",
    version,
    before_help = "Example: forge new shop && cd shop && forge dev",
    after_help = "Data goes to stdout, everything else to stderr; NO_COLOR=1 turns colours off.\n\
                  Exit codes: 0 fine, 1 failed, 2 the command line is wrong, 130 interrupted.",
    disable_help_subcommand = true
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a new app: a page, a table, two functions and a test
    #[command(before_help = "Example: forge new shop")]
    New {
        /// The folder to make; its name is the app's name
        #[arg(value_name = "NAME")]
        path: PathBuf,
        /// The checkout of FORGE to depend on [default: the one this command was built from]
        #[arg(long, value_name = "DIR")]
        path_to_forge: Option<PathBuf>,
    },
    /// Run an app while it is edited: build, migrate, start, and again on every change
    #[command(
        before_help = "Example: forge dev --port 8081",
        after_help = "The old process serves until the new one is ready; a change that does not build changes nothing.\n\
                      On a terminal: r rebuilds and restarts, q or Ctrl-C quits.\n\
                      The database is the one that the configuration names (DATABASE_URL), else a private server of the\n\
                      project, which stays running: `forge db stop` ends it."
    )]
    Dev {
        /// The app's folder
        #[arg(default_value = ".")]
        path: PathBuf,
        /// The port to listen on [default: gateway.port, 8080]; 0 takes any free one
        #[arg(long, value_name = "N")]
        port: Option<u16>,
        /// Build as for production: slow to build, fast to run
        #[arg(long)]
        release: bool,
        /// Stop the private database server at the end
        #[arg(long)]
        stop_database: bool,
    },
    /// Build the one file to deploy: client, page, and the binary that has them inside
    #[command(before_help = "Example: scp \"$(forge build)\" server:", after_help = "Prints the path of the binary.")]
    Build {
        /// The app's folder
        #[arg(default_value = ".")]
        path: PathBuf,
    },
    /// Write the TypeScript client of an app into frontend/src/lib/forge
    #[command(before_help = "Example: forge generate --check     (in CI: fails when the files are not current)")]
    Generate {
        /// The app's folder
        #[arg(default_value = ".")]
        path: PathBuf,
        /// Write nothing; fail when a file is not what would be written
        #[arg(long, conflicts_with = "force")]
        check: bool,
        /// Overwrite files that were edited by hand
        #[arg(long)]
        force: bool,
    },
    /// Apply the migrations that are pending
    #[command(before_help = "Example: forge migrate status", args_conflicts_with_subcommands = true)]
    Migrate {
        #[command(subcommand)]
        command: Option<MigrateCommand>,
        /// The app's folder
        #[arg(default_value = ".")]
        path: PathBuf,
    },
    /// Check an app: it builds, its migrations apply to an empty database, its SQL and models fit
    #[command(before_help = "Example: forge check examples/board")]
    Check {
        /// The app's folder
        #[arg(default_value = ".")]
        path: PathBuf,
    },
    /// What a live query reads, and which changes run it again
    #[command(
        name = "explain-query",
        before_help = "Example: forge explain-query list_cards --args '{\"columnId\": \"..\"}' --user ada",
        after_help = "Without --args the query is not run: its `sql!` statements are explained. With --args it is run once, in a\n\
                      transaction that only reads, and what it asked for is explained."
    )]
    ExplainQuery {
        /// The query's name
        name: String,
        /// The app's folder
        #[arg(default_value = ".")]
        path: PathBuf,
        /// Its arguments, as JSON
        #[arg(long, value_name = "JSON")]
        args: Option<String>,
        /// As whom it is run [default: nobody]
        #[arg(long, value_name = "ID", requires = "args")]
        user: Option<String>,
        /// With which role; may be repeated
        #[arg(long, value_name = "ROLE", requires = "args")]
        role: Vec<String>,
    },
    /// Look at the database server of an app: how live queries work on it, what is wrong, what to do
    #[command(
        before_help = "Example: forge doctor",
        after_help = "Where the app runs without this command, its own binary does the same: `app doctor`.\n\
                      Exit codes: 0 fine, 1 something is wrong."
    )]
    Doctor {
        /// The app's folder
        #[arg(default_value = ".")]
        path: PathBuf,
    },
    /// The database of an app
    #[command(before_help = "Example: forge db psql")]
    Db {
        #[command(subcommand)]
        command: DbCommand,
    },
    /// What is configured, and where each value comes from
    #[command(before_help = "Example: forge config show | grep database")]
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Jobs of an app that runs: list, show, retry, discard, cancel
    #[command(before_help = "Example: forge jobs list --status dead_letter")]
    Jobs {
        #[command(subcommand)]
        command: JobsCommand,
    },
    /// Queues of an app that runs: list, pause, resume
    #[command(before_help = "Example: forge queues pause mail")]
    Queues {
        #[command(subcommand)]
        command: QueuesCommand,
    },
    /// Crons of an app that runs: list, next, run, pause, resume, history
    #[command(before_help = "Example: forge cron run daily_digest")]
    Cron {
        #[command(subcommand)]
        command: CronCommand,
    },
    /// The nodes of an app that runs
    #[command(before_help = "Example: forge cluster status")]
    Cluster {
        #[command(subcommand)]
        command: ClusterCommand,
    },
    /// Who has operated an app that runs, and what they did
    #[command(before_help = "Example: forge audit --limit 10")]
    Audit {
        #[command(flatten)]
        words: AuditWords,
    },
    /// What an error code means and what to do about it
    #[command(before_help = "Example: forge explain PORT_IN_USE")]
    Explain {
        /// The code; without one, all codes are listed
        code: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum MigrateCommand {
    /// Show where each migration stands
    #[command(before_help = "Example: forge migrate status")]
    Status {
        /// The app's folder
        #[arg(default_value = ".")]
        path: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DbCommand {
    /// Stop the private server; the data stays
    #[command(before_help = "Example: forge db stop")]
    Stop {
        /// The app's folder
        #[arg(default_value = ".")]
        path: PathBuf,
    },
    /// Print the address of the database, starting the private server if need be
    #[command(before_help = "Example: DATABASE_URL=\"$(forge db url)\" cargo run")]
    Url {
        /// The app's folder
        #[arg(default_value = ".")]
        path: PathBuf,
    },
    /// Open psql on the database
    #[command(before_help = "Example: forge db psql -- -c 'SELECT now()'")]
    Psql {
        /// The app's folder
        #[arg(default_value = ".")]
        path: PathBuf,
        /// Handed to psql
        #[arg(last = true, value_name = "ARGUMENTS")]
        arguments: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print every key with its value and where that comes from; secrets are not shown
    #[command(before_help = "Example: forge config show | grep database")]
    Show {
        /// The app's folder
        #[arg(default_value = ".")]
        path: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the reference of all keys, as Markdown
    #[command(before_help = "Example: forge config reference | less")]
    Reference,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_help_fits_a_screen_and_begins_with_an_example() {
        fn look(command: &mut clap::Command) {
            let help = command.render_help().to_string();
            assert!(help.starts_with("Example: "), "{help}");
            assert!(help.lines().count() <= 30, "{help}");
            assert!(help.lines().all(|line| line.chars().count() <= 120), "{help}");
            command.get_subcommands_mut().for_each(look);
        }
        let mut command = Arguments::command();
        command.build();
        look(&mut command);
    }
}
