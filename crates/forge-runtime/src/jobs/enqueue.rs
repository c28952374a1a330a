//! Writes down what is dispatched outside of transactions, and by mutations that do nothing else: all that comes while others are being
//! written, by one statement and one commit, each dispatch answered after it. Two are under way at a time, so that one is put together and told
//! of while the database writes the other.
//!
//! A mutation must be told what became of it even when the answer to COMMIT is lost. So what it takes part in is written in a transaction of
//! two round trips, whose number is known before COMMIT is sent; the rest is one statement.
//!
//! What has a key that only one live job may have waits for whatever transaction is about to take or give back that key. So it is written apart, where
//! it holds up nobody but its like.

use std::time::{Duration, Instant};

use forge_core::{Error, ErrorKind, Result};

use super::Jobs;
use super::batch::{Batcher, Batches, Item, batcher};
use super::dispatch::wakes;
use super::store::{NewJob, Way, Written};
use super::write::enqueue;
use crate::db::transaction::{Purpose, Transaction};

/// How many dispatches share a commit at most.
const BATCH_MAX: usize = 1000;

/// How many of them may wait before whoever dispatches waits.
const WAITING_MAX: usize = 4096;

/// How long writing them may take.
const WRITE_MAX: Duration = Duration::from_secs(10);

/// A dispatch: of one job, or of many at once.
#[derive(Debug)]
struct Handed {
    jobs: Vec<NewJob>,
    /// Whoever hands it in is a mutation.
    mutation: bool,
}

/// What became of it.
#[derive(Debug)]
struct Became {
    written: Vec<Written>,
    /// The number of the transaction, when it had to be known.
    xid: Option<u64>,
}

type HandIn = Batcher<Handed, Became>;

/// Where they come out, together.
type Together = Batches<Handed, Became>;

/// Where dispatches are handed in.
#[derive(Debug)]
pub(super) struct Desk {
    most: HandIn,
    keyed: HandIn,
}

/// Where they are written from.
#[derive(Debug)]
pub(super) struct Backroom {
    most: Together,
    keyed: Together,
}

/// A desk, and what is behind it.
pub(super) fn desk() -> (Desk, Backroom) {
    let (most, mostly) = batcher(BATCH_MAX, WAITING_MAX);
    let (keyed, with_key) = batcher(BATCH_MAX, WAITING_MAX);
    (Desk { most, keyed }, Backroom { most: mostly, keyed: with_key })
}

impl Jobs {
    /// Writes jobs down by a commit that many share.
    pub(super) async fn enqueue(&self, jobs: Vec<NewJob>) -> Result<Vec<Written>> {
        let keyed = jobs.iter().any(|job| job.unique_key.is_some());
        let desk = if keyed { &self.0.desk.keyed } else { &self.0.desk.most };
        desk.submit(Handed { jobs, mutation: false }).await.map(|became| became.written)
    }

    /// The same as the commit of a mutation that has done nothing else; none of them has a key. Returns the transaction's number.
    ///
    /// # Errors
    /// As the commit of a mutation.
    pub(crate) async fn commit(&self, jobs: Vec<NewJob>) -> Result<Option<u64>> {
        self.0.desk.most.submit(Handed { jobs, mutation: true }).await.map(|became| became.xid)
    }
}

/// Writes until nobody can dispatch any more.
pub(super) async fn run(queue: &Jobs, Backroom { most, keyed }: Backroom) {
    let (most, keyed) = (tokio::sync::Mutex::new(most), tokio::sync::Mutex::new(keyed));
    let writer = async |batches: &tokio::sync::Mutex<Together>| {
        loop {
            let Some(batch) = batches.lock().await.next().await else { return };
            write(queue, batch).await;
        }
    };
    tokio::join!(writer(&most), writer(&most), writer(&keyed), writer(&keyed));
}

/// Writes a batch, and tells everybody what became of theirs.
async fn write(queue: &Jobs, mut batch: Vec<Item<Handed, Became>>) {
    let counts: Vec<usize> = batch.iter().map(|item| item.what.jobs.len()).collect();
    let all: Vec<NewJob> = batch.iter_mut().flat_map(|item| std::mem::take(&mut item.what.jobs)).collect();
    let mutation = batch.iter().any(|item| item.what.mutation);
    match write_jobs(queue, &all, mutation).await {
        Ok(Became { written, xid }) => {
            let mut written = written.into_iter();
            for (item, count) in batch.into_iter().zip(counts) {
                item.tell(Ok(Became { written: written.by_ref().take(count).collect(), xid }));
            }
        }
        Err(why) if batch.len() == 1 || concerns_all(&why) => {
            batch.into_iter().for_each(|item| item.tell(Err(why.for_another())))
        }
        // One of them does not fit; the others are not to suffer for it.
        Err(_) => {
            let mut all = all.as_slice();
            for (item, count) in batch.into_iter().zip(counts) {
                let (own, rest) = all.split_at(count);
                all = rest;
                let became = write_jobs(queue, own, item.what.mutation).await;
                item.tell(became);
            }
        }
    }
}

/// Whether it is no use to try them one by one: the database is away, somebody has locked the table, or they may have been written.
fn concerns_all(why: &Error) -> bool {
    why.is_retryable() || matches!(why.kind(), ErrorKind::Timeout | ErrorKind::OutcomeUnknown)
}

/// Writes jobs, and wakes whoever is to run them.
async fn write_jobs(queue: &Jobs, jobs: &[NewJob], mutation: bool) -> Result<Became> {
    let became = if mutation {
        write_and_commit(queue, jobs).await?
    } else {
        let written = enqueue(Way::Alone(queue.pool()), jobs, queue.shift()).await?;
        Became { written, xid: None }
    };
    wakes(jobs, &became.written).into_iter().for_each(|wake| queue.wake(wake));
    Ok(became)
}

/// Writes jobs in a transaction. One that others were in the way of, or whose statements did not fit the tables any more, is run once more.
async fn write_and_commit(queue: &Jobs, jobs: &[NewJob]) -> Result<Became> {
    let mut again = None;
    loop {
        let (limit, fresh) = (Instant::now() + WRITE_MAX, again == Some(true));
        let transaction = Transaction::lazy(queue.pool(), Purpose::Own, limit, fresh);
        let done = match enqueue(Way::Within(&transaction), jobs, queue.shift()).await {
            Ok(written) => transaction.commit(None, queue.pool()).await.map(|_| written),
            Err(why) => {
                transaction.rollback().await;
                Err(why)
            }
        };
        match done {
            Err(_) if again.is_none() && transaction.is_conflict() => again = Some(transaction.is_stale()),
            done => return Ok(Became { written: done?, xid: transaction.xid() }),
        }
    }
}
