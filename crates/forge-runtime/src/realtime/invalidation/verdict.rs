//! What a run showed: a result with what it depends on, or why there is none.

use std::collections::BTreeSet;
use std::sync::Arc;

use forge_core::function::TrackingMode;
use forge_core::{Error, Result};

use super::InvalidationEngine;
use crate::db::Shape;
use crate::read_set::{Argument, Catalogue, Columns, Dependency, Reading, Unfollowable};
use crate::realtime::group::{GroupId, Sight};
use crate::realtime::outbox::SessionId;
use crate::realtime::run::Finished;
use crate::realtime::subscriptions::{Deliveries, Ran, not_live};

/// How many statements' readings are remembered.
const READINGS_MAX: usize = 10_000;

/// What a run showed.
pub(super) enum Outcome {
    Ran(Ran),
    /// It says nothing; the group is to run again.
    Again,
    /// These tables were not watched while it ran.
    Unwatched(BTreeSet<u32>),
    /// The query has failed for one who was looked at like that.
    Failed(Error, Sight),
}

impl InvalidationEngine {
    /// What the runs of a round showed. What has failed is told by `deliveries`, also when this does not get to the end.
    pub(super) async fn judge_all(&mut self, finished: Vec<Finished>, deliveries: &mut Deliveries) -> Result<()> {
        for run in finished {
            let id = run.id;
            match self.judge(run).await? {
                Outcome::Ran(ran) => {
                    self.subscriptions.clean(id);
                    self.settle(id, ran);
                }
                Outcome::Again => {}
                Outcome::Unwatched(tables) => self.subscriptions.park(id, tables),
                // Those whom it was not for have new groups, to be run before anything of this round is shown.
                Outcome::Failed(why, sight) => drop(self.subscriptions.refused(id, why, &sight, deliveries)),
            }
        }
        Ok(())
    }

    /// A group has a new result. Returns the sessions that it is not for.
    pub(super) fn settle(&mut self, id: GroupId, ran: Ran) -> Vec<SessionId> {
        let known = self.subscriptions.group(id).is_some_and(|group| group.result.is_some());
        let settled = self.subscriptions.ran(id, ran);
        crate::observability::live().ran(known && !settled.new);
        settled.moved
    }

    /// What a run showed. An error of this is the round's; one of the query is its outcome.
    pub(super) async fn judge(&mut self, run: Finished) -> Result<Outcome> {
        let json = match run.result {
            Ok(json) => json,
            // A connection was lost, or a table has changed.
            Err(why) if run.stumbled && why.is_retryable() => return Ok(Outcome::Again),
            Err(why) => return Ok(Outcome::Failed(why, run.sight)),
        };
        let mut dependencies = Vec::new();
        let info = &run.entry.info;
        for (shape, arguments) in run.asked {
            if info.tracking == TrackingMode::None {
                break;
            }
            match &*self.reading(&shape).await? {
                Ok(reading) => bind(reading, &arguments, info.tracking, &mut dependencies),
                // What changes by itself is asked again and again.
                Err(_) if info.refresh_every.is_some() => {}
                Err(why) => {
                    let text = format!("{}. The statement: {}", why.0, shape.text);
                    return Ok(Outcome::Failed(not_live(&run.entry, &text), run.sight));
                }
            }
        }
        let unwatched = self.watches.missing(&dependencies);
        if !unwatched.is_empty() {
            return Ok(Outcome::Unwatched(unwatched));
        }
        Ok(Outcome::Ran(Ran { json, sight: run.sight, dependencies, began: run.began }))
    }

    async fn reading(&mut self, shape: &Shape) -> Result<Arc<std::result::Result<Reading, Unfollowable>>> {
        if let Some(reading) = self.readings.get(&shape.id) {
            return Ok(reading.clone());
        }
        if self.readings.len() >= READINGS_MAX {
            self.readings.clear();
        }
        let lease = self.database.live().get().await?;
        let reading = Arc::new(Catalogue::read(lease.client(), &shape.text).await?);
        if let Ok(reading) = &*reading {
            self.definitions.note(reading);
        }
        self.readings.insert(shape.id, reading.clone());
        Ok(reading)
    }
}

fn bind(reading: &Reading, arguments: &[Argument], tracking: TrackingMode, into: &mut Vec<Dependency>) {
    for mut dependency in reading.bind(arguments) {
        if tracking == TrackingMode::Table {
            dependency.keys.clear();
            dependency.columns = Columns::All;
        }
        if !into.contains(&dependency) {
            into.push(dependency);
        }
    }
}
