//! What happens to a job that fails.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How the waiting time grows from one attempt to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// It doubles: 1 s, 2 s, 4 s, 8 s.
    #[default]
    Exponential,
    /// It grows by the first one: 1 s, 2 s, 3 s, 4 s.
    Linear,
    /// It stays.
    Fixed,
}

/// What happens to a job that fails: how often it is tried, and how long it waits in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often it is run in all, the first time included; at least 1. An attempt that ended with its worker, or that asked to be
    /// run later, does not count.
    pub max_attempts: u32,
    /// How the waiting time grows.
    pub backoff: Backoff,
    /// The first waiting time.
    pub initial: Duration,
    /// No waiting time is longer, but for the jitter.
    pub max_backoff: Duration,
    /// Whether each waiting time is made up to a quarter shorter or longer by chance, so that what failed together is not
    /// run again together.
    pub jitter: bool,
    /// The codes of the errors that are worth another attempt; empty: all are.
    pub on: &'static [&'static str],
}

impl RetryPolicy {
    /// What jobs have that say nothing: three attempts, 1 s and 2 s apart, with jitter, whatever the error.
    pub const DEFAULT: Self = Self {
        max_attempts: 3,
        backoff: Backoff::Exponential,
        initial: Duration::from_secs(1),
        max_backoff: Duration::from_secs(300),
        jitter: true,
        on: &[],
    };

    /// How long to wait after this attempt, which has failed; the first is 1. `dice` is a random number from 0 to 1, for the
    /// jitter.
    ///
    /// The jitter comes after the limit: were the time cut to `max_backoff` again, half of all that wait so long would come back
    /// at the same moment. So it may be a quarter longer than that.
    ///
    /// ```
    /// use std::time::Duration;
    /// use forge_core::job::RetryPolicy;
    /// let policy = RetryPolicy { jitter: false, ..RetryPolicy::DEFAULT };
    /// assert_eq!(policy.delay(4, 0.5), Duration::from_secs(8));
    /// assert_eq!(policy.delay(40, 0.5), Duration::from_secs(300));
    /// ```
    pub fn delay(&self, attempt: u32, dice: f64) -> Duration {
        let before = attempt.saturating_sub(1);
        let grown = match self.backoff {
            Backoff::Exponential => {
                1_u32.checked_shl(before).map_or(Duration::MAX, |times| self.initial.saturating_mul(times))
            }
            Backoff::Linear => self.initial.saturating_mul(before.saturating_add(1)),
            Backoff::Fixed => self.initial,
        };
        let delay = grown.min(self.max_backoff);
        if !self.jitter {
            return delay;
        }
        // NaN would be no number of the range either.
        let dice = if dice.is_finite() { dice.clamp(0.0, 1.0) } else { 0.5 };
        Duration::try_from_secs_f64(delay.as_secs_f64() * (0.75 + dice / 2.0)).unwrap_or(delay)
    }

    /// Whether an error of this code, at this attempt, is followed by another attempt.
    pub fn retries(&self, attempt: u32, code: &str) -> bool {
        attempt < self.max_attempts && (self.on.is_empty() || self.on.contains(&code))
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: RetryPolicy = RetryPolicy { jitter: false, ..RetryPolicy::DEFAULT };

    fn seconds(policy: &RetryPolicy, attempts: impl IntoIterator<Item = u32>) -> Vec<u64> {
        attempts.into_iter().map(|attempt| policy.delay(attempt, 0.5).as_secs()).collect()
    }

    #[test]
    fn exponential_doubles_up_to_the_limit() {
        assert_eq!(seconds(&PLAIN, 1..=10), [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        // Beyond what a shift, and beyond what a Duration, can hold.
        assert_eq!(seconds(&PLAIN, [32, 33, 64, 65, u32::MAX]), [300; 5]);
        let endless = RetryPolicy { initial: Duration::from_secs(u64::MAX / 2), max_backoff: Duration::MAX, ..PLAIN };
        assert_eq!(endless.delay(30, 0.5), Duration::MAX);
    }

    #[test]
    fn linear_grows_by_the_first() {
        let policy = RetryPolicy { backoff: Backoff::Linear, initial: Duration::from_secs(30), ..PLAIN };
        assert_eq!(seconds(&policy, 1..=4), [30, 60, 90, 120]);
        assert_eq!(seconds(&policy, [11, u32::MAX]), [300, 300]);
        let endless = RetryPolicy { initial: Duration::MAX, max_backoff: Duration::MAX, ..policy };
        assert_eq!(endless.delay(u32::MAX, 0.5), Duration::MAX);
    }

    #[test]
    fn fixed_stays() {
        let policy = RetryPolicy { backoff: Backoff::Fixed, initial: Duration::from_secs(7), ..PLAIN };
        assert_eq!(seconds(&policy, [1, 2, 1000, u32::MAX]), [7; 4]);
        let long = RetryPolicy { initial: Duration::from_secs(3600), ..policy };
        assert_eq!(seconds(&long, [1]), [300]);
    }

    #[test]
    fn an_attempt_that_never_was_waits_as_the_first() {
        assert_eq!(seconds(&PLAIN, [0]), [1]);
        assert_eq!(seconds(&RetryPolicy { backoff: Backoff::Linear, ..PLAIN }, [0]), [1]);
    }

    #[test]
    fn jitter_is_a_quarter_to_both_sides() {
        let policy = RetryPolicy { jitter: true, initial: Duration::from_secs(4), ..PLAIN };
        for (dice, ms) in [(0.0, 3000), (0.5, 4000), (1.0, 5000), (-3.0, 3000), (7.0, 5000), (f64::NAN, 4000)] {
            assert_eq!(policy.delay(1, dice).as_millis(), ms, "{dice}");
        }
        // At the limit it still spreads.
        assert_eq!(policy.delay(30, 0.0).as_secs(), 225);
        assert_eq!(policy.delay(30, 1.0).as_secs(), 375);
        let endless = RetryPolicy { initial: Duration::MAX, max_backoff: Duration::MAX, ..policy };
        assert_eq!(endless.delay(1, 1.0), Duration::MAX);
        for step in 0..=1000 {
            let delay = policy.delay(2, f64::from(step) / 1000.0).as_millis();
            assert!((6000..=10_000).contains(&delay), "{delay}");
        }
    }

    #[test]
    fn attempts_are_counted_and_codes_are_looked_at() {
        assert!(PLAIN.retries(1, "TIMEOUT") && PLAIN.retries(2, "ANY"));
        assert!(!PLAIN.retries(3, "TIMEOUT") && !PLAIN.retries(u32::MAX, "TIMEOUT"));
        let picky = RetryPolicy { on: &["TIMEOUT", "DATABASE_UNAVAILABLE"], ..PLAIN };
        assert!(picky.retries(1, "TIMEOUT"));
        assert!(!picky.retries(1, "NOT_FOUND"));
    }
}
