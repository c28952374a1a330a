//! Migrations: SQL files that are applied in order, once each, under a lock.
//!
//! A file is called `<version>_<name>.sql`; versions are digits and sort as numbers (`0001`, `20261122193000`). Each runs in a
//! transaction of its own together with the record that it ran, so it has taken effect whole or not at all. A file that says
//! `-- @transactional false` runs statement by statement outside of one, as `CREATE INDEX CONCURRENTLY` needs; when such a file
//! fails half-way, the next run starts it again from its first statement, so write its statements so that they can be repeated.
//! What stands below a line `-- @down` is kept for people and never run.
//!
//! The framework's own tables are migrations as well, of the set `forge`; an app's are of the set `app`.
//!
//! Promises: one migrator at a time per database, waiting for another one at most `migrations.deadline`; never a blocking lock,
//! which would pin the oldest snapshot and hang the very index build that is waited for; an applied file that was edited stops
//! the run before anything is applied.

mod file;
mod runner;

pub use file::Migration;
pub use runner::{Migrator, Progress, State, Status};

use forge_core::Result;

/// The framework's own migrations.
pub(crate) fn system() -> Result<Vec<Migration>> {
    [
        ("0001_functions.sql", include_str!("../../migrations/0001_functions.sql")),
        ("0002_auth.sql", include_str!("../../migrations/0002_auth.sql")),
        ("0003_changes.sql", include_str!("../../migrations/0003_changes.sql")),
        ("0004_feed.sql", include_str!("../../migrations/0004_feed.sql")),
        ("0005_live.sql", include_str!("../../migrations/0005_live.sql")),
        ("0006_reading.sql", include_str!("../../migrations/0006_reading.sql")),
        ("0007_cluster.sql", include_str!("../../migrations/0007_cluster.sql")),
        ("0008_jobs.sql", include_str!("../../migrations/0008_jobs.sql")),
        ("0009_crons.sql", include_str!("../../migrations/0009_crons.sql")),
        ("0010_admin.sql", include_str!("../../migrations/0010_admin.sql")),
        ("0011_job_claims.sql", include_str!("../../migrations/0011_job_claims.sql")),
        ("0013_nodes.sql", include_str!("../../migrations/0013_nodes.sql")),
        ("0016_job_counts.sql", include_str!("../../migrations/0016_job_counts.sql")),
        ("0017_cut_off.sql", include_str!("../../migrations/0017_cut_off.sql")),
    ]
    .into_iter()
    .map(|(file, sql)| Migration::parse("forge", file, sql))
    .collect()
}

/// Changes whenever one of the framework's own migrations does, or its number.
///
/// # Errors
/// Never, unless a file of the framework is not called like a migration.
pub fn system_fingerprint() -> Result<String> {
    Ok(system()?.iter().map(|migration| format!("{} {}\n", migration.version, migration.checksum)).collect())
}
