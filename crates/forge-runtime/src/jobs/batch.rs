//! Group commit: what many want to write at once is written by one statement and one commit, and each is told when it is.
//!
//! It has no delay of its own. While one batch is being written the next one gathers, so that batches are as large as the database is
//! slow: alone, an item leaves at once; under load, one commit carries hundreds.

use forge_core::{Error, ErrorKind, Result};
use tokio::sync::{mpsc, oneshot};

/// Where items are handed in. Cheap to clone.
#[derive(Debug)]
pub(crate) struct Batcher<T, R = ()> {
    items: mpsc::Sender<Item<T, R>>,
}

impl<T, R> Clone for Batcher<T, R> {
    fn clone(&self) -> Self {
        Self { items: self.items.clone() }
    }
}

/// What was handed in, and whom to tell what became of it.
#[derive(Debug)]
pub(crate) struct Item<T, R> {
    pub(crate) what: T,
    tell: oneshot::Sender<Result<R>>,
}

impl<T, R> Item<T, R> {
    /// Tells whoever waits, if they still do.
    pub(crate) fn tell(self, outcome: Result<R>) {
        drop(self.tell.send(outcome));
    }
}

/// The other end.
#[derive(Debug)]
pub(crate) struct Batches<T, R = ()> {
    items: mpsc::Receiver<Item<T, R>>,
    max: usize,
}

/// A batcher whose batches have at most `max` items, and that lets so many wait before those who hand in wait themselves.
pub(crate) fn batcher<T, R>(max: usize, waiting: usize) -> (Batcher<T, R>, Batches<T, R>) {
    let (sender, items) = mpsc::channel(waiting);
    (Batcher { items: sender }, Batches { items, max })
}

impl<T, R> Batcher<T, R> {
    /// Hands an item in and waits until it is written.
    ///
    /// # Errors
    /// What whoever writes says; `DATABASE_UNAVAILABLE` when nobody does any more, and `OUTCOME_UNKNOWN` when it was handed in and nobody says
    /// what became of it.
    pub(crate) async fn submit(&self, what: T) -> Result<R> {
        let (tell, told) = oneshot::channel();
        let stopping = |_| Error::database_unavailable("the node is stopping");
        self.items.send(Item { what, tell }).await.map_err(stopping)?;
        told.await.unwrap_or_else(|_| {
            let text = "the node stopped while it was being written down; look before you repeat it";
            Err(Error::new(ErrorKind::OutcomeUnknown, text))
        })
    }
}

impl<T, R> Batches<T, R> {
    /// All that waits, up to a batch's size; waits for the first one. Nothing when nobody can hand in any more.
    pub(crate) async fn next(&mut self) -> Option<Vec<Item<T, R>>> {
        let mut batch = vec![self.items.recv().await?];
        // Those who were told a moment ago hand in the next one as soon as they are let.
        tokio::task::yield_now().await;
        while batch.len() < self.max
            && let Ok(item) = self.items.try_recv()
        {
            batch.push(item);
        }
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_gathers_while_one_is_written_is_written_together() {
        let (batcher, mut batches) = batcher::<u32, u32>(100, 1000);
        let one = tokio::spawn({
            let batcher = batcher.clone();
            async move { batcher.submit(1).await }
        });
        let first = batches.next().await.unwrap();
        assert_eq!(first.len(), 1);
        let others: Vec<_> = (2..150)
            .map(|n| {
                tokio::spawn({
                    let batcher = batcher.clone();
                    async move { batcher.submit(n).await }
                })
            })
            .collect();
        tokio::task::yield_now().await;
        first.into_iter().for_each(|item| {
            let n = item.what;
            item.tell(Ok(n * 2))
        });
        assert_eq!(one.await.unwrap().unwrap(), 2);
        drop(batcher);
        let mut sizes = Vec::new();
        while let Some(batch) = batches.next().await {
            sizes.push(batch.len());
            batch.into_iter().for_each(|item| item.tell(Err(Error::internal("full"))));
        }
        assert_eq!(sizes, [100, 48]);
        for other in others {
            assert!(other.await.unwrap().is_err());
        }
    }
}
