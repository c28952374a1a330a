//! What is wrong with a configuration, where, and how all of it is told at once.

use std::fmt;
use std::path::Path;

use forge_core::Error;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum At {
    /// In the file, at a line and column counted from 1; columns count characters, not bytes.
    File { line: u32, column: u32 },
    /// In an environment variable.
    Env(String),
    /// Nowhere: it is a default, or its absence is the mistake.
    Nowhere,
}

/// One thing that is wrong.
#[derive(Debug, Clone)]
pub(super) struct Mistake {
    pub(super) at: At,
    /// The error code: `CONFIG_…`, each with a page of its own.
    pub(super) code: &'static str,
    /// The whole sentence, key included.
    pub(super) text: String,
}

/// Everything that is wrong, collected so that a person mends a file once and not line by line.
#[derive(Debug, Default)]
pub(super) struct Mistakes(Vec<Mistake>);

impl Mistakes {
    pub(super) fn add(&mut self, at: At, code: &'static str, text: impl Into<String>) {
        self.0.push(Mistake { at, code, text: text.into() });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One error for all of them: under their own code when they agree on it, else under `CONFIG_INVALID`.
    pub(super) fn into_error(mut self, file: Option<&Path>) -> Option<Error> {
        self.0.sort_by_key(|mistake| match mistake.at {
            At::File { line, column } => (0, line, column),
            At::Env(_) => (1, 0, 0),
            At::Nowhere => (2, 0, 0),
        });
        let first = self.0.first()?.code;
        let code = if self.0.iter().all(|m| m.code == first) { first } else { "CONFIG_INVALID" };
        let lines: Vec<String> = self.0.iter().map(|mistake| Placed { mistake, file }.to_string()).collect();
        let message = match lines.as_slice() {
            [one] => one.clone(),
            many => format!("the configuration has {} mistakes:\n  {}", many.len(), many.join("\n  ")),
        };
        Some(Error::config(code, message))
    }
}

struct Placed<'a> {
    mistake: &'a Mistake,
    file: Option<&'a Path>,
}

impl fmt::Display for Placed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.mistake.at, self.file) {
            (At::File { line, column }, Some(file)) => write!(f, "{}:{line}:{column}: ", file.display())?,
            (At::File { line, column }, None) => write!(f, "line {line}, column {column}: ")?,
            (At::Env(name), _) => write!(f, "environment variable {name}: ")?,
            (At::Nowhere, _) => {}
        }
        f.write_str(&self.mistake.text)
    }
}

/// Turns byte offsets into lines and columns.
pub(super) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    pub(super) fn at(&self, offset: usize) -> At {
        let line = self.starts.partition_point(|start| *start <= offset).saturating_sub(1);
        let start = self.starts.get(line).copied().unwrap_or(0);
        // A span of the parser always lies on character borders; if it ever does not, the line alone still helps.
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count());
        At::File { line: small(line + 1), column: small(column + 1) }
    }

    /// The text of a line counted from 1.
    pub(super) fn line(&self, line: u32) -> &'a str {
        (line as usize).checked_sub(1).and_then(|index| self.text.lines().nth(index)).unwrap_or("")
    }
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// `; did you mean …?` when one of the accepted words is near, else nothing.
pub(crate) fn nearest<'a>(word: &str, accepted: impl IntoIterator<Item = &'a str>) -> String {
    accepted
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .min()
        // A third of the letters may differ: `pool_sizes` and `poolsize` are slips, `size` is a guess.
        .filter(|(distance, candidate)| *distance <= candidate.len().max(word.len()).div_ceil(3))
        .map_or_else(String::new, |(_, candidate)| format!("; did you mean `{candidate}`?"))
}
