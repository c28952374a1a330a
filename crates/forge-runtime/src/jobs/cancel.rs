//! Cancelling jobs.

use forge_core::Result;
use uuid::Uuid;

use super::run::ERROR_MAX;
use super::store::{CANCEL, Way, get};
use super::wake::Wake;
use super::{Dispatched, Jobs, storable};
use crate::db::Db;

impl Jobs {
    /// Cancels a job: one that waits ends at once, one that runs is asked to. False when there is none that has not ended.
    pub(crate) async fn cancel(&self, id: Uuid, why: &str) -> Result<bool> {
        let dispatched = Dispatched::default();
        let found = cancel(Way::Alone(self.pool()), id, why, &dispatched).await?;
        self.committed(&dispatched);
        Ok(found)
    }

    /// The same in a mutation's transaction: the job is cancelled exactly if that commits.
    pub(crate) async fn cancel_inside(&self, db: &Db, id: Uuid, why: &str, dispatched: &Dispatched) -> Result<bool> {
        // It may be one that this mutation has dispatched.
        dispatched.write(self, db).await?;
        cancel(Way::Inside(db), id, why, dispatched).await
    }
}

/// Cancels a job, and notes whom to tell.
async fn cancel(way: Way<'_>, id: Uuid, why: &str, dispatched: &Dispatched) -> Result<bool> {
    let answer = way.run(&CANCEL, &[&id, &storable::text(why, ERROR_MAX)]).await?;
    let Some(row) = answer.rows.first() else { return Ok(false) };
    let (what, kind, key): (String, String, Option<String>) = (get(row, 0)?, get(row, 1)?, get(row, 2)?);
    let wake = if what == "cancelling" { Some(Wake::Cancel { id }) } else { key.map(|key| Wake::Held { kind, key }) };
    dispatched.cancelled(wake, get::<bool>(row, 3)?.then_some(id));
    Ok(true)
}
