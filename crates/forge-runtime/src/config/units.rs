//! Short words for the limits and defaults in the table of keys.

use std::time::Duration;

pub(super) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(super) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(super) const fn mins(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

pub(super) const fn hours(n: u64) -> Duration {
    Duration::from_secs(3_600 * n)
}

pub(super) const fn days(n: u64) -> Duration {
    Duration::from_secs(86_400 * n)
}

pub(super) const fn ki(n: u64) -> u64 {
    n << 10
}

pub(super) const fn mi(n: u64) -> u64 {
    n << 20
}

pub(super) const fn mb(n: u64) -> u64 {
    n * 1_000_000
}
