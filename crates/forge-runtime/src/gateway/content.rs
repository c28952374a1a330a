//! What a body says that it is.
//!
//! Bodies are JSON, whatever they are called. But a page of another site can have a browser send one under the names that forms use, without
//! asking anybody first, so those are refused. One without a name is taken: programs leave it out, and no form can.

use forge_core::{Error, Result};
use http::{HeaderMap, header};

/// Whether a body is called JSON; `None` when it has no name.
pub(super) fn is_json(headers: &HeaderMap) -> Option<bool> {
    let mut names = headers.get_all(header::CONTENT_TYPE).iter().peekable();
    names.peek()?;
    Some(names.all(|name| name.to_str().is_ok_and(names_json)))
}

/// Refuses a body that is called anything but JSON.
///
/// # Errors
/// `UNSUPPORTED_MEDIA_TYPE` (415).
pub(super) fn check(headers: &HeaderMap) -> Result<()> {
    if is_json(headers) != Some(false) {
        return Ok(());
    }
    let text = "the body is not called JSON: send it with the header `Content-Type: application/json` (with curl, add \
                -H 'content-type: application/json')";
    Err(Error::app("UNSUPPORTED_MEDIA_TYPE", 415, text))
}

fn names_json(name: &str) -> bool {
    let essence = name.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(names: &[&'static str]) -> HeaderMap {
        names.iter().map(|name| (header::CONTENT_TYPE, http::HeaderValue::from_static(name))).collect()
    }

    #[test]
    fn what_is_called_anything_else_is_refused() {
        for fine in [
            &[][..],
            &["application/json"],
            &["Application/JSON ; charset=utf-8"],
            &["application/vnd.api+json"],
            &["application/json", "application/json"],
        ] {
            assert!(check(&called(fine)).is_ok(), "{fine:?}");
        }
        for other in [
            &["text/plain"][..],
            &["application/x-www-form-urlencoded"],
            &["multipart/form-data; boundary=application/json"],
            &["text/plain; application/json"],
            &["application/json, text/plain"],
            &["application/json", "text/plain"],
            &["text/x+json"],
            &[""],
        ] {
            let why = check(&called(other)).unwrap_err();
            assert_eq!((why.code(), why.http_status()), ("UNSUPPORTED_MEDIA_TYPE", 415), "{other:?}");
            assert!(why.public_message().contains("application/json"));
        }
    }
}
