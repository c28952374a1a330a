//! Which live sessions speak for which sign-in, so that they can be woken when that ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::realtime::Outbox;

/// Live sessions by the sign-in (a row of `forge_sessions`) that they speak for. Those of nobody, and of tokens that belong to none, are not
/// here.
#[derive(Debug, Default)]
pub(super) struct Speakers(Mutex<HashMap<Uuid, Vec<Arc<Outbox>>>>);

/// A live session's entry. Dropped, it is gone.
#[derive(Debug)]
pub(super) struct Listed {
    speakers: Arc<Speakers>,
    sign_in: Uuid,
    outbox: Arc<Outbox>,
}

impl Speakers {
    fn all(&self) -> MutexGuard<'_, HashMap<Uuid, Vec<Arc<Outbox>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session speaks for a sign-in.
    pub(super) fn list(self: &Arc<Self>, sign_in: Uuid, outbox: &Arc<Outbox>) -> Listed {
        self.all().entry(sign_in).or_default().push(outbox.clone());
        Listed { speakers: self.clone(), sign_in, outbox: outbox.clone() }
    }

    /// Has those who speak for a sign-in look at what they are; with none, everybody.
    pub(super) fn wake(&self, sign_in: Option<Uuid>) {
        let all = self.all();
        match sign_in {
            Some(sign_in) => all.get(&sign_in).into_iter().flatten().for_each(|outbox| outbox.look()),
            None => all.values().flatten().for_each(|outbox| outbox.look()),
        }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut all = self.speakers.all();
        if let Some(speaking) = all.get_mut(&self.sign_in) {
            // One entry only: for a moment a session has two, when its next token is of the same sign-in.
            if let Some(at) = speaking.iter().position(|outbox| outbox.id == self.outbox.id) {
                speaking.swap_remove(at);
            }
            if speaking.is_empty() {
                all.remove(&self.sign_in);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_a_sign_in_are_woken_and_who_has_gone_is_not_kept() {
        let speakers = Arc::new(Speakers::default());
        let (ada, bob) = (Uuid::now_v7(), Uuid::now_v7());
        let outboxes: Vec<Arc<Outbox>> = (0..3).map(|_| Outbox::new()).collect();
        let listed = [ada, ada, bob].into_iter().zip(&outboxes).map(|(of, outbox)| speakers.list(of, outbox));
        let mut listed: Vec<Listed> = listed.collect();
        let woken = || -> Vec<bool> {
            let woken = outboxes.iter().map(|outbox| !outbox.is_empty()).collect();
            outboxes.iter().for_each(|outbox| drop(outbox.take()));
            woken
        };
        speakers.wake(Some(ada));
        assert_eq!(woken(), [true, true, false]);
        // The next token of the same sign-in: there is an entry all the time.
        listed[0] = speakers.list(ada, &outboxes[0]);
        drop(listed.remove(1));
        speakers.wake(Some(ada));
        assert_eq!(woken(), [true, false, false]);
        speakers.wake(None);
        assert_eq!(woken(), [true, false, true]);
        drop(listed);
        assert!(speakers.all().is_empty());
    }
}
