//! Which jobs a worker has, by its own knowledge: those that it has claimed and of which no end is written down yet.
//!
//! The rows say the same, but for claims whose answer was lost: nobody runs what those took. Each look compares the two and gives such jobs back.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

/// A claim: a job, and how often that had been claimed.
pub(super) type Claim = (Uuid, i32);

/// See the module. Cheap to clone. As large as what waits on the shelf, runs, and waits to be written down.
#[derive(Debug, Clone, Default)]
pub(super) struct Claims(Arc<Mutex<HashSet<Claim>>>);

impl Claims {
    fn claims(&self) -> MutexGuard<'_, HashSet<Claim>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These were claimed.
    pub(super) fn add(&self, claims: impl IntoIterator<Item = Claim>) {
        self.claims().extend(claims);
    }

    /// How these ended is written down.
    pub(super) fn remove(&self, claims: impl IntoIterator<Item = Claim>) {
        let mut all = self.claims();
        for claim in claims {
            all.remove(&claim);
        }
    }

    /// All of them, now.
    pub(super) fn all(&self) -> HashSet<Claim> {
        self.claims().clone()
    }
}
