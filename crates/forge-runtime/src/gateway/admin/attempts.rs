//! How often an address may come with a wrong token.
//!
//! Counted by each node for itself: tokens cannot be guessed anyway, this keeps anybody from trying at full speed. Whoever has come with too many
//! wrong ones is not heard for a while, with a right one neither, or a guess that hits would show. Of an IPv6 address the first 64 bits count.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use forge_core::{Error, Result};
use lru::LruCache;

use crate::auth::client_ip::block;

/// How many wrong tokens an address may show within [`WINDOW`], which begins with the first.
const WRONG_MAX: u32 = 10;

/// See [`WRONG_MAX`].
const WINDOW: Duration = Duration::from_secs(60);

/// How many addresses are remembered; beyond that, those are forgotten that were last seen longest ago.
const ADDRESSES_MAX: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// Wrong tokens, by address.
#[derive(Debug)]
pub(super) struct Attempts(Mutex<LruCache<Option<IpAddr>, (u32, Instant)>>);

impl Default for Attempts {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(ADDRESSES_MAX)))
    }
}

impl Attempts {
    /// Whether an address is heard.
    ///
    /// # Errors
    /// `RATE_LIMITED`, with the seconds until it is again.
    pub(super) fn check(&self, address: Option<IpAddr>, now: Instant) -> Result<()> {
        let mut wrong = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match wrong.get(&address.map(block)) {
            Some((count, since)) if *count >= WRONG_MAX && now.duration_since(*since) < WINDOW => {
                let left = WINDOW - now.duration_since(*since);
                let seconds = u32::try_from(left.as_secs()).unwrap_or(0) + 1;
                Err(Error::rate_limited("too many wrong tokens came from this address; try again later", seconds))
            }
            _ => Ok(()),
        }
    }

    /// An address has shown a wrong one.
    pub(super) fn wrong(&self, address: Option<IpAddr>, now: Instant) {
        let mut wrong = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, since) = wrong.get_or_insert_mut(address.map(block), || (0, now));
        if now.duration_since(*since) >= WINDOW {
            (*count, *since) = (0, now);
        }
        *count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_wrong_too_often_is_not_heard_for_a_while() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let of = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        for _ in 0..WRONG_MAX {
            attempts.check(of("2001:db8::1"), now).unwrap();
            attempts.wrong(of("2001:db8::1"), now);
        }
        let refused = attempts.check(of("2001:db8::2"), now + Duration::from_secs(50)).unwrap_err();
        assert_eq!((refused.code(), refused.retry_after_s()), ("RATE_LIMITED", Some(11)));
        attempts.check(of("2001:db8:0:1::1"), now).unwrap();
        attempts.check(of("10.0.0.1"), now).unwrap();
        attempts.check(None, now).unwrap();
        let later = now + WINDOW;
        attempts.check(of("2001:db8::1"), later).unwrap();
        attempts.wrong(of("2001:db8::1"), later);
        attempts.check(of("2001:db8::1"), later).unwrap();
    }
}
