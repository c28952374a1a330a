//! `[database]` and `[migrations]`.

use std::path::PathBuf;
use std::time::Duration;

use super::Secret;
use super::database_url::{TlsMode, database_url};
use super::kind::{Kind, choice, duration, int, list, optional, parsed, switch};
use super::table::section;
use super::units::{hours, mins, ms, secs};

section! {
    /// Where the data is and how it is reached. PostgreSQL 15 or later; it is all that an app needs beside itself.
    pub struct DatabaseConfig(mode) {
        /// The address, as a URL (`postgres://user:password@host:5432/name`) or as libpq's `key=value` words. Required in
        /// production. In development and tests, nothing here means a private server of the project's own.
        url: Option<Secret> = None, optional(database_url()), env "DATABASE_URL";
        /// Addresses of read replicas. They are used only with `read_from_replica`.
        replica_urls: Vec<Secret> = Vec::new(), list(database_url());
        /// Whether queries may be answered by a replica, which may lag behind. A caller's own writes are always seen by
        /// that caller; what jobs ask for is read on the primary.
        read_from_replica: bool = false, switch();
        /// How many connections the pool holds at most. Mutations and everything that needs a connection of its own share
        /// it. A node has some 30 more for what must not wait behind them: shared reads, live queries, the queue, the change feed,
        /// its place in the cluster. All of all nodes together must stay below the server's `max_connections`.
        pool_size: u32 = 20, int(2..=1000);
        /// How long a call waits for a free connection before it is answered `DATABASE_UNAVAILABLE`.
        pool_timeout: Duration = secs(5), duration(ms(10)..=mins(5));
        /// The longest that any one statement may run. A function's own timeout is usually shorter and then counts.
        statement_timeout: Duration = secs(30), duration(ms(10)..=hours(24));
        /// How many connections are shared by short reads, which are pipelined over them. 0 turns sharing off: every read
        /// then takes a connection of the pool.
        shared_connections: u32 = 4, int(0..=64);
        /// How long a read may hold up a shared connection. One that takes longer is stopped and runs again on a
        /// connection of its own, under its function's timeout. Must be below `statement_timeout`.
        shared_statement_timeout: Duration = ms(50), duration(ms(1)..=secs(10));
        /// How long opening a connection may take, TLS and sign-in included.
        connect_timeout: Duration = secs(5), duration(ms(100)..=mins(5));
        /// How often it is looked whether the database and its replicas answer, on connections that callers do not have.
        health_check_interval: Duration = secs(5), duration(ms(100)..=mins(10));
        /// How long such a look may take before the database counts as not reachable.
        health_check_timeout: Duration = secs(2), duration(ms(50)..=mins(1));
        /// An address that reaches the server itself when `url` goes through a pooler such as PgBouncer, which is noticed. What
        /// cannot pass a pooler uses it: migrations, `ctx.db().raw()` (at most 4 connections), the change feed of live queries, a node's
        /// heartbeat and what nodes tell each other.
        direct_url: Option<Secret> = None, optional(database_url());
        /// Whether connections are encrypted and the server is checked: `disable`, `prefer` (encrypted if the server can,
        /// server not checked), `require` (encrypted, server not checked), `verify-full` (encrypted, certificate and host name
        /// checked). Not set: what the address says with `sslmode`, else `verify-full` for remote hosts and `disable` for
        /// local ones. Production refuses a remote host without encryption unless `disable` is written here.
        tls: Option<TlsMode> = None, optional(choice());
        /// A file with the certificates (PEM) that a server's certificate must descend from. Not set: those of the system.
        tls_ca_file: Option<PathBuf> = None, optional(file());
        /// How many prepared statements a connection keeps; the one unused longest makes room.
        max_statements_per_connection: u32 = 256, int(8..=10_000);
    }
}

section! {
    /// How the database's schema is brought up to date.
    pub struct MigrationsConfig(mode) {
        /// How long a statement of a migration waits for a lock on a table before it gives up, so that the queue behind
        /// it does not stop the app.
        lock_timeout: Duration = secs(5), duration(ms(100)..=hours(1));
        /// How long to wait for another node that is migrating.
        deadline: Duration = mins(5), duration(secs(1)..=hours(24));
        /// How long one statement of a migration may run.
        statement_timeout: Duration = mins(5), duration(secs(1)..=hours(24));
        /// Whether the app migrates when it starts. With `false`, it refuses to start on an outdated schema.
        on_start: bool = true, switch();
    }
}

/// A path that is not empty.
pub(super) fn file() -> impl Kind<PathBuf> {
    fn read(text: &str) -> Result<PathBuf, String> {
        if text.is_empty() { Err("is empty".into()) } else { Ok(text.into()) }
    }
    parsed("a path", read, |path: &PathBuf| path.display().to_string())
}
