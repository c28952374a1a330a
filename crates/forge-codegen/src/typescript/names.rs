//! What things are called in TypeScript.

use std::collections::{BTreeMap, BTreeSet};

use forge_core::manifest::Manifest;
use heck::ToLowerCamelCase;

use super::usage::Usage;

/// Words that cannot name a type, or not everywhere: reserved ones, those of the type language, and those that have a
/// meaning in an import.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "abstract", "any", "as", "asserts", "async", "await", "bigint", "boolean", "break", "case", "catch", "class",
    "const", "constructor", "continue", "debugger", "declare", "default", "defer", "delete", "do", "else", "enum",
    "export", "extends", "false", "finally", "for", "from", "function", "get", "global", "if", "implements",
    "import", "in", "infer", "instanceof", "interface", "intrinsic", "is", "keyof", "let", "module", "namespace",
    "never", "new", "null", "number", "object", "of", "out", "override", "package", "private", "protected",
    "public", "readonly", "require", "return", "satisfies", "set", "static", "string", "super", "switch", "symbol",
    "this", "throw", "true", "try", "type", "typeof", "undefined", "unique", "unknown", "using", "var", "void",
    "while", "with", "yield",
];

/// Values that `index.ts` and `api.ts` have under these names; a type of the same name would hide one of the two.
#[rustfmt::skip]
const VALUES: &[&str] = &[
    "ForgeError", "action", "api", "call", "connection", "createForgeClient", "createOutbox", "job", "jobs", "live", "load", "mutation",
    "newId", "present", "provideForge", "query", "trackJob", "useForge",
];

/// The names that an app's types and functions have in the generated files.
pub(super) struct Names<'a> {
    types: BTreeMap<&'a str, String>,
    taken: BTreeSet<String>,
    functions: BTreeMap<&'a str, String>,
    jobs: BTreeMap<&'a str, String>,
}

impl<'a> Names<'a> {
    /// Names everything that is used; what cannot be named is added to the problems.
    pub(super) fn of(manifest: &'a Manifest, usage: &Usage<'a>, problems: &mut Vec<String>) -> Self {
        let mut types = BTreeMap::new();
        let mut origins = BTreeMap::new();
        for def in usage.used() {
            let name = def.name.as_str();
            if !is_identifier(name) {
                problems.push(format!("the type name {name:?} is not a name in TypeScript: rename the type"));
                continue;
            }
            let hidden = WORDS.contains(&name) || VALUES.contains(&name);
            let safe = if hidden { format!("{name}_") } else { name.to_owned() };
            if let Some(other) = origins.insert(safe.clone(), name) {
                problems.push(format!(
                    "the types `{other}` and `{name}` would both be `{safe}` in TypeScript: rename one of them"
                ));
            }
            types.insert(name, safe);
        }
        let functions = keys("functions", manifest.functions.iter().map(|function| function.name.as_str()), problems);
        let jobs = keys("jobs", manifest.jobs.iter().map(|job| job.name.as_str()), problems);
        Self { types, taken: origins.into_keys().collect(), functions, jobs }
    }

    /// What a type is called.
    pub(super) fn of_type<'n>(&'n self, name: &'n str) -> &'n str {
        // A type without a name of its own was a problem, and nothing is written then.
        self.types.get(name).map_or(name, String::as_str)
    }

    /// Whether one of the app's types has this name.
    pub(super) fn is_taken(&self, name: &str) -> bool {
        self.taken.contains(name)
    }

    /// What a function is called in `api`.
    pub(super) fn of_function<'n>(&'n self, name: &'n str) -> &'n str {
        self.functions.get(name).map_or(name, String::as_str)
    }

    /// What a job is called in `jobs`.
    pub(super) fn of_job<'n>(&'n self, name: &'n str) -> &'n str {
        self.jobs.get(name).map_or(name, String::as_str)
    }
}

/// The keys of an object that has one for each name; `what` they are is for the messages.
fn keys<'a>(what: &str, all: impl Iterator<Item = &'a str>, problems: &mut Vec<String>) -> BTreeMap<&'a str, String> {
    let mut names = BTreeMap::new();
    let mut origins: BTreeMap<String, &str> = BTreeMap::new();
    for name in all {
        let camel = name.to_lower_camel_case();
        // A name without a single letter or digit stays as it is.
        let safe = if camel.is_empty() { name.to_owned() } else { camel };
        match origins.insert(safe.clone(), name) {
            Some(other) if other == name => {
                problems.push(format!("two {what} are called `{name}`: rename one of them"));
            }
            Some(other) => problems.push(format!(
                "the {what} `{other}` and `{name}` would both be `{safe}` in TypeScript: give one of them another name"
            )),
            None => {}
        }
        names.insert(name, safe);
    }
    names
}

/// Whether the text can stand where a name is expected.
pub(super) fn is_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|first| first == '_' || first == '$' || unicode_ident::is_xid_start(first))
        && chars.all(|c| c == '$' || unicode_ident::is_xid_continue(c))
}

/// The name of a property: quoted when it has to be. Letters beyond the first 65,536 characters are left to quotes, as
/// tools differ in which of them they know.
pub(super) fn property(name: &str) -> String {
    let plain = is_identifier(name) && name.chars().all(|c| u32::from(c) <= 0xffff);
    if plain { name.to_owned() } else { text_literal(name) }
}

/// A text in quotes: single ones, unless double ones need fewer escapes.
pub(super) fn text_literal(text: &str) -> String {
    let quote = if text.matches('\'').count() > text.matches('"').count() { '"' } else { '\'' };
    let mut literal = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => literal.push_str("\\\\"),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            // Characters that nobody sees, or that end a line for some readers.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                literal.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c if c == quote => literal.extend(['\\', c]),
            c => literal.push(c),
        }
    }
    literal.push(quote);
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_only_where_needed() {
        for (name, written) in [
            ("columnId", "columnId"),
            ("delete", "delete"),
            ("größe", "größe"),
            ("𝒳", "'𝒳'"),
            ("_1", "_1"),
            ("1st", "'1st'"),
            ("a-b", "'a-b'"),
            ("", "''"),
            ("it's", "\"it's\""),
            ("'\"", "'\\'\"'"),
            ("a\\\n\u{2028}\u{0}", "'a\\\\\\n\\u2028\\u0000'"),
        ] {
            assert_eq!(property(name), written);
        }
    }

    #[test]
    fn lists_of_words_are_sorted_for_readers() {
        assert!(WORDS.is_sorted());
        assert!(VALUES.is_sorted());
    }
}
