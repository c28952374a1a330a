//! Who is told what, and when: results, acknowledgements, and frames that wait for slow queries.

use std::time::Duration;

use forge_core::Error;

use super::InvalidationEngine;
use crate::realtime::group::GroupId;
use crate::realtime::live::Expected;
use crate::realtime::subscriptions::Deliveries;
use crate::realtime::watches::Watched;

/// How long a round waits for the answers to COMMITs that have taken effect.
const KNOWN_WITHIN: Duration = Duration::from_secs(1);

impl InvalidationEngine {
    /// A session that is subscribed to nothing is shown nothing, so there is no effect to wait for. Only those of which it is known how they
    /// ended: the others wake the engine when it is.
    pub(super) fn acknowledge_idle(&mut self) {
        let mut deliveries = Deliveries::default();
        for one in self.live.take_known(|session| !self.subscriptions.has_session(session)) {
            deliveries.of(&one.outbox).acks.push(one.mutation);
        }
        deliveries.send(0);
    }

    /// Acknowledges those of the expected mutations that are due, once it is known whether they were committed. That is on its way when a
    /// snapshot sees that they have ended.
    pub(super) async fn acknowledge(&self, due: impl Fn(&Expected) -> bool, deliveries: &mut Deliveries) {
        let expected: Vec<Expected> = self.live.expected().extract_if(.., |expected| due(expected)).collect();
        let limit = tokio::time::Instant::now() + KNOWN_WITHIN;
        for mut one in expected {
            let known = tokio::time::timeout_at(limit, one.committed.wait_for(Option::is_some)).await;
            match known.map(|known| known.is_ok_and(|known| *known == Some(true))) {
                Ok(true) => deliveries.of(&one.outbox).acks.push(one.mutation),
                // It came to nothing.
                Ok(false) => {}
                // The answer to COMMIT was lost and is being looked for.
                Err(_) => self.live.expected().push(one),
            }
        }
    }

    /// Tells the sessions that need not wait. What has begun to run apart is waited for by those who have been shown it before.
    pub(super) fn deliver(&mut self, deliveries: Deliveries, position: u64, begun: &[GroupId]) {
        let unsettled = self.subscriptions.unsettled();
        for (outbox, delivery) in deliveries.into_each() {
            if self.holds.has(outbox.id) || unsettled.contains(&outbox.id) {
                self.holds.keep(&outbox, position, delivery);
            } else {
                outbox.put(position, delivery);
            }
        }
        for group in begun.iter().filter_map(|id| Some((*id, self.subscriptions.group(*id)?))) {
            let (id, group) = group;
            if group.was_shown() {
                group.subscribers.values().for_each(|one| self.holds.freeze(&one.outbox, position, id));
            }
        }
        self.release();
    }

    /// Sends the frames that need not wait any more.
    pub(super) fn release(&mut self) {
        if self.holds.is_empty() {
            return;
        }
        let unsettled = self.subscriptions.unsettled();
        let (apart, subscriptions) = (&self.apart, &self.subscriptions);
        let runs = |session, id| apart.is_running(id) && subscriptions.is_subscribed(session, id);
        self.holds.release(runs, |session| unsettled.contains(&session));
    }

    /// A table is watched, or cannot be: those who wait for that go on.
    pub(super) fn watched(&mut self, watched: Watched) {
        let Err(why) = watched.result else {
            self.subscriptions.watched(watched.table);
            return;
        };
        let mut deliveries = Deliveries::default();
        for id in self.subscriptions.waiting_for(watched.table) {
            let copy = Error::new(why.kind(), why.message().to_owned()).with_code(why.code().to_owned());
            self.subscriptions.failed(id, copy, &mut deliveries);
        }
        tracing::error!(error = ?why, "a table cannot be watched");
        self.deliver(deliveries, 0, &[]);
    }
}
