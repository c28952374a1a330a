//! What a worker looks for by itself: lanes of which nobody told, jobs of workers that are gone, what is due, and what it has claimed without
//! knowing.

use std::time::{Duration, Instant};

use forge_core::Result;
use forge_core::job::DEFAULT_RETAIN;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::claimer::Claimer;
use super::claims::Claim;
use super::finish::give_back;
use super::store::{LOOK, PROMOTE, PROMOTE_MAX, TAKE_OVER, get, micros};
use super::wake::Wake;
use crate::db::error::from_driver;

/// How often all lanes are looked over, for what nobody told of. When a look takes long it is done less often.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What part of the time looks may take: one in so many.
const LOOK_SHARE: u32 = 20;

/// How many of its attempts may end with their worker before a job is taken for what ends them.
const CRASHES_MAX: i32 = 3;

/// The code of what such a job failed with.
const POISON: &str = "JOB_POISON";

impl Claimer<'_> {
    /// Looks over all lanes, and for whatever else nobody may have told of.
    pub(super) async fn look(&mut self, me: Uuid) -> Result<()> {
        let began = Instant::now();
        if self.queues_changed || self.worker.jobs.paused().any() {
            self.worker.jobs.look_for_paused().await?;
            self.queues_changed = false;
        }
        let (kinds, priorities): (Vec<&str>, Vec<i16>) = self.lanes.all().unzip();
        let shift = self.worker.jobs.shift();
        // Before the rows are read: nothing is claimed meanwhile, but some of it may end.
        let known = self.worker.claims.all();
        let lease = self.worker.jobs.pool().get().await?;
        let answer = lease.query(&LOOK, &[&kinds, &priorities, &shift, &me]).await.map_err(from_driver)?;
        drop(lease);
        let (mut lost, mut held, mut stranded) = (false, false, Vec::new());
        for row in &answer.rows {
            if let Some(n) = get::<Option<i64>>(row, 0)? {
                self.lanes.wake_nth(usize::try_from(n).unwrap_or(1) - 1, get(row, 1)?);
                continue;
            }
            self.due.first(get(row, 2)?);
            (lost, held) = (get(row, 4)?, get(row, 5)?);
            get::<Option<Vec<Uuid>>>(row, 3)?.into_iter().flatten().for_each(|id| self.worker.cancel(id));
            let jobs = get::<Option<Vec<Uuid>>>(row, 6)?.into_iter().flatten();
            let claims = get::<Option<Vec<i32>>>(row, 7)?.into_iter().flatten();
            stranded.extend(jobs.zip(claims).filter(|claim| !known.contains(claim)));
        }
        if !stranded.is_empty() {
            self.give_back(me, &stranded).await?;
        }
        if lost {
            self.take_over().await?;
        }
        if held {
            self.keys.look();
        }
        let (running, _) = self.worker.shelf.counts();
        self.worker.jobs.cluster().set_jobs(u32::try_from(running).unwrap_or(u32::MAX), self.worker.config.concurrency);
        self.next_look(began.elapsed());
        Ok(())
    }

    /// A look has taken so long.
    pub(super) fn next_look(&mut self, took: Duration) {
        self.look_at = Instant::now() + LOOK_EVERY.max(took * LOOK_SHARE);
    }

    /// Gives back what the rows say that this worker has, and it knows nothing of: the answer to a claim was lost.
    async fn give_back(&self, me: Uuid, stranded: &[Claim]) -> Result<()> {
        let jobs = give_back(&self.worker.jobs, me, stranded).await?;
        tracing::warn!(jobs, "jobs were claimed by a statement whose answer was lost; they are given back");
        Ok(())
    }

    /// Gives the jobs of workers that are gone back.
    async fn take_over(&self) -> Result<()> {
        let jobs = &self.worker.jobs;
        let kept = jobs.registry().entries().map(|entry| (entry.info.name, micros(entry.info.dead_letter_retain)));
        let kept: Map<String, Value> = kept.map(|(kind, retain)| (kind.to_owned(), retain.into())).collect();
        let (kept, otherwise) = (Value::Object(kept), micros(DEFAULT_RETAIN));
        let lease = jobs.pool().get().await?;
        let answer = lease.query(&TAKE_OVER, &[&CRASHES_MAX, &otherwise, &POISON, &kept]).await.map_err(from_driver)?;
        drop(lease);
        for row in &answer.rows {
            let kind: String = get(row, 1)?;
            if get(row, 6)? {
                tracing::error!(job = kind, job_id = %get::<Uuid>(row, 0)?, "a job has taken its worker down too often; it is a dead letter now");
            }
            match (get::<Option<String>>(row, 4)?, get(row, 3)?) {
                (Some(key), _) => jobs.wake(Wake::Held { kind, key }),
                (None, Some(at)) => jobs.wake(Wake::Ready { kind: kind.into(), priority: get(row, 2)?, at }),
                (None, None) => {}
            }
            if get(row, 5)? {
                jobs.told(vec![get(row, 0)?]);
            }
        }
        if !answer.rows.is_empty() {
            tracing::warn!(jobs = answer.rows.len(), "jobs of workers that are gone were taken from them");
        }
        Ok(())
    }

    /// Makes ready what is due.
    pub(super) async fn promote(&mut self) -> Result<()> {
        let jobs = &self.worker.jobs;
        let lease = jobs.pool().get().await?;
        let answer = lease.query(&PROMOTE, &[&jobs.shift(), &PROMOTE_MAX]).await.map_err(from_driver)?;
        drop(lease);
        let (mut promoted, mut next) = (0, None);
        for row in &answer.rows {
            match get::<Option<String>>(row, 0)? {
                // Perhaps for others: of a kind that is not done here, or when there is no room.
                Some(kind) if get::<i16>(row, 2)? == 0 => {
                    jobs.wake(Wake::Ready { kind: kind.into(), priority: get(row, 1)?, at: get(row, 3)? })
                }
                Some(kind) => jobs.wake(Wake::Held { kind, key: get::<Option<String>>(row, 4)?.unwrap_or_default() }),
                None => {
                    next = get(row, 5)?;
                    continue;
                }
            }
            promoted += 1;
        }
        self.due.promoted(promoted, next);
        Ok(())
    }
}
