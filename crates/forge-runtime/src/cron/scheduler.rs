//! Decides what is due: on the one node that leads, each time of each cron once.
//!
//! ```text
//!  leads ─▶ state of all crons ─▶ times since the last decided one ─▶ each: run, skipped or missed, in one fenced statement ─┐
//!    ▲                                                                                                                      │
//!    └── the next time, half a minute at the latest, or somebody has turned the clock ◀─────────────────────────────────────┘
//! ```
//!
//! **A time is decided once, whatever leads**: its row is written in the statement that dispatches its run, under the leader's term, and the last
//! decided time only grows, unless somebody resumes a cron, whose past is then told by the rows. A clock that is put back therefore repeats nothing; one
//! that is put forward finds times that have passed. What is at most a minute late when it is found is run, every one of it; what is later is caught up if the cron says so, the newest first to be kept, else it counts
//! as missed.
//!
//! A run is a job of the cron's name, so that retries, timeouts and dead letters are those of jobs. It is dispatched, never run here.

#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use forge_core::cron::{CronInfo, Overlap};
use forge_core::{Error, Result};
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::context::Run;
use super::{CronRegistry, CronSchedule, concurrency};
use crate::cluster::{LeaderGuard, LeaderRole};
use crate::db::error::from_driver;
use crate::db::{Shape, new_uuid};
use crate::jobs::Jobs;

/// After how long a time that was not decided is taken for missed.
const LATE: SignedDuration = SignedDuration::from_mins(1);

/// The longest sleep: a clock that was turned, and a cron that was paused, is noticed after that.
const SLEEP_MAX: Duration = Duration::from_secs(30);

/// How many missed times are counted one by one; there may be a year of seconds.
const COUNTED_MAX: usize = 10_000;

/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_secs(1);

static STATE: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(include_str!("sql/state.sql")));
static DECIDE: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(include_str!("sql/decide.sql")));
static MISSED: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(include_str!("sql/missed.sql")));

/// Runs crons. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct CronRunner {
    crons: CronRegistry,
    jobs: Jobs,
}

/// How a cron stands.
#[derive(Debug, Clone, Copy)]
struct State {
    last_slot: Timestamp,
    paused: bool,
    now: Timestamp,
}

impl CronRunner {
    /// For these crons.
    pub(crate) fn new(crons: CronRegistry, jobs: Jobs) -> Self {
        Self { crons, jobs }
    }

    /// Decides whatever is due, as long as this node leads, until told to stop.
    pub(crate) async fn run(self, stop: CancellationToken) {
        if self.crons.is_empty() {
            return;
        }
        let mut election = self.jobs.cluster().election(LeaderRole::Scheduler);
        let mut travels = self.jobs.cluster().clock().travels();
        let mut open = self.jobs.is_open();
        loop {
            // A test decides itself when time passes.
            tokio::select! {
                () = stop.cancelled() => return,
                open = open.wait_for(|open| *open) => if open.is_err() { return },
            }
            let guard = tokio::select! {
                () = stop.cancelled() => return,
                guard = election.elected() => guard,
            };
            // Whatever it says to the database has ended before somebody else leads.
            let step = tokio::time::timeout(guard.statement_timeout(), self.step(&guard));
            let wait = match step.await.unwrap_or_else(|_| Err(Error::database_unavailable("it took too long"))) {
                Ok(wait) => wait,
                Err(why) => {
                    tracing::warn!(error = ?why, "which crons are due could not be decided; trying again");
                    PAUSE
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = guard.revoked() => {}
                () = tokio::time::sleep(wait) => {}
                _ = travels.changed() => {}
            }
        }
    }

    /// Decides what is due now, if this node leads; waits until it does.
    pub(crate) async fn run_due(&self) -> Result<()> {
        if self.crons.is_empty() {
            return Ok(());
        }
        let guard = self.jobs.cluster().election(LeaderRole::Scheduler).elected().await;
        self.step(&guard).await.map(drop)
    }

    /// Decides what is due now. Returns how long nothing will be.
    async fn step(&self, guard: &LeaderGuard) -> Result<Duration> {
        let began = Instant::now();
        let names: Vec<&str> = self.crons.iter().map(|(info, _)| info.name).collect();
        let answer =
            self.jobs.pool().get().await?.query(&STATE, &[&names, &self.jobs.shift()]).await.map_err(from_driver)?;
        let mut wait = SLEEP_MAX;
        for row in &answer.rows {
            let name: String = row.try_get(0).map_err(from_driver)?;
            let state = State {
                last_slot: row.try_get(1).map_err(from_driver)?,
                paused: row.try_get(2).map_err(from_driver)?,
                now: row.try_get(3).map_err(from_driver)?,
            };
            let Some((info, schedule)) = self.crons.get(&name) else { continue };
            if state.last_slot.duration_since(state.now) > LATE && !state.paused {
                tracing::warn!(cron = info.name, last_decided = %state.last_slot, now = %state.now,
                    "the last time of a cron that was decided is ahead of the database's clock, which was put back: it is not run until then; \
                     pause and resume it to have it go on from now");
            }
            self.decide(guard, info, schedule, state).await?;
            if let Some(next) = schedule.next(state.now) {
                let left = Duration::try_from(next.duration_since(state.now)).unwrap_or_default();
                wait = wait.min(left.saturating_sub(began.elapsed()));
            }
        }
        // A moment later, so that it is not found to be almost due.
        Ok(wait + Duration::from_millis(5))
    }

    async fn decide(&self, guard: &LeaderGuard, info: &CronInfo, schedule: &CronSchedule, state: State) -> Result<()> {
        let due: Vec<Timestamp> = schedule.between(state.last_slot, state.now).take(COUNTED_MAX).collect();
        let Some(found) = due.last() else { return Ok(()) };
        // Beyond what is counted, only the newest matter.
        let newest = schedule.previous(state.now + SignedDuration::from_micros(1)).unwrap_or(*found).max(*found);
        let mut wanted = Vec::new();
        let mut at = Some(newest);
        let mut late = if info.catch_up { info.catch_up_limit.max(1) } else { 0 };
        while let Some(slot) = at.filter(|slot| *slot > state.last_slot && !state.paused) {
            // There are at most sixty others: no cron is due more often than every second.
            if state.now.duration_since(slot) > LATE {
                let Some(left) = late.checked_sub(1) else { break };
                late = left;
            }
            wanted.push(slot);
            at = schedule.previous(slot);
        }
        wanted.reverse();
        let missed = due.len().saturating_sub(wanted.len());
        if missed > 0 {
            let last = due.get(missed - 1).copied().unwrap_or(newest).min(wanted.first().copied().unwrap_or(newest));
            let params: crate::db::Params<'_> =
                &[&guard.role().as_str(), &guard.term(), &info.name, &last, &i64::try_from(missed).unwrap_or(i64::MAX)];
            let answer = self.jobs.pool().get().await?.query(&MISSED, params).await.map_err(from_driver)?;
            if answer.affected == 0 {
                return Err(led_by_another());
            }
            crate::observability::crons().missed(info.name, missed as u64);
            tracing::warn!(cron = info.name, missed, paused = state.paused, "times of a cron passed without a run");
        }
        for slot in wanted {
            let late = state.now.duration_since(slot);
            let run = Run { slot, catch_up: late > LATE, by_hand: false };
            self.dispatch(guard, info, run).await?;
        }
        Ok(())
    }

    async fn dispatch(&self, guard: &LeaderGuard, info: &CronInfo, run: Run) -> Result<()> {
        let (job, input) = (new_uuid(), serde_json::to_string(&run)?);
        let key = concurrency(info.overlap).map(|_| "");
        let (skip, priority) = (info.overlap == Overlap::Skip, info.priority as i16);
        let params: crate::db::Params<'_> = &[
            &guard.role().as_str(),
            &guard.term(),
            &info.name,
            &run.slot,
            &job,
            &input,
            &skip,
            &info.queue,
            &priority,
            &key,
        ];
        let answer = self.jobs.pool().get().await?.query(&DECIDE, params).await.map_err(from_driver)?;
        let row = answer.rows.first().ok_or_else(led_by_another)?;
        let (decided, ready_at): (bool, Option<Timestamp>) =
            (row.try_get(0).map_err(from_driver)?, row.try_get(1).map_err(from_driver)?);
        match ready_at {
            Some(at) => {
                self.jobs.dispatched(info.name, info.priority as i16, at, key);
                crate::observability::crons().dispatched(info.name);
            }
            None if decided => {
                crate::observability::crons().skipped(info.name);
                tracing::info!(cron = info.name, slot = %run.slot, "the last run of a cron is not finished, so this one is left out");
            }
            None => {}
        }
        Ok(())
    }

    pub(super) fn crons(&self) -> &CronRegistry {
        &self.crons
    }

    pub(super) fn jobs(&self) -> &Jobs {
        &self.jobs
    }
}

fn led_by_another() -> Error {
    Error::database_unavailable("another node leads by now")
}
