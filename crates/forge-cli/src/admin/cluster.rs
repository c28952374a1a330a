//! `forge cluster` and `forge audit`.

use forge_core::{Error, Result};
use serde_json::{Value, json};

use super::client::Client;
use super::table::{cell, seconds, table, time};
use super::words::{AuditWords, ClusterCommand};
use super::{more, show};
use crate::voice;

/// Does what is said.
pub(crate) async fn run(command: ClusterCommand) -> Result<()> {
    match command {
        ClusterCommand::Status { reach } => {
            let answer = Client::open(&reach)?.get(&["cluster"], &[]).await?;
            show(&reach, &answer, status)
        }
        ClusterCommand::Drain { node, dry_run, reach } => {
            let client = Client::open(&reach)?;
            let id = meant(&client.get(&["cluster"], &[]).await?, &node)?;
            let answer = client.post(&["cluster", "nodes", &id, "drain"], &json!({ "dryRun": dry_run })).await?;
            let alone = cell(&answer["onlyOneFor"]);
            if alone != "-" {
                voice::note(&format!("no other node is at work that is {alone}"));
            }
            show(&reach, &answer, |answer| drained(answer, dry_run))
        }
    }
}

/// The id of the node that is meant. One that nobody has seen is for the app to judge.
fn meant(cluster: &Value, words: &str) -> Result<String> {
    let text = |node: &Value, name: &str| node[name].as_str().unwrap_or_default().to_owned();
    let nodes = || cluster["nodes"].as_array().into_iter().flatten();
    if nodes().any(|node| text(node, "id") == words) || words.len() == 36 {
        return Ok(words.to_owned());
    }
    let living = || nodes().filter(|node| node["status"] != "dead");
    let fits = |node: &&Value| text(node, "hostname") == words || (words.len() >= 4 && text(node, "id").starts_with(words));
    let found: Vec<String> = living().filter(fits).map(|node| text(node, "id")).collect();
    if let [one] = found.as_slice() {
        return Ok(one.clone());
    }
    let why = if found.is_empty() { "no node" } else { "more than one node" };
    let known: Vec<String> = living().map(|node| format!("{} ({})", text(node, "id"), cell(&node["hostname"]))).collect();
    Err(Error::invalid_argument(format!(
        "{why} is meant by `{}`; say the id, or as much of it as tells one from the others: {}",
        words.escape_debug(),
        known.join(", ")
    )))
}

fn drained(answer: &Value, dry_run: bool) -> String {
    let begins = match (dry_run, answer["changed"] == true) {
        (true, _) => "would drain",
        (false, true) => "drains",
        (false, false) => "drains already",
    };
    let mut lines = vec![format!("{} ({}) {begins}", cell(&answer["node"]), cell(&answer["hostname"]))];
    lines.push(format!("it has {} jobs and {} connections", answer["jobs"], answer["connections"]));
    if cell(&answer["leads"]) != "-" {
        lines.push(format!("it leads as {}, which another node is to take over", cell(&answer["leads"])));
    }
    lines.join("\n")
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
                match node["status"].as_str() {
                    Some("active" | "joining") if node["drainAsked"] == true => "to drain".into(),
                    _ => cell(&node["status"]),
                },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_known_by_its_host_or_by_as_much_of_its_id_as_is_its_own() {
        let node = |id: &str, hostname: &str, status: &str| json!({"id": id, "hostname": hostname, "status": status});
        let seen = json!({"nodes": [
            node("01981f0e-7a10-7c3e-9d0b-3f1f6f9f0a11", "web-1", "active"),
            node("01981f0e-9b22-7c3e-9d0b-3f1f6f9f0a12", "web-2", "draining"),
            node("01981f0e-9b22-7c3e-9d0b-3f1f6f9f0a13", "jobs", "active"),
            node("01981f0e-9b22-7c3e-9d0b-3f1f6f9f0a14", "jobs", "active"),
            node("01981f0d-0000-7c3e-9d0b-3f1f6f9f0a15", "web-3", "dead"),
        ]});
        let first = "01981f0e-7a10-7c3e-9d0b-3f1f6f9f0a11";
        for words in ["web-1", "01981f0e-7", first] {
            assert_eq!(meant(&seen, words).unwrap(), first, "{words}");
        }
        for (words, why) in
            [("jobs", "more than one"), ("01981f0e", "more than one"), ("web-3", "no node"), ("019", "no node")]
        {
            let refused = meant(&seen, words).unwrap_err();
            assert!(refused.message().starts_with(why) && refused.message().contains("(web-2)"), "{words}: {refused}");
        }
        // Somebody else may know it.
        assert_eq!(meant(&seen, "01981f0f-7a10-7c3e-9d0b-3f1f6f9f0a11").unwrap(), "01981f0f-7a10-7c3e-9d0b-3f1f6f9f0a11");
        assert_eq!(meant(&seen, "01981f0d-0000-7c3e-9d0b-3f1f6f9f0a15").unwrap(), "01981f0d-0000-7c3e-9d0b-3f1f6f9f0a15");
    }
}
