//! `forge queues`.

use forge_core::Result;
use serde_json::{Value, json};

use super::client::Client;
use super::show;
use super::table::{cell, seconds, table};
use super::words::{QueuesCommand, Reach};

/// Does what is said.
pub(crate) async fn run(command: QueuesCommand) -> Result<()> {
    match command {
        QueuesCommand::List { reach } => {
            let answer = Client::open(&reach)?.get(&["queues"], &[]).await?;
            show(&reach, &answer, list)
        }
        QueuesCommand::Pause { queue, force, reach } => {
            let body = if force { json!({ "force": true }) } else { json!({}) };
            pause(&queue, "pause", &body, &reach).await
        }
        QueuesCommand::Resume { queue, reach } => pause(&queue, "resume", &json!({}), &reach).await,
    }
}

async fn pause(queue: &str, verb: &str, body: &Value, reach: &Reach) -> Result<()> {
    let answer = Client::open(reach)?.post(&["queues", queue, verb], body).await?;
    show(reach, &answer, |answer| {
        let stands = if answer["paused"] == true { "paused" } else { "not paused" };
        let already = if answer["changed"] == true { "" } else { " already" };
        format!("{} is{already} {stands}", cell(&answer["queue"]))
    })
}

fn list(answer: &Value) -> String {
    let rows: Vec<Vec<String>> = answer["queues"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|queue| {
            let stands = match queue["pausedBy"].as_str() {
                _ if queue["paused"] != true => "-".to_owned(),
                Some(who) => format!("paused by {who}"),
                None => "paused".to_owned(),
            };
            let numbers = ["ready", "scheduled", "held", "running", "deadLetters"].map(|name| cell(&queue[name]));
            let mut row = vec![cell(&queue["queue"])];
            row.extend(numbers);
            row.extend([
                seconds(&queue["oldestReadySeconds"]),
                cell(&queue["completedPerMinute"]),
                cell(&queue["diedPerMinute"]),
                stands,
            ]);
            row
        })
        .collect();
    if rows.is_empty() {
        return "no queues".into();
    }
    table(&["QUEUE", "READY", "SCHEDULED", "HELD", "RUNNING", "DEAD", "OLDEST", "DONE/MIN", "DIED/MIN", "PAUSED"], &rows)
}
