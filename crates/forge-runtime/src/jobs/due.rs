//! When a worker is to make ready what is due.

use std::time::{Duration, Instant};

/// How long to wait before something that is due, but that somebody has the hands on, is looked at again: at first, and at most.
const LOCKED: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Due {
    at: Option<Instant>,
    /// How long was waited last because what is due could not be had.
    locked: Option<Duration>,
}

impl Due {
    /// When.
    pub(super) fn at(&self) -> Option<Instant> {
        self.at
    }

    /// Whether it is time, in which case it has been noticed.
    pub(super) fn is_now(&mut self) -> bool {
        self.at.take_if(|at| *at <= Instant::now()).is_some()
    }

    /// Something becomes due in so long.
    pub(super) fn another(&mut self, left: Duration) {
        let at = Instant::now() + left;
        self.at = Some(self.at.map_or(at, |before| before.min(at)));
    }

    /// The first thing becomes due in so many microseconds, if there is one at all.
    pub(super) fn first(&mut self, micros: Option<i64>) {
        if micros.is_some_and(|micros| micros <= 0) && self.locked.is_some() && self.at.is_some() {
            // It is known, and waited for.
            return;
        }
        self.at = micros.map(|micros| Instant::now() + Duration::from_micros(u64::try_from(micros).unwrap_or(0)));
    }

    /// So many were made ready, and the first of the others becomes due in so many microseconds.
    pub(super) fn promoted(&mut self, n: usize, next: Option<i64>) {
        if n == 0 && next.is_some_and(|micros| micros <= 0) {
            let wait = self.locked.map_or(LOCKED.0, |before| (before * 2).min(LOCKED.1));
            self.locked = Some(wait);
            self.at = Some(Instant::now() + wait);
        } else {
            self.locked = None;
            self.first(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(due: &Due) -> Option<Duration> {
        due.at().map(|at| at.saturating_duration_since(Instant::now()))
    }

    #[test]
    fn what_somebody_has_the_hands_on_is_looked_at_less_and_less() {
        let mut due = Due::default();
        due.first(Some(-5));
        assert!(due.is_now() && !due.is_now() && due.at().is_none());
        let mut waits = Vec::new();
        for _ in 0..8 {
            due.promoted(0, Some(-651_503));
            // A look finds the same.
            due.first(Some(-651_503));
            waits.push(left(&due).unwrap());
        }
        let rounded: Vec<u64> = waits.iter().map(|wait| (wait.as_secs_f64() * 10.0).ceil() as u64 * 100).collect();
        assert_eq!(rounded, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        // Others that become due are not held up by it, and it is let go.
        due.another(Duration::ZERO);
        assert!(due.is_now());
        due.promoted(1, Some(-651_503));
        assert!(due.is_now(), "there may be more");
        due.promoted(0, Some(-1));
        assert!(left(&due).unwrap() <= LOCKED.0, "it begins anew");
        due.promoted(1, None);
        assert_eq!(due.at(), None);
    }

    #[test]
    fn the_first_is_waited_for() {
        let mut due = Due::default();
        due.first(Some(3_600_000_000));
        due.another(Duration::from_secs(7200));
        assert!((3590..=3600).contains(&left(&due).unwrap().as_secs()));
        due.another(Duration::from_secs(60));
        assert!(left(&due).unwrap().as_secs() < 61 && !due.is_now());
        due.first(None);
        assert_eq!(due.at(), None);
    }
}
