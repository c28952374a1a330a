//! From a file and the environment to a [`Config`], or to the list of all that is wrong.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use forge_core::{Error, Result};
use toml::de::{DeTable, DeValue};

use super::explain::Source;
use super::mistakes::{At, Lines, Mistakes, nearest};
use super::node::{Node, Reader};
use super::planned::{Absent, absent};
use super::table::names;
use super::{Config, Mode, SectionTable, check, sections};

/// The largest forge.toml that is read, in bytes.
const FILE_LIMIT: u64 = 1 << 20;

/// A configuration with the knowledge where each value comes from.
#[derive(Debug)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// The file that was read; nothing when there was none.
    pub file: Option<PathBuf>,
    pub(super) sources: HashMap<String, Source>,
}

pub(super) fn load(path: Option<&Path>, env: &dyn Fn(&str) -> Option<String>, unsaid: Mode) -> Result<Loaded> {
    let mode = Mode::from_env(env, unsaid)?;
    let text = path.map(read_file).transpose()?.flatten();
    let file = path.filter(|_| text.is_some());
    let mut load = Load {
        config: Config::defaults(mode),
        sections: sections(),
        written: HashMap::new(),
        mistakes: Mistakes::default(),
        env,
    };
    if let Some(text) = &text {
        load.file(text);
    }
    load.environment();
    // Values that could not be read would only cause further, misleading mistakes.
    if load.mistakes.is_empty() {
        let written = &load.written;
        check::check(&load.config, &|key| written.get(key).cloned().unwrap_or(At::Nowhere), &mut load.mistakes);
    }
    let Load { config, written, mistakes, .. } = load;
    if let Some(error) = mistakes.into_error(file) {
        return Err(error);
    }
    let mut sources: HashMap<_, _> = written.into_iter().map(|(key, at)| (key, Source::of(at))).collect();
    if env("FORGE_ENV").is_some_and(|text| !text.is_empty()) {
        sources.insert("mode".into(), Source::Env { var: "FORGE_ENV".into() });
    }
    Ok(Loaded { config, file: file.map(Path::to_owned), sources })
}

/// The text of the file, nothing when it does not exist.
fn read_file(path: &Path) -> Result<Option<String>> {
    let unreadable =
        |problem: String| Error::config("CONFIG_UNREADABLE", format!("{} cannot be read: {problem}", path.display()));
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error.to_string()).with_source(error)),
    };
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT + 1).read_to_end(&mut bytes).map_err(|error| unreadable(error.to_string()).with_source(error))?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(unreadable("it is larger than 1 MiB, so it is hardly a configuration".into()));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            Err(unreadable(format!("it is not UTF-8 (at byte {})", error.utf8_error().valid_up_to())).with_source(error))
        }
    }
}

struct Load<'a> {
    config: Config,
    sections: Vec<SectionTable>,
    /// Where each key that was said was said.
    written: HashMap<String, At>,
    mistakes: Mistakes,
    env: &'a dyn Fn(&str) -> Option<String>,
}

impl Load<'_> {
    fn file(&mut self, text: &str) {
        let lines = Lines::of(text);
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let at = error.span().map_or(At::Nowhere, |span| lines.at(span.start));
            let bare = matches!(at, At::File { line, .. } if lines.line(line).contains("${"));
            let hint =
                if bare { "; a value with `${…}` needs quotes, also for a number: port = \"${PORT}\"" } else { "" };
            self.mistakes.add(at, "CONFIG_SYNTAX", format!("this is not TOML: {}{hint}", error.message()));
        }
        if errors.is_empty() {
            self.table("", root.get_ref(), &lines);
        }
    }

    /// Reads a table that is a section, contains sections, or both.
    fn table(&mut self, path: &str, table: &DeTable<'_>, lines: &Lines<'_>) {
        for (name, value) in table {
            let written = if path.is_empty() { name.get_ref().to_string() } else { format!("{path}.{}", name.get_ref()) };
            let inner = if written == "auth" { "security.auth".into() } else { written.clone() };
            let at = lines.at(name.span().start);
            let position = self.sections.iter().position(|s| s.path == path).and_then(|section| {
                let key = self.sections[section].keys.iter().position(|key| key.name == name.get_ref())?;
                Some((section, key))
            });
            if let Some((section, key)) = position {
                let mut reader = Reader { lines, env: self.env, mistakes: &mut self.mistakes };
                if let Some(node) = reader.node(&inner, value) {
                    self.set(section, key, &node, at);
                }
            } else if self.sections.iter().any(|s| s.path == inner || s.path.starts_with(&format!("{inner}."))) {
                match value.get_ref() {
                    DeValue::Table(table) => self.table(&inner, table, lines),
                    other => {
                        let found = other.type_str();
                        self.mistakes.add(
                            at,
                            "CONFIG_INVALID_VALUE",
                            format!("`{written}` is a table, written [{written}]; found {found}"),
                        );
                    }
                }
            } else {
                self.unknown(path, &inner, name.get_ref(), at);
            }
        }
    }

    fn unknown(&mut self, path: &str, whole: &str, name: &str, at: At) {
        let shown = name.escape_debug();
        match absent(whole) {
            Some(Absent::NotYet) => {
                self.mistakes.add(at, "CONFIG_NOT_AVAILABLE", format!("`{whole}` is not available yet; remove it"))
            }
            Some(Absent::Instead(instead)) => {
                self.mistakes.add(at, "CONFIG_UNKNOWN_KEY", format!("`{whole}` is not a key: {instead}"))
            }
            None => {
                let text = match self.sections.iter().find(|s| s.path == path) {
                    Some(section) => {
                        let near = suggestion(name, section.keys.iter().map(|key| key.name));
                        format!("`{shown}` is not a key of [{path}]{near} Its keys are {}", names(&section.keys))
                    }
                    None => {
                        let prefix = if path.is_empty() { String::new() } else { format!("{path}.") };
                        let tables: Vec<_> = self.sections.iter().filter_map(|s| s.path.strip_prefix(&prefix)).collect();
                        let near = suggestion(name, tables.iter().copied());
                        let list: Vec<_> = tables.iter().map(|table| format!("[{prefix}{table}]")).collect();
                        format!("`{shown}` is not a table of the configuration{near} The tables are {}", list.join(", "))
                    }
                };
                self.mistakes.add(at, "CONFIG_UNKNOWN_KEY", text);
            }
        }
    }

    fn environment(&mut self) {
        for section in 0..self.sections.len() {
            for key in 0..self.sections[section].keys.len() {
                let variables = self.sections[section].variables(&self.sections[section].keys[key]);
                // A variable that is set to nothing counts as unset: that is how compose files and shells pass on none.
                let said = variables.into_iter().find_map(|name| {
                    let text = (self.env)(&name).filter(|text| !text.is_empty())?;
                    Some((name, text))
                });
                if let Some((name, text)) = said {
                    let node = Node::of_env(&name, text);
                    self.set(section, key, &node, node.at.clone());
                }
            }
        }
    }

    fn set(&mut self, section: usize, key: usize, node: &Node, at: At) {
        let section = &self.sections[section];
        let key = &section.keys[key];
        let path = section.path_of(key);
        if let (At::File { .. }, Some(At::File { line, .. })) = (&at, self.written.get(&path)) {
            let text =
                format!("`{path}` is already said in line {line}: [auth] is another name of [security.auth]; keep one");
            self.mistakes.add(at, "CONFIG_INVALID_VALUE", text);
            return;
        }
        match key.set(&mut self.config, node) {
            Ok(()) => {
                self.written.insert(path, at);
            }
            Err(wrong) => {
                for (at, text) in wrong {
                    self.mistakes.add(at, "CONFIG_INVALID_VALUE", format!("`{path}`: {text}"));
                }
            }
        }
    }
}

/// The end of a sentence: a question when an accepted word is near, else a full stop.
fn suggestion<'a>(word: &str, accepted: impl IntoIterator<Item = &'a str>) -> String {
    let near = nearest(word, accepted);
    if near.is_empty() { ".".into() } else { near }
}
