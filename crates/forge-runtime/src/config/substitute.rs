//! `${NAME}` in the strings of forge.toml.
//!
//! | written | becomes |
//! |---|---|
//! | `${NAME}` | the environment variable; when it is unset, an error |
//! | `${NAME:-text}` | the variable, or `text` when it is unset or empty |
//! | `${NAME-text}` | the variable, or `text` when it is unset |
//! | `$${` | a literal `${` |
//!
//! These are the shell's rules. A name consists of letters, digits and `_`, and begins with no digit. What was put in
//! is not looked at again, so a value may itself contain `${`. A default is plain text up to the next `}`.

use std::borrow::Cow;

/// Puts the environment into a text.
///
/// # Errors
/// The sentences for every place that cannot be filled.
pub(super) fn substitute<'a>(text: &'a str, env: &dyn Fn(&str) -> Option<String>) -> Result<Cow<'a, str>, Vec<Unfilled>> {
    if !text.contains("${") {
        return Ok(Cow::Borrowed(text));
    }
    let mut filled = String::with_capacity(text.len());
    let mut unfilled = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, from) = rest.split_at(start);
        if let Some(before) = before.strip_suffix('$') {
            filled.push_str(before);
            filled.push_str("${");
            rest = &from[2..];
            continue;
        }
        filled.push_str(before);
        let Some(end) = from.find('}') else {
            unfilled.push(Unfilled::Malformed("`${` has no closing `}`; write `$${` for a literal `${`".into()));
            return Err(unfilled);
        };
        match value(&from[2..end], env) {
            Ok(value) => filled.push_str(&value),
            Err(problem) => unfilled.push(problem),
        }
        rest = &from[end + 1..];
    }
    filled.push_str(rest);
    if unfilled.is_empty() { Ok(Cow::Owned(filled)) } else { Err(unfilled) }
}

/// Why a place cannot be filled.
#[derive(Debug, PartialEq)]
pub(super) enum Unfilled {
    /// The variable of this name is not set and has no default.
    Unset(String),
    /// What stands between the braces is not understood.
    Malformed(String),
}

fn value(inside: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Unfilled> {
    let end = inside.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(inside.len());
    let (name, rest) = inside.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        let shown = inside.escape_debug();
        return Err(Unfilled::Malformed(format!(
            "`${{{shown}}}` does not begin with the name of a variable; write `$${{` for a literal `${{`"
        )));
    }
    let set = env(name);
    let (set, default) = match (rest.strip_prefix(":-"), rest.strip_prefix('-')) {
        (Some(default), _) => (set.filter(|value| !value.is_empty()), default),
        (None, Some(default)) => (set, default),
        (None, None) if rest.is_empty() => return set.ok_or_else(|| Unfilled::Unset(name.into())),
        (None, None) => {
            return Err(Unfilled::Malformed(format!(
                "`${{{name}` may be followed by `:-default`, `-default` or `}}` only"
            )));
        }
    };
    if default.contains("${") {
        return Err(Unfilled::Malformed(format!("the default of `${{{name}…}}` is plain text; it cannot contain `${{`")));
    }
    Ok(set.unwrap_or_else(|| default.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("größe.example".into()),
            "EMPTY" => Some(String::new()),
            "TRICKY" => Some("a${HOST}".into()),
            _ => None,
        }
    }

    #[test]
    fn values_defaults_and_literals() {
        for (text, expected) in [
            ("plain $5 and $HOST stay", "plain $5 and $HOST stay"),
            ("é${HOST}ü", "égröße.exampleü"),
            ("${HOST}${HOST}", "größe.examplegröße.example"),
            ("${UNSET:-日本}", "日本"),
            ("${UNSET-}", ""),
            ("${EMPTY:-full}", "full"),
            ("${EMPTY-full}", ""),
            ("${EMPTY}", ""),
            ("${UNSET:-a:-b-c}", "a:-b-c"),
            ("$${HOST}", "${HOST}"),
            ("$$${HOST}", "$${HOST}"),
            ("${TRICKY}", "a${HOST}"),
        ] {
            assert_eq!(substitute(text, &env).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_filled_is_told_completely() {
        assert_eq!(substitute("${A}-${B}", &env), Err(vec![Unfilled::Unset("A".into()), Unfilled::Unset("B".into())]));
        for text in ["${HOST", "${}", "${1A}", "${HOST:x}", "${HOST.x}", "${ä}", "${UNSET:-${HOST}}"] {
            assert!(matches!(substitute(text, &env).unwrap_err().as_slice(), [Unfilled::Malformed(_)]), "{text}");
        }
    }
}
