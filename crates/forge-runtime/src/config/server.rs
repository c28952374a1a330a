//! `[project]`, `[node]`, `[gateway]`, `[function]`, `[observability]`, `[shutdown]`: the process itself.

use std::time::Duration;

use super::Mode;
use super::cidr::Cidr;
use super::kind::{Choice, Kind, choice, duration, int, list, optional, parsed, share, size, switch, text};
use super::table::section;
use super::units::{hours, ki, mb, mi, mins, ms, secs};

section! {
    /// What this app is.
    pub struct ProjectConfig(mode) {
        /// The app's name, in logs and on the dashboard.
        name: String = "app".into(), text();
    }
}

section! {
    /// What this node does. Every node runs the same binary.
    pub struct NodeConfig(mode) {
        /// The node's roles: `gateway` answers requests, `function` runs functions, `worker` runs jobs and workflows,
        /// `scheduler` decides what is due. A gateway runs the functions that it is asked for itself, so it needs both. Only a
        /// gateway listens: others have no `/health`, `/ready` and `/metrics` either.
        roles: Vec<Role> = Role::all(), list(choice()), env "FORGE_ROLES";
    }
}

impl NodeConfig {
    /// Whether the node has a role.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

/// What a node may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Answers requests.
    Gateway,
    /// Runs functions.
    Function,
    /// Runs jobs and workflows.
    Worker,
    /// Decides what is due.
    Scheduler,
}

impl Role {
    /// Every role.
    pub fn all() -> Vec<Self> {
        Self::WORDS.iter().map(|(_, role)| *role).collect()
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, role)| *role == self).map_or("", |(word, _)| word)
    }

    /// The role that a word stands for.
    pub fn named(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, role)| *role)
    }
}

impl Choice for Role {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("gateway", Self::Gateway),
        ("function", Self::Function),
        ("worker", Self::Worker),
        ("scheduler", Self::Scheduler),
    ];
}

section! {
    /// The HTTP server.
    pub struct GatewayConfig(mode) {
        /// The address to listen on: the loopback address in development and tests, all addresses in production.
        host: String = if mode.is_production() { "0.0.0.0" } else { "127.0.0.1" }.into(), text();
        /// The port to listen on; 0 takes any free one.
        port: u16 = 8080, int(0..=65_535), env "FORGE_PORT" "PORT";
        /// How many connections may be open at once; further ones wait in the system's queue.
        max_connections: u32 = 10_000, int(1..=1_000_000);
        /// How long the body of a request may take to arrive; one that takes longer is answered `TIMEOUT`. How long the call may take then is
        /// the function's `timeout`, else `function.timeout`.
        request_timeout: Duration = secs(30), duration(ms(100)..=hours(24));
        /// How long a client may take to send a request's headers.
        header_timeout: Duration = secs(10), duration(ms(100)..=mins(5));
        /// The largest request body; a larger one is answered `PAYLOAD_TOO_LARGE`.
        max_body_size: u64 = mb(1), size(ki(1)..=mi(1024));
        /// How deep JSON in a request may be nested.
        max_json_depth: u32 = 64, int(4..=128);
        /// Proxies (addresses or ranges) whose `X-Forwarded-For` is believed. From anyone else the header is ignored, so an
        /// app behind a proxy that is not listed sees the proxy's address as its clients'.
        trusted_proxies: Vec<Cidr> = Vec::new(), list(cidr());
        /// How many requests may be worked on at once; further ones are answered `RATE_LIMITED`. One whose body is still on its way is not worked
        /// on.
        max_in_flight: u32 = 1_000, int(1..=1_000_000);
        /// How many subscriptions a live session may have; a further one is answered `TOO_MANY_SUBSCRIPTIONS`.
        max_subscriptions_per_connection: u32 = 100, int(1..=10_000);
        /// How many messages `subscribe`, `presence` and `subscribeJob` a live session may send within a minute; further ones are answered
        /// `RATE_LIMITED`.
        subscription_rate_limit: u32 = 1_200, int(1..=1_000_000);
        /// How many live sessions one user may have on a node; a further one is answered `TOO_MANY_SESSIONS`.
        max_sessions_per_user: u32 = if mode.is_production() { 200 } else { 10_000 }, int(1..=1_000_000);
        /// How many live sessions may come from one client address to a node; of IPv6 addresses, those with the same first 64 bits are one. People
        /// behind one proxy share its address: see `trusted_proxies`.
        max_sessions_per_address: u32 = if mode.is_production() { 1_000 } else { 10_000 }, int(1..=1_000_000);
    }
}

section! {
    /// Limits of every function that states none of its own.
    pub struct FunctionConfig(mode) {
        /// How long a call may take.
        timeout: Duration = secs(30), duration(ms(1)..=hours(24));
        /// How many calls may run at once on a node.
        max_concurrent: u32 = 1_000, int(1..=1_000_000);
        /// The largest result, as JSON; a larger one is answered `PAYLOAD_TOO_LARGE`.
        max_result_size: u64 = mi(1), size(ki(1)..=mi(1024));
        /// The largest arguments, as JSON, wherever the call comes from. Over HTTP `gateway.max_body_size` holds too.
        max_args_size: u64 = mi(1), size(ki(1)..=mi(1024));
        /// How much memory the results that queries with `cache` keep may take on a node; those that were asked for least recently go
        /// first, and one that takes more than a hundredth of it is not kept. 0 keeps none: every call runs.
        cache_size: u64 = mi(100), size(0..=mi(65_536));
    }
}

section! {
    /// How live queries learn of changes.
    pub struct ReactivityConfig(mode) {
        /// Where the triggers of watched tables write what changed. `wal`: to the server's write-ahead log, which each node reads;
        /// costs writers the least and nothing while nothing happens. `changelog`: to a table that nodes ask again and again; works on every
        /// server. `auto`: `wal` where the server allows it, else `changelog`. All nodes of a database do the same: when one of them cannot
        /// read the log, or says `changelog`, it is `changelog`. With `wal`, a node does not start on a server that does not allow it.
        capture: CaptureMode = CaptureMode::Auto, choice();
    }
}

/// See `reactivity.capture`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CaptureMode {
    /// The log where the server allows it.
    Auto,
    /// The log.
    Wal,
    /// A table.
    Changelog,
}

impl Choice for CaptureMode {
    const WORDS: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("wal", Self::Wal), ("changelog", Self::Changelog)];
}

section! {
    /// What the node tells about itself.
    pub struct ObservabilityConfig(mode) {
        /// How log lines look: `pretty` for people, in colour on a terminal (`NO_COLOR` and `CLICOLOR_FORCE` decide otherwise), `json`
        /// for machines.
        log_format: LogFormat = if mode == Mode::Development { LogFormat::Pretty } else { LogFormat::Json }, choice();
        /// What is logged: a level (`error`, `warn`, `info`, `debug`, `trace`), also per target: `info,forge_runtime=debug`.
        log_level: String = "info".into(), log_filter(), env "FORGE_LOG" "RUST_LOG";
        /// Whether metrics are served, at `/metrics`.
        metrics_enabled: bool = true, switch();
        /// Whether every request leaves a line in the log.
        request_log: bool = true, switch();
        /// A statement that takes longer is logged as slow.
        slow_query_threshold: Duration = ms(100), duration(ms(1)..=hours(1));
        /// Which share of traces is recorded when the caller has not decided.
        sample_rate: f64 = 0.1, share();
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogFormat {
    /// For people: colours, short.
    Pretty,
    /// One JSON object per line.
    Json,
}

impl Choice for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("pretty", Self::Pretty), ("json", Self::Json)];
}

fn cidr() -> impl Kind<Cidr> {
    parsed("an address or a range such as \"10.0.0.0/8\"", |text| text.parse(), ToString::to_string)
}

fn log_filter() -> impl Kind<String> {
    fn read(text: &str) -> Result<String, String> {
        match tracing_subscriber::EnvFilter::builder().parse(text) {
            Ok(_) => Ok(text.into()),
            Err(error) => Err(format!("is not a log filter: {error}; write it like info or info,my_app=debug")),
        }
    }
    parsed("a level or filter such as \"info\" or \"info,my_app=debug\"", read, Clone::clone)
}

section! {
    /// How the node stops.
    pub struct ShutdownConfig(mode) {
        /// How long a node goes on as before after the signal to stop while `/ready` already answers 503, so that load balancers
        /// stop sending before its door is shut.
        unready_for: Duration = if mode.is_production() { secs(3) } else { ms(0) }, duration(ms(0)..=mins(10));
        /// How long requests under way may take to finish after the signal to stop.
        request_drain_timeout: Duration = secs(30), duration(ms(0)..=hours(1));
        /// When the process ends no matter what is still running, and jobs are taken for crashed. Not below `unready_for` and the longer one of
        /// `request_drain_timeout` and, on workers, `worker.drain_timeout`, together with 15 s in which what is left is handed back. A minute longer
        /// than those two when not said. Whatever stops the process (`terminationGracePeriodSeconds`, `TimeoutStopSec`) has to wait for as long.
        force_after: Option<Duration> = None, optional(duration(secs(1)..=hours(26)));
    }
}
