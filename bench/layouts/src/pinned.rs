//! What is dead cannot be cleaned up while some transaction might still see it. Five cycles of 50,000 jobs each, written and worked
//! off on the same tables, while another session holds a snapshot, or has written and not ended.

use tokio_postgres::Client;

use crate::drain::{Finish, Lanes, Process, Worker, drain};
use crate::layout::{Layout, Rows, append, split};
use layouts::Result;
use layouts::database::{Database, Pin, fresh};
use layouts::table::say;

const CYCLES: usize = 5;
const JOBS: usize = 50_000;
const BOTH: [(Finish, &str); 2] = [(Finish::Keep, "kept"), (Finish::Delete, "deleted")];

async fn cycles(url: &str, client: &Client, layout: &Layout, finish: Finish) -> Result<(Vec<f64>, f64)> {
    let mut lanes = Lanes::of(1);
    let mut rates = Vec::new();
    let process = Process::new(url, layout, Worker { finish, ..Worker::DEFAULT }).await?;
    for _ in 0..CYCLES {
        client.execute(&layout.fill, &[&i64::try_from(JOBS)?, &1_i64]).await?;
        client.batch_execute("ANALYZE").await?;
        lanes.wake();
        rates.push(drain(&process, &mut lanes, JOBS).await?);
        if let (Some(rotate), Finish::Delete) = (layout.rotate, finish) {
            client.batch_execute(rotate).await?;
        }
    }
    let swept = process.sweep(&mut lanes).await?;
    Ok((rates, swept))
}

fn tell(name: &str, pin: Pin, rates: &[f64], sweep: Option<f64>) -> Result<()> {
    let pin = pin.name();
    let all: String = rates.iter().map(|rate| format!("{rate:>9.0}")).collect();
    let sweep = sweep.map_or_else(String::new, |ms| format!("{ms:.1} ms"));
    let ratio = rates.last().zip(rates.first()).map_or(f64::NAN, |(last, first)| last / first);
    say(&format!("  {name:20}{pin:14}{all}{ratio:>9.2}{sweep:>10}"))
}

pub(crate) async fn run(database: &Database) -> Result<()> {
    say("\nfive cycles of 50,000, held by                    1        2        3        4        5      5:1     sweep")?;
    for pin in [Pin::Snapshot, Pin::Writer] {
        database.floor().empty().await?;
        let held = pin.hold(&database.floor().url).await?;
        tell("D", pin, &database.floor().cycles(JOBS, CYCLES).await?, None)?;
        drop(held);
        for (layout, finishes) in [(Rows::CHOSEN.layout(), &BOTH[..]), (split(), &BOTH[1..]), (append(), &BOTH[1..])] {
            for (finish, word) in finishes.iter().copied() {
                let url = database.measured();
                let client = fresh(&url, &layout.schema).await?;
                let held = pin.hold(&url).await?;
                let (rates, swept) = cycles(&url, &client, &layout, finish).await?;
                tell(&format!("{}, {word}", layout.name), pin, &rates, Some(swept))?;
                drop(held);
            }
        }
    }
    Ok(())
}
