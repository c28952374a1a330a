//! What a key may hold: how it is read, what is accepted, how it is shown.
//!
//! One kind describes one key completely, so that the reader, its messages, `config show` and the reference page
//! cannot disagree.

mod numbers;
mod texts;

use std::collections::HashSet;

use super::mistakes::At;
use super::node::{Node, Value};

pub(super) use numbers::{duration, int, share, size, switch};
pub(super) use texts::{Choice, choice, parsed, secret, text};

/// Something wrong with a value: where, and the end of a sentence that begins with the key.
pub(super) type Wrong = (At, String);

/// How the values of one key are read and shown.
pub(super) trait Kind<T>: Send + Sync {
    /// What is accepted, as in "expected …".
    fn expected(&self) -> String;
    /// Reads a value.
    fn read(&self, node: &Node) -> Result<T, Vec<Wrong>>;
    /// Shows a value as it would be written in the file; secrets never.
    fn show(&self, value: &T) -> String;
    /// Whether an environment variable can hold it.
    fn fits_env(&self) -> bool {
        true
    }
    /// The keys within it, when it is made of tables: name, documentation, what is accepted.
    fn parts(&self) -> Vec<(&'static str, &'static str, String)> {
        Vec::new()
    }
}

/// Something that may be left out.
pub(super) fn optional<K>(kind: K) -> Optional<K> {
    Optional(kind)
}

/// See [`optional`].
pub(super) struct Optional<K>(K);

impl<T, K: Kind<T>> Kind<Option<T>> for Optional<K> {
    fn expected(&self) -> String {
        self.0.expected()
    }

    fn read(&self, node: &Node) -> Result<Option<T>, Vec<Wrong>> {
        self.0.read(node).map(Some)
    }

    fn show(&self, value: &Option<T>) -> String {
        value.as_ref().map_or_else(|| "(not set)".into(), |value| self.0.show(value))
    }
}

/// A list without duplicates; in an environment variable its items are separated by commas.
pub(super) fn list<K>(kind: K) -> List<K> {
    List(kind)
}

/// See [`list`].
pub(super) struct List<K>(K);

/// The most items that a list of the configuration may have.
const LIST_LIMIT: usize = 1000;

impl<T, K: Kind<T>> Kind<Vec<T>> for List<K> {
    fn expected(&self) -> String {
        format!("a list, each item {}", self.0.expected())
    }

    fn read(&self, node: &Node) -> Result<Vec<T>, Vec<Wrong>> {
        let split;
        let items = match &node.value {
            Value::List(items) => items,
            Value::Text { text, loose: true } => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                split = parts
                    .map(|part| Node { at: node.at.clone(), value: Value::Text { text: part.into(), loose: true } })
                    .collect();
                &split
            }
            _ => return unexpected(self.expected(), node),
        };
        if items.len() > LIST_LIMIT {
            return wrong(node, format!("has {} items; at most {LIST_LIMIT} are accepted", items.len()));
        }
        let (mut read, mut shown, mut problems) = (Vec::new(), HashSet::new(), Vec::new());
        for item in items {
            match self.0.read(item) {
                // Items are compared as they are shown; all secrets look alike, so they are never in such a list.
                Ok(value) => {
                    if shown.insert(self.0.show(&value)) {
                        read.push(value);
                    }
                }
                Err(wrong) => problems.extend(wrong),
            }
        }
        if problems.is_empty() { Ok(read) } else { Err(problems) }
    }

    fn show(&self, value: &Vec<T>) -> String {
        let items: Vec<_> = value.iter().map(|item| self.0.show(item)).collect();
        format!("[{}]", items.join(", "))
    }

    fn fits_env(&self) -> bool {
        self.0.fits_env()
    }
}

/// "expected …, found …" at the node.
fn unexpected<T>(expected: String, node: &Node) -> Result<T, Vec<Wrong>> {
    Err(vec![(node.at.clone(), format!("expected {expected}, found {}", node.found()))])
}

fn wrong<T>(node: &Node, text: impl Into<String>) -> Result<T, Vec<Wrong>> {
    Err(vec![(node.at.clone(), text.into())])
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_debug())
}
