//! What the attributes make of an app's items, seen from outside: names on the wire, rules, tables, statements.

// Items are `pub` as in an app, where others could reach them.
#![allow(unreachable_pub)]
// A panic in a test is its report.
#![allow(clippy::unwrap_used)]

mod app_errors;
mod crons;
mod enums;
mod functions;
mod inputs;
mod jobs;
mod models;
mod statements;

use forge::__rt::wire::{TypeRegistry, WireType, read_json, write_json};
use serde_json::Value;

/// The value as JSON.
fn written<T: WireType>(value: &T) -> Value {
    let mut buffer = Vec::new();
    write_json(value, &mut buffer).unwrap();
    serde_json::from_slice(&buffer).unwrap()
}

/// The value read from JSON.
fn read<T: WireType>(json: Value) -> T {
    read_json(json.to_string().as_bytes()).unwrap()
}

/// Why the JSON is refused: the message, or the details when rules are broken.
fn refused<T: WireType>(json: Value) -> String {
    match read_json::<T>(json.to_string().as_bytes()) {
        Ok(_) => panic!("{json} was accepted"),
        Err(error) => error.details().map_or_else(|| error.message().to_owned(), ToString::to_string),
    }
}

/// The description of a type and of those it uses, as the manifest has them.
fn described<T: WireType>() -> Value {
    let mut types = TypeRegistry::default();
    let reference = T::wire_type(&mut types);
    serde_json::json!({ "type": reference, "types": types.finish().unwrap() })
}
