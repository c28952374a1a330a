//! Texts: plain, secret, with a rule, or one word out of a few.

use std::marker::PhantomData;

use super::super::Secret;
use super::super::mistakes::nearest;
use super::super::node::{Node, Value};
use super::{Kind, Wrong, quoted, unexpected, wrong};

/// A text that is not empty.
pub(in crate::config) fn text() -> Text {
    Text
}

/// See [`text`].
pub(in crate::config) struct Text;

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
pub(in crate::config) fn secret() -> Hidden {
    Hidden
}

/// See [`secret`].
pub(in crate::config) struct Hidden;

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
pub(in crate::config) fn parsed<T>(
    what: &'static str,
    parse: fn(&str) -> Result<T, String>,
    show: fn(&T) -> String,
) -> Parsed<T> {
    Parsed { what, parse, show }
}

/// See [`parsed`].
pub(in crate::config) struct Parsed<T> {
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
pub(in crate::config) trait Choice: Copy + PartialEq + Send + Sync + 'static {
    /// The words and what they mean.
    const WORDS: &'static [(&'static str, Self)];
}

/// One of the words of a [`Choice`].
pub(in crate::config) fn choice<T: Choice>() -> OneOf<T> {
    OneOf(PhantomData)
}

/// See [`choice`].
pub(in crate::config) struct OneOf<T>(PhantomData<T>);

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
