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
    /// By what a client held, and the frame that it was told then.
    by_frame: HashMap<(Option<StateId>, Vec<u8>), StateId>,
    all: Vec<State>,
}

impl States {
    pub(crate) fn get(&self, id: StateId) -> &State {
        &self.all[id as usize]
    }

    /// The state of that name.
    fn named(&mut self, name: &[u8], state: State) -> Result<StateId> {
        match self.by_name.get(name).copied() {
            Some(known) if *self.get(known) == state => return Ok(known),
            Some(_) => return Err(format!("{state:?} is not the only one of its name").into()),
            None => {}
        }
        let id = StateId::try_from(self.all.len())?;
        self.all.push(state);
        self.by_name.insert(name.to_vec(), id);
        Ok(id)
    }

    /// What a frame says of a list to a client who holds the state `held`. None when it is not about that.
    ///
    /// A patch makes the state of a version of what the client holds, whichever that is: another state than the version's is an error.
    pub(crate) fn of_frame(&mut self, text: &[u8], held: Option<StateId>) -> Result<Option<StateId>> {
        if !text.starts_with(b"{\"type\":\"frame\"") {
            return if text.starts_with(b"{\"type\":\"error\"") { Err(unexpected(text)) } else { Ok(None) };
        }
        let told = (held, text.to_vec());
        if let Some(known) = self.by_frame.get(&told) {
            return Ok(Some(*known));
        }
        let frame: Value = serde_json::from_slice(text)?;
        let [result] = frame["results"].as_array().map(Vec::as_slice).unwrap_or_default() else {
            return Err(unexpected(text));
        };
        let (version, state) = match (result, &result["data"], held) {
            (_, Value::Array(rows), _) => {
                (&result["version"], rows.iter().map(|row| revision(&row["revision"])).collect::<Result<State>>()?)
            }
            (Value::Array(patch), _, Some(held)) => {
                let change = patch.get(2..).ok_or_else(|| unexpected(text))?;
                (&patch[1], patched(self.get(held), change).ok_or_else(|| unexpected(text))?)
            }
            _ => return Err(unexpected(text)),
        };
        let version = version.as_str().ok_or_else(|| unexpected(text))?;
        let id = self.named(version.as_bytes(), state)?;
        self.by_frame.insert(told, id);
        Ok(Some(id))
    }

    /// The same for a peer who sends the whole list as GraphQL each time. None for its other messages.
    pub(crate) fn of_graphql(&mut self, text: &[u8]) -> Result<Option<StateId>> {
        if !text.starts_with(b"{\"type\":\"data\"") && value_of(text, b"\"type\":\"").is_none_or(|kind| kind != b"data") {
            return if text.windows(7).any(|bytes| bytes == b"\"error\"") { Err(unexpected(text)) } else { Ok(None) };
        }
        if let Some(known) = self.by_name.get(text) {
            return Ok(Some(*known));
        }
        let message: Value = serde_json::from_slice(text)?;
        let rows = message["payload"]["data"]["allTodos"]["nodes"].as_array().ok_or_else(|| unexpected(text))?;
        let state = rows.iter().map(|row| revision(&row["revision"])).collect::<Result<State>>()?;
        self.named(text, state).map(Some)
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

/// A list after a change of nothing but revisions, which is all that is written here: of one row, or of several.
fn patched(state: &State, change: &[Value]) -> Option<State> {
    let mut state = state.clone();
    let mut write = |at: &Value, value: &Value| {
        *state.get_mut(usize::try_from(at.as_u64()?).ok()?)? = revision(value).ok()?;
        Some(())
    };
    match change {
        [at, field, value] if field == "revision" => write(at, value)?,
        [Value::Array(steps)] => steps.chunks(2).try_for_each(|step| write(&step[0], &step.get(1)?["revision"]))?,
        _ => return None,
    }
    Some(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &[u8] =
        br#"{"type":"frame","position":"7","results":[{"id":1,"version":"a","data":[{"id":"1","revision":"0"},{"id":"2","revision":"5"}]}]}"#;
    const PATCH: &[u8] = br#"{"type":"frame","results":[[1,"b",0,"revision","6"]]}"#;
    const PATCHES: &[u8] = br#"{"type":"frame","results":[[1,"c",[0,{"revision":"7"},1,{"revision":"8"}]]]}"#;

    #[test]
    fn wholes_and_patches_are_states() {
        let mut states = States::default();
        assert_eq!(states.of_frame(br#"{"type":"connected","sessionId":"x"}"#, None).unwrap(), None);
        let first = states.of_frame(WHOLE, None).unwrap();
        assert_eq!(states.get(first.unwrap()), &[0, 5]);
        assert!(states.of_frame(PATCH, None).is_err(), "a patch to nothing");
        let second = states.of_frame(PATCH, first).unwrap();
        assert_eq!(states.get(second.unwrap()), &[6, 5]);
        assert_eq!(states.of_frame(PATCH, first).unwrap(), second, "read once");
        let third = states.of_frame(PATCHES, second).unwrap();
        assert_eq!(states.get(third.unwrap()), &[7, 8]);
        assert!(states.of_frame(PATCH, third).is_err(), "a patch to something else");
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
