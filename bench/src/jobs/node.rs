//! A node of the app, with default settings.

use std::process::Command;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::Stage;
use crate::server::Server;
use crate::{Result, http};

/// Nobody signs in; the app wants a secret all the same.
const SECRET: &str = "kept-by-nobody-0123456789-abcdefghijklmnopqrstuvwxyz";

/// How long a measurement may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It answers calls, and runs no jobs.
    Dispatching,
    /// Everything, as an app that says nothing.
    All,
}

/// A node that runs. It is ended when dropped.
#[derive(Debug)]
pub(super) struct Node {
    server: Server,
}

impl Node {
    pub(super) fn start(stage: &Stage<'_>, role: Role) -> Result<Self> {
        let name = match role {
            Role::Dispatching => "dispatching",
            Role::All => "all",
        };
        let mut server = Server::start(name, stage.logs, None, |port| {
            let mut command = Command::new(&stage.programs.jobs);
            command.env("FORGE_CONFIG", stage.programs.app_folder.join("jobs.toml"));
            command.current_dir(&stage.programs.app_folder).env("FORGE_SECRET", SECRET);
            command.env("FORGE_PORT", port.to_string()).env("DATABASE_URL", &stage.url);
            if role == Role::Dispatching {
                command.env("FORGE_ROLES", "gateway,function");
            }
            command
        })?;
        let mut request = Vec::new();
        http::write_request(&mut request, "all_ended", None, "{}");
        server.expect(&request, "success")?;
        Ok(Self { server })
    }

    pub(super) fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Calls a function. Blocks.
    pub(super) fn call<T: DeserializeOwned>(&self, function: &str, arguments: &str) -> Result<T> {
        let mut request = Vec::new();
        http::write_request(&mut request, function, None, arguments);
        let text = http::ask_within(PATIENCE, self.server.address, &request)?;
        let answer: serde_json::Value = serde_json::from_str(&text)?;
        let data = answer.get("data").cloned().ok_or_else(|| format!("`{function}` answers {text}"))?;
        Ok(serde_json::from_value(data)?)
    }

    /// Calls a function from so many connections at the same time, and waits for all of them.
    pub(super) fn call_from(&self, callers: usize, function: &str, arguments: &str) -> Result<()> {
        std::thread::scope(|scope| {
            let calls: Vec<_> = (0..callers).map(|_| scope.spawn(|| self.call::<()>(function, arguments))).collect();
            calls.into_iter().try_for_each(|call| call.join().map_err(|_| "a caller panicked")?)
        })
    }
}

/// An error with the end of what the nodes have said, as they say why.
pub(super) fn with_logs(
    stage: &Stage<'_>,
    why: Box<dyn std::error::Error + Send + Sync>,
) -> Box<dyn std::error::Error + Send + Sync> {
    let mut text = why.to_string();
    for name in ["dispatching", "all"] {
        let Ok(log) = std::fs::read_to_string(stage.logs.join(format!("{name}.log"))) else { continue };
        let lines: Vec<&str> = log.lines().collect();
        text.push_str(&format!("\n{name}:\n{}", lines[lines.len().saturating_sub(15)..].join("\n")));
    }
    text.into()
}
