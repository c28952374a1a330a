//! Who is told that there is something to do: this node's worker at once and in memory, the others by the bus.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::Notify;
use uuid::Uuid;

/// Something to do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Wake {
    /// A job of this kind and priority is ready, at this place of its lane.
    Ready { kind: Cow<'static, str>, priority: i16, at: Timestamp },
    /// A job becomes ready at this time.
    Due { at: Timestamp },
    /// A place of this key may have become free, or somebody waits for one.
    Held { kind: String, key: String },
    /// A job that runs is to be cancelled.
    Cancel { id: Uuid },
    /// A queue was paused, or goes on.
    Queues,
    /// There may be anything.
    Look,
}

/// The channel of the bus.
pub(super) const CHANNEL: &str = "forge_jobs";

impl Wake {
    /// As it is told on the bus: what it is about, and when.
    pub(super) fn told(&self) -> (String, i64) {
        match self {
            Self::Ready { kind, priority, at } => (format!("r {priority} {kind}"), at.as_microsecond()),
            Self::Due { at } => ("d".into(), at.as_microsecond()),
            Self::Held { kind, key } => (format!("h {kind} {key}"), 0),
            Self::Cancel { id } => (format!("c {id}"), 0),
            Self::Queues => ("q".into(), 0),
            Self::Look => ("l".into(), 0),
        }
    }

    /// As it was told. What nobody can make out may be anything: a newer version's, say.
    pub(super) fn heard(about: &str, at: i64) -> Self {
        let at = Timestamp::from_microsecond(at).unwrap_or(Timestamp::UNIX_EPOCH);
        let mut parts = about.splitn(3, ' ');
        match (parts.next(), parts.next(), parts.next()) {
            (Some("r"), Some(priority), Some(kind)) => match priority.parse() {
                Ok(priority) => Self::Ready { kind: kind.to_owned().into(), priority, at },
                Err(_) => Self::Look,
            },
            (Some("d"), ..) => Self::Due { at },
            (Some("h"), Some(kind), Some(key)) => Self::Held { kind: kind.to_owned(), key: key.to_owned() },
            (Some("q"), None, None) => Self::Queues,
            (Some("c"), Some(id), None) => id.parse().map_or(Self::Look, |id| Self::Cancel { id }),
            _ => Self::Look,
        }
    }
}

/// The most that is remembered; beyond it everything is looked at.
const WAITING_MAX: usize = 1000;

#[derive(Debug, Default)]
struct Inner {
    waiting: Mutex<Vec<Wake>>,
    some: Notify,
    full: AtomicBool,
}

/// Where wake-ups are left for this node's worker. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waker(Arc<Inner>);

impl Waker {
    /// Leaves a wake-up.
    pub(crate) fn wake(&self, wake: Wake) {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |one: &&mut Wake| match (&**one, &wake) {
            (Wake::Ready { kind, priority, .. }, Wake::Ready { kind: other, priority: its, .. }) => {
                kind == other && priority == its
            }
            (one, wake) => *one == *wake,
        };
        match (waiting.iter_mut().find(same), &wake) {
            // The first place is what matters.
            (Some(Wake::Ready { at, .. }), Wake::Ready { at: other, .. }) => *at = (*at).min(*other),
            (Some(_), _) => {}
            (None, _) => {
                if waiting.len() >= WAITING_MAX {
                    *waiting = vec![Wake::Look];
                } else {
                    waiting.push(wake);
                }
            }
        }
        drop(waiting);
        self.0.some.notify_one();
    }

    /// Whether this node's worker has a place for another job, as far as it has said.
    pub(super) fn has_room(&self) -> bool {
        !self.0.full.load(Ordering::Relaxed)
    }

    /// See [`has_room`](Self::has_room).
    pub(super) fn set_room(&self, room: bool) {
        self.0.full.store(!room, Ordering::Relaxed);
    }

    /// What has been left.
    pub(super) fn take(&self) -> Vec<Wake> {
        std::mem::take(&mut *self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What has been left; waits for something.
    pub(super) async fn next(&self) -> Vec<Wake> {
        loop {
            let waiting = self.take();
            if !waiting.is_empty() {
                return waiting;
            }
            self.0.some.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_alike_is_one_wake_up() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let ready = |kind: &'static str, second| Wake::Ready { kind: kind.into(), priority: 50, at: at(second) };
        let waker = Waker::default();
        for wake in [ready("mail", 5), ready("sms", 7), ready("mail", 3), ready("mail", 4), Wake::Look, Wake::Look] {
            waker.wake(wake);
        }
        assert_eq!(waker.next().await, [ready("mail", 3), ready("sms", 7), Wake::Look]);
        for n in 0..=WAITING_MAX as u128 {
            waker.wake(Wake::Cancel { id: Uuid::from_u128(n) });
        }
        assert_eq!(waker.next().await, [Wake::Look], "too many to remember");
    }

    #[test]
    fn what_is_told_is_heard() {
        let wakes = [
            Wake::Ready { kind: "mail".into(), priority: 100, at: Timestamp::from_microsecond(1_234_567).unwrap() },
            Wake::Due { at: Timestamp::from_microsecond(7).unwrap() },
            Wake::Held { kind: "mail".into(), key: "a b \"c\"".into() },
            Wake::Held { kind: "mail".into(), key: String::new() },
            Wake::Cancel { id: Uuid::from_u128(9) },
            Wake::Queues,
            Wake::Look,
        ];
        for wake in wakes {
            let (about, at) = wake.told();
            assert_eq!(Wake::heard(&about, at), wake);
        }
        for other in ["", "x", "r", "r high mail", "c 1", "c 1 2", "h mail"] {
            assert_eq!(Wake::heard(other, i64::MAX), Wake::Look);
        }
    }
}
