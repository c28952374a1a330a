//! Which tables' changes are in the feed.
//!
//! A trigger waits for open writers of its table, so triggers are made one after the other, beside the rounds: who reads a table that
//! somebody has been writing to for a while waits for that, and nobody else does.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use forge_core::Result;
use tokio::task::JoinSet;

use crate::db::Database;
use crate::feed::Capture;
use crate::read_set::{Dependency, Table};

/// For how long a table is tried before those who wait for it are told.
const TRIED_FOR: Duration = Duration::from_secs(30);

/// How long to wait between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// Tables that are watched, and those that are to be.
#[derive(Debug, Default)]
pub(super) struct Watches {
    /// With the columns by which rows are matched, for each shape that the table was seen in.
    watched: HashMap<(u32, u32), BTreeSet<String>>,
    wanted: VecDeque<Wanted>,
    /// One at a time.
    making: JoinSet<(Wanted, Result<()>)>,
}

#[derive(Debug)]
struct Wanted {
    table: Arc<Table>,
    keys: BTreeSet<String>,
    since: Instant,
}

/// News of a table: it is watched from now on, or it cannot be.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) table: u32,
    pub(super) result: Result<()>,
}

impl Watches {
    /// What was known of tables may not be true any more.
    pub(super) fn forget(&mut self) {
        self.watched.clear();
    }

    /// The tables among these whose changes are not in the feed, by the columns that are needed. They will be.
    pub(super) fn missing(&mut self, dependencies: &[Dependency]) -> BTreeSet<u32> {
        let mut missing = BTreeSet::new();
        for dependency in dependencies {
            let (table, oid) = (&dependency.table, dependency.table.oid);
            let keys: BTreeSet<String> = dependency.keys.iter().map(|(column, _)| column.clone()).collect();
            if self.watched.get(&(oid, table.shape)).is_some_and(|written| keys.is_subset(written)) {
                continue;
            }
            missing.insert(oid);
            match self.wanted.iter_mut().find(|wanted| wanted.table.oid == oid) {
                Some(wanted) => wanted.keys.extend(keys),
                None => self.wanted.push_back(Wanted { table: table.clone(), keys, since: Instant::now() }),
            }
        }
        missing
    }

    /// Whether there is anything to wait for.
    pub(super) fn is_idle(&self) -> bool {
        self.wanted.is_empty() && self.making.is_empty()
    }

    /// The next news of a table. May be dropped while it waits.
    pub(super) async fn next(&mut self, database: &Database) -> Option<Watched> {
        loop {
            if self.making.is_empty() {
                let wanted = self.wanted.pop_front()?;
                self.making.spawn(make(wanted, database.clone()));
            }
            let Some(Ok((wanted, result))) = self.making.join_next().await else { continue };
            match result {
                Ok(()) => {
                    let table = wanted.table.oid;
                    self.watched.entry((table, wanted.table.shape)).or_default().extend(wanted.keys);
                    return Some(Watched { table, result: Ok(()) });
                }
                // Others take their turn first.
                Err(why) if why.is_retryable() && wanted.since.elapsed() < TRIED_FOR => {
                    tracing::debug!(table = wanted.table.name, error = ?why, "a table cannot be watched yet");
                    self.wanted.push_back(wanted);
                }
                Err(why) => return Some(Watched { table: wanted.table.oid, result: Err(why) }),
            }
        }
    }
}

async fn make(wanted: Wanted, database: Database) -> (Wanted, Result<()>) {
    let result = async {
        let lease = database.live().get().await?;
        lease.busy();
        Capture { table: &wanted.table, keys: &wanted.keys }.ensure(lease.client()).await?;
        lease.clean();
        Ok(())
    };
    let result = result.await;
    if result.is_err() {
        tokio::time::sleep(PAUSE).await;
    }
    (wanted, result)
}
