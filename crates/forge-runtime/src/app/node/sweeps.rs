//! What a node sweeps away now and then.

use std::sync::Arc;
use std::time::Duration;

use forge_core::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Stage;
use crate::admin;
use crate::auth::Accounts;
use crate::db::Database;
use crate::feed::ChangeSweep;
use crate::function::sweep_mutation_ids;

/// How often old answers of mutations are swept away.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// How often changes that every node has seen are swept away.
const SWEEP_CHANGES_EVERY: Duration = Duration::from_secs(20);

/// Sweeps changes that everybody has seen away.
pub(super) async fn changes(database: Database, mut stage: watch::Receiver<Stage>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => return,
        ready = stage.wait_for(|stage| *stage == Stage::Ready) => if ready.is_err() { return },
    }
    let mut sweep = ChangeSweep::default();
    loop {
        if let Err(why) = sweep.run(&database).await {
            tracing::debug!(error = ?why, "old changes could not be swept away; trying again later");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(SWEEP_CHANGES_EVERY) => {}
        }
    }
}

/// Sweeps old answers of mutations away, now and then. Nodes may do so at the same time: they skip each other's rows.
pub(super) async fn what_is_over(
    database: Database,
    accounts: Arc<Accounts>,
    audit_retain: Duration,
    mut stage: watch::Receiver<Stage>,
    stop: CancellationToken,
) {
    let began = stage.wait_for(|stage| *stage == Stage::Ready);
    tokio::select! {
        () = stop.cancelled() => return,
        ready = began => if ready.is_err() { return },
    }
    loop {
        let swept = async {
            let more = sweep_mutation_ids(&database).await? >= 1000 || accounts.sweep().await?;
            let more = admin::sweep(&database, audit_retain).await? || more;
            Ok::<_, Error>(crate::cron::admin::sweep(&database).await? || more)
        };
        match swept.await {
            // A full batch: there is more.
            Ok(true) => continue,
            Ok(false) => {}
            Err(why) => tracing::debug!(error = ?why, "what is over could not be swept away; trying again later"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(SWEEP_EVERY) => {}
        }
    }
}
