//! What a client sends, and the forms of what it is told.

use forge_core::{Error, Result};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

/// How many messages one POST may bring.
const MESSAGES_MAX: usize = 100;

/// What a client sends, as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Sent {
    r#type: String,
    id: Option<u64>,
    of: Option<u64>,
    function: Option<String>,
    args: Option<Box<RawValue>>,
    state: Option<Box<RawValue>>,
    version: Option<String>,
    mutation_id: Option<String>,
    token: Option<String>,
    job_id: Option<String>,
}

/// What a client wants.
#[derive(Debug)]
pub(super) enum Wanted {
    Auth { token: String },
    Subscribe { id: u64, function: String, args: Option<Box<RawValue>>, version: Option<String> },
    Unsubscribe { id: u64 },
    Call { id: u64, function: String, args: Option<Box<RawValue>>, mutation_id: Option<String> },
    Presence { id: u64, of: u64, state: Option<Box<RawValue>> },
    SubscribeJob { id: u64, job: String },
    Ping,
}

impl Wanted {
    /// Reads a message.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when it is none of these.
    pub(super) fn read(text: &str) -> Result<Self> {
        let refused = || {
            Error::invalid_argument(
                "the message is not one of auth, subscribe, unsubscribe, subscribeJob, call, presence and ping",
            )
        };
        let sent: Sent = serde_json::from_str(text).map_err(|_| refused())?;
        Self::of(sent).ok_or_else(refused)
    }

    fn of(sent: Sent) -> Option<Self> {
        let Sent { r#type, id, of, function, args, state, version, mutation_id, token, job_id } = sent;
        // What belongs to one kind only.
        let (calling, lasting) = (mutation_id.is_some(), version.is_some());
        let (naming, staying) = (function.is_some() || args.is_some(), of.is_some() || state.is_some());
        let bare = !calling && !lasting && !naming && !staying;
        if let ("subscribeJob", Some(id), None, true) = (r#type.as_str(), id, &token, bare) {
            return Some(Self::SubscribeJob { id, job: job_id? });
        }
        if job_id.is_some() {
            return None;
        }
        match (r#type.as_str(), id, token) {
            ("auth", None, Some(token)) if bare => Some(Self::Auth { token }),
            ("subscribe", Some(id), None) if !calling && !staying => {
                Some(Self::Subscribe { id, function: function?, args, version })
            }
            ("unsubscribe", Some(id), None) if bare => Some(Self::Unsubscribe { id }),
            ("call", Some(id), None) if !lasting && !staying => {
                Some(Self::Call { id, function: function?, args, mutation_id })
            }
            ("presence", Some(id), None) if !calling && !lasting && !naming => Some(Self::Presence { id, of: of?, state }),
            ("ping", None, None) if bare => Some(Self::Ping),
            _ => None,
        }
    }

    /// Reads what a POST brings: a message, or a list of them.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when it is neither, or one of the list is none, or there are too many.
    pub(super) fn read_all(body: &str) -> Result<Vec<Self>> {
        if !body.trim_start().starts_with('[') {
            return Ok(vec![Self::read(body)?]);
        }
        let list: Vec<Box<RawValue>> = serde_json::from_str(body)
            .map_err(|why| Error::invalid_argument(format!("the body is no list of messages: {why}")))?;
        if list.len() > MESSAGES_MAX {
            return Err(Error::invalid_argument(format!(
                "a request brings at most {MESSAGES_MAX} messages, not {}",
                list.len()
            )));
        }
        list.iter().map(|one| Self::read(one.get())).collect()
    }
}

/// What is said first.
pub(super) fn connected(session: &str) -> String {
    json!({"type": "connected", "sessionId": session}).to_string()
}

/// An error, of a subscription or of the session.
pub(super) fn error(id: Option<u64>, why: &Error) -> String {
    let mut error = body(why);
    error["type"] = "error".into();
    if let Some(id) = id {
        error["id"] = id.into();
    }
    error.to_string()
}

/// The answer to a call that failed.
pub(super) fn refusal(id: u64, why: &Error) -> String {
    json!({"type": "reply", "id": id, "error": body(why)}).to_string()
}

fn body(why: &Error) -> serde_json::Value {
    // The status that HTTP would say: a client tells by it what may not be seen any more, whatever code the app gave it.
    let mut error = json!({"code": why.code(), "message": why.public_message(), "status": why.http_status()});
    if let Some(details) = why.details() {
        error["details"] = details.clone();
    }
    if let Some(seconds) = why.retry_after_s() {
        error["retryAfter"] = seconds.into();
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_what_its_kind_has_and_nothing_else() {
        for fine in [
            r#"{"type": "auth", "token": "t"}"#,
            r#"{"type": "subscribe", "id": 1, "function": "f"}"#,
            r#"{"type": "subscribe", "id": 1, "function": "f", "args": {}, "version": "v"}"#,
            r#"{"type": "unsubscribe", "id": 1}"#,
            r#"{"type": "call", "id": 1, "function": "f", "args": null, "mutationId": "m"}"#,
            r#"{"type": "presence", "id": 2, "of": 1}"#,
            r#"{"type": "presence", "id": 2, "of": 1, "state": null}"#,
            r#"{"type": "presence", "id": 2, "of": 1, "state": {"x": 1}}"#,
            r#"{"type": "subscribeJob", "id": 2, "jobId": "x"}"#,
            r#"{"type": "ping"}"#,
        ] {
            assert!(Wanted::read(fine).is_ok(), "{fine}");
        }
        for bad in [
            "",
            "[]",
            "null",
            r#"{"type": "auth"}"#,
            r#"{"type": "auth", "token": "t", "id": 1}"#,
            r#"{"type": "subscribe", "id": 1}"#,
            r#"{"type": "subscribe", "id": -1, "function": "f"}"#,
            r#"{"type": "subscribe", "id": 1, "function": "f", "mutationId": "m"}"#,
            r#"{"type": "subscribe", "id": 1, "function": "f", "of": 1}"#,
            r#"{"type": "unsubscribe", "id": 1, "function": "f"}"#,
            r#"{"type": "call", "id": 1, "function": "f", "version": "v"}"#,
            r#"{"type": "presence", "id": 2}"#,
            r#"{"type": "presence", "of": 2}"#,
            r#"{"type": "presence", "id": 2, "of": 1, "function": "f"}"#,
            r#"{"type": "subscribeJob", "id": 2}"#,
            r#"{"type": "subscribeJob", "jobId": "x"}"#,
            r#"{"type": "subscribeJob", "id": 2, "jobId": "x", "of": 1}"#,
            r#"{"type": "subscribeJob", "id": 2, "jobId": "x", "args": {}}"#,
            r#"{"type": "ping", "jobId": "x"}"#,
            r#"{"type": "ping", "id": 1}"#,
            r#"{"type": "ping", "more": 1}"#,
            r#"{"type": "event", "id": 1}"#,
        ] {
            assert_eq!(Wanted::read(bad).unwrap_err().code(), "INVALID_ARGUMENT", "{bad}");
        }
    }

    #[test]
    fn a_request_brings_one_message_or_a_list_of_them() {
        let ping = r#"{"type": "ping"}"#;
        assert_eq!(Wanted::read_all(ping).unwrap().len(), 1);
        let list = |n: usize| format!(" [{}]", vec![ping; n].join(","));
        assert_eq!(Wanted::read_all(&list(100)).unwrap().len(), 100);
        assert_eq!(Wanted::read_all(&list(0)).unwrap().len(), 0);
        assert!(Wanted::read_all(&list(101)).is_err());
        assert!(Wanted::read_all(r#"[{"type": "ping"}, {"type": "pong"}]"#).is_err());
        assert!(Wanted::read_all("[").is_err());
    }
}
