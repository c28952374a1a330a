//! What the command line may say.

use clap::{Args, Subcommand};

/// Where the app is, and how to answer.
#[derive(Debug, Args)]
pub(crate) struct Reach {
    /// Where the app listens [default: FORGE_ADMIN_URL, else what `forge dev` serves here]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Send the token without TLS to another machine
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Answer as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which jobs.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// pending, running, retry, dead_letter, completed, cancelled or discarded; several with commas
    #[arg(long, value_name = "WORDS", value_delimiter = ',')]
    pub(crate) status: Vec<String>,
    /// Of this kind
    #[arg(long, value_name = "NAME")]
    pub(crate) kind: Option<String>,
    /// In this queue
    #[arg(long, value_name = "NAME")]
    pub(crate) queue: Option<String>,
    /// Whose last error has this code
    #[arg(long, value_name = "CODE")]
    pub(crate) code: Option<String>,
    /// Dispatched since then: a time, or how long ago, such as 1h
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Dispatched before
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
}

/// Which jobs something is done to.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// These jobs
    #[arg(value_name = "ID", conflicts_with_all = ["status", "kind", "queue", "code", "since", "until", "all"])]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) which: Which,
    /// All there are
    #[arg(long, conflicts_with_all = ["status", "kind", "queue", "code", "since", "until"])]
    pub(crate) all: bool,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Subcommand)]
pub(crate) enum JobsCommand {
    /// List jobs, the newest first
    #[command(before_help = "Example: forge jobs list --status dead_letter --since 1d")]
    List {
        #[command(flatten)]
        which: Which,
        /// How many, at most 500
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
        /// Those after this one
        #[arg(long, value_name = "ID")]
        before: Option<String>,
        #[command(flatten)]
        reach: Reach,
    },
    /// Show all that is known of a job
    #[command(before_help = "Example: forge jobs show 01981f0e-7a10-7c3e-9d0b-3f1f6f9f0a11")]
    Show {
        /// The job
        id: String,
        #[command(flatten)]
        reach: Reach,
    },
    /// Run dead letters again, with fresh attempts
    #[command(before_help = "Example: forge jobs retry --kind send_mail --code TIMEOUT")]
    Retry {
        #[command(flatten)]
        target: Target,
    },
    /// Give dead letters up
    #[command(before_help = "Example: forge jobs discard --kind send_mail --until 7d")]
    Discard {
        #[command(flatten)]
        target: Target,
    },
    /// Cancel jobs that wait, and tell those that run to end
    #[command(before_help = "Example: forge jobs cancel --queue import --status pending")]
    Cancel {
        #[command(flatten)]
        target: Target,
        /// What they are told
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum QueuesCommand {
    /// List queues: how deep they are, how old the oldest job is, how many are done
    #[command(before_help = "Example: forge queues list")]
    List {
        #[command(flatten)]
        reach: Reach,
    },
    /// Begin no more jobs of a queue, on any node
    #[command(before_help = "Example: forge queues pause mail")]
    Pause {
        /// The queue
        queue: String,
        /// Also when no job of a node that lives waits in it
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        reach: Reach,
    },
    /// Let a queue go on
    #[command(before_help = "Example: forge queues resume mail")]
    Resume {
        /// The queue
        queue: String,
        #[command(flatten)]
        reach: Reach,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum CronCommand {
    /// List crons: when they are due, how their last run ended
    #[command(before_help = "Example: forge cron list")]
    List {
        #[command(flatten)]
        reach: Reach,
    },
    /// Show the next times of a cron
    #[command(before_help = "Example: forge cron next daily_digest --count 10")]
    Next {
        /// The cron
        cron: String,
        /// How many, at most 100
        #[arg(long, value_name = "N", default_value_t = 5)]
        count: u32,
        #[command(flatten)]
        reach: Reach,
    },
    /// Run a cron now, or for a time at which it is due
    #[command(before_help = "Example: forge cron run daily_digest --at 2026-01-31T09:00:00Z", visible_alias = "trigger")]
    Run {
        /// The cron
        cron: String,
        /// The time; it has one run, whoever asks for it
        #[arg(long, value_name = "TIME")]
        at: Option<String>,
        /// Run that time once more
        #[arg(long, requires = "at")]
        again: bool,
        #[command(flatten)]
        reach: Reach,
    },
    /// Have a cron left out from now on
    #[command(before_help = "Example: forge cron pause daily_digest")]
    Pause {
        /// The cron
        cron: String,
        #[command(flatten)]
        reach: Reach,
    },
    /// Let a cron go on from now
    #[command(before_help = "Example: forge cron resume daily_digest")]
    Resume {
        /// The cron
        cron: String,
        #[command(flatten)]
        reach: Reach,
    },
    /// Show what became of the times of a cron, the newest first
    #[command(before_help = "Example: forge cron history daily_digest")]
    History {
        /// The cron
        cron: String,
        /// How many, at most 500
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u32,
        /// Those after this one
        #[arg(long, value_name = "PLACE")]
        before: Option<String>,
        #[command(flatten)]
        reach: Reach,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Show the nodes, what they do, and who leads
    #[command(before_help = "Example: forge cluster status")]
    Status {
        #[command(flatten)]
        reach: Reach,
    },
    /// Have a node finish what it has begun, hand back the rest, and end
    #[command(before_help = "Example: forge cluster drain web-1")]
    Drain {
        /// The node: its id, the beginning of one, or its host's name when it is the only one there
        node: String,
        /// Say what it does now and who would be missing, and change nothing
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        reach: Reach,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AuditWords {
    /// How many, at most 500
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) limit: u32,
    /// Those after this one
    #[arg(long, value_name = "ID")]
    pub(crate) before: Option<String>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}
