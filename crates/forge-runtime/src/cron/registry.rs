//! The crons of an app, by name.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::Arc;

use forge_core::cron::{CronInfo, ForgeCron};
use forge_core::manifest::CronDef;
use forge_core::{Error, Result};

use super::{CronContext, CronSchedule};
use crate::function::{Place, twice};
use crate::jobs::JobEntry;

/// A cron with its type erased.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CronEntry {
    /// The cron's own type, which tells it from another one of the same name.
    id: TypeId,
    info: CronInfo,
    describe: fn() -> CronDef,
    /// What its runs are.
    pub(crate) job: fn() -> JobEntry,
}

impl CronEntry {
    pub(crate) fn of<C: ForgeCron<CronContext>>() -> Self {
        Self { id: TypeId::of::<C>(), info: C::INFO, describe: CronDef::of::<C>, job: JobEntry::of_cron::<C> }
    }
}

/// The crons of an app, by name, each with its schedule. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct CronRegistry {
    crons: Arc<BTreeMap<&'static str, (CronEntry, CronSchedule)>>,
}

impl CronRegistry {
    pub(crate) fn new(entries: impl IntoIterator<Item = CronEntry>) -> Result<Self> {
        let mut crons: BTreeMap<&'static str, (CronEntry, CronSchedule)> = BTreeMap::new();
        for entry in entries {
            let CronInfo { name, file, line, expression, timezone, .. } = entry.info;
            let schedule = CronSchedule::parse(expression, timezone).map_err(|error| {
                Error::config("CRON_INVALID", format!("the cron `{name}` ({file}:{line}): {}", error.message()))
            })?;
            if let Some((other, _)) = crons.insert(name, (entry, schedule)) {
                let place = Place::of_cron(&entry.info);
                return Err(twice(&place, (other.id != entry.id).then(|| Place::of_cron(&other.info)).as_ref()));
            }
        }
        Ok(Self { crons: Arc::new(crons) })
    }

    /// What the crons say about themselves and when they are due, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&CronInfo, &CronSchedule)> {
        self.crons.values().map(|(entry, schedule)| (&entry.info, schedule))
    }

    /// What one says about itself, and when it is due.
    pub fn get(&self, name: &str) -> Option<(&CronInfo, &CronSchedule)> {
        self.crons.get(name).map(|(entry, schedule)| (&entry.info, schedule))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.crons.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.crons.is_empty()
    }

    pub(crate) fn describe(&self) -> Vec<CronDef> {
        self.crons.values().map(|(entry, _)| (entry.describe)()).collect()
    }
}
