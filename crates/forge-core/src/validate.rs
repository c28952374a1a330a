//! The rules that a value may have to obey, and the list of those it breaks.
//!
//! Rules are written as `#[validate(..)]` on the fields of a `#[forge::input]` and are part of the manifest, so that
//! generated code knows them too. They are few and fixed, so they are written here rather than taken from a
//! validation crate: those describe their rules to nobody, and their derive would run beside ours.

use std::fmt::{self, Display, Write as _};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Error, Result};

/// A rule, as the manifest describes it. Bounds are text, because they may be of any numeric type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "camelCase")]
pub enum Rule {
    /// Characters of a text (Unicode scalar values), items of a list, entries of a map; bounds included.
    Length {
        /// At least so many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min: Option<usize>,
        /// At most so many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<usize>,
    },
    /// A number between bounds, both included.
    Range {
        /// At least this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min: Option<String>,
        /// At most this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<String>,
    },
    /// Text that looks like an e-mail address.
    Email,
    /// Text that looks like an absolute http(s) URL.
    Url,
    /// Text that a regular expression matches as a whole or in part, as the expression says.
    Pattern {
        /// The expression.
        regex: String,
    },
    /// A function of the app's own.
    Custom {
        /// Its path.
        name: String,
    },
}

/// The rules that a value breaks, by the path of the field (`items.0.title`; the empty path is the value itself).
#[derive(Debug, Default)]
pub struct Violations {
    path: String,
    found: Map<String, Value>,
}

impl Violations {
    /// Notes a broken rule of the value at the current path. The sentence goes on from the field's name: "must be ..".
    pub fn add(&mut self, sentence: impl Into<String>) {
        let list = self.found.entry(self.path.clone()).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(list) = list {
            list.push(Value::String(sentence.into()));
        }
    }

    /// Checks something one step further down: a field, an index, a key.
    pub fn within(&mut self, step: impl Display, check: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        // Writing into a String cannot fail.
        let _ = write!(self.path, "{step}");
        check(self);
        self.path.truncate(length);
    }

    /// Whether nothing was broken.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The end of a validation.
    ///
    /// # Errors
    /// `VALIDATION_ERROR` with the fields in its details, when a rule is broken.
    pub fn into_result(self) -> Result<()> {
        if self.found.is_empty() { Ok(()) } else { Err(Error::validation(Value::Object(self.found))) }
    }
}

/// Things that have a length: see [`Rule::Length`].
pub trait HasLength {
    /// The length.
    fn length(&self) -> usize;
}

impl HasLength for String {
    fn length(&self) -> usize {
        self.chars().count()
    }
}

impl<T> HasLength for Vec<T> {
    fn length(&self) -> usize {
        self.len()
    }
}

impl<K, V> HasLength for std::collections::HashMap<K, V> {
    fn length(&self) -> usize {
        self.len()
    }
}

impl<K, V> HasLength for std::collections::BTreeMap<K, V> {
    fn length(&self) -> usize {
        self.len()
    }
}

/// Checks [`Rule::Length`].
pub fn length(value: &impl HasLength, min: Option<usize>, max: Option<usize>, violations: &mut Violations) {
    let length = value.length();
    if min.is_some_and(|min| length < min) || max.is_some_and(|max| length > max) {
        violations.add(match (min, max) {
            (Some(min), Some(max)) if min == max => format!("must have a length of {min}"),
            (Some(min), Some(max)) => format!("must have a length of {min} to {max}"),
            (Some(1), None) => "must not be empty".into(),
            (Some(min), None) => format!("must have a length of at least {min}"),
            (_, max) => format!("must have a length of at most {}", max.unwrap_or_default()),
        });
    }
}

/// Checks [`Rule::Range`]. A NaN is outside of every range.
pub fn range<T: PartialOrd + Display>(value: &T, min: Option<T>, max: Option<T>, violations: &mut Violations) {
    let above = min.as_ref().is_none_or(|min| value >= min);
    let below = max.as_ref().is_none_or(|max| value <= max);
    if !(above && below) {
        violations.add(match (min, max) {
            (Some(min), Some(max)) => format!("must be {min} to {max}"),
            (Some(min), None) => format!("must be at least {min}"),
            (None, Some(max)) => format!("must be at most {max}"),
            (None, None) => "must be a number".into(),
        });
    }
}

/// Checks [`Rule::Email`]: one `@` with something before it and a dotted name after it, at most 254 characters, no
/// spaces. Whether the address exists is known only once a mail has arrived there.
pub fn email(value: &str, violations: &mut Violations) {
    let valid = value.len() <= 254
        && !value.chars().any(|c| c.is_whitespace() || c.is_control())
        && value.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty()
                && local.len() <= 64
                && !domain.contains('@')
                && domain.contains('.')
                && domain.split('.').all(|part| {
                    !part.is_empty()
                        && !part.starts_with('-')
                        && !part.ends_with('-')
                        && part.chars().all(|c| c.is_alphanumeric() || c == '-')
                })
        });
    if !valid {
        violations.add("must be an e-mail address");
    }
}

/// Checks [`Rule::Url`]: `http://` or `https://`, a host, no spaces, at most 2,048 characters.
pub fn url(value: &str, violations: &mut Violations) {
    let host = value.strip_prefix("https://").or_else(|| value.strip_prefix("http://"));
    let valid = value.len() <= 2048
        && !value.chars().any(|c| c.is_whitespace() || c.is_control())
        && host.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', '?', '#', ':']));
    if !valid {
        violations.add("must be an http or https URL");
    }
}

/// An expression of [`Rule::Pattern`], compiled at its first use; the macros keep one in a static per field, and have
/// compiled the same text before, so that a mistake in it is a compile error of the app.
pub struct Pattern {
    regex: &'static str,
    compiled: OnceLock<Option<regex_lite::Regex>>,
}

impl Pattern {
    /// An expression, not compiled yet.
    pub const fn new(regex: &'static str) -> Self {
        Self { regex, compiled: OnceLock::new() }
    }

    /// Checks a value. An expression that does not compile is matched by nothing.
    pub fn check(&self, value: &str, violations: &mut Violations) {
        let compiled = self.compiled.get_or_init(|| regex_lite::Regex::new(self.regex).ok());
        if !compiled.as_ref().is_some_and(|regex| regex.is_match(value)) {
            violations.add(format!("must match {}", self.regex));
        }
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({})", self.regex)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(check: impl FnOnce(&mut Violations)) -> bool {
        let mut violations = Violations::default();
        check(&mut violations);
        !violations.is_empty()
    }

    #[test]
    fn lengths_count_characters_not_bytes() {
        assert!(!broken(|v| length(&"äöü".to_owned(), Some(3), Some(3), v)));
        assert!(broken(|v| length(&"abcd".to_owned(), None, Some(3), v)));
        assert!(broken(|v| length(&Vec::<i32>::new(), Some(1), None, v)));
    }

    #[test]
    fn nan_is_in_no_range() {
        assert!(broken(|v| range(&f64::NAN, Some(0.0), None, v)));
        assert!(broken(|v| range(&11, Some(1), Some(10), v)));
        assert!(!broken(|v| range(&10, Some(1), Some(10), v)));
    }

    #[test]
    fn addresses() {
        for good in ["a@b.co", "ada.l+x@mail.example.org", "ü@exämple.de"] {
            assert!(!broken(|v| email(good, v)), "{good}");
        }
        for bad in ["", "a", "@b.co", "a@b", "a@b..co", "a@-b.co", "a b@c.de", "a@b@c.de", "a@b.co\n"] {
            assert!(broken(|v| email(bad, v)), "{bad}");
        }
    }

    #[test]
    fn paths_lead_to_the_value() {
        let mut violations = Violations::default();
        violations.within("items", |v| v.within(2, |v| v.within("title", |v| v.add("must not be empty"))));
        let error = violations.into_result().unwrap_err();
        assert_eq!(error.details().unwrap(), &serde_json::json!({"items.2.title": ["must not be empty"]}));
    }
}
