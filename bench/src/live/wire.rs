//! What clients are told, as states of a list: the revision of each of its rows, in their order.

use std::collections::HashMap;

use serde_json::Value;

use crate::Result;

/// The revisions of a list's rows.
pub(crate) type State = Vec<i64>;

/// The number of a state that somebody has been told.
pub(crate) type StateId = u32;

/// Every state that anybody has been told, each read once however many are told it.
#[derive(Debug, Default)]
pub(crate) struct States {
    by_name: HashMap<Vec<u8>, StateId>,
    all: Vec<State>,
}

impl States {
    pub(crate) fn get(&self, id: StateId) -> &State {
        &self.all[id as usize]
    }

    /// The state of that name; `read` makes it of the states that are known when it is not known yet.
    fn named(&mut self, name: &[u8], read: impl FnOnce(&Self) -> Result<State>) -> Result<StateId> {
        if let Some(known) = self.by_name.get(name) {
            return Ok(*known);
        }
        let state = read(self)?;
        let id = StateId::try_from(self.all.len())?;
        self.all.push(state);
        self.by_name.insert(name.to_vec(), id);
        Ok(id)
    }

    /// What a frame says of a list to a client who holds the state `held`. None when it is not about that.
    ///
    /// A frame that is a patch to another version than the one that the client holds is an error.
    pub(crate) fn of_frame(&mut self, text: &[u8], held: Option<StateId>) -> Result<Option<StateId>> {
        if !text.starts_with(b"{\"type\":\"frame\"") {
            return if text.starts_with(b"{\"type\":\"error\"") { Err(unexpected(text)) } else { Ok(None) };
        }
        let Some(version) = value_of(text, b"\"version\":\"") else { return Ok(None) };
        if let Some(base) = value_of(text, b"\"base\":\"")
            && self.by_name.get(base).copied() != held
        {
            return Err(format!("a patch to what the client does not hold: {}", String::from_utf8_lossy(text)).into());
        }
        let read = |known: &Self| {
            let frame: Value = serde_json::from_slice(text)?;
            let [result] = frame["results"].as_array().map(Vec::as_slice).unwrap_or_default() else {
                return Err(unexpected(text));
            };
            match (&result["data"], held) {
                (Value::Array(rows), _) => rows.iter().map(|row| revision(&row["revision"])).collect(),
                (_, Some(held)) => patched(known.get(held), &result["delta"]).ok_or_else(|| unexpected(text)),
                _ => Err(unexpected(text)),
            }
        };
        self.named(version, read).map(Some)
    }

    /// The same for a peer who sends the whole list as GraphQL each time. None for its other messages.
    pub(crate) fn of_graphql(&mut self, text: &[u8]) -> Result<Option<StateId>> {
        if !text.starts_with(b"{\"type\":\"data\"") && value_of(text, b"\"type\":\"").is_none_or(|kind| kind != b"data") {
            return if text.windows(7).any(|bytes| bytes == b"\"error\"") { Err(unexpected(text)) } else { Ok(None) };
        }
        let read = |_: &Self| {
            let message: Value = serde_json::from_slice(text)?;
            let rows = message["payload"]["data"]["allTodos"]["nodes"].as_array().ok_or_else(|| unexpected(text))?;
            rows.iter().map(|row| revision(&row["revision"])).collect()
        };
        self.named(text, read).map(Some)
    }
}

fn unexpected(text: &[u8]) -> Box<dyn std::error::Error + Send + Sync> {
    format!("a client was told {}", String::from_utf8_lossy(text)).into()
}

fn revision(value: &Value) -> Result<i64> {
    let number = value.as_i64().or_else(|| value.as_str()?.parse().ok());
    number.ok_or_else(|| format!("{value} is no revision").into())
}

/// The string behind a key, without looking at anything else.
fn value_of<'a>(text: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let from = text.windows(key.len()).position(|bytes| bytes == key)? + key.len();
    let length = text[from..].iter().position(|byte| *byte == b'"')?;
    Some(&text[from..from + length])
}

/// A list after a patch that changes nothing but revisions, which is all that is written here.
fn patched(state: &State, patch: &Value) -> Option<State> {
    let mut state = state.clone();
    for op in patch["[]"].as_array()? {
        if op[0] != "u" {
            return None;
        }
        let row = state.get_mut(usize::try_from(op[1].as_u64()?).ok()?)?;
        *row = revision(&op[2]["~"]["revision"]["="]).ok()?;
    }
    Some(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &[u8] =
        br#"{"type":"frame","position":"7","results":[{"id":1,"version":"a","data":[{"id":"1","revision":"0"},{"id":"2","revision":"5"}]}]}"#;
    const PATCH: &[u8] =
        br#"{"type":"frame","position":"8","results":[{"id":1,"version":"b","base":"a","delta":{"[]":[["u",0,{"~":{"revision":{"=":"6"}}}]]}}]}"#;

    #[test]
    fn wholes_and_patches_are_states() {
        let mut states = States::default();
        assert_eq!(states.of_frame(br#"{"type":"connected","sessionId":"x"}"#, None).unwrap(), None);
        let first = states.of_frame(WHOLE, None).unwrap();
        assert_eq!(states.get(first.unwrap()), &[0, 5]);
        let second = states.of_frame(PATCH, first).unwrap();
        assert_eq!(states.get(second.unwrap()), &[6, 5]);
        assert_eq!(states.of_frame(PATCH, first).unwrap(), second, "read once");
        assert!(states.of_frame(PATCH, second).is_err(), "a patch to something else");
        assert!(states.of_frame(br#"{"type":"error","code":"NOT_LIVE"}"#, None).is_err());
    }

    #[test]
    fn whole_lists_of_a_peer() {
        let mut states = States::default();
        let text = br#"{"type":"data","id":"1","payload":{"data":{"allTodos":{"nodes":[{"id":"1","revision":"4"}]}}}}"#;
        let state = states.of_graphql(text).unwrap();
        assert_eq!(states.get(state.unwrap()), &[4]);
        assert_eq!(states.of_graphql(br#"{"type":"connection_ack"}"#).unwrap(), None);
        assert!(states.of_graphql(br#"{"type":"error","id":"1","payload":{"message":"no"}}"#).is_err());
    }
}
