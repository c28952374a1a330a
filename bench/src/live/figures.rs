//! What came of it, by the sink that it was measured with.

use std::collections::BTreeMap;

use super::history::Verdict;
use super::node::Sink;
use crate::figures::{self, shown};
use crate::report::{Aim, Spread};
use crate::{Result, say};

/// What has come of it so far.
#[derive(Debug)]
pub(super) struct Figures {
    all: figures::Figures,
    /// By sink and name.
    of_sinks: BTreeMap<(&'static str, &'static str), Spread>,
    wrong: Wrong,
}

#[derive(Debug, Default)]
struct Wrong {
    missing: usize,
    torn: usize,
    stale: usize,
    judged: usize,
}

/// Of the figures of a sink, those that are asked for by name.
const OF_MAIN: [&str; 4] = ["p50_floor", "p99_floor", "runs_per_write", "false_runs"];

impl Figures {
    pub(super) fn new(bench: &'static str) -> Self {
        Self { all: figures::Figures::new(bench), of_sinks: BTreeMap::new(), wrong: Wrong::default() }
    }

    /// A figure of a sink.
    pub(super) fn add(&mut self, sink: Sink, name: &'static str, spread: Option<Spread>, aim: Aim) -> Result<()> {
        let spread = shown(name, spread, aim)?;
        self.all.keep(format!("{name}_{}", sink.name()), spread);
        self.of_sinks.insert((sink.name(), name), spread);
        Ok(())
    }

    /// What has been added of a sink.
    pub(super) fn of_sink(&self, sink: Sink, name: &'static str) -> Option<Spread> {
        self.of_sinks.get(&(sink.name(), name)).copied()
    }

    /// One that is asked for by name.
    pub(super) fn ratio(&mut self, name: &'static str, spread: Option<Spread>, aim: Aim) -> Result<()> {
        self.all.ratio(name, spread, aim)
    }

    /// One that is asked for by name and could not be had.
    pub(super) fn without(&mut self, name: &'static str) {
        self.all.without(name);
    }

    /// Another one.
    pub(super) fn figure(&mut self, name: &'static str, spread: Option<Spread>, aim: Aim) -> Result<()> {
        self.all.figure(name, spread, aim).map(drop)
    }

    /// What an app that says nothing gets: its figures are those that are asked for.
    pub(super) fn of_main(&mut self, sink: Sink) -> Result<()> {
        for name in OF_MAIN {
            let spread = self.of_sink(sink, name).ok_or_else(|| format!("`{name}` was not measured"))?;
            self.all.is(name, spread);
        }
        Ok(())
    }

    /// How busy the machine was with other things.
    pub(super) fn others(&mut self, cores: f64) {
        self.all.others(cores);
    }

    /// What was wrong with what clients were told.
    pub(super) fn wrong(&mut self, verdict: &Verdict) {
        self.wrong.missing += verdict.missing;
        self.wrong.torn += verdict.torn;
        self.wrong.stale += verdict.stale;
        self.wrong.judged += verdict.latencies_us.len();
    }

    /// Prints the line for machines.
    pub(super) fn finish(mut self) -> Result<()> {
        let Wrong { missing, torn, stale, judged } = self.wrong;
        say(&format!(
            "\n{judged} times a client was to be told of a write: {missing} missing, {torn} torn, {stale} stale; aim 0"
        ))?;
        let exactly = |count: usize| Spread { median: count as f64, least: count as f64, most: count as f64 };
        self.all.is("missing", exactly(missing + torn + stale));
        for (name, count) in [("missing", missing), ("torn", torn), ("stale", stale), ("judged", judged)] {
            self.all.keep(name.to_owned(), exactly(count));
        }
        self.all.finish()
    }
}
