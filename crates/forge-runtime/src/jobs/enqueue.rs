//! Writes down what is dispatched outside of transactions: all that comes while others are being written, by one statement, each dispatch
//! answered after the commit. Two are under way at a time, so that one is put together and told of while the database writes the other. Those with unique
//! keys go apart from the others: one whose key an open transaction has dispatched waits for that, and whatever shares its commit with it.

use forge_core::Result;

use super::Jobs;
use super::batch::{Batches, Item};
use super::dispatch::wakes;
use super::store::{self, NewJob, Way, Written};

/// How many dispatches share a commit at most.
pub(super) const BATCH_MAX: usize = 1000;

/// How many of them may wait before whoever dispatches waits.
pub(super) const WAITING_MAX: usize = 4096;

/// A dispatch: of one job, or of many at once.
type Dispatch = Item<Vec<NewJob>, Vec<Written>>;

/// Writes until nobody can dispatch any more.
pub(super) async fn run(queue: &Jobs, batches: Batches<Vec<NewJob>, Vec<Written>>) {
    let batches = tokio::sync::Mutex::new(batches);
    let writer = async || {
        loop {
            let Some(batch) = batches.lock().await.next().await else { return };
            write(queue, batch).await;
        }
    };
    tokio::join!(writer(), writer());
}

/// Writes a batch, and tells everybody what became of theirs.
async fn write(queue: &Jobs, mut batch: Vec<Dispatch>) {
    let counts: Vec<usize> = batch.iter().map(|item| item.what.len()).collect();
    let all: Vec<NewJob> = batch.iter_mut().flat_map(|item| std::mem::take(&mut item.what)).collect();
    match write_jobs(queue, &all).await {
        Ok(written) => {
            let mut written = written.into_iter();
            for (item, count) in batch.into_iter().zip(counts) {
                item.tell(Ok(written.by_ref().take(count).collect()));
            }
        }
        Err(why) if batch.len() == 1 || why.is_retryable() => {
            batch.into_iter().for_each(|item| item.tell(Err(why.for_another())))
        }
        // One of them does not fit; the others are not to suffer for it.
        Err(_) => {
            let mut all = all.as_slice();
            for (item, count) in batch.into_iter().zip(counts) {
                let (own, rest) = all.split_at(count);
                all = rest;
                item.tell(write_jobs(queue, own).await);
            }
        }
    }
}

/// Writes jobs, and wakes whoever is to run them.
async fn write_jobs(queue: &Jobs, jobs: &[NewJob]) -> Result<Vec<Written>> {
    let written = store::enqueue(Way::Alone(queue.pool()), jobs, queue.shift()).await?;
    wakes(jobs, &written).into_iter().for_each(|wake| queue.wake(wake));
    Ok(written)
}
