//! `doctor`: looks at what an app stands on, and says what is wrong and what to do.

use std::fmt::Write as _;

use forge_core::{Error, Result};

use crate::config::{CaptureMode, Config};
use crate::db::Database;
use crate::feed::{self, Survey, Verdict};

/// What was found: a report for people, and whether something is wrong.
pub(super) struct Report {
    pub(super) text: String,
    pub(super) wrong: Option<Error>,
}

/// Looks at the database server, as live queries need it.
///
/// # Errors
/// When the database cannot be reached.
pub(super) async fn examine(app: &str, config: &Config) -> Result<Report> {
    let database = Database::new(app, &config.database)?;
    let survey = Survey::take(&database).await?;
    let told = feed::told(&database).await?;
    let mut text = String::from("Live queries\n");
    // Writing to a String cannot fail.
    let _ = match &told {
        Some(told) => writeln!(text, "  changes are written to  {} ({})", told.sink, told.why),
        None => writeln!(text, "  changes are written to  nothing yet: the database is not migrated"),
    };
    let (lasting, all) = (survey.obstacles(true), survey.obstacles(false));
    let (mode, why) = match config.reactivity.capture {
        CaptureMode::Changelog => ("changelog", "reactivity.capture says so".to_owned()),
        CaptureMode::Wal if lasting.is_empty() => ("wal", "reactivity.capture says so".to_owned()),
        CaptureMode::Wal => ("none", "reactivity.capture demands wal, and this node cannot read the log".to_owned()),
        CaptureMode::Auto if all.is_empty() => ("wal", "this node can read the log".to_owned()),
        CaptureMode::Auto => ("changelog", "this node cannot read the log".to_owned()),
    };
    let _ = writeln!(text, "  this node would use     {mode}: {why}");
    for objection in told.iter().flat_map(|told| &told.objections) {
        let _ = writeln!(text, "  a node objects to wal   {objection}");
    }
    for finding in &survey.findings {
        let word = match finding.verdict {
            Verdict::Fine => "ok",
            Verdict::Note => "note",
            Verdict::Obstacle { .. } => "no wal",
        };
        let _ = writeln!(text, "  {word:6}  {:23}  {}", finding.name, finding.found);
        if !finding.advice.is_empty() {
            let _ = writeln!(text, "{:35}{}", "", finding.advice);
        }
    }
    let wrong = if mode == "none" {
        Some(format!("reactivity.capture is `wal`, and the log cannot be read ({})", lasting.join("; ")))
    } else if told.is_none() {
        Some("the database is not migrated; run the program with `migrate`".to_owned())
    } else {
        None
    };
    Ok(Report { text, wrong: wrong.map(|what| Error::config("DOCTOR_FOUND", what)) })
}
