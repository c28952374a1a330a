//! Letting jobs in that wait for a place of their key: when somebody tells that there may be one, and by looking through all keys now and then.
//!
//! Many keys share a transaction, which costs what one would. Their locks are taken in one order, so that workers that let in at the same time wait for
//! each other, but not in a circle.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use forge_core::Result;
use forge_core::job::JobInfo;
use futures_util::future::try_join_all;
use serde_json::{Map, Value};

use super::claimer::Claimer;
use super::store::{HELD, RELEASE, RELEASE_LOCK, get};
use super::wake::Wake;
use crate::cluster::{ClusterInfo, NodeInfo, NodeRole};
use crate::db::error::from_driver;
use crate::db::transaction::{Purpose, Transaction};

/// How many keys are looked at by one statement.
const LOOK_MAX: i32 = 1000;

/// How many keys share a transaction at most.
const RELEASE_MAX: usize = 200;

/// How many jobs of a key are let in at a time whose kind has no limit any more. All of them may run; it bounds what one statement writes and counts.
const FORMER_MAX: i64 = 10_000;

/// How long letting in may take.
const RELEASE_WITHIN: Duration = Duration::from_secs(10);

/// A kind, and the key of some of its jobs.
pub(super) type Key = (String, String);

/// How far a worker has got with looking through all keys that jobs wait for.
#[derive(Debug, Default)]
pub(super) struct Keys {
    looking: bool,
    /// Behind which key it goes on.
    from: Key,
    /// Something may have become free before that.
    again: bool,
    /// How long it has taken so far.
    took: Duration,
}

impl Keys {
    /// All of them are to be looked through.
    pub(super) fn look(&mut self) {
        self.again = self.looking;
        self.looking = true;
    }

    /// Whether they are being looked through.
    pub(super) fn is_looking(&self) -> bool {
        self.looking
    }

    /// Some have been, in so long. Returns how long it has taken in all, when those were the last.
    fn looked(&mut self, last: Option<Key>, took: Duration) -> Option<Duration> {
        self.took += took;
        match last {
            Some(last) => {
                self.from = last;
                None
            }
            None => {
                let all = self.took;
                *self = Self { looking: self.again, ..Self::default() };
                Some(all)
            }
        }
    }
}

impl Claimer<'_> {
    /// Looks through some of the keys that jobs wait for, and lets in where there is a place.
    pub(super) async fn look_for_held(&mut self) -> Result<()> {
        let began = Instant::now();
        let limits = self.worker.entries.values();
        let limits = limits.filter_map(|entry| Some((entry.info.name.to_owned(), self.limit(&entry.info)?.into())));
        let limits = Value::Object(limits.collect::<Map<_, _>>());
        let lease = self.worker.jobs.pool().get().await?;
        let (kind, key) = &self.keys.from;
        let answer = lease.query(&HELD, &[kind, key, &LOOK_MAX, &limits]).await.map_err(from_driver)?;
        drop(lease);
        let (mut free, mut last) = (BTreeSet::new(), None);
        for row in &answer.rows {
            let key: Key = (get(row, 0)?, get(row, 1)?);
            if get(row, 2)? {
                free.insert(key.clone());
            }
            last = Some(key);
        }
        self.release(free).await?;
        let more = answer.rows.len() >= LOOK_MAX as usize;
        if let Some(took) = self.keys.looked(last.filter(|_| more), began.elapsed()) {
            self.next_look(took);
        }
        Ok(())
    }

    /// Lets jobs of these keys in.
    pub(super) async fn release(&mut self, keys: BTreeSet<Key>) -> Result<()> {
        let limit = |kind: &str| self.limit(&self.worker.entries.get(kind)?.info);
        let keys: Vec<(Key, i64)> = keys.into_iter().filter_map(|key| limit(&key.0).map(|limit| (key, limit))).collect();
        for some in keys.chunks(RELEASE_MAX) {
            self.release_some(some).await?;
        }
        Ok(())
    }

    /// How many jobs of a key may run at once, if that is this worker's to say.
    ///
    /// Those that were dispatched when their kind still had a limit have a key, and wait for a place for good. Whether there is none any more, or
    /// not yet, the worker knows that began last: while one version takes the place of another, its code is the newer.
    fn limit(&self, info: &JobInfo) -> Option<i64> {
        match info.concurrency {
            Some(concurrency) => Some(concurrency.limit.into()),
            None => began_last(&self.worker.jobs.cluster().info(), info.capability).then_some(FORMER_MAX),
        }
    }

    async fn release_some(&mut self, some: &[(Key, i64)]) -> Result<()> {
        let jobs = &self.worker.jobs;
        let transaction = Transaction::lazy(jobs.pool(), Purpose::Own, Instant::now() + RELEASE_WITHIN, false);
        let (kinds, keys): (Vec<&str>, Vec<&str>) =
            some.iter().map(|((kind, key), _)| (kind.as_str(), key.as_str())).unzip();
        transaction.query(&RELEASE_LOCK, &[&kinds, &keys]).await?;
        // All are sent at once; each sees what there is now that the locks are had.
        let let_in = some.iter().map(async |((kind, key), limit)| {
            let answer = transaction.query(&RELEASE, &[kind, key, limit]).await?;
            Ok::<_, forge_core::Error>((kind, answer))
        });
        let let_in = try_join_all(let_in).await?;
        transaction.commit(None, self.worker.executor.database().side()).await?;
        let others = !self.waker.has_room();
        for (kind, answer) in &let_in {
            for row in &answer.rows {
                let (priority, at) = (get(row, 0)?, get(row, 1)?);
                self.lanes.wake(kind, priority, at);
                if others {
                    jobs.wake(Wake::Ready { kind: (*kind).clone().into(), priority, at });
                }
            }
        }
        Ok(())
    }
}

/// Whether no worker that is at work, and does what needs this capability, has begun later than this node.
fn began_last(cluster: &ClusterInfo, capability: &str) -> bool {
    let me = cluster.me().and_then(|me| cluster.node(me));
    let does = |node: &NodeInfo| node.has(NodeRole::Worker) && node.capabilities.iter().any(|one| one == capability);
    me.is_some_and(|me| !cluster.active().any(|node| does(node) && (node.started_at, node.id) > (me.started_at, me.id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_are_looked_through_and_once_more_when_something_happened_meanwhile() {
        let (second, key) = (Duration::from_secs(1), |n: u8| ("mail".to_owned(), format!("{n}")));
        let mut keys = Keys::default();
        assert!(!keys.is_looking());
        keys.look();
        assert_eq!(keys.looked(Some(key(1)), second), None);
        assert!(keys.is_looking() && keys.from == key(1));
        keys.look();
        assert_eq!(keys.from, key(1), "it goes on where it is");
        assert_eq!(keys.looked(None, second), Some(second * 2));
        assert!(keys.is_looking() && keys.from == Key::default());
        assert_eq!(keys.looked(None, second), Some(second));
        assert!(!keys.is_looking());
    }
}
