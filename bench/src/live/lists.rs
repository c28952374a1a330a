//! A thousand clients on a hundred lists: how soon they have a first result, and how soon they are told of a write.

use std::time::Duration;

use super::audience::{Audience, Meter, Round, Speech};
use super::figures::Figures;
use super::node::{Node, Sink};
use super::writers::Paced;
use super::{CLIENTS, LISTS, ROUNDS, Stage, bulk, floor, history, stalled};
use crate::report::{Aim, Spread};
use crate::{Result, say};

/// Measures all of it with one node.
pub(super) fn measure(stage: &Stage, sink: Sink, figures: &mut Figures) -> Result<()> {
    say(&format!("\n{CLIENTS} clients on {LISTS} lists, {}", sink.name()))?;
    let node = Node::start(stage, sink)?;
    let mut audience = Audience::open(node.door(), CLIENTS, Speech::Forge)?;
    let mut first = Vec::new();
    for round in 1..=ROUNDS {
        first.push(audience.subscribe()?.as_secs_f64());
        if round == 1 {
            node.until_following()?;
        }
        // The last time they stay.
        if round < ROUNDS {
            audience.unsubscribe()?;
            node.until_metric("live_subscriptions", 0.0)?;
        }
    }
    figures.add(sink, "first_results_s", Spread::of(first.into_iter()), Aim::AtMost(0.4))?;
    let meter = Meter { node: Some(&node), server: node.pid(), postgres: stage.places.postgres };
    latency(sink, &node, &mut audience, meter, figures)?;
    stalled::measure(sink, &node, &mut audience, meter, figures)?;
    rates(sink, &node, &mut audience, meter, figures)?;
    drop(audience);
    bulk::measure(sink, &node, figures)
}

/// A hundred writes a second, and the floor in turn.
fn latency(sink: Sink, node: &Node, audience: &mut Audience, meter: Meter, figures: &mut Figures) -> Result<()> {
    let pace = Paced { per_second: 100, connections: 1, lasting: Duration::from_secs(3), table: "todo" };
    let (mut rounds, mut floors) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        floors.push(floor::measure(node.url(), sink, pace)?);
        rounds.push(audience.watch(node.url(), pace, meter)?);
    }
    let of = |of: &dyn Fn(&Round) -> f64| Spread::of(rounds.iter().map(of));
    figures.add(sink, "p50_ms", of(&|round| round.verdict.quantile_ms(0.5)), Aim::AtMost(1.0))?;
    figures.add(sink, "p99_ms", of(&|round| round.verdict.quantile_ms(0.99)), Aim::AtMost(5.0))?;
    let floor_ms = |share| Spread::of(floors.iter().map(|floor| history::quantile_ms(floor, share)));
    figures.add(sink, "floor_p50_ms", floor_ms(0.5), Aim::None)?;
    figures.add(sink, "floor_p99_ms", floor_ms(0.99), Aim::None)?;
    let ratio = |share| {
        let pairs = rounds.iter().zip(&floors);
        Spread::of(pairs.map(|(round, floor)| round.verdict.quantile_ms(share) / history::quantile_ms(floor, share)))
    };
    figures.add(sink, "p50_floor", ratio(0.5), Aim::AtMost(15.0))?;
    figures.add(sink, "p99_floor", ratio(0.99), Aim::AtMost(25.0))?;
    figures.add(sink, "server_cores", of(&|round| round.server_cores), Aim::None)?;
    figures.add(sink, "postgres_cores", of(&|round| round.postgres_cores), Aim::None)?;
    figures.add(sink, "cores", of(&|round| round.server_cores + round.postgres_cores), Aim::AtMost(0.2))?;
    let each = |of: fn(&Round) -> f64, to: fn(&Round) -> f64| {
        let (of, to): (f64, f64) = (rounds.iter().map(of).sum(), rounds.iter().map(to).sum());
        Spread::of(std::iter::once(of / to))
    };
    figures.add(sink, "runs_per_write", each(|r| r.runs, |r| r.writes as f64), Aim::AtMost(1.0))?;
    figures.add(sink, "false_runs", each(|r| r.unchanged, |r| r.runs), Aim::AtMost(0.01))?;
    // A row's revision is all that changes. Its value is written as JSON.
    let bytes = each(|r| r.bytes as f64, |r| r.frames as f64);
    let values = each(|r| r.digits as f64, |r| r.writes as f64);
    let beside = bytes.zip(values).and_then(|(bytes, values)| Spread::of(std::iter::once(bytes.median - values.median)));
    figures.add(sink, "frame_bytes", bytes, Aim::None)?;
    figures.add(sink, "frame_bytes_beside_values", beside, Aim::AtMost(60.0))?;
    for round in &rounds {
        figures.others(round.others);
        figures.wrong(&round.verdict);
    }
    Ok(())
}

/// The highest of some rates at which everybody is still told soon.
fn rates(sink: Sink, node: &Node, audience: &mut Audience, meter: Meter, figures: &mut Figures) -> Result<()> {
    const SOON_MS: f64 = 100.0;
    let mut highest = 0.0;
    for per_second in [500, 1_000, 2_000, 4_000] {
        let pace = Paced { per_second, connections: 20, lasting: Duration::from_secs(3), table: "todo" };
        let round = audience.watch(node.url(), pace, meter)?;
        let rate = round.writes as f64 / pace.lasting.as_secs_f64();
        let (p50, p99) = (round.verdict.quantile_ms(0.5), round.verdict.quantile_ms(0.99));
        say(&format!(
            "  {per_second} writes/s: {rate:.0} made, p50 {p50:.1} ms, p99 {p99:.1} ms, {} wrong",
            round.verdict.wrong()
        ))?;
        figures.wrong(&round.verdict);
        if p99 <= SOON_MS && rate > f64::from(per_second) * 0.95 {
            highest = f64::from(per_second);
        }
    }
    figures.add(sink, "writes_per_second", Spread::of(std::iter::once(highest)), Aim::AtLeast(2_000.0))
}
