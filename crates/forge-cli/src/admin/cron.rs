//! `forge cron`.

use forge_core::Result;
use serde_json::{Value, json};

use super::client::Client;
use super::table::{cell, table, time};
use super::words::{CronCommand, Reach};
use super::{more, show};

/// Does what is said.
pub(crate) async fn run(command: CronCommand) -> Result<()> {
    match command {
        CronCommand::List { reach } => {
            let answer = Client::open(&reach)?.get(&["crons"], &[("next", "1".into())]).await?;
            show(&reach, &answer, list)
        }
        CronCommand::Next { cron, count, reach } => {
            let answer = Client::open(&reach)?.get(&["crons", &cron], &[("next", count.to_string())]).await?;
            show(&reach, &answer["next"], |next| {
                next.as_array().into_iter().flatten().map(time).collect::<Vec<_>>().join("\n")
            })
        }
        CronCommand::Run { cron, at, again, reach } => {
            let body = match at {
                Some(at) => json!({ "slot": at, "again": again }),
                None => json!({}),
            };
            let answer = Client::open(&reach)?.post(&["crons", &cron, "run"], &body).await?;
            show(&reach, &answer, |answer| {
                let new = if answer["new"] == true { "" } else { " (that time had its run already)" };
                format!("{}{new}", cell(&answer["job"]))
            })
        }
        CronCommand::Pause { cron, reach } => pause(&cron, "pause", &reach).await,
        CronCommand::Resume { cron, reach } => pause(&cron, "resume", &reach).await,
        CronCommand::History { cron, limit, before, reach } => {
            let mut words = vec![("limit", limit.to_string())];
            words.extend(before.map(|before| ("before", before)));
            let answer = Client::open(&reach)?.get(&["crons", &cron, "runs"], &words).await?;
            show(&reach, &answer, history)?;
            more(&answer, "--before");
            Ok(())
        }
    }
}

async fn pause(cron: &str, verb: &str, reach: &Reach) -> Result<()> {
    let answer = Client::open(reach)?.post(&["crons", cron, verb], &json!({})).await?;
    show(reach, &answer, |answer| {
        let stands = if answer["paused"] == true { "paused" } else { "not paused" };
        let already = if answer["changed"] == true { "" } else { " already" };
        format!("{} is{already} {stands}", cell(&answer["cron"]))
    })
}

fn list(answer: &Value) -> String {
    let rows: Vec<Vec<String>> = answer["crons"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|cron| {
            let last = &cron["lastRun"];
            let last =
                if last.is_null() { "-".into() } else { format!("{} {}", time(&last["slot"]), cell(&last["status"])) };
            vec![
                cell(&cron["name"]),
                format!("{} {}", cell(&cron["expression"]), cell(&cron["timezone"])),
                if cron["paused"] == true { "paused".into() } else { time(&cron["next"][0]) },
                last,
                cell(&cron["missed"]),
            ]
        })
        .collect();
    if rows.is_empty() {
        return "no crons".into();
    }
    table(&["CRON", "SCHEDULE", "NEXT", "LAST", "MISSED"], &rows)
}

fn history(answer: &Value) -> String {
    let rows: Vec<Vec<String>> = answer["runs"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|run| {
            let times = ["slot", "startedAt", "endedAt"].map(|name| time(&run[name]));
            let [slot, started, ended] = times;
            vec![slot, cell(&run["status"]), started, ended, cell(&run["job"]), cell(&run["error"]["code"])]
        })
        .collect();
    if rows.is_empty() {
        return "no runs".into();
    }
    table(&["TIME", "STATUS", "STARTED", "ENDED", "JOB", "ERROR"], &rows)
}
