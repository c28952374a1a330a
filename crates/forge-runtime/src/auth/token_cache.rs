//! Tokens that were found genuine, so that the next call with the same one costs a hash and a look-up.
//!
//! An entry holds what the token says, never that it is valid now: times, key and session are looked at on every use.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use lru::LruCache;
use sha2::{Digest as _, Sha256};

use super::token::Statement;

/// How many locks the cache is spread over.
const SHARDS: usize = 16;

/// How many tokens each shard holds; 10 000 altogether.
const SHARD_SIZE: NonZeroUsize = NonZeroUsize::new(625).expect("not zero");

/// A token that was found genuine.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) statement: std::sync::Arc<Statement>,
    /// Until when its key is accepted.
    pub(super) key_until: i64,
    /// Whether its key was published by an identity provider, so that it may be withdrawn.
    pub(super) fetched_key: bool,
    /// The generation of the keys when it was checked; keys that changed since make the entry worthless.
    pub(super) generation: u64,
}

/// The hash that stands for a token. The token itself is not kept: a memory dump should not hold thousands of them.
pub(super) type Fingerprint = [u8; 32];

pub(super) fn fingerprint(token: &str) -> Fingerprint {
    Sha256::digest(token).into()
}

/// The cache: bounded, the entry unused longest makes room.
pub(super) struct TokenCache([Mutex<LruCache<Fingerprint, Entry>>; SHARDS]);

impl TokenCache {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| Mutex::new(LruCache::new(SHARD_SIZE))))
    }

    pub(super) fn get(&self, fingerprint: &Fingerprint) -> Option<Entry> {
        self.shard(fingerprint).get(fingerprint).cloned()
    }

    pub(super) fn put(&self, fingerprint: Fingerprint, entry: Entry) {
        self.shard(&fingerprint).put(fingerprint, entry);
    }

    pub(super) fn remove(&self, fingerprint: &Fingerprint) {
        self.shard(fingerprint).pop(fingerprint);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }

    fn shard(&self, fingerprint: &Fingerprint) -> std::sync::MutexGuard<'_, LruCache<Fingerprint, Entry>> {
        // The cache stays usable whatever a thread died of: an entry is whole or absent.
        self.0[usize::from(fingerprint[0]) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
