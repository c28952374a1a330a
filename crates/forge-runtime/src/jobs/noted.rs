//! What a mutation dispatches. Nobody needs an answer of the database to it, so it costs no round trip:
//!
//! ```text
//!  dispatch ──▶ noted ──commit──▶ written by a statement that goes along with COMMIT ──▶ workers are told
//!                 └──there are many, or the mutation is about to look at jobs──▶ written at once, in its transaction
//! ```
//!
//! What a mutation notes that is called from another one belongs to the other once it has succeeded, and is forgotten when it fails. What
//! has a key that only one live job may have is not noted, as its dispatch says whether it made a job.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use forge_core::Result;
use uuid::Uuid;

use super::Jobs;
use super::dispatch::wakes;
use super::store::{NewJob, Way, Written};
use super::wake::Wake;
use super::write::{Writing, enqueue};
use crate::db::{Answer, Db};

/// How many jobs are noted before they are written.
const NOTED_MAX: usize = 1000;

/// How large their inputs may be together, in bytes, before they are written.
const BYTES_MAX: usize = 1024 * 1024;

/// What a transaction has dispatched and cancelled: others are told once it has committed. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dispatched(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    noted: Mutex<Noted>,
    /// Held while what was noted is written, so that whoever comes next finds it there.
    turn: tokio::sync::Mutex<()>,
}

/// See [`Dispatched`].
#[derive(Debug, Default)]
pub(super) struct Noted {
    /// To be written, and since when those wait that have a delay.
    jobs: Vec<(NewJob, Option<Instant>)>,
    bytes: usize,
    pub(super) wakes: Vec<Wake>,
    /// Jobs that somebody follows.
    pub(super) followed: Vec<Uuid>,
}

impl Dispatched {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Dispatches jobs in a mutation.
    pub(super) async fn dispatch(&self, queue: &Jobs, db: &Db, jobs: Vec<NewJob>) -> Result<Vec<Written>> {
        let bytes: usize = jobs.iter().map(|job| job.input.len()).sum();
        let keyed = jobs.iter().any(|job| job.unique_key.is_some());
        if keyed || jobs.len() > NOTED_MAX || bytes > BYTES_MAX {
            self.write(queue, db).await?;
            let written = enqueue(Way::Inside(db), &jobs, queue.shift()).await?;
            self.noted().wakes.extend(wakes(&jobs, &written));
            return Ok(written);
        }
        let full = |noted: &Noted| noted.jobs.len() + jobs.len() > NOTED_MAX || noted.bytes + bytes > BYTES_MAX;
        if full(&self.noted()) {
            self.write(queue, db).await?;
        }
        let written = jobs.iter().map(|job| Written { id: job.id, new: true, ready_at: None, run_at: None, held: false });
        let written = written.collect();
        let mut noted = self.noted();
        noted.bytes += bytes;
        noted.jobs.extend(jobs.into_iter().map(|job| {
            let since = (!job.delay.is_zero()).then(Instant::now);
            (job, since)
        }));
        Ok(written)
    }

    /// Writes what was noted, for what is about to look at jobs in the same transaction.
    pub(crate) async fn write(&self, queue: &Jobs, db: &Db) -> Result<()> {
        let _turn = self.0.turn.lock().await;
        let jobs = self.take_jobs();
        if jobs.is_empty() {
            return Ok(());
        }
        let writing = async {
            let written = enqueue(Way::Inside(db), &jobs, queue.shift()).await?;
            self.noted().wakes.extend(wakes(&jobs, &written));
            Ok(())
        };
        db.whole(writing).await
    }

    /// What is to be written; it is this caller's to write now.
    pub(crate) fn take_jobs(&self) -> Vec<NewJob> {
        let mut noted = self.noted();
        noted.bytes = 0;
        let since = |(job, since): (NewJob, Option<Instant>)| match since {
            Some(since) => NewJob { delay: job.delay.saturating_sub(since.elapsed()), ..job },
            None => job,
        };
        std::mem::take(&mut noted.jobs).into_iter().map(since).collect()
    }

    /// A mutation that was called from this one has succeeded.
    pub(crate) fn take_in(&self, inner: &Self) {
        let inner = std::mem::take(&mut *inner.noted());
        let mut noted = self.noted();
        noted.bytes += inner.bytes;
        noted.jobs.extend(inner.jobs);
        noted.wakes.extend(inner.wakes);
        noted.followed.extend(inner.followed);
    }

    /// A job was cancelled.
    pub(super) fn cancelled(&self, wake: Option<Wake>, followed: Option<Uuid>) {
        let mut noted = self.noted();
        noted.wakes.extend(wake);
        noted.followed.extend(followed);
    }

    /// What to tell.
    pub(super) fn take(&self) -> Noted {
        std::mem::take(&mut *self.noted())
    }

    /// What was noted was written and committed, with this answer, if it was not lost.
    pub(crate) fn written(&self, writing: &Writing<'_>, answer: Option<&Answer>) {
        let read = |answer| writing.read(answer).ok()?.into_iter().collect::<Option<Vec<Written>>>();
        let wakes = match answer.and_then(read) {
            Some(written) => wakes(writing.jobs(), &written),
            // They are there, whatever is known of them.
            None => vec![Wake::Look],
        };
        self.noted().wakes.extend(wakes);
    }
}

impl Jobs {
    /// The statement that writes these down; none when there are none.
    pub(crate) fn writing<'a>(&self, jobs: &'a [NewJob]) -> Option<Writing<'a>> {
        Writing::of(jobs.iter().collect(), self.shift())
    }
}
