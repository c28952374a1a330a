//! Working off what waits: one process, from its first claim until the last end is durable.

use layouts::floor::Drain;

use super::node::{Node, Role};
use super::{ROUNDS, Stage, others, ratios, tell};
use crate::figures::Figures;
use crate::report::Aim;
use crate::{Result, say};

const JOBS: usize = 200_000;
/// What waits in all the queues of a crowd together.
const CROWD: usize = 1_000_000;

pub(super) async fn measure(stage: &Stage<'_>, figures: &mut Figures) -> Result<()> {
    say("\n200,000 jobs worked off by one process, jobs a second")?;
    let (mut d, mut taken, mut kept, mut dropped) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        figures.others(others()?);
        d.push(stage.floor.drain(Drain::Claimed, JOBS).await?);
        kept.push(worked_off(stage, "fill_kept", JOBS, JOBS).await?);
        taken.push(stage.floor.drain(Drain::Taken, JOBS).await?);
        dropped.push(worked_off(stage, "fill_dropped", JOBS, JOBS).await?);
    }
    tell("D: claim 100, delete 100", &d)?;
    tell("delete 100 as they are taken", &taken)?;
    tell("history kept", &kept)?;
    tell("deleted", &dropped)?;
    figures.ratio("drain_history_D", ratios(&kept, &d), Aim::AtLeast(1.5))?;
    figures.ratio("drain_delete_D", ratios(&dropped, &d), Aim::AtLeast(1.7))?;
    figures.figure("drain_delete_taken", ratios(&dropped, &taken), Aim::None)?;
    Ok(())
}

/// The rate with a million waiting in a hundred queues, beside that of one queue.
pub(super) async fn crowd(stage: &Stage<'_>, figures: &mut Figures) -> Result<()> {
    say("\n200,000 of 1,000,000 jobs of 100 queues, jobs a second")?;
    let (mut alone, mut crowded) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        figures.others(others()?);
        alone.push(worked_off(stage, "fill_kept", JOBS, JOBS).await?);
        crowded.push(worked_off(stage, "fill_crowd", CROWD, JOBS).await?);
    }
    tell("200,000 of one queue", &alone)?;
    tell("of a million", &crowded)?;
    figures.figure("crowd_alone", ratios(&crowded, &alone), Aim::AtLeast(0.8))?;
    Ok(())
}

/// Writes jobs down, then starts a worker and waits until so many of them have been done. Returns how many a second.
async fn worked_off(stage: &Stage<'_>, fill: &str, waiting: usize, jobs: usize) -> Result<f64> {
    {
        let node = Node::start(stage, Role::Dispatching)?;
        stage.empty().await?;
        node.call::<()>(fill, &format!("{{\"batches\":{}}}", waiting / 1000))?;
    }
    stage.settle().await?;
    let node = Node::start(stage, Role::All)?;
    let all = waiting == jobs;
    let took_ms: f64 = node.call("worked", &format!("{{\"count\":\"{jobs}\",\"all\":{all}}}"))?;
    let used = crate::cpu::used_by(node.pid())?.as_secs_f64() * 1e6 / jobs as f64;
    let server = crate::cpu::used_by_family(stage.postgres)?.as_secs_f64();
    say(&format!(
        "    {fill}: {:.0} a second; {used:.1} µs of the node's processor time a job, PostgreSQL's {server:.1} s so far",
        jobs as f64 / took_ms * 1e3
    ))?;
    Ok(jobs as f64 / took_ms * 1e3)
}
