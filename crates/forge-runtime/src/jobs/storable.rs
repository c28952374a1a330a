//! What can be stored of what jobs say: PostgreSQL knows no NUL in a text, and everything has a length.

use forge_core::Result;
use serde_json::Value;

/// What stands where a NUL was.
const INSTEAD: &str = "\u{fffd}";

/// A text, cut to so many bytes.
pub(super) fn text(said: &str, max: usize) -> String {
    let end = (0..=max.min(said.len())).rev().find(|at| said.is_char_boundary(*at)).unwrap_or(0);
    said[..end].replace('\0', INSTEAD)
}

/// What a JSON text says.
///
/// # Errors
/// When that cannot be represented: a number beyond all bounds, a nesting deeper than 128.
pub(super) fn json(text: &str) -> Result<Value> {
    let mut value = serde_json::from_str(text)?;
    // Nearly never; to walk through all that jobs say is not worth it otherwise.
    if text.contains("\\u0000") {
        replace(&mut value);
    }
    Ok(value)
}

fn replace(value: &mut Value) {
    match value {
        Value::String(text) => *text = text.replace('\0', INSTEAD),
        Value::Array(values) => values.iter_mut().for_each(replace),
        Value::Object(fields) => {
            for (name, mut value) in std::mem::take(fields) {
                replace(&mut value);
                fields.insert(name.replace('\0', INSTEAD), value);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_no_nul_in_it() {
        let said = serde_json::json!({ "a\0": ["\0b", { "c": "\\u0000" }], "n": 1, "nothing": null });
        let stored = serde_json::json!({ "a\u{fffd}": ["\u{fffd}b", { "c": "\\u0000" }], "n": 1, "nothing": null });
        assert_eq!(json(&said.to_string()).unwrap(), stored);
        assert!(json("{").is_err() && json(&"[".repeat(200)).is_err());
    }

    #[test]
    fn it_is_cut_between_characters() {
        assert_eq!(text("h\0é", 9), "h\u{fffd}é");
        assert_eq!(text("héé", 4), "hé");
        assert_eq!(text("", 4), "");
    }
}
