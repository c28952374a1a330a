//! Figures of several rounds, and how they are printed.

use std::io::Write as _;

use crate::Result;

/// What was measured of something in each round.
#[derive(Debug)]
pub struct Table {
    title: String,
    rows: Vec<(String, Vec<f64>)>,
}

impl Table {
    /// An empty one.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), rows: Vec::new() }
    }

    /// Adds what was measured of something in the next round.
    pub fn push(&mut self, name: &str, value: f64) {
        // So that somebody who waits sees how far it is. When stderr is closed there is nobody.
        let _ = writeln!(std::io::stderr().lock(), "{}: {name} {value:.0}", self.title);
        match self.rows.iter_mut().find(|(known, _)| known == name) {
            Some((_, values)) => values.push(value),
            None => self.rows.push((name.to_owned(), vec![value])),
        }
    }

    /// Prints each row, and its ratio to the first one, taken within a round: median, least and most.
    ///
    /// # Errors
    /// When there is nobody to tell.
    pub fn print(&self) -> Result<()> {
        say(&format!("\n{:44}{:>12}{:>22}{:>9}{:>16}", self.title, "a second", "", "ratio", ""))?;
        let Some((_, floor)) = self.rows.first() else { return Ok(()) };
        for (name, values) in &self.rows {
            let ratios: Vec<f64> = values.iter().zip(floor).map(|(value, floor)| value / floor).collect();
            let ((low, mid, high), (least, ratio, most)) = (spread(values), spread(&ratios));
            let (rates, of) = (format!("({low:.0}–{high:.0})"), format!("({least:.2}–{most:.2})"));
            say(&format!("  {name:42}{mid:>12.0}{rates:>22}{ratio:>9.2}{of:>16}"))?;
        }
        Ok(())
    }
}

/// Least, median and most.
pub fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let at = |n: usize| sorted.get(n).copied().unwrap_or(f64::NAN);
    (at(0), at(sorted.len() / 2), at(sorted.len().saturating_sub(1)))
}

/// Prints a line.
pub fn say(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{line}")?)
}
