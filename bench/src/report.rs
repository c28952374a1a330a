//! What is printed: a table for each series, then the ratios, then one line of JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{Result, say};

/// What one server did in one round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Calls per second.
    pub(crate) rate: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// The server's time of its core for each call, in microseconds.
    pub(crate) server_us: f64,
    /// PostgreSQL's.
    pub(crate) postgres_us: f64,
    /// How many of the two cores were busy with what has nothing to do with the measurement.
    pub(crate) others: f64,
}

impl Sample {
    pub(crate) fn rate(&self) -> f64 {
        self.rate
    }

    pub(crate) fn p99_ms(&self) -> f64 {
        self.p99_ms
    }

    pub(crate) fn server_us(&self) -> f64 {
        self.server_us
    }
}

/// All rounds of one workload with so many connections.
#[derive(Debug)]
pub(crate) struct Series {
    workload: &'static str,
    connections: usize,
    contestants: Vec<(&'static str, Vec<Sample>)>,
}

impl Series {
    pub(crate) fn new(workload: &'static str, connections: usize, contestants: &[&'static str]) -> Self {
        Self { workload, connections, contestants: contestants.iter().map(|name| (*name, Vec::new())).collect() }
    }

    /// Adds what a contestant did in the next round.
    pub(crate) fn push(&mut self, contestant: usize, sample: Sample) {
        self.contestants[contestant].1.push(sample);
    }

    /// The first contestant is the one that all others are compared with.
    fn ratios(&self, to: &str, of: fn(&Sample) -> f64) -> Option<Spread> {
        let (_, ours) = self.contestants.first()?;
        let (_, theirs) = self.contestants.iter().find(|(name, _)| *name == to)?;
        Spread::of(ours.iter().zip(theirs).map(|(ours, theirs)| of(ours) / of(theirs)))
    }

    fn print(&self) -> Result<()> {
        say(&format!("\n{}, {} connections", self.workload, self.connections))?;
        say(&format!(
            "  {:22}{:>26}{:>18}{:>18}{:>20}{:>20}{:>18}",
            "", "calls/s", "p50 ms", "p99 ms", "server CPU µs", "PostgreSQL CPU µs", "others, cores"
        ))?;
        for (name, samples) in &self.contestants {
            let column = |of: fn(&Sample) -> f64, decimals| {
                Spread::of(samples.iter().map(of)).map_or_else(String::new, |s| s.show(decimals))
            };
            say(&format!(
                "  {name:22}{:>26}{:>18}{:>18}{:>20}{:>20}{:>18}",
                column(Sample::rate, 0),
                column(|s| s.p50_ms, 2),
                column(Sample::p99_ms, 2),
                column(Sample::server_us, 1),
                column(|s| s.postgres_us, 1),
                column(|s| s.others, 2)
            ))?;
        }
        Ok(())
    }
}

/// A median with its range.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        values.sort_unstable_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            (values.get(middle.checked_sub(1)?)? + values[middle]) / 2.0
        };
        Some(Self { median, least: *values.first()?, most: *values.last()? })
    }

    pub(crate) fn show(&self, decimals: usize) -> String {
        format!("{:.decimals$} ({:.decimals$}–{:.decimals$})", self.median, self.least, self.most)
    }
}

/// What is hoped for of a ratio.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Aim {
    AtLeast(f64),
    AtMost(f64),
    /// It is stated for its own sake.
    None,
}

impl Aim {
    /// The aim in words, and whether a value meets it.
    pub(crate) fn of(self, value: f64) -> (String, &'static str) {
        let (aim, met) = match self {
            Self::AtLeast(least) => (format!("at least {least:.2}"), Some(value >= least)),
            Self::AtMost(most) => (format!("at most {most:.2}"), Some(value <= most)),
            Self::None => (String::new(), None),
        };
        (aim, met.map_or("", |met| if met { "met" } else { "missed" }))
    }
}

/// A ratio between the first contestant of a series and another one, taken within each round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ratio {
    pub(crate) name: &'static str,
    /// Workload and connections.
    pub(crate) series: (&'static str, usize),
    pub(crate) of: fn(&Sample) -> f64,
    pub(crate) to: &'static str,
    pub(crate) aim: Aim,
}

/// A benchmark's results.
#[derive(Debug)]
pub(crate) struct Report {
    bench: &'static str,
    series: Vec<Series>,
}

#[derive(Serialize)]
struct Line {
    bench: &'static str,
    ratios: BTreeMap<&'static str, f64>,
    /// Least and most of the rounds.
    ranges: BTreeMap<&'static str, [f64; 2]>,
    /// How many of the two cores were busy with other things, at the median.
    others: f64,
}

/// From how many busy cores on the reader is warned.
const DISTURBED: f64 = 0.1;

impl Report {
    pub(crate) fn new(bench: &'static str) -> Self {
        Self { bench, series: Vec::new() }
    }

    /// Adds a series, and prints it at once.
    pub(crate) fn add(&mut self, series: Series) -> Result<()> {
        series.print()?;
        self.series.push(series);
        Ok(())
    }

    /// Prints the ratios and the line for machines.
    pub(crate) fn finish(&self, ratios: &[Ratio]) -> Result<()> {
        let samples = self.series.iter().flat_map(|series| &series.contestants).flat_map(|(_, samples)| samples);
        let others = Spread::of(samples.map(|sample| sample.others)).map_or(0.0, |spread| rounded(spread.median));
        let mut line = Line { bench: self.bench, ratios: BTreeMap::new(), ranges: BTreeMap::new(), others };
        say("\nratios of forge to the others, within a round: median (range)")?;
        for ratio in ratios {
            let series = self.series.iter().find(|series| (series.workload, series.connections) == ratio.series);
            let spread = series.and_then(|series| series.ratios(ratio.to, ratio.of));
            let spread = spread.ok_or_else(|| format!("`{}` was not measured", ratio.name))?;
            let (aim, verdict) = ratio.aim.of(spread.median);
            say(format!("  {:24}{:22}{aim:16}{verdict}", ratio.name, spread.show(2)).trim_end())?;
            line.ratios.insert(ratio.name, rounded(spread.median));
            line.ranges.insert(ratio.name, [rounded(spread.least), rounded(spread.most)]);
        }
        say_if_disturbed(others)?;
        say(&serde_json::to_string(&line)?)
    }
}

/// Warns when other things kept so many of the two cores busy that the figures mean less.
pub(crate) fn say_if_disturbed(others: f64) -> Result<()> {
    if others > DISTURBED {
        say(&format!("\nthe machine was busy with other things ({others:.2} cores of 2): repeat this when it is quiet"))?;
    }
    Ok(())
}

/// To three digits behind the point, or to three that say something when there are none before it.
pub(crate) fn rounded(value: f64) -> f64 {
    let digits = if value != 0.0 && value.abs() < 0.1 { 1e6 } else { 1e3 };
    (value * digits).round() / digits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rate: f64) -> Sample {
        Sample { rate, p50_ms: 1.0, p99_ms: 2.0, server_us: 3.0, postgres_us: 4.0, others: 0.0 }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let mut series = Series::new("query", 16, &["ours", "theirs"]);
        // The machine is twice as fast in the second round, and three times in the third.
        for (ours, theirs) in [(100.0, 100.0), (220.0, 200.0), (270.0, 300.0)] {
            series.push(1, sample(theirs));
            series.push(0, sample(ours));
        }
        let spread = series.ratios("theirs", Sample::rate).unwrap();
        assert_eq!((spread.median, spread.least, spread.most), (1.0, 0.9, 1.1));
        assert!(series.ratios("nobody", Sample::rate).is_none());
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(Spread::of([4.0, 1.0, 3.0, 2.0].into_iter()).unwrap().median, 2.5);
        assert!(Spread::of(std::iter::empty()).is_none());
    }
}
