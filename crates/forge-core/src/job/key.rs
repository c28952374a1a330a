//! Keys: what makes two jobs the same, for idempotency and for limits.
//!
//! The macros write calls of these.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::wire::{self, WireType};

/// A key that would be longer is replaced by a hash, so that an index can hold it.
const MAX_BYTES: usize = 200;

/// The wire form of one field, as part of a [`key`]. `None` when it has none, as NaN.
pub fn part<T: WireType>(value: &T) -> Option<String> {
    let mut json = Vec::with_capacity(40);
    wire::write_json(value, &mut json).ok()?;
    String::from_utf8(json).ok()
}

/// The key of several fields: their wire forms, joined by `|`. `null` is a value like any other.
///
/// Beyond 200 bytes it is `#` and a hash of that, which no JSON begins with.
///
/// ```
/// use forge_core::job::{key, part};
/// assert_eq!(key(&[part(&7_i32), part(&"a|b".to_owned())]).as_deref(), Some("7|\"a|b\""));
/// ```
pub fn key(parts: &[Option<String>]) -> Option<String> {
    let parts: Option<Vec<&str>> = parts.iter().map(Option::as_deref).collect();
    let key = parts?.join("|");
    Some(if key.len() <= MAX_BYTES { key } else { hashed(key.as_bytes()) })
}

/// The key of an input as a whole: a hash of its JSON in one form only, whatever order its maps have.
pub fn whole<T: WireType>(input: &T) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(&part(input)?).ok()?;
    Some(hashed(value.to_string().as_bytes()))
}

/// 192 bits of SHA-256: the same on every node and in every version.
fn hashed(text: &[u8]) -> String {
    format!("#{}", BASE64_URL_SAFE_NO_PAD.encode(&Sha256::digest(text)[..24]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_differ_have_keys_that_differ() {
        let text = |text: &str| part(&text.to_owned());
        let keys = [
            key(&[text("a"), text("b")]),
            key(&[text("a|b")]),
            key(&[text("a\"|\"b")]),
            key(&[text("b"), text("a")]),
            key(&[text("a")]),
            key(&[part(&None::<String>)]),
            key(&[text("null")]),
            key(&[part(&1_i32)]),
            key(&[part(&1_i64)]),
        ];
        for (index, one) in keys.iter().enumerate() {
            assert!(one.is_some() && !keys[index + 1..].contains(one), "{one:?}");
        }
        assert_eq!(key(&[part(&None::<String>)]).as_deref(), Some("null"));
    }

    #[test]
    fn long_keys_are_hashed() {
        let key_of = |length: usize| key(&[part(&"x".repeat(length))]).unwrap();
        assert_eq!(key_of(MAX_BYTES - 2).len(), MAX_BYTES);
        let hashed = key_of(MAX_BYTES - 1);
        assert!(hashed.starts_with('#') && hashed.len() == 33, "{hashed}");
        assert_ne!(hashed, key_of(MAX_BYTES));
    }

    #[test]
    fn a_whole_input_has_one_key_whatever_its_order() {
        let value = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap();
        let one = whole(&value(r#"{"a": 1, "b": [2]}"#));
        assert_eq!(one, whole(&value(r#"{"b":[2],"a":1}"#)));
        assert_ne!(one, whole(&value(r#"{"b":[3],"a":1}"#)));
        // It is stored, so it must not change with a version.
        assert_eq!(whole(&value("{}")).as_deref(), Some("#RBNvo1WzZ4oRRq0W9-hknpT7T8If536D"));
    }

    #[test]
    fn what_has_no_wire_form_has_no_key() {
        assert_eq!(key(&[part(&1_i32), part(&f64::NAN)]), None);
        assert_eq!(whole(&f64::NAN), None);
    }
}
