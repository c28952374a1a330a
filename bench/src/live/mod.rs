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

/// A part of the benchmark that can be run alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Capture,
    Lists,
    Crowd,
}

impl Part {
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "capture" => Some(Self::Capture),
            "lists" => Some(Self::Lists),
            "crowd" => Some(Self::Crowd),
            _ => None,
        }
    }
}

/// Measures, and prints what came of it. A part alone has no line for machines.
pub(crate) fn run(programs: &Programs, places: &Places, part: Option<Part>) -> Result<()> {
    let files = crowd::raise_file_limit()?;
    let logs = tempfile::tempdir()?;
    let stage = Stage { programs, places, logs: logs.path() };
    let mut figures = Figures::new("live");
    let wanted = |one| part.is_none_or(|part| part == one);
    let mut main = Sink::Changelog;
    for sink in [Sink::Changelog, Sink::Wal] {
        if let Some(why) = node::unavailable(&stage, sink)? {
            say(&format!("\n{} is not measured: {why}", sink.name()))?;
            continue;
        }
        main = sink;
        if wanted(Part::Capture) {
            capture::measure(&stage, sink, &mut figures)?;
        }
        if wanted(Part::Lists) {
            lists::measure(&stage, sink, &mut figures)?;
        }
    }
    if wanted(Part::Crowd) {
        crowd::measure(&stage, main, files, &mut figures)?;
    }
    if part.is_some() {
        return Ok(());
    }
    figures.of_main(main)?;
    peer::measure(&stage, main, &mut figures)?;
    figures.finish()
}
