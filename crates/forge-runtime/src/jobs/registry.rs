//! The jobs of an app, by name.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::Arc;

use forge_core::job::{ForgeJob, Job, JobInfo};
use forge_core::{Error, Result, wire};

use super::context::JobContext;
use crate::function::Encoded;
use crate::observability::JobMetrics;

/// Decodes an input, runs the job in a context, encodes its result.
pub(crate) type RunJob = for<'a> fn(&'a JobContext, &'a [u8]) -> Encoded<'a>;

/// A job with its types erased: JSON in, JSON out.
#[derive(Debug)]
pub(crate) struct JobEntry {
    id: TypeId,
    pub(crate) info: JobInfo,
    pub(crate) run: RunJob,
    pub(crate) metrics: JobMetrics,
}

impl JobEntry {
    pub(crate) fn new<J: ForgeJob<JobContext>>() -> Self {
        Self {
            id: TypeId::of::<J>(),
            info: J::INFO,
            run: |ctx, input| {
                Box::pin(async move {
                    let output = J::execute(ctx, wire::read_json(input)?).await?;
                    let mut json = Vec::with_capacity(64);
                    wire::write_json(&output, &mut json)?;
                    Ok(json)
                })
            },
            metrics: JobMetrics::new(&J::INFO),
        }
    }
}

/// The jobs of an app, by name. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct JobRegistry {
    jobs: Arc<BTreeMap<&'static str, Arc<JobEntry>>>,
}

impl JobRegistry {
    pub(crate) fn new(entries: impl IntoIterator<Item = JobEntry>) -> Result<Self> {
        let mut jobs = BTreeMap::new();
        for entry in entries {
            let info = entry.info;
            if let Some(other) = jobs.insert(info.name, Arc::new(entry))
                && jobs.get(info.name).is_some_and(|this| this.id != other.id)
            {
                return Err(Error::config(
                    "JOB_TWICE",
                    format!(
                        "there are two jobs called `{}`: at {}:{} and at {}:{}; rename one, or give it a name of its own with `name = \"..\"`",
                        info.name, other.info.file, other.info.line, info.file, info.line
                    ),
                ));
            }
        }
        Ok(Self { jobs: Arc::new(jobs) })
    }

    /// What each says about itself, by name.
    pub fn infos(&self) -> impl Iterator<Item = &JobInfo> {
        self.jobs.values().map(|entry| &entry.info)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Arc<JobEntry>> {
        self.jobs.values()
    }

    pub(crate) fn has<J: Job>(&self) -> bool {
        self.jobs.get(J::INFO.name).is_some_and(|entry| entry.id == TypeId::of::<J>())
    }
}
