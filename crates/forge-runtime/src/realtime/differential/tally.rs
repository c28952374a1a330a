//! What was seen, and the promises about it that are numbers.

use std::collections::BTreeMap;
use std::fmt;

/// Of fewer transactions than these, and so of fewer schemas and queries, the shares are chance.
const ENOUGH: usize = 10_000;

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) writes: usize,
    pub(super) refused_writes: usize,
    pub(super) changed: usize,
    pub(super) shapes: usize,
    pub(super) whole: usize,
    pub(super) refused: BTreeMap<String, usize>,
    /// What the grammar made that is no SQL.
    pub(super) invalid: BTreeMap<String, usize>,
    pub(super) runs: usize,
    pub(super) false_runs: usize,
    pub(super) keyed: usize,
    pub(super) keyed_false: usize,
    pub(super) spared: usize,
    /// Batches that said that something may be missing.
    pub(super) gaps: usize,
    /// Schemas that were left because a query of theirs took too long.
    pub(super) endless: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |n: usize, of: usize| n as f64 * 100.0 / of.max(1) as f64;
        writeln!(
            f,
            "{} transactions ({} more were refused by the database), {:.1} % of which changed a result;",
            self.writes,
            self.refused_writes,
            part(self.changed, self.writes)
        )?;
        writeln!(
            f,
            "{} queries, {:.1} % of which fall back to whole tables; not followed: {:?};",
            self.shapes,
            part(self.whole, self.shapes),
            self.refused
        )?;
        writeln!(
            f,
            "{} re-runs, {:.1} % of which showed nothing new; of {} of keyed queries {:.2} %;",
            self.runs,
            part(self.false_runs, self.runs),
            self.keyed,
            part(self.keyed_false, self.keyed)
        )?;
        write!(
            f,
            "{} writes to other keys of a keyed query, which did not run again; {} gaps; {} left for endless queries",
            self.spared, self.gaps, self.endless
        )
    }
}

impl Tally {
    /// Adds what was seen elsewhere.
    pub(super) fn add(&mut self, other: Self) {
        self.writes += other.writes;
        self.refused_writes += other.refused_writes;
        self.changed += other.changed;
        self.shapes += other.shapes;
        self.whole += other.whole;
        self.runs += other.runs;
        self.false_runs += other.false_runs;
        self.keyed += other.keyed;
        self.keyed_false += other.keyed_false;
        self.spared += other.spared;
        self.gaps += other.gaps;
        self.endless += other.endless;
        for (mine, theirs) in [(&mut self.refused, other.refused), (&mut self.invalid, other.invalid)] {
            theirs.into_iter().for_each(|(why, count)| *mine.entry(why).or_default() += count);
        }
    }

    /// The promises that are numbers.
    pub(super) fn check(&self) {
        assert!(self.gaps * 100 <= self.writes, "too much of the feed was missed: {self}");
        if self.writes < ENOUGH {
            return;
        }
        assert!(self.endless * ENOUGH <= self.writes, "too many queries do not end: {self}");
        assert!(self.changed * 100 >= self.writes * 30, "too few writes change anything: {self}");
        assert!(self.whole * 100 <= self.shapes * 10, "too many queries fall back to whole tables: {self}");
        assert!(self.keyed_false * 100 <= self.keyed * 5, "too many re-runs of keyed queries show nothing new: {self}");
        assert!(self.spared > 0 && self.refused.values().sum::<usize>() * 20 <= self.shapes, "{self}");
        assert!(
            self.invalid.values().sum::<usize>() * 20 <= self.shapes,
            "the grammar makes too much that is no SQL: {:?}",
            self.invalid
        );
    }
}
