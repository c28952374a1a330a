//! Dispatching: one job a mutation, beside a row, coalesced, and in bulk. A worker of another node listens, and can do none of these.

use std::time::Instant;

use layouts::database::connect;

use super::node::{Node, Role};
use super::{ROUNDS, Stage, others, ratios, tell};
use crate::figures::Figures;
use crate::report::Aim;
use crate::{Result, say};

/// Of one caller, altogether.
const SINGLE: usize = 48_000;
const COALESCED: usize = 96_000;
const BESIDE: usize = 24_000;
const BULK: usize = 50_000;

pub(super) async fn measure(stage: &Stage<'_>, figures: &mut Figures) -> Result<()> {
    say("\ndispatching, jobs a second")?;
    // The schema is made by the first node.
    let node = Node::start(stage, Role::Dispatching)?;
    let listening = Node::start(stage, Role::All)?;
    let (mut e16, mut e64, mut b) = (Vec::new(), Vec::new(), Vec::new());
    let (mut single, mut few, mut many, mut bulk) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut two, mut beside) = (Vec::new(), Vec::new());
    let rows = "CREATE TABLE IF NOT EXISTS bench_rows (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int NOT NULL)";
    connect(&stage.url).await?.batch_execute(rows).await?;
    for _ in 0..ROUNDS {
        figures.others(others()?);
        e16.push(stage.floor.enqueue(16, SINGLE).await?);
        single.push(dispatched(stage, &node, 16, "single", SINGLE).await?);
        few.push(dispatched(stage, &node, 16, "coalesced", COALESCED).await?);
        two.push(stage.floor.beside_rows(16, BESIDE).await?);
        beside.push(dispatched(stage, &node, 16, "beside_rows", BESIDE).await?);
        e64.push(stage.floor.enqueue(64, SINGLE).await?);
        many.push(dispatched(stage, &node, 64, "coalesced", COALESCED).await?);
        b.push(stage.floor.copy(i64::try_from(BULK)?).await?);
        stage.empty().await?;
        let began = Instant::now();
        node.call::<()>("bulk", &format!("{{\"batches\":{}}}", BULK / 1000))?;
        bulk.push(BULK as f64 / began.elapsed().as_secs_f64());
    }
    drop(listening);
    tell("E: pgbench, 16 clients", &e16)?;
    tell("pgbench, 64 clients", &e64)?;
    tell("B: COPY from a file", &b)?;
    tell("a row and a job: pgbench, 16 clients", &two)?;
    tell("one a mutation, 16 callers", &single)?;
    tell("a row and a job, 16 callers", &beside)?;
    tell("coalesced, 16 callers", &few)?;
    tell("coalesced, 64 callers", &many)?;
    tell("a thousand at a time", &bulk)?;
    figures.ratio("enqueue_E", ratios(&single, &e16), Aim::AtLeast(0.85))?;
    figures.figure("enqueue_beside_row", ratios(&beside, &two), Aim::None)?;
    figures.ratio("coalesced16_E", ratios(&few, &e16), Aim::AtLeast(1.4))?;
    figures.ratio("coalesced64_pgbench", ratios(&many, &e64), Aim::AtLeast(3.5))?;
    figures.ratio("bulk_B", ratios(&bulk, &b), Aim::AtLeast(0.42))?;
    Ok(())
}

/// So many jobs from so many callers. Returns how many a second.
async fn dispatched(stage: &Stage<'_>, node: &Node, callers: usize, function: &str, jobs: usize) -> Result<f64> {
    stage.empty().await?;
    let each = jobs / callers;
    let began = Instant::now();
    node.call_from(callers, function, &format!("{{\"count\":{each}}}"))?;
    Ok((each * callers) as f64 / began.elapsed().as_secs_f64())
}
