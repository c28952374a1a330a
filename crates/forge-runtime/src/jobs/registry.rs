//! The jobs of an app, by name.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::Arc;

use forge_core::Result;
use forge_core::function::BoxFuture;
use forge_core::job::{ForgeJob, JobInfo};
use forge_core::manifest::JobDef;
use forge_core::wire::{self, TypeRegistry};

use super::JobContext;
use crate::function::{Place, RunIn, twice};

/// A job with its types erased: JSON in, JSON out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JobEntry {
    /// The job's own type, which tells it from another one of the same name.
    id: TypeId,
    info: JobInfo,
    describe: fn(&mut TypeRegistry) -> JobDef,
    run: RunIn<JobContext>,
}

impl JobEntry {
    pub(crate) fn new<J: ForgeJob<JobContext>>() -> Self {
        Self {
            id: TypeId::of::<J>(),
            info: J::INFO,
            describe: JobDef::of::<J>,
            run: |ctx, input| {
                Box::pin(async move {
                    let output = J::execute(ctx, wire::read_json(input)?).await?;
                    let mut json = Vec::with_capacity(64);
                    wire::write_json(&output, &mut json)?;
                    Ok(json)
                })
            },
        }
    }
}

/// The jobs of an app, by name. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct JobRegistry {
    jobs: Arc<BTreeMap<&'static str, JobEntry>>,
}

impl JobRegistry {
    pub(crate) fn new(entries: impl IntoIterator<Item = JobEntry>) -> Result<Self> {
        let mut jobs = BTreeMap::new();
        for entry in entries {
            if let Some(other) = jobs.insert(entry.info.name, entry) {
                let place = Place::of_job(&entry.info);
                return Err(twice(&place, (other.id != entry.id).then(|| Place::of_job(&other.info)).as_ref()));
            }
        }
        Ok(Self { jobs: Arc::new(jobs) })
    }

    /// What a job says about itself.
    pub fn info(&self, kind: &str) -> Option<&JobInfo> {
        self.jobs.get(kind).map(|entry| &entry.info)
    }

    /// What the jobs say about themselves, by name.
    pub fn infos(&self) -> impl Iterator<Item = &JobInfo> {
        self.jobs.values().map(|entry| &entry.info)
    }

    /// Reads an input, runs one attempt and writes its output; `None` when there is no job of this kind.
    pub fn run<'a>(&self, kind: &str, ctx: &'a JobContext, input: &'a [u8]) -> Option<BoxFuture<'a, Result<Vec<u8>>>> {
        self.jobs.get(kind).map(|entry| (entry.run)(ctx, input))
    }

    pub(crate) fn describe(&self, types: &mut TypeRegistry) -> Vec<JobDef> {
        self.jobs.values().map(|entry| (entry.describe)(types)).collect()
    }
}
