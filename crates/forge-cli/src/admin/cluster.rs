//! `forge cluster` and `forge audit`.

use forge_core::Result;
use serde_json::Value;

use super::client::Client;
use super::table::{cell, seconds, table, time};
use super::words::{AuditWords, ClusterCommand};
use super::{more, show};

/// Does what is said.
pub(crate) async fn run(command: ClusterCommand) -> Result<()> {
    let ClusterCommand::Status { reach } = command;
    let answer = Client::open(&reach)?.get(&["cluster"], &[]).await?;
    show(&reach, &answer, status)
}

/// Shows who did what.
pub(crate) async fn audit(words: AuditWords) -> Result<()> {
    let AuditWords { limit, before, reach } = words;
    let mut words = vec![("limit", limit.to_string())];
    words.extend(before.map(|before| ("before", before)));
    let answer = Client::open(&reach)?.get(&["audit"], &words).await?;
    show(&reach, &answer, actions)?;
    more(&answer, "--before");
    Ok(())
}

fn status(answer: &Value) -> String {
    let leads = |node: &Value| {
        let leaders = answer["leaders"].as_array().into_iter().flatten().filter(|leader| leader["node"] == node["id"]);
        let roles: Vec<String> =
            leaders.map(|leader| format!("{} (term {})", cell(&leader["role"]), leader["term"])).collect();
        if roles.is_empty() { "-".to_owned() } else { roles.join(", ") }
    };
    let rows: Vec<Vec<String>> = answer["nodes"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|node| {
            let silent = node["silentMs"].as_f64().map_or(Value::Null, |ms| (ms / 1000.0).into());
            vec![
                cell(&node["id"]),
                cell(&node["hostname"]),
                cell(&node["status"]),
                cell(&node["roles"]),
                leads(node),
                cell(&node["version"]),
                format!("{}/{}", cell(&node["jobs"]), cell(&node["jobsMax"])),
                format!("{:.2}", node["cpu"].as_f64().unwrap_or(0.0)),
                format!("{} MiB", node["memoryBytes"].as_u64().unwrap_or(0) >> 20),
                seconds(&silent),
            ]
        })
        .collect();
    if rows.is_empty() {
        return "no nodes seen yet".into();
    }
    let headings = ["NODE", "HOST", "STATUS", "ROLES", "LEADS", "VERSION", "JOBS", "CPU", "MEMORY", "SILENT"];
    table(&headings, &rows)
}

fn actions(answer: &Value) -> String {
    let rows: Vec<Vec<String>> = answer["actions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|action| {
            let what =
                if action["target"].is_null() { action["details"]["filter"].to_string() } else { cell(&action["target"]) };
            let words = ["who", "action", "count", "requestId"].map(|name| cell(&action[name]));
            let [who, verb, count, request] = words;
            vec![time(&action["at"]), who, verb, what, count, request]
        })
        .collect();
    if rows.is_empty() {
        return "nothing was done yet".into();
    }
    table(&["AT", "WHO", "ACTION", "ON", "COUNT", "REQUEST"], &rows)
}
