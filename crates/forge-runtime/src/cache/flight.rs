//! A run that several callers wait for.

use std::sync::Arc;
use std::time::Instant;

use forge_core::Error;
use futures_util::future::{BoxFuture, Shared, WeakShared};

use super::QueryCache;
use super::store::Key;
use crate::feed::Snapshot;

/// A run: whoever waits drives it, and when nobody does any more it ends, and with it what it has asked of the database.
pub(super) type Flight = Shared<BoxFuture<'static, Arc<Flown>>>;

/// A run that nobody is held to.
pub(super) type WeakFlight = WeakShared<BoxFuture<'static, Arc<Flown>>>;

/// What came of a run.
#[derive(Debug)]
pub(super) struct Flown {
    pub(super) result: Result<Arc<[u8]>, Error>,
    /// What the function looked at of its caller.
    pub(super) looked: u8,
    /// The key of the callers who are like the one it ran for.
    pub(super) like: Key,
    pub(super) began: Instant,
    /// Commits of this node that it has seen.
    pub(super) commits: u64,
    /// In which it was read; none when changes are not followed.
    pub(super) snapshot: Option<Snapshot>,
}

/// Notes that a run is over, however it ends.
pub(super) struct Landing {
    pub(super) cache: QueryCache,
    pub(super) key: Key,
    pub(super) number: u64,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.cache.store().end(&self.key, self.number);
    }
}
