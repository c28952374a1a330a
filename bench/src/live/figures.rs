//! What is printed: a line for each figure as it comes, then one line of JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use super::history::Verdict;
use super::node::Sink;
use crate::report::{Aim, Spread, rounded, say_if_disturbed};
use crate::{Result, say};

/// What has come of it so far.
#[derive(Debug)]
pub(super) struct Figures {
    line: Line,
    /// By sink and name.
    of_sinks: BTreeMap<(&'static str, &'static str), Spread>,
    others: Vec<f64>,
    wrong: Wrong,
}

#[derive(Debug, Default)]
struct Wrong {
    missing: usize,
    torn: usize,
    stale: usize,
    judged: usize,
}

#[derive(Debug, Serialize)]
struct Line {
    bench: &'static str,
    /// What is asked for by name.
    ratios: BTreeMap<&'static str, Option<f64>>,
    /// Everything else, with the sink that it was measured with.
    figures: BTreeMap<String, f64>,
    /// Least and most of the rounds, where there were several.
    ranges: BTreeMap<String, [f64; 2]>,
    /// How many of the two cores were busy with other things, at the median.
    others: f64,
}

/// Of the figures of a sink, those that are asked for by name.
const OF_MAIN: [&str; 4] = ["p50_floor", "p99_floor", "runs_per_write", "false_runs"];

impl Figures {
    pub(super) fn new(bench: &'static str) -> Self {
        let line = Line { bench, ratios: BTreeMap::new(), figures: BTreeMap::new(), ranges: BTreeMap::new(), others: 0.0 };
        Self { line, of_sinks: BTreeMap::new(), others: Vec::new(), wrong: Wrong::default() }
    }

    /// A figure of a sink.
    pub(super) fn add(&mut self, sink: Sink, name: &'static str, spread: Option<Spread>, aim: Aim) -> Result<()> {
        let spread = shown(name, spread, aim)?;
        self.keep(format!("{name}_{}", sink.name()), spread);
        self.of_sinks.insert((sink.name(), name), spread);
        Ok(())
    }

    /// What has been added of a sink.
    pub(super) fn of_sink(&self, sink: Sink, name: &'static str) -> Option<Spread> {
        self.of_sinks.get(&(sink.name(), name)).copied()
    }

    /// One that is asked for by name.
    pub(super) fn ratio(&mut self, name: &'static str, spread: Option<Spread>, aim: Aim) -> Result<()> {
        let spread = shown(name, spread, aim)?;
        self.line.ratios.insert(name, Some(rounded(spread.median)));
        self.range(name.to_owned(), spread);
        Ok(())
    }

    /// One that is asked for by name and could not be had.
    pub(super) fn without(&mut self, name: &'static str) {
        self.line.ratios.insert(name, None);
    }

    /// Another one.
    pub(super) fn figure(&mut self, name: &'static str, spread: Option<Spread>, aim: Aim) -> Result<()> {
        let spread = shown(name, spread, aim)?;
        self.keep(name.to_owned(), spread);
        Ok(())
    }

    /// What an app that says nothing gets: its figures are those that are asked for.
    pub(super) fn of_main(&mut self, sink: Sink) -> Result<()> {
        for name in OF_MAIN {
            let spread = self.of_sink(sink, name);
            let spread = spread.ok_or_else(|| format!("`{name}` was not measured"))?;
            self.line.ratios.insert(name, Some(rounded(spread.median)));
            self.range(name.to_owned(), spread);
        }
        Ok(())
    }

    /// How busy the machine was with other things.
    pub(super) fn others(&mut self, cores: f64) {
        self.others.push(cores);
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
        self.line.ratios.insert("missing", Some((missing + torn + stale) as f64));
        for (name, count) in [("missing", missing), ("torn", torn), ("stale", stale), ("judged", judged)] {
            self.line.figures.insert(name.to_owned(), count as f64);
        }
        self.line.others = rounded(Spread::of(self.others.iter().copied()).map_or(0.0, |spread| spread.median));
        say_if_disturbed(self.line.others)?;
        say(&serde_json::to_string(&self.line)?)
    }

    fn keep(&mut self, name: String, spread: Spread) {
        self.line.figures.insert(name.clone(), rounded(spread.median));
        self.range(name, spread);
    }

    fn range(&mut self, name: String, spread: Spread) {
        if spread.least < spread.most {
            self.line.ranges.insert(name, [rounded(spread.least), rounded(spread.most)]);
        }
    }
}

/// Prints a figure.
fn shown(name: &str, spread: Option<Spread>, aim: Aim) -> Result<Spread> {
    let spread = spread.ok_or_else(|| format!("`{name}` could not be measured"))?;
    let (wanted, verdict) = aim.of(spread.median);
    let decimals = if spread.most >= 1000.0 { 0 } else { 3 };
    let value = if spread.least < spread.most { spread.show(decimals) } else { format!("{:.decimals$}", spread.median) };
    say(format!("  {name:28}{value:34}{wanted:18}{verdict}").trim_end())?;
    Ok(spread)
}
