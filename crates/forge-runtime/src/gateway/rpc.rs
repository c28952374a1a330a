//! `POST /rpc/{function}` and `POST /rpc`: calls.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use axum::routing::any;
use bytes::Bytes;
use forge_core::request::RequestMetadata;
use forge_core::{Error, ErrorKind, Result};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::{self, Told};
use super::page::nothing_here;
use crate::app::{NodeParts, Stage};
use crate::auth::SessionChange;
use crate::function::{Answer, Call, Caller, Looked};

/// A mutation repeated with the same id takes effect once.
const MUTATION_ID: HeaderName = HeaderName::from_static("x-forge-mutation-id");
/// The log position that contains what the caller has written; it comes back with later calls.
const POSITION: HeaderName = HeaderName::from_static("x-forge-position");

/// Whatever else is asked for where calls are answered is not there.
pub(super) fn routes() -> Router<NodeParts> {
    Router::new().route("/rpc", any(nothing_here)).route("/rpc/{function}", any(nothing_here))
}

/// Whether a request is a call. Nearly all requests are, so this is asked before the router is.
pub(super) fn is_call<B>(request: &Request<B>) -> bool {
    let named = |function: &str| !function.is_empty() && !function.contains('/');
    *request.method() == Method::POST
        && request
            .uri()
            .path()
            .strip_prefix("/rpc")
            .is_some_and(|rest| rest.is_empty() || rest.strip_prefix('/').is_some_and(named))
}

/// Answers a call.
pub(super) async fn call(
    parts: &NodeParts,
    request: Request<Incoming>,
    metadata: &Arc<RequestMetadata>,
    told: &mut Told,
) -> Response {
    let result = run(parts, request, metadata, told).await;
    respond(parts, result, metadata, told)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(borrow)]
    function: Cow<'a, str>,
    #[serde(borrow)]
    args: Option<&'a RawValue>,
}

async fn run(
    parts: &NodeParts,
    request: Request<Incoming>,
    metadata: &Arc<RequestMetadata>,
    told: &mut Told,
) -> Result<Answer> {
    let (head, body) = request.into_parts();
    if *parts.stage.borrow() == Stage::Starting {
        return Err(Error::database_unavailable("the server is starting: the database is not ready yet"));
    }
    let principal = parts.authenticator.authenticate(&head.method, &head.headers).await?;
    told.caller = Some(principal.clone());
    let body = read(body, &parts.config.gateway).await?;
    told.request_bytes = body.len();
    let (function, args) = match head.uri.path().strip_prefix("/rpc/") {
        Some(function) => (function_name(function)?, &body[..]),
        None => {
            let envelope: Envelope<'_> = serde_json::from_slice(&body)
                .map_err(|why| Error::invalid_argument(format!("the body is not {{\"function\", \"args\"}}: {why}")))?;
            (envelope.function, envelope.args.map_or(&b"{}"[..], |args| args.get().as_bytes()))
        }
    };
    // A name that is no function is the client's invention, and stays out of logs and metrics.
    told.function = parts.app.functions().get(&function).map(|entry| entry.info.name);
    let caller = Arc::new(Caller {
        principal,
        request: metadata.clone(),
        position: position(&head.headers)?,
        looked: Looked::default(),
    });
    let mutation_id = head.headers.get(&MUTATION_ID).map(|id| id.to_str().unwrap_or_default().to_owned());
    parts.executor.call(Call { function: &function, args, caller, mutation_id, acknowledge: None }).await
}

/// The name in a path, where it may be escaped like anything in a path.
fn function_name(path: &str) -> Result<Cow<'_, str>> {
    // What is not even text is the name of no function.
    let decoded = percent_decode_str(path).decode_utf8();
    decoded.map_err(|why| Error::not_found("there is no function of this name").with_source(why))
}

fn respond(parts: &NodeParts, result: Result<Answer>, metadata: &RequestMetadata, told: &mut Told) -> Response {
    match result {
        Ok(answer) => {
            let mut response = answer::success(&answer.json, &metadata.request_id);
            if let Some(position) = answer.position {
                response.headers_mut().insert(POSITION, HeaderValue::from(position));
            }
            let told_browser = match &answer.session {
                None => Ok(()),
                Some(SessionChange::Started(tokens)) => parts.authenticator.sign_in(tokens, response.headers_mut()),
                Some(SessionChange::Ended) => parts.authenticator.sign_out(response.headers_mut()),
            };
            match told_browser {
                Ok(()) => response,
                Err(why) => answer::failure(&why, &metadata.request_id),
            }
        }
        Err(error) => {
            told.code = Some(error.code().to_owned());
            answer::failure(&error, &metadata.request_id)
        }
    }
}

/// Reads a body within its limits of size and time.
pub(super) async fn read<B>(body: B, config: &crate::config::GatewayConfig) -> Result<Bytes>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let max = config.max_body_size;
    let reading = Limited::new(body, usize::try_from(max).unwrap_or(usize::MAX)).collect();
    match tokio::time::timeout(config.request_timeout, reading).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(why)) if why.is::<LengthLimitError>() => {
            Err(Error::payload_too_large(format!("the body is larger than {max} bytes (gateway.max_body_size)")))
        }
        Ok(Err(_)) => Err(Error::new(ErrorKind::InvalidArgument, "the body ended early")),
        Err(_) => Err(Error::timeout("the body did not arrive within gateway.request_timeout")),
    }
}

fn position(headers: &HeaderMap) -> Result<u64> {
    let Some(value) = headers.get(&POSITION) else { return Ok(0) };
    // A client that wrote several things at once sends all of their positions; the furthest contains the others.
    let furthest = value.to_str().ok().and_then(|list| {
        list.split(',').map(|one| one.trim().parse::<u64>().ok()).collect::<Option<Vec<_>>>()?.into_iter().max()
    });
    furthest.ok_or_else(|| Error::invalid_argument("x-forge-position is not a position that this server gave"))
}
