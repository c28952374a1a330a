//! What an app may be called: its name becomes that of a crate, a database and a package of its page.

use std::path::{Component, Path};

use forge_core::{Error, Result};

/// A database's name has at most 63 bytes.
const LONGEST: usize = 58;

/// Words of the language, and names that cargo or the app's own code need for something else.
const TAKEN: &[&str] = &[
    "abstract",
    "alloc",
    "app",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "forge",
    "gen",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "postgres",
    "priv",
    "proc-macro",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "template0",
    "template1",
    "test",
    "tokio",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

/// The name of the app to be made in a folder: the folder's own.
pub(super) fn of(path: &Path) -> Result<String> {
    let name = match path.components().next_back() {
        Some(Component::Normal(name)) => name.to_string_lossy().into_owned(),
        _ => return Err(invalid(&path.display().to_string(), "it has no name of its own")),
    };
    let odd = |c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'));
    let problem = if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        "it must begin with a lower-case letter".to_owned()
    } else if let Some(odd) = name.chars().find(|c| odd(*c)) {
        format!("`{}` cannot be part of it", odd.escape_debug())
    } else if name.len() > LONGEST {
        format!("it has more than {LONGEST} characters")
    } else if TAKEN.contains(&name.as_str()) {
        "that word means something else to Rust, cargo or PostgreSQL".to_owned()
    } else {
        return Ok(name);
    };
    Err(invalid(&name, &problem))
}

fn invalid(name: &str, problem: &str) -> Error {
    let text = format!(
        "an app cannot be called `{}`: {problem}. A name has lower-case letters, digits, `-` and `_`, such as `forge new my-shop`",
        name.escape_debug()
    );
    Error::config("NEW_NAME_INVALID", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for fine in ["shop", "my-shop", "a1_b", "some/where/shop", "../shop", "/tmp/shop/"] {
            assert!(of(Path::new(fine)).is_ok(), "{fine}");
        }
        for wrong in
            ["Shop", "1shop", "-shop", "my shop", "shöp", "self", "forge", "..", ".", "/", "", "a.b", &"x".repeat(59)]
        {
            assert_eq!(of(Path::new(wrong)).unwrap_err().code(), "NEW_NAME_INVALID", "{wrong}");
        }
    }
}
