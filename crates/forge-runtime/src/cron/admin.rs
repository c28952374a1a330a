//! Looking at crons from outside, and acting on them. What it promises is said in [`crate::admin`].

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use forge_core::cron::CronInfo;
use forge_core::{Error, Result};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::context::Run;
use super::{CronRunner, CronSchedule, concurrency};
use crate::admin::{Actor, Admin, Done, Look};
use crate::db::error::from_driver;
use crate::db::{Database, Shape, new_uuid};

macro_rules! statements {
    ($($name:ident = $file:literal;)*) => {
        $(static $name: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(include_str!(concat!("sql/", $file))));)*
    };
}

statements! {
    BY_HAND = "by_hand.sql";
    RUN_OF = "run_of.sql";
    PAUSE = "pause.sql";
    RESUME = "resume.sql";
    LIST = "list.sql";
    HISTORY = "history.sql";
    SWEEP = "sweep.sql";
}

/// How many of the next times are told at most.
pub(crate) const NEXT_MAX: usize = 100;

/// A cron, as it stands.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CronView {
    name: &'static str,
    doc: &'static str,
    expression: &'static str,
    timezone: &'static str,
    /// The expression in words.
    when: String,
    queue: &'static str,
    overlap: &'static str,
    catch_up: bool,
    paused: bool,
    paused_by: Option<String>,
    paused_at: Option<Timestamp>,
    /// Up to which time it was decided; nothing when no scheduler has seen it yet.
    decided_until: Option<Timestamp>,
    missed: i64,
    /// The next times at which it is due, whether or not it is paused.
    next: Vec<Timestamp>,
    last_run: Option<RunView>,
}

/// What was decided of a time.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunView {
    slot: Timestamp,
    /// It is a run besides the one that the time has of its own.
    again: bool,
    /// Tells runs of one time apart.
    pub(crate) hand: Uuid,
    job: Option<Uuid>,
    decided_at: Timestamp,
    /// That of the job; `skipped` when there is none, as the last run was not finished, and `gone` when it is not kept any more.
    status: String,
    attempt: Option<i32>,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    error: Option<Value>,
}

/// Some runs, and where to go on.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunPage {
    runs: Vec<RunView>,
    /// What to say as `before` for the ones after these; nothing when there are none.
    next: Option<String>,
}

/// Where a page of runs begins: before this time, and among the runs of one time, before this key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(Timestamp, Uuid);

impl Place {
    const END: Self = Self(Timestamp::MAX, Uuid::max());

    /// As a page says it.
    ///
    /// # Errors
    /// When it is not from a page.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let read = || {
            let (slot, hand) = text.split_once('_')?;
            Some(Self(slot.parse().ok()?, hand.parse().ok()?))
        };
        read().ok_or_else(|| Error::invalid_argument("`before` is what a page had as `next`"))
    }
}

/// A run that somebody has asked for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Asked {
    pub(crate) job: Uuid,
    pub(crate) slot: Timestamp,
    /// Whether this made it; otherwise that time had its run.
    pub(crate) new: bool,
}

impl CronRunner {
    /// How all crons of this app stand, with so many of their next times.
    pub(crate) async fn list(&self, admin: &Admin, next: usize) -> Result<Vec<CronView>> {
        let look = admin.look().await?;
        let names: Vec<&str> = self.crons().iter().map(|(info, _)| info.name).collect();
        let crons = self.views(&look, &names, next).await?;
        look.end().await;
        Ok(crons)
    }

    /// How one stands.
    pub(crate) async fn show(&self, admin: &Admin, name: &str, next: usize) -> Result<CronView> {
        let (info, _) = self.known(name)?;
        let look = admin.look().await?;
        let mut crons = self.views(&look, &[info.name], next).await?;
        look.end().await;
        crons.pop().ok_or_else(|| Error::not_found(format!("there is no cron `{name}`")))
    }

    async fn views(&self, look: &Look, names: &[&str], next: usize) -> Result<Vec<CronView>> {
        let now = self.jobs().cluster().clock().now();
        let answer = look.run(&LIST, &[&names]).await?;
        let mut states = HashMap::new();
        for row in &answer.rows {
            states.insert(row.try_get::<_, String>(0).map_err(from_driver)?, row);
        }
        let mut views = Vec::new();
        for (info, schedule) in names.iter().filter_map(|name| self.crons().get(name)) {
            let mut view = view_of(info, schedule, now, next);
            if let Some(row) = states.get(info.name) {
                view.decided_until = row.try_get(1).map_err(from_driver)?;
                view.paused = row.try_get(2).map_err(from_driver)?;
                view.paused_by = row.try_get(3).map_err(from_driver)?;
                view.paused_at = row.try_get(4).map_err(from_driver)?;
                view.missed = row.try_get(5).map_err(from_driver)?;
            }
            view.last_run = runs(look, info.name, Place::END, 1).await?.pop();
            views.push(view);
        }
        Ok(views)
    }

    /// What was decided of a cron, the newest time first, before a place.
    pub(crate) async fn history(&self, admin: &Admin, name: &str, before: Option<Place>, limit: i64) -> Result<RunPage> {
        let (info, _) = self.known(name)?;
        let look = admin.look().await?;
        let mut runs = runs(&look, info.name, before.unwrap_or(Place::END), limit + 1).await?;
        look.end().await;
        let more = runs.len() > usize::try_from(limit).unwrap_or(usize::MAX);
        if more {
            runs.pop();
        }
        let next = runs.last().filter(|_| more).map(|run| format!("{}_{}", run.slot, run.hand));
        Ok(RunPage { runs, next })
    }

    /// Dispatches a run at once: for now, or for a time at which the cron is due. Such a time has one run, whether the clock or somebody asked for
    /// it, unless it is to be run `again`.
    pub(crate) async fn run_by_hand(
        &self,
        admin: &Admin,
        actor: &Actor,
        name: &str,
        slot: Option<Timestamp>,
        again: bool,
    ) -> Result<Asked> {
        let (info, schedule) = self.known(name)?;
        if let Some(slot) = slot {
            check_slot(info, schedule, slot)?;
        }
        let run = Run { slot: slot.unwrap_or_else(|| self.jobs().cluster().clock().now()), catch_up: false, by_hand: true };
        let job = new_uuid();
        let hand = if slot.is_some() && !again { Uuid::nil() } else { job };
        let (input, key) = (serde_json::to_string(&run)?, concurrency(info.overlap).map(|_| ""));
        let priority = info.priority as i16;
        let act = admin.act(actor).await?;
        let params: crate::db::Params<'_> = &[&info.name, &run.slot, &job, &input, &info.queue, &priority, &key, &hand];
        let answer = act.run(&BY_HAND, params).await?;
        let Some(row) = answer.rows.first() else {
            let answer = act.run(&RUN_OF, &[&info.name, &run.slot, &hand]).await?;
            act.undo().await;
            let row =
                answer.rows.first().ok_or_else(|| Error::conflict("the run that this time had is gone; try again"))?;
            return Ok(Asked { job: row.try_get(0).map_err(from_driver)?, slot: run.slot, new: false });
        };
        let ready_at: Option<Timestamp> = row.try_get(2).map_err(from_driver)?;
        let details = Some(json!({ "slot": run.slot, "job": job, "again": again }));
        act.done(&Done { action: "crons.run", target: Some(info.name), count: 1, details }).await?;
        if let Some(at) = ready_at {
            self.jobs().dispatched(info.name, priority, at, key);
        }
        Ok(Asked { job, slot: run.slot, new: true })
    }

    /// Pauses a cron, or lets it go on from now: times that pass meanwhile are not made up for. Returns whether that changed anything.
    pub(crate) async fn pause(&self, admin: &Admin, actor: &Actor, name: &str, paused: bool) -> Result<bool> {
        let (info, _) = self.known(name)?;
        let shift = self.jobs().shift();
        let act = admin.act(actor).await?;
        let answer = if paused {
            act.run(&PAUSE, &[&info.name, &shift, &actor.who]).await
        } else {
            act.run(&RESUME, &[&info.name, &shift]).await
        }?;
        if answer.affected == 0 {
            act.undo().await;
            return Ok(false);
        }
        let action = if paused { "crons.pause" } else { "crons.resume" };
        act.done(&Done { action, target: Some(info.name), count: 1, details: None }).await?;
        Ok(true)
    }

    fn known(&self, name: &str) -> Result<(&CronInfo, &CronSchedule)> {
        self.crons().get(name).ok_or_else(|| {
            let names: Vec<&str> = self.crons().iter().map(|(info, _)| info.name).collect();
            Error::not_found(match names.as_slice() {
                [] => "this app has no crons".to_owned(),
                names => format!("there is no cron `{name}`; there are: {}", names.join(", ")),
            })
        })
    }
}

/// Forgets what was decided more than 90 days ago. Returns whether there is more. Nothing is run twice for that: the last decided time is later, unless somebody has
/// put the clock back by as much and resumed the cron.
pub(crate) async fn sweep(database: &Database) -> Result<bool> {
    Ok(database.primary().get().await?.query(&SWEEP, &[]).await.map_err(from_driver)?.affected >= 1000)
}

fn view_of(info: &CronInfo, schedule: &CronSchedule, now: Timestamp, next: usize) -> CronView {
    CronView {
        name: info.name,
        doc: info.doc,
        expression: info.expression,
        timezone: info.timezone,
        when: schedule.describe(),
        queue: info.queue,
        overlap: info.overlap.as_str(),
        catch_up: info.catch_up,
        paused: false,
        paused_by: None,
        paused_at: None,
        decided_until: None,
        missed: 0,
        next: std::iter::successors(schedule.next(now), |last| schedule.next(*last)).take(next.min(NEXT_MAX)).collect(),
        last_run: None,
    }
}

async fn runs(look: &Look, cron: &str, Place(slot, hand): Place, limit: i64) -> Result<Vec<RunView>> {
    let answer = look.run(&HISTORY, &[&cron, &slot, &hand, &limit]).await?;
    let read = |row: &tokio_postgres::Row| -> Result<RunView, tokio_postgres::Error> {
        let (job, status): (Option<Uuid>, Option<String>) = (row.try_get(2)?, row.try_get(4)?);
        let missing = if job.is_some() { "gone" } else { "skipped" };
        let hand: Uuid = row.try_get(1)?;
        let error: Option<String> = row.try_get(8)?;
        Ok(RunView {
            slot: row.try_get(0)?,
            again: !hand.is_nil(),
            hand,
            job,
            decided_at: row.try_get(3)?,
            status: status.unwrap_or_else(|| missing.to_owned()),
            attempt: row.try_get(5)?,
            started_at: row.try_get(6)?,
            ended_at: row.try_get(7)?,
            error: error.and_then(|error| serde_json::from_str(&error).ok()),
        })
    };
    answer.rows.iter().map(|row| read(row).map_err(from_driver)).collect()
}

/// Whether the cron is due at that time.
fn check_slot(info: &CronInfo, schedule: &CronSchedule, slot: Timestamp) -> Result<()> {
    let before = schedule.previous(slot.saturating_add(SignedDuration::from_micros(1)).unwrap_or(slot));
    if before == Some(slot) {
        return Ok(());
    }
    let near: Vec<String> = [before, schedule.next(slot)].into_iter().flatten().map(|at| at.to_string()).collect();
    let hint = if near.is_empty() { String::new() } else { format!("; the nearest times are {}", near.join(" and ")) };
    Err(Error::invalid_argument(format!("the cron `{}` is not due at {slot}{hint}", info.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_what_a_page_says() {
        let (slot, hand) = ("2026-01-01T00:00:00Z".parse().unwrap(), Uuid::from_u128(7));
        assert_eq!(Place::parse(&format!("{slot}_{hand}")).unwrap(), Place(slot, hand));
        for wrong in ["", "_", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z_", "x_00000000-0000-0000-0000-000000000000"] {
            assert_eq!(Place::parse(wrong).unwrap_err().code(), "INVALID_ARGUMENT");
        }
    }
}
