//! Who is told that there is something to do: this node's worker at once and in memory, the others by the bus.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use uuid::Uuid;

/// Something to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Wake {
    /// A job of this kind and priority is ready, at this place of its lane.
    Ready {
        kind: String,
        priority: i16,
        at: Timestamp,
    },
    /// A job becomes ready at this time.
    Due { at: Timestamp },
    /// A place of this key may have become free, or somebody waits for one.
    Held { kind: String, key: String },
    /// A job that runs is to be cancelled.
    Cancel { id: Uuid },
    /// There may be anything.
    Look,
}

/// The most that is remembered; beyond it everything is looked at.
const WAITING_MAX: usize = 1000;

#[derive(Debug, Default)]
struct Inner {
    waiting: Mutex<Vec<Wake>>,
    some: Notify,
}

/// Where wake-ups are left for this node's worker. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waker(Arc<Inner>);

impl Waker {
    /// Leaves a wake-up.
    pub(crate) fn wake(&self, wake: Wake) {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |one: &&mut Wake| match (&**one, &wake) {
            (Wake::Ready { kind, priority, .. }, Wake::Ready { kind: other, priority: its, .. }) => kind == other && priority == its,
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

    /// What has been left; waits for something.
    pub(super) async fn next(&self) -> Vec<Wake> {
        loop {
            let waiting = std::mem::take(&mut *self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            if !waiting.is_empty() {
                return waiting;
            }
            self.0.some.notified().await;
        }
    }
}
