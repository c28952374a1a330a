//! `forge jobs`.

use std::io::{IsTerminal as _, Write as _};

use forge_core::{Error, Result};
use serde_json::{Map, Value, json};

use super::client::Client;
use super::table::{cell, table, time};
use super::words::{JobsCommand, Target, Which};
use super::{more, show};
use crate::voice;

/// Does what is said.
pub(crate) async fn run(command: JobsCommand) -> Result<()> {
    match command {
        JobsCommand::List { which, limit, before, reach } => {
            let mut words = which.words();
            words.push(("limit", limit.to_string()));
            words.extend(before.map(|before| ("before", before)));
            let answer = Client::open(&reach)?.get(&["jobs"], &words).await?;
            show(&reach, &answer, list)?;
            more(&answer, "--before");
            Ok(())
        }
        JobsCommand::Show { id, reach } => {
            let answer = Client::open(&reach)?.get(&["jobs", &id], &[]).await?;
            show(&reach, &answer, whole)
        }
        JobsCommand::Retry { target } => act("retry", target, None).await,
        JobsCommand::Discard { target } => act("discard", target, None).await,
        JobsCommand::Cancel { target, reason } => act("cancel", target, reason).await,
    }
}

impl Which {
    /// As a query says it.
    fn words(&self) -> Vec<(&'static str, String)> {
        let status = (!self.status.is_empty()).then(|| self.status.join(","));
        let all = [
            ("status", &status),
            ("kind", &self.kind),
            ("queue", &self.queue),
            ("code", &self.code),
            ("since", &self.since),
            ("until", &self.until),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }

    /// As a body says it.
    fn filter(&self) -> Map<String, Value> {
        let mut filter: Map<String, Value> =
            self.words().into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        if !self.status.is_empty() {
            filter.insert("status".into(), json!(self.status));
        }
        filter
    }
}

/// Does something to jobs: to those that are named at once, to many once their number is known and agreed to.
async fn act(verb: &str, target: Target, reason: Option<String>) -> Result<()> {
    let client = Client::open(&target.reach)?;
    let with_reason = |mut body: Map<String, Value>| {
        if let Some(reason) = &reason {
            body.insert("reason".into(), json!(reason));
        }
        Value::Object(body)
    };
    if !target.ids.is_empty() {
        let (mut done, mut ended) = (Vec::new(), Ok(()));
        for id in &target.ids {
            match client.post(&["jobs", id, verb], &with_reason(Map::new())).await {
                Ok(job) => done.push(job),
                Err(why) => {
                    ended = Err(why);
                    break;
                }
            }
        }
        if done.is_empty() {
            return ended;
        }
        let line = |job: &Value| format!("{} {}", cell(&job["id"]), cell(&job["status"]));
        let answer = Value::Array(done);
        // What was done before one failed is told as well.
        show(&target.reach, &answer, |jobs| {
            jobs.as_array().into_iter().flatten().map(line).collect::<Vec<_>>().join("\n")
        })?;
        return ended;
    }
    let filter = target.which.filter();
    if filter.is_empty() && !target.all {
        let text =
            format!("which jobs? Name them by id, narrow them down (`forge jobs {verb} --kind send_mail`), or say --all");
        return Err(Error::invalid_argument(text));
    }
    let mut body = if target.all { json!({ "all": true }) } else { json!({ "filter": filter }) };
    body["dryRun"] = json!(true);
    let matched = client.post(&["jobs", verb], &body).await?["matched"].as_i64().unwrap_or(0);
    voice::note(&format!("{matched} {}", if matched == 1 { "job is meant" } else { "jobs are meant" }));
    if matched > 0 && !target.yes && !agreed(verb).await? {
        voice::note("nothing was done");
        return Ok(());
    }
    body["dryRun"] = json!(false);
    let Value::Object(body) = body else { return Err(Error::internal("a body that is no object")) };
    let mut body = with_reason(body);
    let (mut changed, mut skipped) = (0, 0);
    if matched > 0 {
        loop {
            let done = client.post(&["jobs", verb], &body).await?;
            changed += done["changed"].as_i64().unwrap_or(0);
            skipped += done["skipped"].as_i64().unwrap_or(0);
            if done["next"].is_null() {
                break;
            }
            voice::note(&format!("{changed} so far"));
            body["after"] = done["next"].clone();
        }
    }
    if skipped > 0 {
        voice::note(&format!("{skipped} stay dead letters, as live jobs have their unique keys"));
    }
    show(&target.reach, &json!({ "changed": changed, "skipped": skipped }), |done| format!("{}", done["changed"]))
}

/// Asks whoever sits at the terminal.
async fn agreed(verb: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        let text = format!("nobody is there to be asked whether to {verb} them; say --yes if they are to be");
        return Err(Error::config("ADMIN_NOT_CONFIRMED", text));
    }
    let question = format!("{verb} them? [y/N] ");
    // Apart, so that Ctrl-C is heard meanwhile.
    let asking = tokio::task::spawn_blocking(move || {
        let mut err = anstream::stderr();
        // When stderr is closed nobody sees the question, and nobody says yes.
        let _ = write!(err, "{question}").and_then(|()| err.flush());
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    let line = asking.await.map_err(|why| Error::internal("asking failed").with_source(why))?;
    let line = line.map_err(|why| Error::config("ADMIN_NOT_CONFIRMED", format!("no answer could be read: {why}")))?;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn list(answer: &Value) -> String {
    let rows: Vec<Vec<String>> = answer["jobs"].as_array().into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        return "no jobs".into();
    }
    table(&["ID", "KIND", "QUEUE", "STATUS", "ATTEMPT", "DISPATCHED", "ERROR"], &rows)
}

fn row(job: &Value) -> Vec<String> {
    let status = match (job["waitsFor"].as_str(), job["progress"].as_i64()) {
        (Some("time"), _) => format!("{}, due {}", cell(&job["status"]), time(&job["dueAt"])),
        (Some("key"), _) => format!("{}, held", cell(&job["status"])),
        (_, Some(percent)) => format!("{} {percent}%", cell(&job["status"])),
        _ => cell(&job["status"]),
    };
    let attempt = match job["maxAttempts"].as_i64() {
        Some(most) => format!("{}/{most}", job["attempt"]),
        None => cell(&job["attempt"]),
    };
    vec![
        cell(&job["id"]),
        cell(&job["kind"]),
        cell(&job["queue"]),
        status,
        attempt,
        time(&job["dispatchedAt"]),
        cell(&job["error"]["code"]),
    ]
}

fn whole(job: &Value) -> String {
    const TIMES: [&str; 5] = ["dispatchedAt", "dueAt", "startedAt", "endedAt", "keptUntil"];
    let mut lines = Vec::new();
    for (name, value) in job.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        let text = match value {
            value if TIMES.contains(&name.as_str()) => time(value),
            Value::Object(_) => value.to_string(),
            value => cell(value),
        };
        lines.push(format!("{name:16} {text}"));
    }
    lines.join("\n")
}
