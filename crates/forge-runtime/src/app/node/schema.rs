//! What comes before a node is at work: the database is there, and its schema is what the app needs.

use std::time::Duration;

use forge_core::{Error, ErrorKind, Result};

use super::NodeParts;
use crate::config::Role;
use crate::feed::FeedKeeper;
use crate::migrate::{Migrator, Progress, State};

/// Brings the schema up to date, waiting for the database as long as it takes.
pub(super) async fn prepare(parts: &NodeParts, keeper: &mut FeedKeeper) -> Result<()> {
    let config = &parts.config;
    let migrator = Migrator::new(&config.database, &config.migrations, parts.app.migrations()?)?;
    let mut pause = Duration::from_millis(100);
    let mut told = false;
    loop {
        let result = if config.migrations.on_start { migrate(&migrator).await } else { compare(&migrator).await };
        match result {
            Err(why) if why.kind() == ErrorKind::DatabaseUnavailable => {
                if !told {
                    tracing::warn!(error = ?why, "the database is not there yet; waiting for it");
                    told = true;
                }
            }
            Err(why) => return Err(why),
            Ok(()) => {
                // The migrator may have gone another way, past a pooler.
                match parts.database.primary().open_one().await {
                    Err(why) if why.kind() != ErrorKind::DatabaseUnavailable => return Err(why),
                    Ok(()) | Err(_) => {}
                }
                parts.database.check().await;
                // Before anybody subscribes, so that it does not change under them. Who has no subscribers need not be able to follow.
                let decided = if config.node.has(Role::Gateway) { keeper.decide().await } else { Ok(()) };
                return match decided {
                    Err(why) if why.kind() == ErrorKind::Config => Err(why),
                    Err(why) => {
                        tracing::warn!(error = ?why, "where changes are to be written could not be decided; trying again later");
                        Ok(())
                    }
                    Ok(()) => Ok(()),
                };
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

async fn migrate(migrator: &Migrator) -> Result<()> {
    let log = |progress: Progress<'_>| match progress {
        Progress::Waiting(pid) => tracing::info!(?pid, "another node is migrating the database; waiting for it"),
        Progress::Applying(_) => {}
        Progress::Applied(migration, took) => {
            tracing::info!(
                duration_ms = took.as_millis() as u64,
                "applied the migration {} {}",
                migration.set,
                migration.label()
            );
        }
    };
    migrator.run(log).await.map(drop)
}

async fn compare(migrator: &Migrator) -> Result<()> {
    let status = migrator.status().await?;
    let pending: Vec<String> = status
        .iter()
        .filter(|s| s.state == State::Pending)
        .map(|s| format!("{} {:04}_{}", s.set, s.version, s.name))
        .collect();
    if pending.is_empty() {
        return Ok(());
    }
    Err(Error::config(
        "MIGRATIONS_PENDING",
        format!(
            "not applied yet: {}; run the program with `migrate` first, or set migrations.on_start = true",
            pending.join(", ")
        ),
    ))
}
