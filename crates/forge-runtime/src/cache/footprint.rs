//! What a run stands on: the tables behind the statements that it ran, and whether their changes are in the feed.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use forge_core::Result;

use crate::db::{Database, Shape};
use crate::feed::Capture;
use crate::read_set::{Argument, Catalogue, Dependency, Reading, Table, Unfollowable};

/// How many statements' readings are remembered.
const READINGS_MAX: usize = 10_000;

/// After a table could not be watched, it is tried again no sooner than this.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// What a run stands on.
#[derive(Debug)]
pub(super) enum Footprint {
    Known(Vec<Dependency>),
    /// Changes of one of its tables were not in the feed when it began; they are about to be.
    NotYet,
    /// With the reason.
    Never(String),
}

/// What is known of statements and tables. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Footprints(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    database: Database,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    readings: HashMap<u64, Arc<std::result::Result<Reading, Unfollowable>>>,
    tables: HashMap<u32, Watched>,
}

#[derive(Debug, Default)]
struct Watched {
    /// The columns by which its rows are matched.
    keys: BTreeSet<String>,
    /// All changes that were committed later are in the feed.
    since: Option<Instant>,
    /// Somebody is at it.
    making: bool,
    failed: Option<Instant>,
}

impl Footprints {
    pub(super) fn new(database: Database) -> Self {
        Self(Arc::new(Inner { database, known: Mutex::default() }))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The schema has changed.
    pub(super) fn forget(&self) {
        *self.known() = Known::default();
    }

    /// What a run stands on that began then.
    ///
    /// # Errors
    /// When the catalogue cannot be asked.
    pub(super) async fn of(&self, asked: &[(Arc<Shape>, Vec<Argument>)], began: Instant) -> Result<Footprint> {
        let mut dependencies = Vec::new();
        for (shape, arguments) in asked {
            match &*self.reading(shape).await? {
                Ok(reading) => {
                    for dependency in reading.bind(arguments) {
                        if !dependencies.contains(&dependency) {
                            dependencies.push(dependency);
                        }
                    }
                }
                Err(why) => return Ok(Footprint::Never(format!("{}. The statement: {}", why.0, shape.text))),
            }
        }
        let mut watched = true;
        for dependency in &dependencies {
            watched &= self.is_watched(dependency, began);
        }
        Ok(if watched { Footprint::Known(dependencies) } else { Footprint::NotYet })
    }

    async fn reading(&self, shape: &Shape) -> Result<Arc<std::result::Result<Reading, Unfollowable>>> {
        if let Some(reading) = self.known().readings.get(&shape.id) {
            return Ok(reading.clone());
        }
        let lease = self.0.database.looks().get().await?;
        // Dropped half way, it is not to leave its answer to the next one.
        lease.busy();
        let reading = Arc::new(Catalogue::read(lease.client(), &shape.text).await?);
        lease.clean();
        let mut known = self.known();
        if known.readings.len() >= READINGS_MAX {
            known.readings.clear();
        }
        known.readings.insert(shape.id, reading.clone());
        Ok(reading)
    }

    /// Whether all changes since then are in the feed. It is seen to that those of the future are, without waiting for it: a writer may
    /// hold the table for a while.
    fn is_watched(&self, dependency: &Dependency, began: Instant) -> bool {
        let mut known = self.known();
        let watched = known.tables.entry(dependency.table.oid).or_default();
        let wanted: BTreeSet<String> = dependency.keys.iter().map(|(column, _)| column.clone()).collect();
        // That the triggers are there now does not say that they were when the run began, if somebody else has made them.
        let since = watched.since.is_some_and(|since| since <= began);
        let wait = watched.failed.is_some_and(|at| at.elapsed() < AGAIN_AFTER);
        if !watched.making && !wait && (watched.since.is_none() || !wanted.is_subset(&watched.keys)) {
            watched.making = true;
            let keys = watched.keys.union(&wanted).cloned().collect();
            tokio::spawn(self.clone().watch(dependency.table.clone(), keys));
        }
        since
    }

    async fn watch(self, table: Arc<Table>, keys: BTreeSet<String>) {
        let made = async {
            let lease = self.0.database.looks().get().await?;
            lease.busy();
            Capture { table: &table, keys: &keys }.ensure(lease.client()).await?;
            lease.clean();
            Ok::<_, forge_core::Error>(())
        };
        let made = made.await;
        let mut known = self.known();
        let watched = known.tables.entry(table.oid).or_default();
        watched.making = false;
        match made {
            Ok(()) => {
                watched.keys = keys;
                watched.since.get_or_insert_with(Instant::now);
                watched.failed = None;
            }
            Err(why) => {
                // What is only busy is tried again at the next run.
                watched.failed = (!why.is_retryable()).then(Instant::now);
                tracing::warn!(table = table.name.as_str(), error = ?why, "results that read this table are not kept");
            }
        }
    }
}
