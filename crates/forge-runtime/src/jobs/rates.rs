//! How many jobs of a kind this worker may begin, where the kind has a rate.
//!
//! The rate holds for the whole cluster: a kind has a window, and the first so many starts in it are for whoever asks. A worker takes some at a
//! time, not one by one, so that a rate costs a small statement per handful of jobs. What it took and has not used ends with the window.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use forge_core::Result;
use forge_core::job::RateLimit;

use super::lanes::Lanes;
use super::store::{RATE, RATE_BEGIN, get, micros};
use crate::db::Pool;
use crate::db::error::from_driver;

/// A worker takes at most this part of a window at a time, so that others get some.
const SHARE: u32 = 8;

#[derive(Debug)]
struct Rate {
    limit: RateLimit,
    /// What this worker has taken and not used.
    left: usize,
    /// Nothing is left for anybody until the window is over.
    exhausted: bool,
    /// When the window is over.
    until: Instant,
}

/// The rates of a worker's kinds.
#[derive(Debug)]
pub(super) struct Rates {
    kinds: HashMap<&'static str, Rate>,
    begun: bool,
}

impl Rates {
    pub(super) fn new(kinds: impl IntoIterator<Item = (&'static str, RateLimit)>) -> Self {
        let now = Instant::now();
        Self {
            kinds: kinds
                .into_iter()
                .map(|(kind, limit)| (kind, Rate { limit, left: 0, exhausted: false, until: now }))
                .collect(),
            begun: false,
        }
    }

    /// How many of a kind may be begun now.
    pub(super) fn left(&self, kind: &str) -> usize {
        self.kinds.get(kind).map_or(usize::MAX, |rate| if rate.until > Instant::now() { rate.left } else { 0 })
    }

    /// So many were begun.
    pub(super) fn took(&mut self, kind: &str, n: usize) {
        if let Some(rate) = self.kinds.get_mut(kind) {
            rate.left = rate.left.saturating_sub(n);
        }
    }

    /// When the next window opens of a kind that has something to do and may begin nothing now. (A kind that has nothing to do, or is paused,
    /// takes part in no window: the last one that it knows may long be over.)
    pub(super) fn opens_at(&self, lanes: &Lanes) -> Option<Instant> {
        let waits = |(kind, rate): &(&&'static str, &Rate)| rate.left == 0 && rate.exhausted && lanes.is_kind_awake(kind);
        self.kinds.iter().filter(waits).map(|(_, rate)| rate.until).min()
    }

    /// Takes some for kinds that have something to do and nothing left.
    pub(super) async fn fill(&mut self, pool: &Pool, lanes: &Lanes) -> Result<()> {
        let now = Instant::now();
        let wanting = |(kind, rate): &(&&'static str, &Rate)| {
            (rate.until <= now || (rate.left == 0 && !rate.exhausted)) && lanes.is_kind_awake(kind)
        };
        let wanting: Vec<&'static str> = self.kinds.iter().filter(wanting).map(|(kind, _)| *kind).collect();
        if wanting.is_empty() {
            return Ok(());
        }
        let lease = pool.get().await?;
        if !self.begun {
            let kinds: Vec<&str> = self.kinds.keys().copied().collect();
            lease.query(&RATE_BEGIN, &[&kinds]).await.map_err(from_driver)?;
            self.begun = true;
        }
        for kind in wanting {
            let Some(rate) = self.kinds.get_mut(kind) else { continue };
            let (count, want) = (i32::try_from(rate.limit.count).unwrap_or(i32::MAX), rate.limit.count.div_ceil(SHARE));
            let want = i32::try_from(want).unwrap_or(i32::MAX);
            let answer = lease.query(&RATE, &[&kind, &want, &count, &micros(rate.limit.per)]).await.map_err(from_driver)?;
            let Some(row) = answer.rows.first() else {
                // Somebody has emptied the table.
                self.begun = false;
                continue;
            };
            let given: i32 = get(row, 0)?;
            rate.left = usize::try_from(given).unwrap_or(0);
            rate.exhausted = given < want;
            rate.until = Instant::now() + Duration::from_micros(u64::try_from(get::<i64>(row, 1)?).unwrap_or(0));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::jobs::lanes::LaneKind;

    #[test]
    fn nothing_is_waited_for_by_a_kind_that_sleeps() {
        let limit = RateLimit { count: 4, per: Duration::from_secs(1) };
        let mut rates = Rates::new([("mail", limit), ("sms", limit)]);
        let mut lanes = Lanes::new(["mail", "sms"].map(|kind| LaneKind { kind, queue: kind }));
        let (over, later) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        for (kind, until) in [("mail", over), ("sms", later)] {
            let rate = rates.kinds.get_mut(kind).unwrap();
            (rate.exhausted, rate.until) = (true, until);
        }
        // Its queue was paused before its window was over.
        assert_eq!(rates.opens_at(&lanes), None);
        lanes.wake("sms", 50, Timestamp::now());
        assert_eq!(rates.opens_at(&lanes), Some(later));
        // One that has something to do takes part in the next window at once.
        lanes.wake("mail", 50, Timestamp::now());
        assert_eq!(rates.opens_at(&lanes), Some(over));
    }
}
