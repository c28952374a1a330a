//! forge.toml and the environment, read into one plain struct.
//!
//! ```text
//! forge.toml ──parse──▶ nodes with places ──${…}──▶ keys of the table ──▶ Config ──check──▶ Loaded
//! environment ─────────────────────────────────────▶ (wins over the file)
//! ```
//!
//! Promises: whatever is wrong is told at once, each with file, line, column and what to do; a key that does nothing
//! is refused; a secret is never shown; production does not start with what is unsafe. Every key is declared once, in
//! the table of keys, with its documentation, default and limits; `docs/configuration.md` is printed from it.
//!
//! Deliberately not here: reloading (a changed configuration is a restart), and profiles within a file (one file,
//! with `${…}` where environments differ).

mod admin;
mod check;
mod cidr;
mod cluster;
mod database;
mod database_url;
mod explain;
mod kind;
mod mail;
mod mistakes;
mod mode;
mod node;
mod planned;
mod read;
mod secret;
mod security;
mod server;
mod substitute;
mod table;
#[cfg(test)]
mod tests;
mod units;
mod worker;

use std::path::Path;
use std::time::Duration;

use forge_core::Result;

pub use admin::{AdminConfig, AdminToken};
pub use cidr::Cidr;
pub use cluster::ClusterConfig;
pub use database::{DatabaseConfig, MigrationsConfig};
pub use database_url::{Endpoint, TlsMode};
pub use explain::{Explained, Source};
pub use mail::MailConfig;
pub(crate) use mistakes::nearest;
pub use mode::Mode;
pub use read::Loaded;
pub use secret::Secret;
pub(crate) use security::is_loopback;
pub use security::{Algorithm, AuthConfig, CorsConfig, PreviousSecret, PublicKey, SecurityConfig};
pub use server::{
    CaptureMode, FunctionConfig, GatewayConfig, LogFormat, NodeConfig, ObservabilityConfig, ProjectConfig,
    ReactivityConfig, Role, ShutdownConfig,
};

pub use worker::{JobsConfig, QueueConfig, WorkerConfig};

use table::{Key, Section};

/// How much longer than draining a node has to be given, so that what it could not finish is handed back and not taken for crashed.
const HAND_BACK_MAX: Duration = Duration::from_secs(15);

/// Everything that can be configured. [`Default`] is what a developer's machine has when nothing is said.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which rules hold, from `FORGE_ENV`.
    pub mode: Mode,
    /// `[project]`.
    pub project: ProjectConfig,
    /// `[database]`.
    pub database: DatabaseConfig,
    /// `[migrations]`.
    pub migrations: MigrationsConfig,
    /// `[node]`.
    pub node: NodeConfig,
    /// `[cluster]`.
    pub cluster: ClusterConfig,
    /// `[gateway]`.
    pub gateway: GatewayConfig,
    /// `[function]`.
    pub function: FunctionConfig,
    /// `[reactivity]`.
    pub reactivity: ReactivityConfig,
    /// `[jobs]`.
    pub jobs: JobsConfig,
    /// `[worker]`.
    pub worker: WorkerConfig,
    /// `[mail]`.
    pub mail: MailConfig,
    /// `[security.…]`.
    pub security: SecurityConfig,
    /// `[admin]`.
    pub admin: AdminConfig,
    /// `[observability]`.
    pub observability: ObservabilityConfig,
    /// `[shutdown]`.
    pub shutdown: ShutdownConfig,
}

impl Config {
    /// Reads a file (none, or one that does not exist, is an empty one) and the environment, which wins, and checks
    /// the whole. The mode is that of `FORGE_ENV`, else of the [build](Mode::of_build).
    ///
    /// # Errors
    /// One error with everything that is wrong; its code is `CONFIG_UNREADABLE`, `CONFIG_SYNTAX`, `CONFIG_UNKNOWN_KEY`,
    /// `CONFIG_NOT_AVAILABLE`, `CONFIG_INVALID_VALUE`, `CONFIG_MISSING_VARIABLE`, `CONFIG_UNSAFE`, or `CONFIG_INVALID`
    /// when there are several kinds of mistakes.
    pub fn load(path: Option<&Path>, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded> {
        Self::load_for(path, env, Mode::of_build())
    }

    /// Like [`load`](Self::load), for a caller that knows better than its build which mode holds when `FORGE_ENV` says
    /// nothing: a test harness, or the command line on a developer's machine.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_for(path: Option<&Path>, env: &dyn Fn(&str) -> Option<String>, unsaid: Mode) -> Result<Loaded> {
        read::load(path, env, unsaid)
    }

    /// What holds in a mode when nothing is said.
    pub fn defaults(mode: Mode) -> Self {
        Self {
            mode,
            project: ProjectConfig::defaults(mode),
            database: DatabaseConfig::defaults(mode),
            migrations: MigrationsConfig::defaults(mode),
            node: NodeConfig::defaults(mode),
            cluster: ClusterConfig::defaults(mode),
            gateway: GatewayConfig::defaults(mode),
            function: FunctionConfig::defaults(mode),
            reactivity: ReactivityConfig::defaults(mode),
            jobs: JobsConfig::defaults(mode),
            worker: WorkerConfig::defaults(mode),
            mail: MailConfig::defaults(mode),
            security: SecurityConfig::defaults(mode),
            admin: AdminConfig::defaults(mode),
            observability: ObservabilityConfig::defaults(mode),
            shutdown: ShutdownConfig::defaults(mode),
        }
    }

    /// Checks what [`load`](Self::load) checks after reading, for a configuration that was built in code: keys that
    /// contradict each other, and what production refuses.
    ///
    /// # Errors
    /// `CONFIG_INVALID_VALUE`, `CONFIG_UNSAFE`, or `CONFIG_INVALID` for both.
    pub fn check(&self) -> Result<()> {
        let mut mistakes = mistakes::Mistakes::default();
        check::check(self, &|_| mistakes::At::Nowhere, &mut mistakes);
        mistakes.into_error(None).map_or(Ok(()), Err)
    }

    /// How long draining takes at most, from the signal to stop until what is left is handed back.
    pub(crate) fn drain_max(&self) -> Duration {
        let jobs = if self.node.has(Role::Worker) { self.worker.drain_timeout } else { Duration::ZERO };
        self.shutdown.unready_for + self.shutdown.request_drain_timeout.max(jobs)
    }

    /// When a node that was told to stop ends no matter what is still running: as `shutdown.force_after` says, else a minute after it should have.
    pub fn force_after(&self) -> Duration {
        self.shutdown.force_after.unwrap_or_else(|| self.drain_max() + Duration::from_secs(60))
    }

    /// The reference page of all keys, as Markdown.
    pub fn reference() -> String {
        explain::reference()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::defaults(Mode::Development)
    }
}

/// One table of forge.toml.
struct SectionTable {
    /// Its path, such as `security.auth`.
    path: &'static str,
    doc: &'static str,
    keys: Vec<Key<Config>>,
}

impl SectionTable {
    fn path_of(&self, key: &Key<Config>) -> String {
        format!("{}.{}", self.path, key.name)
    }

    /// The variables that can say a key, those first that win.
    fn variables(&self, key: &Key<Config>) -> Vec<String> {
        if !key.fits_env() {
            return Vec::new();
        }
        let own = format!("FORGE_{}", self.path_of(key).replace('.', "_").to_ascii_uppercase());
        std::iter::once(own).chain(key.env.iter().map(ToString::to_string)).collect()
    }
}

/// The table of all keys.
fn sections() -> Vec<SectionTable> {
    fn section<S: Section>(path: &'static str, get: fn(&Config) -> &S, get_mut: fn(&mut Config) -> &mut S) -> SectionTable {
        SectionTable { path, doc: S::DOC, keys: S::keys().into_iter().map(|key| key.within(get, get_mut)).collect() }
    }
    vec![
        section("project", |c| &c.project, |c| &mut c.project),
        section("database", |c| &c.database, |c| &mut c.database),
        section("migrations", |c| &c.migrations, |c| &mut c.migrations),
        section("node", |c| &c.node, |c| &mut c.node),
        section("cluster", |c| &c.cluster, |c| &mut c.cluster),
        section("gateway", |c| &c.gateway, |c| &mut c.gateway),
        section("function", |c| &c.function, |c| &mut c.function),
        section("reactivity", |c| &c.reactivity, |c| &mut c.reactivity),
        section("jobs", |c| &c.jobs, |c| &mut c.jobs),
        section("worker", |c| &c.worker, |c| &mut c.worker),
        section("mail", |c| &c.mail, |c| &mut c.mail),
        section("security.cors", |c| &c.security.cors, |c| &mut c.security.cors),
        section("security.auth", |c| &c.security.auth, |c| &mut c.security.auth),
        section("admin", |c| &c.admin, |c| &mut c.admin),
        section("observability", |c| &c.observability, |c| &mut c.observability),
        section("shutdown", |c| &c.shutdown, |c| &mut c.shutdown),
    ]
}
