//! How jobs are written down: by which statement, with which arguments, and what it answers.

use std::sync::Arc;

use forge_core::{Error, Result};
use jiff::Timestamp;
use postgres_types::ToSql;
use uuid::Uuid;

use super::store::{ENQUEUE, ENQUEUE_ALIKE, ENQUEUE_ONE, ENQUEUE_PLAIN, NewJob, Way, Written, get, micros, no_row};
use crate::db::{Answer, Shape};

/// Writes jobs down by one statement. A key that was taken by a transaction that the statement did
/// not see is asked for again, so that there is an answer for each.
pub(crate) async fn enqueue(way: Way<'_>, jobs: &[NewJob], shift: i64) -> Result<Vec<Written>> {
    let mut written: Vec<Option<Written>> = vec![None; jobs.len()];
    // A key that is taken and given back again and again in between cannot keep anybody here for ever.
    for _ in 0..20 {
        let left = || jobs.iter().zip(&written).filter(|(_, written)| written.is_none()).map(|(job, _)| job);
        let Some(writing) = Writing::of(left().collect(), shift) else { break };
        let answer = way.run(writing.shape(), &writing.params()).await?;
        let became = writing.read(&answer)?;
        let slots = written.iter_mut().filter(|written| written.is_none());
        slots.zip(became).for_each(|(slot, one)| *slot = one);
    }
    written
        .into_iter()
        .collect::<Option<_>>()
        .ok_or_else(|| Error::database_unavailable("a job's key changes hands too fast; try again"))
}

/// A statement that writes jobs down.
#[derive(Debug)]
pub(crate) struct Writing<'a> {
    jobs: Vec<&'a NewJob>,
    how: How<'a>,
}

/// The shorter the statement, the less it costs, and nearly all jobs need but a short one.
#[derive(Debug)]
enum How<'a> {
    One { owner: Option<&'a str> },
    Alike { ids: Vec<Uuid>, inputs: Vec<&'a str>, owner: Option<&'a str> },
    Plain(Columns<'a>),
    Any { all: Columns<'a>, more: More<'a> },
}

/// What every job has, as the statements take it.
#[derive(Debug)]
struct Columns<'a> {
    ids: Vec<Uuid>,
    kinds: Vec<&'a str>,
    queues: Vec<&'a str>,
    priorities: Vec<i16>,
    inputs: Vec<&'a str>,
    owners: Vec<Option<&'a str>>,
    traces: Vec<Option<&'a str>>,
}

/// What only some have.
#[derive(Debug)]
struct More<'a> {
    delays: Vec<i64>,
    ats: Vec<Option<Timestamp>>,
    parents: Vec<Option<Uuid>>,
    unique_keys: Vec<Option<&'a str>>,
    concurrency_keys: Vec<Option<&'a str>>,
    shift: i64,
}

impl<'a> Writing<'a> {
    /// For these jobs; none when there are none. `shift` is how far the clock of due times is ahead, in microseconds.
    pub(super) fn of(jobs: Vec<&'a NewJob>, shift: i64) -> Option<Self> {
        let first = *jobs.first()?;
        let all_plain = jobs.iter().all(|job| is_plain(job));
        let how = if !all_plain {
            How::Any { all: Columns::of(&jobs), more: More::of(&jobs, shift) }
        } else if jobs.len() == 1 {
            How::One { owner: first.owner.as_deref() }
        } else if jobs.iter().all(|job| are_alike(job, first)) {
            let ids = jobs.iter().map(|job| job.id).collect();
            How::Alike { ids, inputs: jobs.iter().map(|job| job.input.as_str()).collect(), owner: first.owner.as_deref() }
        } else {
            How::Plain(Columns::of(&jobs))
        };
        Some(Self { jobs, how })
    }

    /// The jobs that it writes.
    pub(super) fn jobs(&self) -> impl Iterator<Item = &'a NewJob> {
        self.jobs.iter().copied()
    }

    /// Its text.
    pub(crate) fn shape(&self) -> &'static Arc<Shape> {
        match self.how {
            How::One { .. } => &ENQUEUE_ONE,
            How::Alike { .. } => &ENQUEUE_ALIKE,
            How::Plain(_) => &ENQUEUE_PLAIN,
            How::Any { .. } => &ENQUEUE,
        }
    }

    /// Its arguments.
    pub(crate) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        let Some(first) = self.jobs.first() else { return Vec::new() };
        match &self.how {
            How::One { owner } => {
                vec![&first.id, &first.kind, &first.queue, &first.priority, &first.input, owner, &first.trace]
            }
            How::Alike { ids, inputs, owner } => {
                vec![ids, inputs, &first.kind, &first.queue, &first.priority, owner, &first.trace]
            }
            How::Plain(Columns { ids, kinds, queues, priorities, inputs, owners, traces }) => {
                vec![ids, kinds, queues, priorities, inputs, owners, traces]
            }
            How::Any { all, more } => {
                let Columns { ids, kinds, queues, priorities, inputs, owners, traces } = all;
                let More { delays, ats, parents, unique_keys, concurrency_keys, shift } = more;
                vec![
                    ids,
                    kinds,
                    queues,
                    priorities,
                    delays,
                    ats,
                    inputs,
                    owners,
                    traces,
                    parents,
                    unique_keys,
                    concurrency_keys,
                    shift,
                ]
            }
        }
    }

    /// What became of each, as far as the statement knows: one whose key was taken meanwhile is to be asked for again.
    pub(super) fn read(&self, answer: &Answer) -> Result<Vec<Option<Written>>> {
        if !matches!(self.how, How::Any { .. }) {
            // The first one's place. To begin a little early costs nothing.
            let ready_at = Some(get(answer.rows.first().ok_or_else(no_row)?, 0)?);
            let ready = |job: &&NewJob| Some(Written { id: job.id, new: true, ready_at, run_at: None, held: false });
            return Ok(self.jobs.iter().map(ready).collect());
        }
        let mut written = vec![None; self.jobs.len()];
        for row in &answer.rows {
            let n = usize::try_from(get::<i64>(row, 0)?).unwrap_or(1) - 1;
            let state: Option<i16> = get(row, 3)?;
            let place = |of: i16, at: usize| if state == Some(of) { get(row, at) } else { Ok(None) };
            let one = Written {
                id: get(row, 1)?,
                new: get(row, 2)?,
                ready_at: place(0, 4)?,
                run_at: place(1, 5)?,
                held: state == Some(3),
            };
            if let Some(slot) = written.get_mut(n) {
                *slot = Some(one);
            }
        }
        Ok(written)
    }
}

impl<'a> Columns<'a> {
    fn of(jobs: &[&'a NewJob]) -> Self {
        Self {
            ids: jobs.iter().map(|job| job.id).collect(),
            kinds: jobs.iter().map(|job| job.kind).collect(),
            queues: jobs.iter().map(|job| job.queue).collect(),
            priorities: jobs.iter().map(|job| job.priority).collect(),
            inputs: jobs.iter().map(|job| job.input.as_str()).collect(),
            owners: jobs.iter().map(|job| job.owner.as_deref()).collect(),
            traces: jobs.iter().map(|job| job.trace.as_deref()).collect(),
        }
    }
}

impl<'a> More<'a> {
    fn of(jobs: &[&'a NewJob], shift: i64) -> Self {
        Self {
            delays: jobs.iter().map(|job| micros(job.delay)).collect(),
            ats: jobs.iter().map(|job| job.at).collect(),
            parents: jobs.iter().map(|job| job.parent).collect(),
            unique_keys: jobs.iter().map(|job| job.unique_key.as_deref()).collect(),
            concurrency_keys: jobs.iter().map(|job| job.concurrency_key.as_deref()).collect(),
            shift,
        }
    }
}

/// Whether it is ready and has neither key nor parent.
fn is_plain(job: &NewJob) -> bool {
    job.delay.is_zero()
        && job.at.is_none()
        && job.parent.is_none()
        && job.unique_key.is_none()
        && job.concurrency_key.is_none()
}

/// Whether nothing but the input tells them apart.
fn are_alike(one: &NewJob, other: &NewJob) -> bool {
    (one.kind, one.queue, one.priority) == (other.kind, other.queue, other.priority)
        && one.owner == other.owner
        && one.trace == other.trace
}
