//! How soon a job begins on an idle node, from the call that dispatches it, its own commit included.

use super::node::{Node, Role};
use super::{ROUNDS, Stage, others, ratios};
use crate::figures::Figures;
use crate::report::{Aim, Spread};
use crate::{Result, say};

const SAMPLES: u32 = 200;

pub(super) async fn measure(stage: &Stage<'_>, figures: &mut Figures) -> Result<()> {
    say("\nfrom dispatching a job to its start on an idle node, milliseconds")?;
    let (mut p50, mut p99) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    let node = Node::start(stage, Role::All)?;
    stage.empty().await?;
    node.call::<Vec<f64>>("latency", "{\"count\":20}")?;
    for _ in 0..ROUNDS {
        figures.others(others()?);
        let of_floor = stage.floor.latency(SAMPLES).await?;
        let ours: Vec<f64> = node.call("latency", &format!("{{\"count\":{SAMPLES}}}"))?;
        for (n, took) in [ours, of_floor].into_iter().enumerate() {
            p50[n].push(percentile(&took, 0.5));
            p99[n].push(percentile(&took, 0.99));
        }
    }
    for (name, n) in [("the ideal client", 1), ("forge", 0)] {
        let show = |of: &[f64]| Spread::of(of.iter().copied()).map_or_else(String::new, |spread| spread.show(2));
        say(&format!("  {name:40}p50 {:>20}   p99 {:>20}", show(&p50[n]), show(&p99[n])))?;
    }
    // 1.6 and 6 ms where the ideal client needs 1.49 and 6.05.
    figures.ratio("latency_p50_ideal", ratios(&p50[0], &p50[1]), Aim::AtMost(1.07))?;
    figures.ratio("latency_p99_ideal", ratios(&p99[0], &p99[1]), Aim::AtMost(1.0))?;
    Ok(())
}

fn percentile(of: &[f64], part: f64) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
