//! The jobs of an app, by name: those of `#[forge::job]`, and one for each cron, whose runs are jobs.

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use forge_core::Result;
use forge_core::cron::{CronInfo, ForgeCron};
use forge_core::job::{DEFAULT_RETAIN, ForgeJob, Job, JobInfo};
use forge_core::manifest::JobDef;
use forge_core::wire::{self, TypeRegistry};

use super::JobContext;
use crate::cron::CronContext;
use crate::function::{Place, RunIn, twice};
use crate::observability::JobMetrics;

/// A job with its types erased: JSON in, JSON out.
#[derive(Debug)]
pub(crate) struct JobEntry {
    /// The job's own type, which tells it from another one of the same name.
    id: TypeId,
    pub(super) info: JobInfo,
    /// Nothing for the runs of a cron, which are described as such.
    describe: Option<fn(&mut TypeRegistry) -> JobDef>,
    pub(super) run: RunIn<JobContext>,
    pub(super) metrics: JobMetrics,
}

impl JobEntry {
    pub(crate) fn of<J: ForgeJob<JobContext>>() -> Self {
        Self {
            id: TypeId::of::<J>(),
            info: J::INFO,
            describe: Some(JobDef::of::<J>),
            run: |ctx, input| {
                Box::pin(async move {
                    let output = J::execute(ctx, wire::read_json(input)?).await?;
                    let mut json = Vec::with_capacity(64);
                    wire::write_json(&output, &mut json)?;
                    Ok(json)
                })
            },
            metrics: JobMetrics::new(J::INFO.name),
        }
    }

    /// The runs of a cron.
    pub(crate) fn of_cron<C: ForgeCron<CronContext>>() -> Self {
        let CronInfo { name, doc, queue, priority, timeout, retry, capability, module, file, line, .. } = C::INFO;
        Self {
            id: TypeId::of::<C>(),
            info: JobInfo {
                name,
                doc,
                queue,
                priority,
                timeout,
                retry,
                capability,
                idempotent: false,
                concurrency: crate::cron::concurrency(C::INFO.overlap),
                rate_limit: None,
                retain: DEFAULT_RETAIN,
                dead_letter_retain: DEFAULT_RETAIN,
                track: JobInfo::NOBODY,
                module,
                file,
                line,
            },
            describe: None,
            run: |ctx, input| {
                Box::pin(async move {
                    let ctx = CronContext::new::<C>(ctx, input)?;
                    C::execute(&ctx).await?;
                    Ok(b"null".to_vec())
                })
            },
            metrics: JobMetrics::new(name),
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
        let mut jobs: BTreeMap<&'static str, Arc<JobEntry>> = BTreeMap::new();
        for entry in entries {
            let entry = Arc::new(entry);
            if let Some(other) = jobs.insert(entry.info.name, entry.clone()) {
                let place = Place::of_job(&entry.info);
                return Err(twice(&place, (other.id != entry.id).then(|| Place::of_job(&other.info)).as_ref()));
            }
        }
        Ok(Self { jobs: Arc::new(jobs) })
    }

    /// What one says about itself.
    pub fn info(&self, kind: &str) -> Option<&JobInfo> {
        self.jobs.get(kind).map(|entry| &entry.info)
    }

    /// What they say about themselves, by name. The runs of crons are not among them.
    pub fn infos(&self) -> impl Iterator<Item = &JobInfo> {
        self.jobs.values().filter(|entry| entry.describe.is_some()).map(|entry| &entry.info)
    }

    /// The queues that they wait in, those of runs of crons too.
    pub(crate) fn queues(&self) -> BTreeSet<&'static str> {
        self.entries().map(|entry| entry.info.queue).collect()
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Arc<JobEntry>> {
        self.jobs.values()
    }

    pub(crate) fn has<J: Job>(&self) -> bool {
        self.jobs.get(J::INFO.name).is_some_and(|entry| entry.id == TypeId::of::<J>())
    }

    /// Described, but for the runs of crons.
    pub(crate) fn describe(&self, types: &mut TypeRegistry) -> Vec<(&JobInfo, JobDef)> {
        self.jobs.values().filter_map(|entry| Some((&entry.info, (entry.describe?)(types)))).collect()
    }
}
