//! Retrying and discarding dead letters, cancelling what waits or runs: one, or all that a filter names.

use std::time::{Duration, Instant};

use forge_core::job::JobStatus;
use forge_core::{Error, Result};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::super::store::get;
use super::super::wake::Wake;
use super::super::{Jobs, no_such_job};
use super::look::before;
use super::{CANCEL, COUNT_DEAD, COUNT_LIVE, DISCARD, Filter, RETRY};
use crate::admin::{Act, Actor, Admin, BATCH, Done};
use crate::db::new_uuid;

/// How long one request goes on with batch after batch. What is left then is for the next one.
const BULK_MAX: Duration = Duration::from_secs(10);

/// What is done to jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Dead letters run again, with fresh attempts.
    Retry,
    /// Dead letters become history.
    Discard,
    /// Jobs that wait end at once, jobs that run are told to end.
    Cancel,
}

impl Verb {
    /// The one of this name.
    pub(crate) fn named(word: &str) -> Option<Self> {
        match word {
            "retry" => Some(Self::Retry),
            "discard" => Some(Self::Discard),
            "cancel" => Some(Self::Cancel),
            _ => None,
        }
    }

    /// As the audit has it.
    const fn action(self) -> &'static str {
        match self {
            Self::Retry => "jobs.retry",
            Self::Discard => "jobs.discard",
            Self::Cancel => "jobs.cancel",
        }
    }

    /// To jobs that stand so.
    pub(crate) const fn statuses(self) -> &'static [JobStatus] {
        match self {
            Self::Retry | Self::Discard => &[JobStatus::DeadLetter],
            Self::Cancel => &[JobStatus::Pending, JobStatus::Running, JobStatus::Retry],
        }
    }
}

/// What is to be done to many.
#[derive(Debug)]
pub(crate) struct Bulk {
    pub(crate) verb: Verb,
    pub(crate) filter: Filter,
    /// Where the last request left off.
    pub(crate) after: Option<Uuid>,
    /// Why, for those that are cancelled.
    pub(crate) reason: String,
}

/// What was done to many.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BulkDone {
    pub(crate) changed: i64,
    /// Dead letters that stay what they are, as a live job has their unique key.
    pub(crate) skipped: i64,
    /// What to say as `after` for the rest; nothing when there is none.
    pub(crate) next: Option<Uuid>,
}

/// What one batch came to.
#[derive(Debug, Default)]
struct Batch {
    looked_at: i64,
    last: Option<Uuid>,
    changed: i64,
    /// Whom to wake, once it is committed.
    wakes: Vec<Wake>,
    /// Which jobs have got on, as those who follow them would see it.
    told: Vec<Uuid>,
    /// What became of the last of them.
    became: &'static str,
}

impl Jobs {
    /// How many a bulk action would change.
    pub(crate) async fn count_bulk(&self, admin: &Admin, bulk: &Bulk) -> Result<i64> {
        let Filter { statuses, kind, queue, code, since, until } = &bulk.filter;
        let (begin, end) = bulk.filter.ids();
        let begin = bulk.after.map_or(begin, |after| begin.max(after));
        let look = admin.look().await?;
        let answer = match bulk.verb {
            Verb::Retry | Verb::Discard => look.run(&COUNT_DEAD, &[kind, queue, code, since, until, &begin, &end]).await?,
            Verb::Cancel => look.run(&COUNT_LIVE, &[kind, queue, code, since, until, &begin, &end, statuses]).await?,
        };
        look.end().await;
        answer.rows.first().map_or(Ok(0), |row| get(row, 0))
    }

    /// Does it to all, batch after batch, each a transaction of its own, for at most ten seconds.
    pub(crate) async fn do_bulk(&self, admin: &Admin, actor: &Actor, bulk: &Bulk) -> Result<BulkDone> {
        let (began, entry) = (Instant::now(), new_uuid());
        let (begin, end) = bulk.filter.ids();
        let mut after = bulk.after.map_or(begin, |after| begin.max(after));
        let mut done = BulkDone::default();
        loop {
            let act = admin.act(actor).await?;
            let batch = self.batch(&act, bulk, (after, end), BATCH).await?;
            if batch.changed > 0 {
                let details = Some(json!({ "filter": bulk.filter.as_json() }));
                let row = Done { action: bulk.verb.action(), target: None, count: batch.changed, details };
                act.batch_done(entry, &row).await?;
                self.follow_up(batch.wakes, batch.told);
            } else {
                act.undo().await;
            }
            done.changed += batch.changed;
            done.skipped += batch.looked_at - batch.changed;
            match batch.last.filter(|_| batch.looked_at >= BATCH) {
                None => return Ok(done),
                Some(last) => after = last,
            }
            if began.elapsed() >= BULK_MAX {
                return Ok(BulkDone { next: Some(after), ..done });
            }
        }
    }

    /// Does it to one. Returns what became of it.
    pub(crate) async fn do_one(
        &self,
        admin: &Admin,
        actor: &Actor,
        verb: Verb,
        id: Uuid,
        reason: &str,
    ) -> Result<&'static str> {
        let bulk = Bulk { verb, filter: Filter::default(), after: None, reason: reason.to_owned() };
        let act = admin.act(actor).await?;
        let batch = self.batch(&act, &bulk, (before(id), id), 1).await?;
        if batch.changed > 0 {
            let target = id.to_string();
            act.done(&Done { action: verb.action(), target: Some(&target), count: 1, details: None }).await?;
            self.follow_up(batch.wakes, batch.told);
            return Ok(batch.became);
        }
        act.undo().await;
        let job = self.status(&[id]).await?.pop().ok_or_else(|| no_such_job(id))?;
        if verb == Verb::Cancel && job.cancel_requested && !job.has_ended() {
            // Somebody has asked it to already.
            return Ok("cancelling");
        }
        let why = if batch.looked_at > 0 {
            "it cannot be retried as long as a live job has its unique key: wait until that has ended, or discard this one"
        } else {
            match verb {
                // It was something else a moment ago.
                _ if verb.statuses().contains(&job.status) => "it was not when this was tried; try again",
                Verb::Retry => "only a dead letter can be retried",
                Verb::Discard => "only a dead letter can be discarded; one that waits or runs can be cancelled",
                Verb::Cancel => "only one that waits or runs can be cancelled; a dead letter can be discarded",
            }
        };
        Err(Error::conflict(format!("the job {id} is {}: {why}", job.status)))
    }

    async fn batch(&self, act: &Act, bulk: &Bulk, ids: (Uuid, Uuid), limit: i64) -> Result<Batch> {
        let Filter { statuses, kind, queue, code, since, until } = &bulk.filter;
        let (begin, end) = ids;
        let mut batch = Batch::default();
        match bulk.verb {
            Verb::Retry => {
                let answer = act.run(&RETRY, &[kind, queue, code, since, until, &begin, &end, &limit]).await?;
                batch.became = "pending";
                for row in &answer.rows {
                    if let Some(looked_at) = get(row, 5)? {
                        (batch.last, batch.looked_at) = (get(row, 0)?, looked_at);
                        continue;
                    }
                    batch.changed += 1;
                    let kind: String = get(row, 1)?;
                    batch.wakes.push(match get(row, 4)? {
                        Some(key) => Wake::Held { kind, key },
                        None => Wake::Ready { kind: kind.into(), priority: get(row, 2)?, at: get(row, 3)? },
                    });
                }
            }
            Verb::Discard => {
                let answer = act.run(&DISCARD, &[kind, queue, code, since, until, &begin, &end, &limit]).await?;
                batch.became = "discarded";
                if let Some(row) = answer.rows.first() {
                    (batch.changed, batch.last) = (get(row, 0)?, get(row, 1)?);
                    batch.looked_at = batch.changed;
                }
            }
            Verb::Cancel => {
                let reason = &bulk.reason;
                let params: crate::db::Params<'_> =
                    &[kind, queue, code, since, until, &begin, &end, statuses, &limit, reason];
                for row in &act.run(&CANCEL, params).await?.rows {
                    if let Some(looked_at) = get(row, 5)? {
                        (batch.last, batch.looked_at) = (get(row, 0)?, looked_at);
                        continue;
                    }
                    let (id, became, key): (Uuid, String, Option<String>) = (get(row, 0)?, get(row, 1)?, get(row, 3)?);
                    batch.changed += 1;
                    if became == "cancelling" {
                        batch.became = "cancelling";
                        batch.wakes.push(Wake::Cancel { id });
                    } else {
                        batch.became = "cancelled";
                        if let Some(key) = key {
                            batch.wakes.push(Wake::Held { kind: get(row, 2)?, key });
                        }
                    }
                    if get(row, 4)? {
                        batch.told.push(id);
                    }
                }
            }
        }
        Ok(batch)
    }

    /// Tells whoever is to do something about what was committed.
    fn follow_up(&self, wakes: Vec<Wake>, told: Vec<Uuid>) {
        wakes.into_iter().for_each(|wake| self.wake(wake));
        self.told(told);
    }
}
