//! What a job says while it runs: how far it is, what later attempts are to know, and whether it is still this worker's.
//!
//! Progress that is said while some is being written down is written down together, the newest of each job.

use std::sync::{Arc, PoisonError};

use forge_core::{Error, Result};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Jobs;
use super::context::{Progress, Running};
use super::store::{OURS, PROGRESS, SAVE, get};
use crate::db::error::from_driver;

impl Jobs {
    /// A job has said how far it is.
    pub(super) fn progressed(&self, running: &Arc<Running>) {
        self.0.progressed.lock().unwrap_or_else(PoisonError::into_inner).insert(running.id, running.clone());
        self.0.progress.notify_one();
    }

    /// Writes down what was said. What could not be written is there for the next time, but for what has been said since.
    pub(super) async fn write_progress(&self) -> Result<()> {
        let some = std::mem::take(&mut *self.0.progressed.lock().unwrap_or_else(PoisonError::into_inner));
        let said = some.into_values().filter_map(|running| running.take_progress().map(|progress| (running, progress)));
        let said: Vec<(Arc<Running>, Progress)> = said.collect();
        let written = self.write_said(&said).await;
        if written.is_err() {
            let mut progressed = self.0.progressed.lock().unwrap_or_else(PoisonError::into_inner);
            for (running, progress) in said {
                running.put_back(progress);
                progressed.insert(running.id, running);
            }
        }
        written
    }

    async fn write_said(&self, said: &[(Arc<Running>, Progress)]) -> Result<()> {
        let ids: Vec<Uuid> = said.iter().map(|(running, _)| running.id).collect();
        let about: Map<String, Value> = said
            .iter()
            .map(|(running, progress)| {
                let Running { worker, claim, .. } = &**running;
                let about =
                    json!({ "worker": worker, "claim": claim, "percent": progress.percent, "message": progress.message });
                (running.id.to_string(), about)
            })
            .collect();
        let lease = self.0.pool.get().await?;
        let answer = lease.query(&PROGRESS, &[&ids, &Value::Object(about)]).await.map_err(from_driver)?;
        drop(lease);
        let mut tracked = Vec::new();
        for row in &answer.rows {
            if get(row, 1)? {
                tracked.push(get(row, 0)?);
            }
        }
        self.told(tracked);
        Ok(())
    }

    pub(super) async fn save(&self, running: &Running, value: &str) -> Result<()> {
        let lease = self.0.pool.get().await?;
        let answer =
            lease.query(&SAVE, &[&running.id, &running.worker, &running.claim, &value]).await.map_err(from_driver)?;
        if answer.affected == 0 { Err(lost()) } else { Ok(()) }
    }

    pub(super) async fn still_ours(&self, running: &Running) -> Result<()> {
        let lease = self.0.pool.get().await?;
        let answer = lease.query(&OURS, &[&running.id, &running.worker, &running.claim]).await.map_err(from_driver)?;
        if answer.rows.first().is_some_and(|row| row.try_get(0).unwrap_or(false)) { Ok(()) } else { Err(lost()) }
    }
}

fn lost() -> Error {
    Error::cancelled()
}
