//! Answers: `{"success": true, "data": ..}` and `{"success": false, "error": ..}`.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use forge_core::{Error, ErrorKind};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::Value;

use crate::auth::Principal;
use crate::function::Written;

/// What the edge wants to know of an answer for the log and the metrics.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The function that was called, when it is one of the app's.
    pub(super) function: Option<&'static str>,
    /// Who called.
    pub(super) caller: Option<Arc<Principal>>,
    /// The code of the error.
    pub(super) code: Option<String>,
    /// What a call has written that failed all the same.
    pub(super) wrote: Option<Written>,
    /// The size of the request's body.
    pub(super) request_bytes: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure<'a> {
    success: bool,
    error: Failed<'a>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct Failed<'a> {
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a Value>,
}

/// The answer to a call that succeeded.
pub(super) fn success(data: &[u8], request_id: &str) -> Response {
    // Request ids are checked to need no escaping.
    let parts = [b"{\"success\":true,\"data\":", data, b",\"requestId\":\"", request_id.as_bytes(), b"\"}"];
    json(StatusCode::OK, parts.concat())
}

/// The answer to one that failed. Whatever is the server's own mistake is logged here and told to nobody else.
pub(super) fn failure(error: &Error, request_id: &str) -> Response {
    if matches!(error.kind(), ErrorKind::Internal | ErrorKind::Database | ErrorKind::Config) {
        tracing::error!(request_id, error = ?error, "a call failed");
    } else if error.kind() == ErrorKind::OutcomeUnknown {
        tracing::error!(request_id, error = ?error, "the outcome of a commit is not known");
    }
    let told = Failed { code: error.code(), message: error.public_message(), details: error.details() };
    let body = serde_json::to_vec(&Failure { success: false, error: told, request_id }).unwrap_or_default();
    let status = StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, body);
    if let Some(seconds) = error.retry_after_s() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// An answer with a JSON body.
pub(super) fn json(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
