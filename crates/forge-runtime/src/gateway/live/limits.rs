//! How much anybody may have of live sessions.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use forge_core::{Error, Result};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::GatewayConfig;

/// How many sessions are set up at the same time. That may ask the database, whose connections calls need as well.
const SETTING_UP_MAX: usize = 8;

/// How long one that is to be set up waits for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(5);

/// Whoever has sessions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Holder {
    User(String),
    /// Of an IPv6 address, its [block](crate::auth::client_ip::block).
    Address(IpAddr),
}

/// Counts sessions of users and addresses.
#[derive(Debug)]
pub(super) struct Seats {
    taken: Mutex<HashMap<Holder, u32>>,
    per_user: u32,
    per_address: u32,
}

/// One session's place among those of its user or address. Free again when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    holder: Holder,
}

impl Seats {
    pub(super) fn new(config: &GatewayConfig) -> Arc<Self> {
        let (per_user, per_address) = (config.max_sessions_per_user, config.max_sessions_per_address);
        Arc::new(Self { taken: Mutex::default(), per_user, per_address })
    }

    /// # Errors
    /// `TOO_MANY_SESSIONS` when all are taken.
    pub(super) fn take(self: &Arc<Self>, holder: Holder) -> Result<Seat> {
        let (whose, limit, max) = match holder {
            Holder::User(_) => ("a user", "gateway.max_sessions_per_user", self.per_user),
            Holder::Address(_) => ("an address", "gateway.max_sessions_per_address", self.per_address),
        };
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(holder.clone()).or_default();
        if *count >= max {
            let text = format!("{whose} has at most {max} live sessions on a node ({limit}); end some of them first");
            return Err(exceeded(text, limit, max, 10).with_code("TOO_MANY_SESSIONS"));
        }
        *count += 1;
        drop(taken);
        Ok(Seat { seats: self.clone(), holder })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.holder) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.remove(&self.holder);
            }
        }
    }
}

/// Says that a limit is reached, and which.
pub(super) fn exceeded(text: String, limit: &str, max: u32, retry_after_s: u32) -> Error {
    Error::rate_limited(text, retry_after_s).with_details(json!({"limit": limit, "max": max}))
}

/// How often a session may do something within a minute: as many times at once, and so many more with each minute.
#[derive(Debug)]
pub(super) struct Pace {
    per_minute: f32,
    left: f32,
    at: Instant,
}

impl Pace {
    pub(super) fn new(per_minute: u32) -> Self {
        let per_minute = per_minute as f32;
        Self { per_minute, left: per_minute, at: Instant::now() }
    }

    /// Once more. An error when it was too often: how many seconds to wait.
    pub(super) fn take(&mut self) -> std::result::Result<(), u32> {
        let now = Instant::now();
        let per_second = self.per_minute / 60.0;
        self.left = (self.left + (now - self.at).as_secs_f32() * per_second).min(self.per_minute);
        self.at = now;
        if self.left < 1.0 {
            return Err(((1.0 - self.left) / per_second).ceil().max(1.0) as u32);
        }
        self.left -= 1.0;
        Ok(())
    }
}

/// Lets sessions be set up a few at a time, so that a herd of clients that come back does not keep calls from being answered.
#[derive(Debug)]
pub(super) struct Admission {
    turns: Semaphore,
    /// How many may be here, waiting ones included: they count as requests, of which the node has only so many.
    room: Semaphore,
    /// How many sessions there may be.
    sessions: Arc<Semaphore>,
}

impl Admission {
    pub(super) fn new(config: &GatewayConfig) -> Self {
        Self {
            turns: Semaphore::new(SETTING_UP_MAX),
            room: Semaphore::new((config.max_in_flight as usize / 4).max(1)),
            sessions: Arc::new(Semaphore::new(config.max_connections as usize)),
        }
    }

    /// Sets a session up when it is its turn.
    ///
    /// # Errors
    /// `RATE_LIMITED` when too many wait or it waits for too long, and those of the setting up.
    pub(super) async fn one<T>(&self, setting_up: impl Future<Output = Result<T>>) -> Result<T> {
        // Not all at the same time once more.
        let busy = || Error::rate_limited("many sessions are being opened; try again", rand::random_range(1..=5));
        let _room = self.room.try_acquire().map_err(|_| busy())?;
        let turn = tokio::time::timeout(TURN_WITHIN, self.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(busy()) };
        setting_up.await
    }

    /// # Errors
    /// `RATE_LIMITED` when the node has as many sessions as it may.
    pub(super) fn session(&self) -> Result<OwnedSemaphorePermit> {
        self.sessions.clone().try_acquire_owned().map_err(|_| {
            Error::rate_limited(
                "the server has as many sessions as it may (gateway.max_connections)",
                rand::random_range(1..=5),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_counted_per_holder_and_come_back() {
        let config = GatewayConfig { max_sessions_per_user: 2, max_sessions_per_address: 1, ..GatewayConfig::default() };
        let seats = Seats::new(&config);
        let ada = || seats.take(Holder::User("ada".into()));
        let (one, two) = (ada().unwrap(), ada().unwrap());
        let why = ada().unwrap_err();
        assert_eq!(
            (why.code(), why.details().unwrap()["limit"].as_str()),
            ("TOO_MANY_SESSIONS", Some("gateway.max_sessions_per_user"))
        );
        let bob = seats.take(Holder::User("bob".into())).unwrap();
        let here = seats.take(Holder::Address([127, 0, 0, 1].into())).unwrap();
        assert!(seats.take(Holder::Address([127, 0, 0, 1].into())).is_err());
        drop(one);
        drop(ada().unwrap());
        drop((two, bob, here));
        assert!(seats.taken.lock().unwrap().is_empty());
    }

    #[test]
    fn a_pace_allows_a_minutes_worth_at_once_and_then_so_many_a_minute() {
        let mut pace = Pace::new(60);
        (0..60).for_each(|_| pace.take().unwrap());
        assert_eq!(pace.take(), Err(1));
        pace.at -= Duration::from_secs(2);
        assert!(pace.take().is_ok() && pace.take().is_ok() && pace.take().is_err());
        pace.at -= Duration::from_secs(3_600);
        (0..60).for_each(|_| pace.take().unwrap());
        assert!(pace.take().is_err(), "what was not used does not add up");
    }

    #[tokio::test]
    async fn sessions_are_set_up_a_few_at_a_time_and_only_so_many_wait() {
        let config = GatewayConfig { max_in_flight: 48, ..GatewayConfig::default() };
        let admission = Admission::new(&config);
        let gate = Semaphore::new(0);
        let running = std::sync::atomic::AtomicUsize::new(0);
        let one = || {
            admission.one(async {
                running.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                drop(gate.acquire().await);
                Ok(())
            })
        };
        let all = futures_util::future::join_all((0..20).map(|_| one()));
        let look = async {
            tokio::task::yield_now().await;
            assert_eq!(running.load(std::sync::atomic::Ordering::SeqCst), SETTING_UP_MAX);
            gate.add_permits(20);
        };
        let (done, ()) = futures_util::join!(all, look);
        let refused: Vec<&Error> = done.iter().filter_map(|one| one.as_ref().err()).collect();
        assert_eq!(refused.len(), 20 - 48 / 4);
        assert!(refused.iter().all(|why| why.code() == "RATE_LIMITED" && why.retry_after_s().is_some()));
    }
}
