//! The app on FORGE, in one of its ways to learn of changes.

use std::process::Command;
use std::time::{Duration, Instant};

use super::Stage;
use super::socket::Door;
use crate::server::Server;
use crate::{Result, http};

/// Where changes are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sink {
    Changelog,
    Wal,
}

impl Sink {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Changelog => "changelog",
            Self::Wal => "wal",
        }
    }
}

/// Nobody signs in; the app wants a secret all the same.
const SECRET: &str = "kept-by-nobody-0123456789-abcdefghijklmnopqrstuvwxyz";

/// How long anything may take that happens at once on an idle machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A node that runs.
#[derive(Debug)]
pub(super) struct Node {
    server: Server,
    url: String,
}

impl Node {
    /// Starts one on the database of its sink.
    pub(super) fn start(stage: &Stage, sink: Sink) -> Result<Self> {
        let url = match sink {
            Sink::Changelog => &stage.places.changelog,
            Sink::Wal => &stage.places.wal,
        };
        let programs = stage.programs;
        let mut server = Server::start(sink.name(), stage.logs, None, |port| {
            let mut command = Command::new(&programs.app);
            command.current_dir(&programs.app_folder).env("FORGE_SECRET", SECRET).env("FORGE_PORT", port.to_string());
            command.env("DATABASE_URL", url).env("FORGE_REACTIVITY_CAPTURE", sink.name());
            command.env("FORGE_GATEWAY_MAX_CONNECTIONS", "20000");
            command
        })?;
        let mut request = Vec::new();
        http::write_request(&mut request, "get_todo", None, "{\"id\":\"42\"}");
        server.expect(&request, "a thing to do, number 41")?;
        Ok(Self { server, url: url.clone() })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn pid(&self) -> u32 {
        self.server.pid()
    }

    pub(super) fn door(&self) -> Door {
        Door { address: self.server.address, path: "/ws", protocol: "forge.v1" }
    }

    /// One of its metrics.
    pub(super) fn metric(&self, name: &str) -> Result<f64> {
        let text = http::ask(self.server.address, b"GET /metrics HTTP/1.1\r\nhost: bench\r\n\r\n")?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok());
        value.ok_or_else(|| format!("the node has no metric `{name}`").into())
    }

    /// Waits until changes reach it one by one: at first everything counts as changed, and it may be a while until the log can be read.
    pub(super) fn until_following(&self) -> Result<()> {
        let began = Instant::now();
        let mut gaps = self.metric("live_gaps_total")?;
        loop {
            // As long as the log is not there, everything runs again once a second.
            std::thread::sleep(Duration::from_millis(1_500));
            let now = self.metric("live_gaps_total")?;
            if now == gaps {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("the node does not follow changes within {PATIENCE:?}").into());
            }
            gaps = now;
        }
    }

    /// Waits until a metric has a value.
    pub(super) fn until_metric(&self, name: &str, wanted: f64) -> Result<()> {
        let began = Instant::now();
        while self.metric(name)? != wanted {
            if began.elapsed() > PATIENCE {
                return Err(format!("`{name}` is not {wanted} within {PATIENCE:?}").into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

/// Why a sink cannot be measured; None when it can.
pub(super) fn unavailable(stage: &Stage, sink: Sink) -> Result<Option<String>> {
    if sink == Sink::Changelog {
        return Ok(None);
    }
    // What a FORGE without it says to a file that asks for it.
    let asking = stage.logs.join("asking.toml");
    std::fs::write(&asking, "[project]\nname = \"bench\"\n\n[reactivity]\ncapture = \"wal\"\n")?;
    let output = Command::new(&stage.programs.app)
        .args(["migrate", "status"])
        .env("FORGE_CONFIG", &asking)
        .env("FORGE_SECRET", SECRET)
        .env("DATABASE_URL", &stage.places.wal)
        .output()?;
    if output.status.success() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if said.contains("reactivity") {
        return Ok(Some("this FORGE does not know `reactivity.capture`".to_owned()));
    }
    Err(format!("the app cannot say whether it knows `reactivity.capture`: {said}").into())
}
