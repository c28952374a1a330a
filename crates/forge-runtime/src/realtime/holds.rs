//! Frames that wait for slow queries.
//!
//! A session that is subscribed to a slow query is shown it together with everything else as of the same snapshot. So while the query runs, the
//! rest of that round's frame waits for it (`frozen`), and what later rounds bring is kept (`after`), the newest of each subscription.
//!
//! ```text
//!  round n, the query begins ─▶ frozen: what the round had ──the query is done──▶ + its result ─▶ the frame of round n
//!  rounds n+1 … m            ─▶ after: the newest of each  ──the query did not change since────▶ the frame of round m
//!                                                          └─it did: it begins again, and that round's frame is frozen
//! ```

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::group::GroupId;
use super::outbox::{Delivery, News, Outbox, SessionId};

/// Sessions with frames that wait.
#[derive(Debug, Default)]
pub(super) struct Holds {
    by_session: HashMap<SessionId, Hold>,
}

#[derive(Debug)]
struct Hold {
    outbox: Arc<Outbox>,
    frozen: Option<Frozen>,
    /// With the position of the last round in it.
    after: Option<(u64, Delivery)>,
}

/// A round's frame.
#[derive(Debug)]
struct Frozen {
    position: u64,
    delivery: Delivery,
    waits_for: BTreeSet<GroupId>,
}

impl Holds {
    pub(super) fn is_empty(&self) -> bool {
        self.by_session.is_empty()
    }

    pub(super) fn has(&self, session: SessionId) -> bool {
        self.by_session.contains_key(&session)
    }

    fn of(&mut self, outbox: &Arc<Outbox>) -> &mut Hold {
        let new = || Hold { outbox: outbox.clone(), frozen: None, after: None };
        self.by_session.entry(outbox.id).or_insert_with(new)
    }

    /// Keeps what a round has for a session until later.
    pub(super) fn keep(&mut self, outbox: &Arc<Outbox>, position: u64, delivery: Delivery) {
        let hold = self.of(outbox);
        let (at, kept) = hold.after.get_or_insert_default();
        *at = position.max(*at);
        kept.then(delivery);
    }

    /// What has been kept for a session becomes the frame of a round, to be shown together with what is running now.
    pub(super) fn freeze(&mut self, outbox: &Arc<Outbox>, position: u64, waits_for: GroupId) {
        let hold = self.of(outbox);
        let after = &mut hold.after;
        let frozen = hold.frozen.get_or_insert_with(|| Frozen {
            position,
            delivery: after.take().map(|(_, delivery)| delivery).unwrap_or_default(),
            waits_for: BTreeSet::new(),
        });
        frozen.waits_for.insert(waits_for);
    }

    /// Puts a group's result into the session's frame that waits for it, if there is one.
    pub(super) fn put(&mut self, session: SessionId, group: GroupId, subscription: u64, news: News) -> bool {
        let hold = self.by_session.get_mut(&session);
        let frozen = hold.and_then(|hold| hold.frozen.as_mut()).filter(|frozen| frozen.waits_for.contains(&group));
        frozen.map(|frozen| frozen.delivery.news.insert(subscription, news)).is_some()
    }

    /// A frame whose round cannot be completed any more goes with what came after it.
    pub(super) fn thaw(&mut self, session: SessionId) {
        if let Some(hold) = self.by_session.get_mut(&session)
            && let Some(mut frozen) = hold.frozen.take()
        {
            let (position, after) = hold.after.take().unwrap_or_default();
            frozen.delivery.then(after);
            hold.after = Some((position.max(frozen.position), frozen.delivery));
        }
    }

    /// Sends the frames that need not wait any more: for their own results no group still `runs`, and for what came after them no
    /// group of the session is `unsettled`.
    pub(super) fn release(&mut self, runs: impl Fn(SessionId, GroupId) -> bool, unsettled: impl Fn(SessionId) -> bool) {
        self.by_session.retain(|session, hold| {
            if let Some(frozen) = hold.frozen.take_if(|frozen| !frozen.waits_for.iter().any(|id| runs(*session, *id))) {
                hold.outbox.put(frozen.position, frozen.delivery);
            }
            if hold.frozen.is_some() || unsettled(*session) {
                return true;
            }
            if let Some((position, delivery)) = hold.after.take() {
                hold.outbox.put(position, delivery);
            }
            false
        });
    }

    /// Nothing more is said of a subscription, or of a session.
    pub(super) fn forget(&mut self, session: SessionId, subscription: Option<u64>) {
        let Some(id) = subscription else {
            self.by_session.remove(&session);
            return;
        };
        if let Some(hold) = self.by_session.get_mut(&session) {
            let frozen = hold.frozen.iter_mut().map(|frozen| &mut frozen.delivery);
            for delivery in frozen.chain(hold.after.iter_mut().map(|(_, delivery)| delivery)) {
                delivery.news.remove(id);
                delivery.events.forget(id);
            }
        }
    }
}
