//! Five cycles of writing down and working off, while something keeps the server from cleaning up what is dead.

use layouts::database::Pin;

use super::node::{Node, Role};
use super::{Stage, others};
use crate::figures::Figures;
use crate::report::{Aim, Spread};
use crate::{Result, say};

const CYCLES: usize = 5;
const JOBS: usize = 50_000;

pub(super) async fn measure(stage: &Stage<'_>, figures: &mut Figures) -> Result<()> {
    say("\nfive cycles of 50,000 jobs, held by           1        2        3        4        5      5:1")?;
    let mut kept = Vec::new();
    for pin in [Pin::Snapshot, Pin::Writer] {
        figures.others(others()?);
        stage.floor.empty().await?;
        let held = pin.hold(&stage.floor.url).await?;
        tell("D", pin, &stage.floor.cycles(JOBS, CYCLES).await?)?;
        drop(held);
        let node = Node::start(stage, Role::All)?;
        stage.empty().await?;
        let held = pin.hold(&stage.url).await?;
        let rates: Vec<f64> = node.call("cycles", &format!("{{\"count\":{JOBS},\"times\":{CYCLES}}}"))?;
        drop(held);
        kept.push(tell("forge", pin, &rates)?);
    }
    // The worse of the two is what counts.
    let worst = kept.iter().copied().min_by(f64::total_cmp);
    let spread = worst.and_then(|worst| Some(Spread { median: worst, ..Spread::of(kept.into_iter())? }));
    figures.ratio("pinned", spread, Aim::AtLeast(0.8))
}

fn tell(name: &str, pin: Pin, rates: &[f64]) -> Result<f64> {
    let all: String = rates.iter().map(|rate| format!("{rate:>9.0}")).collect();
    let ratio = rates.last().zip(rates.first()).map_or(f64::NAN, |(last, first)| last / first);
    say(&format!("  {name:20}{:14}{all}{ratio:>9.2}", pin.name()))?;
    Ok(ratio)
}
