//! What a key may hold: how it is read, what is accepted, how it is shown.
//!
//! One kind describes one key completely, so that the reader, its messages, `config show` and the reference page
//! cannot disagree.

use std::collections::HashSet;
use std::fmt::Display;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::time::Duration;

use forge_core::human;

use super::Secret;
use super::mistakes::{At, nearest};
use super::node::{Node, Value};

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

/// A whole number within limits.
pub(super) fn int<T>(limits: RangeInclusive<T>) -> Int<T> {
    Int(limits)
}

/// See [`int`].
pub(super) struct Int<T>(RangeInclusive<T>);

impl<T: TryFrom<i64> + PartialOrd + Display + Send + Sync> Kind<T> for Int<T> {
    fn expected(&self) -> String {
        format!("a whole number from {} to {}", self.0.start(), self.0.end())
    }

    fn read(&self, node: &Node) -> Result<T, Vec<Wrong>> {
        let number = match &node.value {
            Value::Integer(number) => *number,
            Value::Text { text, loose: true } => match text.trim().parse() {
                Ok(number) => number,
                Err(_) => return unexpected(self.expected(), node),
            },
            _ => return unexpected(self.expected(), node),
        };
        match T::try_from(number).ok().filter(|number| self.0.contains(number)) {
            Some(number) => Ok(number),
            None => wrong(node, format!("expected {}, found {number}", Kind::<T>::expected(self))),
        }
    }

    fn show(&self, value: &T) -> String {
        value.to_string()
    }
}

/// A number from 0 to 1.
pub(super) fn share() -> Share {
    Share
}

/// See [`share`].
pub(super) struct Share;

impl Kind<f64> for Share {
    fn expected(&self) -> String {
        "a number from 0.0 to 1.0".into()
    }

    fn read(&self, node: &Node) -> Result<f64, Vec<Wrong>> {
        let number = match &node.value {
            Value::Float(number) => *number,
            Value::Integer(0) => 0.0,
            Value::Integer(1) => 1.0,
            Value::Text { text, loose: true } => text.trim().parse().unwrap_or(f64::NAN),
            _ => return unexpected(self.expected(), node),
        };
        if (0.0..=1.0).contains(&number) { Ok(number) } else { wrong(node, format!("expected {}", self.expected())) }
    }

    fn show(&self, value: &f64) -> String {
        format!("{value:?}")
    }
}

/// `true` or `false`.
pub(super) fn switch() -> Switch {
    Switch
}

/// See [`switch`].
pub(super) struct Switch;

impl Kind<bool> for Switch {
    fn expected(&self) -> String {
        "true or false".into()
    }

    fn read(&self, node: &Node) -> Result<bool, Vec<Wrong>> {
        match &node.value {
            Value::Bool(on) => Ok(*on),
            Value::Text { text, loose: true } if text.trim() == "true" => Ok(true),
            Value::Text { text, loose: true } if text.trim() == "false" => Ok(false),
            _ => unexpected(self.expected(), node),
        }
    }

    fn show(&self, value: &bool) -> String {
        value.to_string()
    }
}

/// A duration within limits: `"5s"`, or a plain number of seconds.
pub(super) fn duration(limits: RangeInclusive<Duration>) -> Time {
    Time(limits)
}

/// See [`duration`].
pub(super) struct Time(RangeInclusive<Duration>);

impl Kind<Duration> for Time {
    fn expected(&self) -> String {
        let (least, most) = (human::format_duration(*self.0.start()), human::format_duration(*self.0.end()));
        format!("a duration from {least} to {most}")
    }

    fn read(&self, node: &Node) -> Result<Duration, Vec<Wrong>> {
        let duration = match &node.value {
            Value::Integer(seconds) => match u64::try_from(*seconds) {
                Ok(seconds) => Duration::from_secs(seconds),
                Err(_) => return wrong(node, format!("expected {}, found {seconds}", self.expected())),
            },
            Value::Text { text, loose } => match human::parse_duration(text) {
                Ok(duration) => duration,
                Err(problem) if !loose => return wrong(node, problem),
                Err(_) => return unexpected(format!("{} such as 250ms, 30s, 5m or 7d", self.expected()), node),
            },
            _ => return unexpected(format!("{} such as \"30s\"", self.expected()), node),
        };
        if self.0.contains(&duration) {
            return Ok(duration);
        }
        wrong(node, format!("expected {}, found {}", self.expected(), human::format_duration(duration)))
    }

    fn show(&self, value: &Duration) -> String {
        quoted(&human::format_duration(*value))
    }
}

/// A size within limits: `"1MB"`, `"64Ki"`, or a plain number of bytes.
pub(super) fn size(limits: RangeInclusive<u64>) -> Size {
    Size(limits)
}

/// See [`size`].
pub(super) struct Size(RangeInclusive<u64>);

impl Size {
    fn text(bytes: u64) -> String {
        for (unit, factor) in [("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10), ("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1_000)] {
            if bytes >= factor && bytes.is_multiple_of(factor) {
                return format!("{}{unit}", bytes / factor);
            }
        }
        bytes.to_string()
    }
}

impl Kind<u64> for Size {
    fn expected(&self) -> String {
        format!("a size from {} to {}", Self::text(*self.0.start()), Self::text(*self.0.end()))
    }

    fn read(&self, node: &Node) -> Result<u64, Vec<Wrong>> {
        let bytes = match &node.value {
            Value::Integer(bytes) => match u64::try_from(*bytes) {
                Ok(bytes) => bytes,
                Err(_) => return wrong(node, format!("expected {}, found {bytes}", self.expected())),
            },
            Value::Text { text, loose } => match human::parse_size(text) {
                Ok(bytes) => bytes,
                Err(problem) if !loose => return wrong(node, problem),
                Err(_) => return unexpected(format!("{} such as 64Ki, 1Mi or 10MB", self.expected()), node),
            },
            _ => return unexpected(format!("{} such as \"1Mi\"", self.expected()), node),
        };
        if self.0.contains(&bytes) {
            return Ok(bytes);
        }
        wrong(node, format!("expected {}, found {}", self.expected(), Self::text(bytes)))
    }

    fn show(&self, value: &u64) -> String {
        quoted(&Self::text(*value))
    }
}

/// A text that is not empty.
pub(super) fn text() -> Text {
    Text
}

/// See [`text`].
pub(super) struct Text;

impl Kind<String> for Text {
    fn expected(&self) -> String {
        "a string".into()
    }

    fn read(&self, node: &Node) -> Result<String, Vec<Wrong>> {
        match &node.value {
            Value::Text { text, .. } if text.is_empty() => wrong(node, "is empty"),
            Value::Text { text, .. } => Ok(text.clone()),
            _ => unexpected(self.expected(), node),
        }
    }

    fn show(&self, value: &String) -> String {
        quoted(value)
    }
}

/// A text that is never shown.
pub(super) fn secret() -> Hidden {
    Hidden
}

/// See [`secret`].
pub(super) struct Hidden;

impl Kind<Secret> for Hidden {
    fn expected(&self) -> String {
        "a string (secret: never shown)".into()
    }

    fn read(&self, node: &Node) -> Result<Secret, Vec<Wrong>> {
        Text.read(node).map(Secret::from)
    }

    fn show(&self, value: &Secret) -> String {
        quoted(&value.to_string())
    }
}

/// A text with a rule: `parse` reads it or says what is wrong with it, `show` writes it. `what` completes "expected …".
pub(super) fn parsed<T>(what: &'static str, parse: fn(&str) -> Result<T, String>, show: fn(&T) -> String) -> Parsed<T> {
    Parsed { what, parse, show }
}

/// See [`parsed`].
pub(super) struct Parsed<T> {
    what: &'static str,
    parse: fn(&str) -> Result<T, String>,
    show: fn(&T) -> String,
}

impl<T> Kind<T> for Parsed<T> {
    fn expected(&self) -> String {
        self.what.into()
    }

    fn read(&self, node: &Node) -> Result<T, Vec<Wrong>> {
        match &node.value {
            Value::Text { text, .. } | Value::Datetime(text) => (self.parse)(text).or_else(|problem| wrong(node, problem)),
            _ => unexpected(self.expected(), node),
        }
    }

    fn show(&self, value: &T) -> String {
        quoted(&(self.show)(value))
    }
}

/// A word out of a list.
pub(super) trait Choice: Copy + PartialEq + Send + Sync + 'static {
    /// The words and what they mean.
    const WORDS: &'static [(&'static str, Self)];
}

/// One of the words of a [`Choice`].
pub(super) fn choice<T: Choice>() -> OneOf<T> {
    OneOf(PhantomData)
}

/// See [`choice`].
pub(super) struct OneOf<T>(PhantomData<T>);

impl<T: Choice> Kind<T> for OneOf<T> {
    fn expected(&self) -> String {
        let words: Vec<_> = T::WORDS.iter().map(|(word, _)| quoted(word)).collect();
        format!("one of {}", words.join(", "))
    }

    fn read(&self, node: &Node) -> Result<T, Vec<Wrong>> {
        let Value::Text { text, loose } = &node.value else {
            return unexpected(self.expected(), node);
        };
        match T::WORDS.iter().find(|(word, _)| word == text) {
            Some((_, value)) => Ok(*value),
            None if *loose => unexpected(self.expected(), node),
            None => {
                let near = nearest(text, T::WORDS.iter().map(|(word, _)| *word));
                wrong(node, format!("expected {}, found {}{near}", self.expected(), quoted(text)))
            }
        }
    }

    fn show(&self, value: &T) -> String {
        T::WORDS.iter().find(|(_, v)| v == value).map_or_else(String::new, |(word, _)| quoted(word))
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
                split = parts.map(|part| Node { at: node.at.clone(), value: Value::Text { text: part.into(), loose: true } }).collect();
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
