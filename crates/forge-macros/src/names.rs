//! Names: which are near to one another, how plurals are made, what is allowed on the wire and in the database.

use heck::{ToLowerCamelCase, ToSnakeCase};
use proc_macro2::Ident;
use syn::ext::IdentExt;

/// PostgreSQL cuts longer names off without an error, so they are refused here.
pub(crate) const MAX_IDENTIFIER_BYTES: usize = 63;

/// The candidate that was most likely meant, if one is near enough to be worth naming.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// "; did you mean `x`?", or nothing.
pub(crate) fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}

/// "`a`, `b`, `c`".
pub(crate) fn list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// The identifier's text without `r#`.
pub(crate) fn plain(ident: &Ident) -> String {
    ident.unraw().to_string()
}

/// A field's name on the wire.
pub(crate) fn wire_name(ident: &Ident) -> String {
    plain(ident).to_lower_camel_case()
}

/// A variant's name on the wire and in the database.
pub(crate) fn snake(ident: &Ident) -> String {
    plain(ident).to_snake_case()
}

/// The table of a model that does not name one: `Card` → `cards`, `BoxOfCandy` → `box_of_candies`.
pub(crate) fn table_name(model: &str) -> String {
    let singular = model.to_snake_case();
    let ends = |endings: &[&str]| endings.iter().any(|ending| singular.ends_with(ending));
    if singular.ends_with('y') && !ends(&["ay", "ey", "iy", "oy", "uy"]) {
        format!("{}ies", &singular[..singular.len() - 1])
    } else if ends(&["s", "x", "ch", "sh"]) {
        format!("{singular}es")
    } else {
        format!("{singular}s")
    }
}

/// Whether a function may be called this on the wire: `[a-z][a-z0-9_]*`.
pub(crate) fn is_function_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Why PostgreSQL would not take this as a name, if so.
pub(crate) fn identifier_mistake(name: &str) -> Option<String> {
    if name.is_empty() {
        Some("a name in the database cannot be empty".into())
    } else if name.contains('\0') {
        Some("a name in the database cannot contain a NUL character".into())
    } else if name.len() > MAX_IDENTIFIER_BYTES {
        Some(format!(
            "`{name}` has {} bytes, and PostgreSQL cuts names off after {MAX_IDENTIFIER_BYTES}: choose a shorter one",
            name.len()
        ))
    } else {
        None
    }
}

/// An identifier in double quotes, for SQL.
pub(crate) fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plurals() {
        for (model, table) in [
            ("Card", "cards"),
            ("Category", "categories"),
            ("Day", "days"),
            ("Address", "addresses"),
            ("Box", "boxes"),
            ("Branch", "branches"),
            ("Wish", "wishes"),
            ("BoardMember", "board_members"),
        ] {
            assert_eq!(table_name(model), table);
        }
    }

    #[test]
    fn the_nearest_word_is_named_only_when_it_is_near() {
        let keys = ["timeout", "public", "role"];
        assert_eq!(nearest("timout", keys), Some("timeout"));
        assert_eq!(nearest("rolle", keys), Some("role"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(did_you_mean("publik", keys), "; did you mean `public`?");
        assert_eq!(did_you_mean("xyz", keys), "");
    }

    #[test]
    fn function_names() {
        assert!(is_function_name("list_cards2"));
        for bad in ["", "_x", "2x", "List", "a-b", "ä"] {
            assert!(!is_function_name(bad), "{bad}");
        }
    }

    #[test]
    fn long_names_are_refused_rather_than_cut() {
        assert_eq!(identifier_mistake(&"a".repeat(63)), None);
        assert!(identifier_mistake(&"ä".repeat(32)).unwrap().contains("64 bytes"));
        assert!(identifier_mistake("").is_some());
    }
}
