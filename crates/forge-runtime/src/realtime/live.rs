//! The engine as others see it: what they may wish of it, and mutations whose effect sessions wait for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forge_core::Result;
use tokio::sync::{Notify, mpsc, watch};

use super::outbox::Outbox;
use super::roll::Roll;
use super::subscriptions::{Subscribe, Unsubscribe};

/// How many wishes may wait for the engine; whoever has another one waits with it.
const WISHES_MAX: usize = 1024;

/// The engine as others see it. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Live(pub(super) Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    wishes: mpsc::Sender<Wish>,
    pub(super) wake: Notify,
    roll: Roll,
    /// Whether anybody is subscribed.
    pub(super) active: AtomicBool,
    /// Mutations whose effect sessions wait for. Not among the wishes: what is said before a COMMIT has to be known to a round that begins after
    /// it.
    expected: Mutex<Vec<Expected>>,
}

/// What somebody wants of the engine.
#[derive(Debug)]
pub(super) enum Wish {
    Subscribe(Box<Subscribe>),
    Unsubscribe(Unsubscribe),
}

/// A session that waits for the effect of a mutation.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    pub(super) outbox: Arc<Outbox>,
    pub(super) mutation: String,
    pub(super) xid: u64,
    /// Whether it was committed, once that is known.
    pub(super) committed: watch::Receiver<Option<bool>>,
}

/// Whom to acknowledge a mutation to.
#[derive(Debug, Clone)]
pub(crate) struct Acknowledge {
    pub(crate) live: Live,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) mutation: String,
}

impl Acknowledge {
    /// Said before COMMIT is sent, so that no frame shows the effect without the acknowledgement.
    pub(crate) fn expect(&self, xid: u64) -> Pledge {
        let (pledge, committed) = watch::channel(None);
        let expected = Expected { outbox: self.outbox.clone(), mutation: self.mutation.clone(), xid, committed };
        self.live.expected().push(expected);
        Pledge { live: self.live.clone(), committed: pledge }
    }
}

/// A commit that is on its way. Dropped, it has come to nothing.
#[derive(Debug)]
pub(crate) struct Pledge {
    live: Live,
    committed: watch::Sender<Option<bool>>,
}

impl Pledge {
    /// What it did write is there.
    pub(crate) fn kept(self) {
        self.committed.send_replace(Some(true));
        self.live.0.wake.notify_one();
    }
}

impl Live {
    /// An engine's two ends.
    pub(crate) fn new() -> (Self, Wishes) {
        let (wishes, waiting) = mpsc::channel(WISHES_MAX);
        (
            Self(Arc::new(Shared {
                wishes,
                wake: Notify::new(),
                roll: Roll::new(),
                active: AtomicBool::new(false),
                expected: Mutex::default(),
            })),
            Wishes(waiting),
        )
    }

    /// The sessions that wait.
    pub(super) fn expected(&self) -> MutexGuard<'_, Vec<Expected>> {
        self.0.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the other nodes have to know of this one's sessions.
    pub(crate) fn roll(&self) -> &Roll {
        &self.0.roll
    }

    /// A session takes messages by POST. Once this returns, they may be sent to any node.
    pub(crate) async fn open(&self, session: &str, user: Option<&str>) -> Result<()> {
        self.0.roll.open(session, user).await?;
        self.0.wake.notify_one();
        Ok(())
    }

    /// This node has committed something.
    pub(crate) fn committed(&self) {
        if self.0.active.load(Ordering::Relaxed) {
            self.0.wake.notify_one();
        }
    }

    pub(crate) async fn subscribe(&self, wish: Subscribe) {
        self.wish(Wish::Subscribe(Box::new(wish))).await;
    }

    pub(crate) async fn unsubscribe(&self, wish: Unsubscribe) {
        self.wish(Wish::Unsubscribe(wish)).await;
    }

    async fn wish(&self, wish: Wish) {
        // It fails only when the node stops, and with it every session.
        let _ = self.0.wishes.send(wish).await;
    }
}

/// What is wished of an engine that is not running yet.
#[derive(Debug)]
pub(crate) struct Wishes(pub(super) mpsc::Receiver<Wish>);
