//! What is printed: a line for each figure as it comes, then one line of JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::report::{Aim, Spread, rounded, say_if_disturbed};
use crate::{Result, say};

/// What has come of a benchmark so far.
#[derive(Debug)]
pub(crate) struct Figures {
    line: Line,
    others: Vec<f64>,
}

#[derive(Debug, Serialize)]
struct Line {
    bench: &'static str,
    /// What is asked for by name.
    ratios: BTreeMap<&'static str, Option<f64>>,
    /// Everything else.
    figures: BTreeMap<String, f64>,
    /// Least and most of the rounds, where there were several.
    ranges: BTreeMap<String, [f64; 2]>,
    /// How many of the two cores were busy with other things, at the median.
    others: f64,
}

impl Figures {
    pub(crate) fn new(bench: &'static str) -> Self {
        let line = Line { bench, ratios: BTreeMap::new(), figures: BTreeMap::new(), ranges: BTreeMap::new(), others: 0.0 };
        Self { line, others: Vec::new() }
    }

    /// One that is asked for by name.
    pub(crate) fn ratio(&mut self, name: &'static str, spread: Option<Spread>, aim: Aim) -> Result<()> {
        let spread = shown(name, spread, aim)?;
        self.is(name, spread);
        Ok(())
    }

    /// One that is asked for by name, and has been shown.
    pub(crate) fn is(&mut self, name: &'static str, spread: Spread) {
        self.line.ratios.insert(name, Some(rounded(spread.median)));
        self.range(name.to_owned(), spread);
    }

    /// One that is asked for by name and could not be had.
    pub(crate) fn without(&mut self, name: &'static str) {
        self.line.ratios.insert(name, None);
    }

    /// Another one.
    pub(crate) fn figure(&mut self, name: &str, spread: Option<Spread>, aim: Aim) -> Result<Spread> {
        let spread = shown(name, spread, aim)?;
        self.keep(name.to_owned(), spread);
        Ok(spread)
    }

    /// Another one, that is shown in another way.
    pub(crate) fn keep(&mut self, name: String, spread: Spread) {
        self.line.figures.insert(name.clone(), rounded(spread.median));
        self.range(name, spread);
    }

    /// How busy the machine was with other things.
    pub(crate) fn others(&mut self, cores: f64) {
        self.others.push(cores);
    }

    /// Prints the line for machines.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.line.others = rounded(Spread::of(self.others.iter().copied()).map_or(0.0, |spread| spread.median));
        say_if_disturbed(self.line.others)?;
        say(&serde_json::to_string(&self.line)?)
    }

    fn range(&mut self, name: String, spread: Spread) {
        if spread.least < spread.most {
            self.line.ranges.insert(name, [rounded(spread.least), rounded(spread.most)]);
        }
    }
}

/// Prints a figure.
pub(crate) fn shown(name: &str, spread: Option<Spread>, aim: Aim) -> Result<Spread> {
    let spread = spread.ok_or_else(|| format!("`{name}` could not be measured"))?;
    let (wanted, verdict) = aim.of(spread.median);
    let decimals = if spread.most >= 1000.0 { 0 } else { 3 };
    let value = if spread.least < spread.most { spread.show(decimals) } else { format!("{:.decimals$}", spread.median) };
    say(format!("  {name:28}{value:34}{wanted:18}{verdict}").trim_end())?;
    Ok(spread)
}
