//! The time by which things are due: the database's, plus an offset with which tests travel.
//!
//! Leases do not look at it: travelling kills nobody.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;

/// The clock of a node. Cheap to clone; all clones are one clock.
#[derive(Debug, Clone, Default)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    offset: watch::Sender<Duration>,
    /// What the database's clock said, and when it did by this node's.
    database: Mutex<Option<(Timestamp, Instant)>>,
}

impl Default for Inner {
    fn default() -> Self {
        Self { offset: watch::Sender::new(Duration::ZERO), database: Mutex::default() }
    }
}

impl Clock {
    /// How far a test has travelled: nothing, outside of tests.
    pub fn offset(&self) -> Duration {
        *self.0.offset.borrow()
    }

    /// The same for a statement that compares due times: `due_at <= now() + $n * interval '1 microsecond'`.
    pub(crate) fn offset_us(&self) -> i64 {
        i64::try_from(self.offset().as_micros()).unwrap_or(i64::MAX)
    }

    /// Travels into the future, by at most a hundred years in all. Whoever waits for something to become due looks again.
    pub fn advance(&self, by: Duration) {
        const FURTHEST: Duration = Duration::from_secs(100 * 366 * 86_400);
        self.0.offset.send_modify(|offset| *offset = offset.saturating_add(by).min(FURTHEST));
    }

    /// Tells whenever somebody has travelled.
    pub(crate) fn travels(&self) -> watch::Receiver<Duration> {
        self.0.offset.subscribe()
    }

    /// What time it is, as far as that can be said without asking the database: what it said at the last beat, and what has passed since by
    /// this node's clock. Good enough to know how long to sleep; what is due is decided by the database.
    pub fn now(&self) -> Timestamp {
        let told = *self.0.database.lock().unwrap_or_else(PoisonError::into_inner);
        let real = match told {
            Some((then, at)) => then.checked_add(at.elapsed()).unwrap_or(then),
            None => Timestamp::now(),
        };
        real.checked_add(self.offset()).unwrap_or(Timestamp::MAX)
    }

    /// The database has said what time it is.
    pub(super) fn told(&self, now: Timestamp, at: Instant) {
        *self.0.database.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_database_and_travels() {
        let clock = Clock::default();
        let mut travels = clock.travels();
        let then: Timestamp = "2001-02-03T04:05:06Z".parse().unwrap();
        clock.told(then, Instant::now());
        let passed = clock.now().duration_since(then);
        assert!(passed.as_secs() < 60, "{passed}");
        clock.clone().advance(Duration::from_secs(86_400));
        assert!(travels.has_changed().unwrap());
        assert_eq!(travels.borrow_and_update().as_secs(), 86_400);
        assert_eq!(clock.offset_us(), 86_400_000_000);
        let passed = clock.now().duration_since(then);
        assert!((86_400..86_460).contains(&passed.as_secs()), "{passed}");
        // However far: no overflow.
        clock.advance(Duration::MAX);
        assert!(clock.now() > then);
        clock.now().checked_add(Duration::from_secs(86_400 * 366 * 100)).unwrap();
    }
}
