//! How many jobs a node has completed within the last minute, by queue: said with every beat, so that it can be told of all of them, also of those of
//! which no history is kept.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// How many seconds are looked back.
const SECONDS: u64 = 60;

/// See the module. It has a few hundred bytes for each queue of the app.
#[derive(Debug)]
pub(super) struct Pace {
    began: Instant,
    queues: Mutex<BTreeMap<&'static str, Minute>>,
}

/// What was completed in each second of the last minute; those before the first one count as well, so that no second is below zero.
#[derive(Debug)]
struct Minute {
    seconds: [u64; SECONDS as usize],
    newest: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { began: Instant::now(), queues: Mutex::default() }
    }
}

impl Pace {
    pub(super) fn add(&self, queue: &'static str, count: u64) {
        self.add_at(self.began.elapsed().as_secs(), queue, count);
    }

    /// Of the queues in which there were any.
    pub(super) fn last_minute(&self) -> BTreeMap<&'static str, u64> {
        self.at(self.began.elapsed().as_secs())
    }

    fn add_at(&self, second: u64, queue: &'static str, count: u64) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = queues.entry(queue).or_insert(Minute { seconds: [0; SECONDS as usize], newest: second });
        minute.forget_until(second);
        minute.seconds[(second % SECONDS) as usize] += count;
    }

    fn at(&self, second: u64) -> BTreeMap<&'static str, u64> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let sums = queues.iter_mut().map(|(queue, minute)| {
            minute.forget_until(second);
            (*queue, minute.seconds.iter().sum())
        });
        sums.filter(|(_, sum)| *sum > 0).collect()
    }
}

impl Minute {
    /// Makes room for this second, in which nothing was completed yet.
    fn forget_until(&mut self, second: u64) {
        for passed in (self.newest + 1..=second).take(SECONDS as usize) {
            self.seconds[(passed % SECONDS) as usize] = 0;
        }
        self.newest = self.newest.max(second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_longer_ago_than_a_minute_is_forgotten() {
        let pace = Pace::default();
        let at = |second| pace.at(second).get("mail").copied().unwrap_or(0);
        assert_eq!(at(1000), 0);
        pace.add_at(1000, "mail", 5);
        pace.add_at(1000, "other", 1);
        pace.add_at(1030, "mail", 7);
        assert_eq!((at(1030), at(1059), at(1060), at(1089)), (12, 12, 7, 7));
        pace.add_at(1089, "mail", 1);
        assert_eq!((at(1089), at(1090)), (8, 1));
        // After a long rest nothing of before is left, wherever it stood.
        assert_eq!(at(1_000_000), 0);
        assert!(pace.at(1_000_000).is_empty());
        pace.add_at(1_000_001, "mail", 3);
        assert_eq!(at(1_000_030), 3);
    }
}
