//! The engine as others see it: what they may wish of it, and mutations whose effect sessions wait for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forge_core::Result;
use tokio::sync::{Notify, mpsc, watch};

use super::outbox::{Outbox, SessionId};
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

/// A commit that is on its way. Dropped, it has come to nothing. Either wakes the engine.
#[derive(Debug)]
pub(crate) struct Pledge {
    live: Live,
    committed: watch::Sender<Option<bool>>,
}

impl Pledge {
    /// What it did write is there.
    pub(crate) fn kept(self) {
        self.committed.send_replace(Some(true));
    }
}

impl Drop for Pledge {
    fn drop(&mut self) {
        self.committed.send_if_modified(|known| known.replace(known.unwrap_or(false)).is_none());
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

    /// Takes out the mutations of some sessions of which it is known how they ended, and returns those that took effect.
    pub(super) fn take_known(&self, of: impl Fn(SessionId) -> bool) -> Vec<Expected> {
        let known = |one: &mut Expected| one.committed.borrow().is_some() && of(one.outbox.id);
        let mut known: Vec<Expected> = self.expected().extract_if(.., known).collect();
        known.retain(|one| *one.committed.borrow() == Some(true));
        known
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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_commit_on_its_way_holds_up_nobody() {
        let (live, _wishes) = Live::new();
        let (one, other) = (Outbox::new(), Outbox::new());
        let expect = |outbox: &Arc<Outbox>, mutation: &str| {
            Acknowledge { live: live.clone(), outbox: outbox.clone(), mutation: mutation.into() }.expect(7)
        };
        let known = |of: &Outbox| live.take_known(|id| id == of.id).into_iter().map(|one| one.mutation).collect::<Vec<_>>();
        let (first, second, third) = (expect(&one, "first"), expect(&one, "second"), expect(&other, "third"));
        assert_eq!((known(&one), live.expected().len()), (vec![], 3));
        second.kept();
        third.kept();
        assert_eq!((known(&one), live.expected().len()), (vec!["second".to_owned()], 2));
        // It came to nothing: nobody is told, and nobody waits for it any more. The engine is woken to see that.
        let woken = || live.0.wake.notified().now_or_never().is_some();
        assert!(woken() && !woken());
        drop(first);
        assert!(woken());
        assert_eq!((known(&one), live.expected().len()), (vec![], 1));
        assert_eq!((known(&other), live.expected().len()), (vec!["third".to_owned()], 0));
    }
}
