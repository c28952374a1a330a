//! Parts of a transaction that can fail by themselves.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use forge_core::Result;

use super::Transaction;
use super::statements::{RELEASE, ROLLBACK_TO, SAVEPOINT};
use crate::db::{Answer, Lease, Params, Shape};

impl Transaction {
    /// A statement with a savepoint of its own.
    pub(super) async fn guarded_query(&self, lease: &Lease, shape: &Arc<Shape>, params: Params<'_>) -> Result<Answer> {
        let control =
            async |shape: &Arc<Shape>| lease.query(shape, &[]).await.map(drop).map_err(|why| self.failed(why, shape));
        control(&SAVEPOINT).await?;
        match lease.query(shape, params).await {
            Ok(answer) => control(&RELEASE).await.map(|()| answer),
            Err(why) => {
                let why = self.failed(why, shape);
                control(&ROLLBACK_TO).await?;
                self.failed.store(false, Ordering::Relaxed);
                Err(why)
            }
        }
    }

    /// Waits for a statement, whose answer has to be heard if what it may have written is to be kept.
    pub(crate) async fn heard<T>(&self, asked: impl Future<Output = T>) -> T {
        if !self.writes() {
            return asked.await;
        }
        let dropped = defer(|| {
            // Behind one that failed it does not run.
            if !self.failed.swap(true, Ordering::Relaxed) {
                self.unheard.store(true, Ordering::Relaxed);
            }
        });
        let answer = asked.await;
        std::mem::forget(dropped);
        answer
    }

    /// Runs what must not be left half done: dropped before its end, it takes the whole transaction with it.
    pub(crate) async fn whole<T>(&self, body: impl Future<Output = T>) -> T {
        let dropped = defer(|| self.failed.store(true, Ordering::Relaxed));
        let done = body.await;
        std::mem::forget(dropped);
        done
    }

    /// Runs a nested mutation: what it wrote is undone when it fails, and the outer one may go on. Savepoints of one name stack, so
    /// this nests; two side by side must take turns, which their context sees to.
    pub(crate) async fn nested<T>(&self, body: impl Future<Output = Result<T>>) -> Result<T> {
        self.query(&SAVEPOINT, &[]).await?;
        let failed_before = self.has_failed();
        match self.whole(body).await {
            Ok(value) => {
                self.query(&RELEASE, &[]).await?;
                Ok(value)
            }
            Err(why) => {
                // A conflict stays one: a savepoint does not bring a new snapshot.
                if !self.is_conflict() && self.query(&ROLLBACK_TO, &[]).await.is_ok() {
                    self.failed.store(failed_before, Ordering::Relaxed);
                }
                Err(why)
            }
        }
    }
}

/// Does something when it is dropped.
fn defer(what: impl FnMut()) -> impl Drop {
    struct Deferred<F: FnMut()>(F);
    impl<F: FnMut()> Drop for Deferred<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    Deferred(what)
}
