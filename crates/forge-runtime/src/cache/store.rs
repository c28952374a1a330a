//! What is kept: results by key, in the order in which they were asked for, and what they depend on.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use forge_core::auth::AuthContext;
use lru::LruCache;
use sha2::{Digest as _, Sha256};

use super::flight::{Flight, WeakFlight};
use crate::feed::{Batch, Snapshot};
use crate::observability;
use crate::read_set::{Dependency, Values};
use crate::realtime::{Fingerprint, GroupId, Index};

/// What a kept result counts beside its own bytes.
const OVERHEAD: usize = 1024;

/// A result may take this part of all there is.
const PART_MAX: usize = 100;

/// How many changes are remembered for the runs under way; whoever began before them is not kept.
const RECENT_MAX: usize = 10_000;

/// So many that are gone may be in the index beside those that are there, and as many again, before it is made anew.
const GONE_MAX: usize = 1024;

/// Function, arguments and, unless it is anybody's, of whom. A digest: of fixed size, and no two calls have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 32]);

impl Key {
    /// What anybody may share.
    pub(super) fn of_anybody(function: &str, args: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update((function.len() as u64).to_le_bytes());
        hash.update(function);
        hash.update(args);
        Self(hash.finalize().into())
    }

    /// What callers share of whom a function can see the same.
    pub(super) fn like(self, auth: &AuthContext) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(Fingerprint::of(auth).bytes());
        Self(hash.finalize().into())
    }
}

/// A result to keep.
#[derive(Debug)]
pub(super) struct Result {
    pub(super) json: Arc<[u8]>,
    pub(super) ends: Instant,
    /// Of what; none when age alone ends it.
    pub(super) footprint: Option<Footing>,
}

/// What a result stands on.
#[derive(Debug)]
pub(super) struct Footing {
    pub(super) snapshot: Snapshot,
    pub(super) dependencies: Vec<Dependency>,
}

#[derive(Debug)]
struct Kept {
    id: GroupId,
    json: Arc<[u8]>,
    ends: Instant,
    /// Empty when it reads no table; none when age alone ends it.
    dependencies: Option<Vec<Dependency>>,
    weight: usize,
}

/// What is kept on a node.
#[derive(Debug)]
pub(super) struct Store {
    kept: LruCache<Key, Kept>,
    by_id: HashMap<GroupId, Key>,
    index: Index,
    /// Ids in the index that are gone: taking each out would cost more than making it anew now and then.
    gone: usize,
    next: u64,
    weight: usize,
    weight_max: usize,
    /// How many of them changes can end.
    followed: usize,
    /// Batches that have been applied.
    seq: u64,
    /// All batches after this one are among the recent ones.
    floor: u64,
    recent: VecDeque<(u64, Batch)>,
    recent_changes: usize,
    /// Runs that others can wait for.
    flights: HashMap<Key, (u64, WeakFlight)>,
    /// The last batch before each run began that follows changes.
    running: BTreeMap<u64, u64>,
    /// Functions that have looked at their caller.
    private: HashSet<&'static str>,
}

impl Store {
    pub(super) fn new(weight_max: usize) -> Self {
        Self {
            kept: LruCache::unbounded(),
            by_id: HashMap::new(),
            index: Index::default(),
            gone: 0,
            next: 0,
            weight: 0,
            weight_max,
            followed: 0,
            seq: 0,
            floor: 0,
            recent: VecDeque::new(),
            recent_changes: 0,
            flights: HashMap::new(),
            running: BTreeMap::new(),
            private: HashSet::new(),
        }
    }

    /// Whether changes can end anything that is kept or being made.
    pub(super) fn follows(&self) -> bool {
        self.followed > 0 || !self.running.is_empty()
    }

    pub(super) fn is_private(&self, function: &str) -> bool {
        self.private.contains(function)
    }

    pub(super) fn found_private(&mut self, function: &'static str) {
        self.private.insert(function);
    }

    /// What is kept under a key.
    pub(super) fn get(&mut self, key: &Key) -> Option<Arc<[u8]>> {
        let kept = self.kept.get(key)?;
        if kept.ends > Instant::now() {
            return Some(kept.json.clone());
        }
        self.remove(key);
        self.tell();
        None
    }

    /// The run under way that makes what belongs under a key.
    pub(super) fn flight(&self, key: &Key) -> Option<Flight> {
        self.flights.get(key)?.1.upgrade()
    }

    /// A run begins: gives its number. If it follows changes, none is missed from here on.
    pub(super) fn begin(&mut self, follow: bool) -> u64 {
        self.next += 1;
        if follow {
            self.running.insert(self.next, self.seq);
        }
        self.next
    }

    /// Others may wait for it.
    pub(super) fn announce(&mut self, key: Key, number: u64, flight: WeakFlight) {
        self.flights.insert(key, (number, flight));
    }

    /// A run is over, whatever came of it.
    pub(super) fn end(&mut self, key: &Key, number: u64) {
        if self.flights.get(key).is_some_and(|(of, _)| *of == number) {
            self.flights.remove(key);
        }
        self.running.remove(&number);
        let needed = self.running.values().min().copied().unwrap_or(self.seq);
        while self.recent.front().is_some_and(|(seq, _)| *seq <= needed) {
            self.forget_oldest();
        }
    }

    /// Keeps what a run has shown; false when something of it has changed since, or may have.
    pub(super) fn keep(&mut self, key: Key, number: u64, result: Result) -> bool {
        if let Some(footing) = &result.footprint {
            let Some(&began) = self.running.get(&number) else { return false };
            let mut changed = began < self.floor;
            if !changed {
                let mut probe = Index::default();
                probe.add(GroupId(0), &footing.dependencies);
                let mut found = HashSet::new();
                let since = self.recent.iter().filter(|(seq, _)| *seq > began).map(|(_, batch)| batch);
                // What the run's snapshot contains as a whole, the run has seen.
                for batch in since.filter(|batch| !footing.snapshot.includes(&batch.snapshot)) {
                    batch.changes.iter().for_each(|change| probe.concerned(change, &mut found));
                }
                changed = !found.is_empty();
            }
            if changed {
                return false;
            }
        }
        let dependencies = result.footprint.map(|footing| footing.dependencies);
        let weight = OVERHEAD + result.json.len() + 3 * dependencies.iter().flatten().map(weight).sum::<usize>();
        if weight > self.weight_max / PART_MAX {
            return false;
        }
        self.remove(&key);
        self.next += 1;
        let id = GroupId(self.next);
        if let Some(dependencies) = &dependencies {
            self.index.add(id, dependencies);
            self.followed += 1;
        }
        self.by_id.insert(id, key);
        self.weight += weight;
        self.kept.put(key, Kept { id, json: result.json, ends: result.ends, dependencies, weight });
        let mut evicted = 0;
        while self.weight > self.weight_max
            && let Some((key, _)) = self.kept.peek_lru().map(|(key, kept)| (*key, kept.weight))
        {
            self.remove(&key);
            evicted += 1;
        }
        observability::query_cache().evicted(evicted);
        self.tidy();
        self.tell();
        true
    }

    /// Takes in what has changed.
    pub(super) fn apply(&mut self, batch: Batch) {
        self.seq += 1;
        if batch.gap {
            self.forget_followed();
            return;
        }
        let mut concerned = HashSet::new();
        batch.changes.iter().for_each(|change| self.index.concerned(change, &mut concerned));
        let mut ended = 0;
        for id in concerned {
            if let Some(key) = self.by_id.get(&id).copied() {
                self.remove(&key);
                ended += 1;
            }
        }
        if self.running.is_empty() {
            self.floor = self.seq;
        } else if !batch.changes.is_empty() {
            self.recent_changes += batch.changes.len();
            self.recent.push_back((self.seq, batch));
            while self.recent_changes > RECENT_MAX {
                self.forget_oldest();
            }
        }
        observability::query_cache().invalidated(ended);
        self.tidy();
        self.tell();
    }

    /// Anything may have changed: nothing that follows changes is kept, nor what is being made.
    pub(super) fn forget_followed(&mut self) {
        let followed: Vec<Key> =
            self.kept.iter().filter(|(_, kept)| kept.dependencies.is_some()).map(|(key, _)| *key).collect();
        observability::query_cache().invalidated(followed.len());
        for key in followed {
            self.remove(&key);
        }
        (self.index, self.gone) = (Index::default(), 0);
        self.seq += 1;
        self.floor = self.seq;
        self.recent.clear();
        self.recent_changes = 0;
        self.tell();
    }

    /// Takes out what is too old, though nobody asks for it.
    pub(super) fn sweep(&mut self) {
        let now = Instant::now();
        let over: Vec<Key> = self.kept.iter().filter(|(_, kept)| kept.ends <= now).map(|(key, _)| *key).collect();
        for key in over {
            self.remove(&key);
        }
        self.tidy();
        self.tell();
    }

    fn forget_oldest(&mut self) {
        if let Some((seq, batch)) = self.recent.pop_front() {
            self.floor = seq;
            self.recent_changes -= batch.changes.len();
        }
    }

    fn remove(&mut self, key: &Key) {
        let Some(kept) = self.kept.pop(key) else { return };
        self.by_id.remove(&kept.id);
        self.weight -= kept.weight;
        if kept.dependencies.is_some() {
            self.followed -= 1;
            self.gone += 1;
        }
    }

    fn tidy(&mut self) {
        if self.gone <= GONE_MAX + self.followed {
            return;
        }
        let mut index = Index::default();
        for (_, kept) in &self.kept {
            index.add(kept.id, kept.dependencies.as_deref().unwrap_or_default());
        }
        (self.index, self.gone) = (index, 0);
    }

    fn tell(&self) {
        observability::query_cache().holds(self.kept.len(), self.weight);
    }
}

/// How much a dependency takes, roughly.
fn weight(dependency: &Dependency) -> usize {
    let value = |value: &Option<String>| 64 + value.as_ref().map_or(0, String::len);
    let of_key = |values: &Values| match values {
        Values::Among(values) => values.iter().map(value).sum::<usize>(),
        Values::Within(_) => 128,
    };
    let keys = dependency.keys.iter().map(|(column, values)| 64 + column.len() + of_key(values));
    64 + keys.sum::<usize>()
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
