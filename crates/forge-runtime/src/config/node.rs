//! A value as it was written, with its place: the same shape for a TOML value and for an environment variable.

use toml::Spanned;
use toml::de::DeValue;

use super::mistakes::{At, Lines, Mistakes};
use super::substitute::{Unfilled, substitute};

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: At,
    pub(super) value: Value,
}

/// What was written.
#[derive(Debug)]
pub(super) enum Value {
    /// A string. A `loose` one comes from the environment, whole or in part, and may stand for a number, a switch or
    /// a list; one written in the file may not.
    Text {
        text: String,
        loose: bool,
    },
    Integer(i64),
    Float(f64),
    Bool(bool),
    /// A date or time, as it was written.
    Datetime(String),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) at: At,
    pub(super) key: String,
    pub(super) value: Node,
}

impl Node {
    /// The value of an environment variable.
    pub(super) fn of_env(name: &str, text: String) -> Self {
        Self { at: At::Env(name.into()), value: Value::Text { text, loose: true } }
    }

    /// What kind of thing it is, for "expected …, found …". Never the thing itself: it may be a secret.
    pub(super) fn found(&self) -> &'static str {
        match &self.value {
            Value::Text { loose: true, .. } => "another text",
            Value::Text { .. } => "a string",
            Value::Integer(_) => "a whole number",
            Value::Float(_) => "a number with a fraction",
            Value::Bool(_) => "true or false",
            Value::Datetime(_) => "a date or time",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}

/// Reads parsed TOML into nodes, filling `${…}` in on the way.
pub(super) struct Reader<'a> {
    pub(super) lines: &'a Lines<'a>,
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    pub(super) mistakes: &'a mut Mistakes,
}

impl Reader<'_> {
    /// The node of a value, or nothing when a `${…}` in it could not be filled; that is then among the mistakes.
    pub(super) fn node(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Node> {
        let at = self.lines.at(value.span().start);
        let read = match value.get_ref() {
            DeValue::String(text) => match substitute(text, self.env) {
                Ok(filled) => Value::Text { loose: filled != *text, text: filled.into_owned() },
                Err(unfilled) => {
                    self.report(key, &at, unfilled);
                    return None;
                }
            },
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) => {
                    self.mistakes.add(at, "CONFIG_INVALID_VALUE", format!("`{key}`: the number does not fit into 64 bits"));
                    return None;
                }
            },
            DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(switch) => Value::Bool(*switch),
            DeValue::Datetime(time) => Value::Datetime(time.to_string()),
            DeValue::Array(items) => {
                let nodes: Vec<_> = items.iter().map(|item| self.node(key, item)).collect();
                Value::List(nodes.into_iter().collect::<Option<_>>()?)
            }
            DeValue::Table(entries) => {
                let mut read = Vec::with_capacity(entries.len());
                let mut whole = true;
                for (name, value) in entries {
                    match self.node(&format!("{key}.{}", name.get_ref()), value) {
                        Some(node) => read.push(Entry {
                            at: self.lines.at(name.span().start),
                            key: name.get_ref().to_string(),
                            value: node,
                        }),
                        None => whole = false,
                    }
                }
                if !whole {
                    return None;
                }
                Value::Table(read)
            }
        };
        Some(Node { at, value: read })
    }

    fn report(&mut self, key: &str, at: &At, unfilled: Vec<Unfilled>) {
        for problem in unfilled {
            match problem {
                Unfilled::Unset(name) => self.mistakes.add(
                    at.clone(),
                    "CONFIG_MISSING_VARIABLE",
                    format!(
                        "`{key}` uses ${{{name}}}, and that environment variable is not set; \
                         set it, or write a default: ${{{name}:-…}}"
                    ),
                ),
                Unfilled::Malformed(problem) => {
                    self.mistakes.add(at.clone(), "CONFIG_INVALID_VALUE", format!("`{key}`: {problem}"))
                }
            }
        }
    }
}
