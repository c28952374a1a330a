//! What a round has for each session.

use std::sync::Arc;

use crate::realtime::outbox::{Delivery, Outbox};

/// What a round has for each session.
#[derive(Debug, Default)]
pub(in crate::realtime) struct Deliveries {
    /// As it comes: mostly in the order of the sessions, and not looked up.
    all: Vec<(Arc<Outbox>, Delivery)>,
}

impl Deliveries {
    pub(in crate::realtime) fn of(&mut self, outbox: &Arc<Outbox>) -> &mut Delivery {
        let last = self.all.len();
        let same = self.all.last().is_some_and(|(of, _)| Arc::ptr_eq(of, outbox));
        if !same {
            self.all.push((outbox.clone(), Delivery::default()));
        }
        &mut self.all[last - usize::from(same)].1
    }

    /// One for each session.
    pub(in crate::realtime) fn into_each(self) -> impl Iterator<Item = (Arc<Outbox>, Delivery)> {
        let mut all = self.all;
        // What came later stays behind what came before.
        all.sort_by_key(|(outbox, _)| outbox.id);
        all.dedup_by(|(later, delivery), (outbox, before)| {
            let same = later.id == outbox.id;
            if same {
                before.then(std::mem::take(delivery));
            }
            same
        });
        all.into_iter()
    }

    pub(in crate::realtime) fn send(self, position: u64) {
        for (outbox, delivery) in self.into_each() {
            outbox.put(position, delivery);
        }
    }
}
