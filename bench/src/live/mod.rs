//! `live`: what it costs to follow a table, how soon and how surely everybody is told, and how many.
//!
//! ```text
//!  writers ──▶ PostgreSQL ──▶ the app, one thread ──▶ 1,000 to 10,000 clients, one thread ──▶ the checker
//!                  └──▶ a bare reader of the same changes: the floor
//! ```
//!
//! Writers are other programs: the app learns of what they write from the database alone. Latencies are taken from the moment in which a
//! writer knows that its write is committed. Every write is known to the checker, and so is everything that every client was told.
//!
//! Everything shares two cores, pinned to none.

mod audience;
mod bulk;
mod capture;
mod crowd;
mod figures;
mod fleet;
mod floor;
mod history;
mod lists;
mod logical;
mod node;
mod peer;
mod socket;
mod stalled;
mod wire;
mod writers;

use figures::Figures;
use node::Sink;

use crate::postgres::Postgres;
use crate::programs::Programs;
use crate::{Result, say};

/// How many lists there are.
const LISTS: usize = 100;
/// How many rows each of them has.
const ROWS: usize = 20;
/// How many clients subscribe to a list each.
const CLIENTS: usize = 1_000;
/// How often a floor and FORGE take turns.
const ROUNDS: usize = 5;

const SCHEMA: &str = include_str!("../../floors/live.sql");

/// The servers of a run.
#[derive(Debug)]
pub(crate) struct Databases {
    /// With a database for each that follows it.
    followed: Postgres,
    /// Nobody follows this one.
    alone: Postgres,
    places: Places,
}

/// Where they are.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    changelog: String,
    wal: String,
    peer: String,
    alone: String,
    /// PostgreSQL's process, of the databases that are followed.
    postgres: u32,
}

impl Databases {
    pub(crate) async fn start() -> Result<Self> {
        let followed = Postgres::start(SCHEMA).await?;
        let alone = Postgres::start(SCHEMA).await?;
        let places = Places {
            changelog: followed.url(),
            wal: followed.database("wal", SCHEMA).await?,
            peer: followed.database("peer", SCHEMA).await?,
            alone: alone.url(),
            postgres: followed.pid(),
        };
        Ok(Self { followed, alone, places })
    }

    pub(crate) fn places(&self) -> Places {
        self.places.clone()
    }

    pub(crate) async fn remove(self) -> Result<()> {
        let removed = self.followed.remove().await;
        self.alone.remove().await?;
        removed
    }
}

/// What there is to run it with.
#[derive(Debug)]
struct Stage<'a> {
    programs: &'a Programs,
    places: &'a Places,
    logs: &'a std::path::Path,
}

/// Measures, and prints what came of it.
pub(crate) fn run(programs: &Programs, places: &Places) -> Result<()> {
    let files = crowd::raise_file_limit()?;
    let logs = tempfile::tempdir()?;
    let stage = Stage { programs, places, logs: logs.path() };
    let mut figures = Figures::new("live");
    let mut main = Sink::Changelog;
    for sink in [Sink::Changelog, Sink::Wal] {
        if let Some(why) = node::unavailable(&stage, sink)? {
            say(&format!("\n{} is not measured: {why}", sink.name()))?;
            continue;
        }
        main = sink;
        capture::measure(&stage, sink, &mut figures)?;
        lists::measure(&stage, sink, &mut figures)?;
    }
    figures.of_main(main)?;
    crowd::measure(&stage, main, files, &mut figures)?;
    peer::measure(&stage, main, &mut figures)?;
    figures.finish()
}
