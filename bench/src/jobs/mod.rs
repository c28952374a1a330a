//! `jobs`: what it costs to dispatch jobs and to work them off, how soon one begins, and what becomes of that under a pinned horizon and
//! with a million waiting.
//!
//! ```text
//!  dispatching node ──▶ PostgreSQL ──▶ worker                 both are the app, with default settings
//!  pgbench, a bare client ──▶ the same server: the floors     taking turns, round after round
//! ```
//!
//! Everything shares two cores, pinned to none. A ratio is taken within a round. The floors are those of `bench/layouts`.

mod cycles;
mod drain;
mod enqueue;
mod latency;
mod node;

use std::path::Path;
use std::time::Duration;

use layouts::database::connect;
use layouts::floor::Floor;

use crate::figures::Figures;
use crate::programs::Programs;
use crate::report::Spread;
use crate::{Result, cpu, say};

/// How often the floors and FORGE take turns.
const ROUNDS: usize = 5;

/// What there is to run it with.
#[derive(Debug)]
struct Stage<'a> {
    programs: &'a Programs,
    floor: Floor,
    /// The address of the app's database.
    url: String,
    /// PostgreSQL's process.
    postgres: u32,
    logs: &'a Path,
}

impl Stage<'_> {
    /// Empties the queue and its history.
    async fn empty(&self) -> Result<()> {
        let client = connect(&self.url).await?;
        client.batch_execute("TRUNCATE forge_jobs, forge_jobs_done, forge_jobs_dead").await?;
        Ok(client.batch_execute("CHECKPOINT").await?)
    }

    /// What was written is on disk and known to the planner, as it is when a queue has filled up over some time.
    async fn settle(&self) -> Result<()> {
        let client = connect(&self.url).await?;
        client.batch_execute("VACUUM ANALYZE forge_jobs").await?;
        Ok(client.batch_execute("CHECKPOINT").await?)
    }
}

/// A part of the benchmark that can be run alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Enqueue,
    Drain,
    Latency,
    Pinned,
    Crowd,
}

impl Part {
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "enqueue" => Some(Self::Enqueue),
            "drain" => Some(Self::Drain),
            "latency" => Some(Self::Latency),
            "pinned" => Some(Self::Pinned),
            "crowd" => Some(Self::Crowd),
            _ => None,
        }
    }
}

/// Measures, and prints what came of it. A part alone has no line for machines.
pub(crate) fn run(programs: &Programs, floor: Floor, url: String, postgres: u32, part: Option<Part>) -> Result<()> {
    let logs = tempfile::tempdir()?;
    let stage = Stage { programs, floor, url, postgres, logs: logs.path() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut figures = Figures::new("jobs");
    runtime.block_on(measure(&stage, part, &mut figures)).map_err(|why| node::with_logs(&stage, why))?;
    if part.is_some() { Ok(()) } else { figures.finish() }
}

async fn measure(stage: &Stage<'_>, part: Option<Part>, figures: &mut Figures) -> Result<()> {
    let wanted = |one| part.is_none_or(|part| part == one);
    if wanted(Part::Enqueue) {
        enqueue::measure(stage, figures).await?;
    }
    if wanted(Part::Drain) {
        drain::measure(stage, figures).await?;
    }
    if wanted(Part::Latency) {
        latency::measure(stage, figures).await?;
    }
    if wanted(Part::Pinned) {
        cycles::measure(stage, figures).await?;
    }
    if wanted(Part::Crowd) {
        drain::crowd(stage, figures).await?;
    }
    Ok(())
}

/// How many of the two cores are busy while nothing is measured.
fn others() -> Result<f64> {
    const LOOK: Duration = Duration::from_millis(300);
    let before = cpu::used_on(&[0, 1])?;
    std::thread::sleep(LOOK);
    Ok(cpu::used_on(&[0, 1])?.saturating_sub(before).as_secs_f64() / LOOK.as_secs_f64())
}

/// The ratios of what was measured in the same rounds.
fn ratios(ours: &[f64], theirs: &[f64]) -> Option<Spread> {
    Spread::of(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs))
}

/// Rates, for people.
fn tell(name: &str, rates: &[f64]) -> Result<()> {
    let spread = Spread::of(rates.iter().copied()).map_or_else(String::new, |spread| spread.show(0));
    say(&format!("  {name:40}{spread:>28}"))
}
