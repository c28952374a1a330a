//! What holds and why (`config show`), and the reference page.

use std::fmt::Write as _;

use super::mistakes::At;
use super::read::Loaded;
use super::{Config, Mode, sections};

/// One key of a loaded configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// The whole path, such as `database.pool_size`.
    pub key: String,
    /// The value as it would be written in the file; secrets are redacted.
    pub value: String,
    /// Where it comes from.
    pub source: Source,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// The file.
    File {
        /// Counted from 1.
        line: u32,
    },
    /// An environment variable.
    Env {
        /// Its name.
        var: String,
    },
}

impl Source {
    pub(super) fn of(at: At) -> Self {
        match at {
            At::File { line, .. } => Self::File { line },
            At::Env(var) => Self::Env { var },
            At::Nowhere => Self::Default,
        }
    }
}

impl Loaded {
    /// Every key with its value and where that comes from, in the order of the reference page.
    pub fn explain(&self) -> Vec<Explained> {
        let source = |key: &str| self.sources.get(key).cloned().unwrap_or(Source::Default);
        let mode = Explained { key: "mode".into(), value: format!("\"{}\"", self.config.mode), source: source("mode") };
        let mut all = vec![mode];
        for section in sections() {
            for key in &section.keys {
                let path = section.path_of(key);
                all.push(Explained { value: key.show(&self.config), source: source(&path), key: path });
            }
        }
        all
    }
}

const HEAD: &str = "\
# Configuration

This page is printed from the code that reads the configuration; a test checks that it is current.

An app reads `forge.toml` in its working directory, then the environment, which wins. Without a file, the defaults and
the environment hold. `forge config show` prints every value and where it comes from.

- **Mode.** `FORGE_ENV` says `development`, `production` or `test`. Unsaid, a debug build is `development` and a release
  build `production`. Production refuses to start with what is unsafe.
- **Environment.** Every key that is not a list of tables can be said by `FORGE_`, its path in capitals and `_` for every
  dot: `FORGE_DATABASE_POOL_SIZE=50`. Some keys have further variables, listed with them; the first one that is set wins. An
  empty variable counts as unset. Lists are separated by commas.
- **In the file**, a string may contain `${NAME}` (an error when the variable is unset), `${NAME:-text}` (`text` when it is
  unset or empty) or `${NAME-text}` (`text` when it is unset); `$${` is a literal `${`. Numbers and switches may be said that
  way too, in quotes: `port = \"${PORT}\"`.
- **Durations** are written `250ms`, `30s`, `5m`, `1h30m`, `7d`, or as a number of seconds. **Sizes** are written `64Ki`, `1Mi`
  (powers of 1024), `10MB` (powers of 1000), or as a number of bytes.
- Keys that are not on this page are refused.
";

pub(super) fn reference() -> String {
    let (development, production) = (Config::defaults(Mode::Development), Config::defaults(Mode::Production));
    let mut page = String::from(HEAD);
    for section in sections() {
        // Writing to a `String` cannot fail.
        let _ = write!(page, "\n## [{}]\n\n{}\n", section.path, prose(section.doc));
        for key in &section.keys {
            let (here, there) = (key.show(&development), key.show(&production));
            let default = match here == there {
                _ if here == "(not set)" => "not set".into(),
                true => format!("`{here}`"),
                false => format!("`{here}`; in production `{there}`"),
            };
            let variables: Vec<_> = section.variables(key).iter().map(|name| format!("`{name}`")).collect();
            let variables = if variables.is_empty() { "none".into() } else { variables.join(", ") };
            let _ = write!(
                page,
                "\n### {}\n\n{}\n\n- Default: {default}\n- Accepts: {}\n- Variables: {variables}\n",
                section.path_of(key),
                prose(key.doc),
                key.expected(),
            );
            for (name, doc, expected) in key.parts() {
                let _ = writeln!(page, "- `{name}`: {} Accepts: {expected}", prose(doc).replace('\n', " "));
            }
        }
    }
    page
}

/// Documentation comments begin each line with a space.
fn prose(doc: &str) -> String {
    doc.lines().map(str::trim).collect::<Vec<_>>().join("\n")
}
