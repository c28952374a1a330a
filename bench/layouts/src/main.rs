//! Layouts of the durable queue's tables, side by side: what each costs for every verb of a queue, beside the least that PostgreSQL
//! itself can do. `docs/queue-storage.md` says what came of it.
//!
//! ```text
//!  cargo run --release -p layouts -- enqueue [rounds]    single, coalesced and bulk
//!  cargo run --release -p layouts -- drain [rounds]      200,000 jobs by one process, history kept and deleted; variants
//!  cargo run --release -p layouts -- tuning [rounds]     variants of the chosen one
//!  cargo run --release -p layouts -- crowd [rounds]      a million waiting jobs of a hundred kinds
//!  cargo run --release -p layouts -- pinned              five cycles while something holds the horizon of cleaning up
//!  cargo run --release -p layouts -- verbs               everything else that a queue does
//! ```
//!
//! Contestants take turns within a round, and ratios are taken within a round. PostgreSQL is private and syncs to disk.

mod drain;
mod enqueue;
mod layout;
mod pinned;
mod verbs;

use std::io::Write as _;
use std::process::ExitCode;

use drain::{Finish, Lanes, Process, Worker, drain, fill};
use layout::{History, Layout, Rows, Running, append, narrow, split};
use layouts::Result;
use layouts::database::{Database, fresh};
use layouts::floor::Drain;
use layouts::table::Table;

const USAGE: &str = "usage: layouts [enqueue|drain|tuning|crowd|pinned|verbs] [rounds]   (all of them when none is named)";
const DRAINED: usize = 200_000;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match measure(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // When stderr is closed there is nobody to tell.
            let _ = writeln!(std::io::stderr().lock(), "error: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: &[String]) -> Result<()> {
    let which = arguments.first().map_or("all", String::as_str);
    let rounds = arguments.get(1).map_or(Ok(3), |rounds| rounds.parse())?;
    if !["all", "enqueue", "drain", "tuning", "crowd", "pinned", "verbs"].contains(&which) {
        return Err(USAGE.into());
    }
    let database = Database::start().await?;
    let measured = async {
        if ["all", "enqueue"].contains(&which) {
            enqueueing(&database, rounds).await?;
        }
        if ["all", "drain"].contains(&which) {
            draining(&database, rounds).await?;
        }
        if ["all", "tuning"].contains(&which) {
            tuning(&database, rounds).await?;
        }
        if ["all", "crowd"].contains(&which) {
            crowd(&database, rounds).await?;
        }
        if ["all", "pinned"].contains(&which) {
            pinned::run(&database).await?;
        }
        if ["all", "verbs"].contains(&which) {
            verbs::run(&database).await?;
        }
        Result::Ok(())
    }
    .await;
    database.remove().await?;
    measured
}

fn layouts() -> [Layout; 4] {
    [Rows::CHOSEN.layout(), split(), narrow(), append()]
}

async fn enqueueing(database: &Database, rounds: usize) -> Result<()> {
    let url = database.measured();
    let mut single = Table::new("one job a transaction, 16 clients");
    let mut few = Table::new("coalesced, 16 callers");
    let mut many = Table::new("coalesced, 64 callers");
    let mut bulk = Table::new("bulk, a thousand at a time");
    for _ in 0..rounds {
        let floor = database.floor().enqueue(16, 48_000).await?;
        single.push("E: pgbench", floor);
        few.push("E: pgbench", floor);
        many.push("pgbench, 64 clients", database.floor().enqueue(64, 48_000).await?);
        bulk.push("B: COPY from a file", database.floor().copy(50_000).await?);
        for layout in layouts() {
            single.push(layout.name, enqueue::single(&url, &layout, 48_000).await?);
            few.push(layout.name, enqueue::coalesced(&url, &layout, 16, 50_000).await?);
            many.push(layout.name, enqueue::coalesced(&url, &layout, 64, 100_000).await?);
            bulk.push(&format!("{}, unnest", layout.name), enqueue::unnest(&url, &layout, 50_000).await?);
            if !layout.copy.is_empty() {
                bulk.push(&format!("{}, COPY", layout.name), enqueue::copy(&url, &layout, 50_000).await?);
            }
        }
    }
    [single, few, many, bulk].iter().try_for_each(Table::print)
}

/// A fresh table, filled and worked off.
async fn drained(
    database: &Database,
    layout: &Layout,
    worker: Worker,
    jobs: usize,
    waiting: usize,
    kinds: usize,
) -> Result<f64> {
    let url = database.measured();
    let client = fresh(&url, &layout.schema).await?;
    if worker.planned_empty {
        client.batch_execute("VACUUM ANALYZE").await?;
        let process = Process::new(&url, layout, worker).await?;
        client.execute(&layout.fill, &[&i64::try_from(waiting)?, &i64::try_from(kinds)?]).await?;
        return drain(&process, &mut Lanes::of(kinds), jobs).await;
    }
    fill(&client, layout, waiting, kinds).await?;
    drain(&Process::new(&url, layout, worker).await?, &mut Lanes::of(kinds), jobs).await
}

async fn draining(database: &Database, rounds: usize) -> Result<()> {
    let mut table = Table::new("200,000 jobs worked off by one process");
    for _ in 0..rounds {
        table.push("D: claim 100, delete 100", database.floor().drain(Drain::Claimed, DRAINED).await?);
        for layout in layouts() {
            for (finish, word) in [(Finish::Keep, "kept"), (Finish::Delete, "deleted")] {
                let worker = Worker { finish, ..Worker::DEFAULT };
                let rate = drained(database, &layout, worker, DRAINED, DRAINED, 1).await?;
                table.push(&format!("{}, {word}", layout.name), rate);
            }
        }
    }
    table.print()
}

async fn tuning(database: &Database, rounds: usize) -> Result<()> {
    let chosen = Rows::CHOSEN;
    let variants = [
        chosen,
        Rows { name: "  history with block ranges", history: History::Ranges, ..chosen },
        Rows { name: "  history in the same row", history: History::InPlace, ..chosen },
        Rows { name: "  no index of what runs", running: Running::No, ..chosen },
        Rows { name: "  index on the worker", running: Running::Worker, ..chosen },
        Rows { name: "  fillfactor 50", fillfactor: 50, ..chosen },
        Rows { name: "  claimed by place", by_place: true, ..chosen },
    ];
    let workers = [
        ("  claims of 100", Worker { batch: 100, ..Worker::DEFAULT }),
        ("  claims of 1000", Worker { batch: 1000, ..Worker::DEFAULT }),
        ("  claims that do not wait for the disk", Worker { claims_wait: false, ..Worker::DEFAULT }),
        ("  planned while empty", Worker { planned_empty: true, ..Worker::DEFAULT }),
        ("  planned while empty, by index only", Worker { planned_empty: true, by_index: true, ..Worker::DEFAULT }),
    ];
    let mut table = Table::new("variants of A, 200,000 jobs, history kept");
    for _ in 0..rounds {
        table.push("D: claim 100, delete 100", database.floor().drain(Drain::Claimed, DRAINED).await?);
        for variant in variants {
            table.push(variant.name, drained(database, &variant.layout(), Worker::DEFAULT, DRAINED, DRAINED, 1).await?);
        }
        for (name, worker) in workers {
            table.push(name, drained(database, &chosen.layout(), worker, DRAINED, DRAINED, 1).await?);
        }
    }
    table.print()
}

async fn crowd(database: &Database, rounds: usize) -> Result<()> {
    let mut table = Table::new("200,000 of 1,000,000 jobs of 100 kinds");
    for _ in 0..rounds {
        table.push("D: claim 100, delete 100", database.floor().drain(Drain::Claimed, DRAINED).await?);
        for layout in [Rows::CHOSEN.layout(), append()] {
            table.push(
                &format!("{}, 200,000 of one kind", layout.name),
                drained(database, &layout, Worker::DEFAULT, DRAINED, DRAINED, 1).await?,
            );
            let rate = drained(database, &layout, Worker::DEFAULT, DRAINED, 1_000_000, 100).await?;
            table.push(&format!("{}, of a million", layout.name), rate);
        }
    }
    table.print()
}
