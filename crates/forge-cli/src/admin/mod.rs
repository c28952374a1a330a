//! Operating an app that runs: `forge jobs`, `queues`, `cron`, `cluster` and `audit`. Each asks the app itself, at its doors below `/_api`.
//!
//! ```text
//!  --url, FORGE_ADMIN_URL ─┐                          ┌▶ a table for people
//!  FORGE_ADMIN_TOKEN ──────┼▶ Client ─▶ /_api ─▶ JSON ┤
//!  .forge/ of `forge dev` ─┘                          └▶ with --json as it came
//! ```
//!
//! A token is never taken from the command line, where every user of the machine could read it, and never sent without TLS to another machine unless
//! that is asked for.

mod client;
mod cluster;
mod cron;
mod jobs;
pub(crate) mod place;
mod queues;
mod table;
mod words;

pub(crate) use words::{AuditWords, ClusterCommand, CronCommand, JobsCommand, QueuesCommand};

use forge_core::Result;
use serde_json::Value;

use crate::voice;
use words::Reach;

pub(crate) use cluster::{audit, run as cluster};
pub(crate) use cron::run as cron;
pub(crate) use jobs::run as jobs;
pub(crate) use queues::run as queues;

/// Prints an answer: as it came, or as text for people.
fn show(reach: &Reach, answer: &Value, text: impl FnOnce(&Value) -> String) -> Result<()> {
    voice::data(&if reach.json { serde_json::to_string_pretty(answer)? } else { text(answer) })
}

/// Tells where a list goes on.
fn more(answer: &Value, option: &str) {
    if let Some(next) = answer["next"].as_str() {
        voice::note(&format!("there are more: {option} {next}"));
    }
}
