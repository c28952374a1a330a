//! A frame, as it is written.

use std::fmt::Write as _;

use serde_json::json;

use super::group::Told;
use super::version::Held;

/// A frame that is being written.
#[derive(Debug, Default)]
pub(super) struct Frame {
    /// With commas between them.
    results: String,
    /// Some of them are no patches.
    whole: bool,
}

impl Frame {
    /// A result, for a client that has `held` of it.
    pub(super) fn add(&mut self, id: u64, told: &Told, held: Option<Held>) {
        let Self { results, whole } = self;
        if !results.is_empty() {
            results.push(',');
        }
        let had = |version| held.is_some_and(|held| held.is(version));
        // Writing to a text does not fail.
        let _ = match &told.patch {
            Some((base, patch)) if had(*base) && !had(told.version) => write!(results, "[{id}{patch}"),
            _ => {
                *whole = true;
                let version = told.version.brief();
                if had(told.version) {
                    write!(results, "{{\"id\":{id},\"version\":\"{version}\",\"current\":true}}")
                } else {
                    write!(results, "{{\"id\":{id},\"version\":\"{version}\",\"data\":{}}}", told.json)
                }
            }
        };
    }

    /// The frame as JSON, if there is anything in it. Patches are many and small: nothing goes with them that nobody needs.
    pub(super) fn text(self, position: u64, acks: &[String]) -> Option<String> {
        let Self { results, whole } = self;
        if results.is_empty() && acks.is_empty() {
            return None;
        }
        let position = if whole { format!("\"position\":\"{position}\",") } else { String::new() };
        let acks = if acks.is_empty() { String::new() } else { format!(",\"acks\":{}", json!(acks)) };
        Some(format!("{{\"type\":\"frame\",{position}\"results\":[{results}]{acks}}}"))
    }
}
