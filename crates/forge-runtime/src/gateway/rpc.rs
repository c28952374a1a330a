//! `POST /rpc/{function}` and `POST /rpc`: calls.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use axum::routing::any;
use forge_core::function::Access;
use forge_core::request::RequestMetadata;
use forge_core::{Error, Result};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::{self, Told};
use super::authenticator::{Authenticator, CookieFindings, Identity};
use super::content;
use super::page::nothing_here;
use super::room::Place;
use crate::app::{NodeParts, Stage};
use crate::auth::SessionChange;
use crate::function::{Answer, Call, Caller, Looked, Written, Wrote};

/// A mutation repeated with the same id takes effect once.
const MUTATION_ID: HeaderName = HeaderName::from_static("x-forge-mutation-id");
/// Where what the caller has written stands in the history of commits; it comes back with later calls.
const POSITION: HeaderName = HeaderName::from_static("x-forge-position");
/// Whether a query with `cache` ran: `hit`, `miss`, `shared` (one run for several callers) or `bypass` (the cache could not be used).
const CACHE: HeaderName = HeaderName::from_static("x-forge-cache");
/// What a browser's page cannot see of the session that its cookies hold: `renew`, when the call was nobody's because the access
/// token is over, and `POST /auth/refresh` may bring another; `started` and `ended`, when the call signed its caller in or out.
const SESSION: HeaderName = HeaderName::from_static("x-forge-session");

/// As RFC 6750 §3.1 says it. Whoever reads it knows that nothing of the call was begun, so that it can be made again with another token.
const INVALID_TOKEN: HeaderValue = HeaderValue::from_static("Bearer error=\"invalid_token\"");

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
    place: &Place,
    told: &mut Told,
) -> Response {
    let mut cookies = CookieFindings::default();
    let result = run(parts, request, metadata, place, told, &mut cookies).await;
    respond(parts, result, metadata, told, cookies)
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
    place: &Place,
    told: &mut Told,
    cookies: &mut CookieFindings,
) -> Result<Answer> {
    let (head, body) = request.into_parts();
    if *parts.stage.borrow() == Stage::Starting {
        return Err(Error::database_unavailable("the server is starting: the database is not ready yet"));
    }
    let identity = parts.authenticator.authenticate(&head.method, &head.headers, cookies).await;
    let identity = identity.inspect_err(|_| cookies.refused = true)?;
    told.caller = Some(identity.principal.clone());
    content::check(&head.headers)?;
    let named = head.uri.path().strip_prefix("/rpc/").map(function_name).transpose()?;
    // Where the path names it, it is known before the body has come whether that is worth waiting for.
    named.as_ref().map_or(Ok(()), |function| admit(parts, function, &identity, told, cookies))?;
    let body = place.read(body, &parts.config.gateway).await?;
    told.request_bytes = body.len();
    let (function, args) = match named {
        Some(function) => (function, &body[..]),
        None => {
            let envelope: Envelope<'_> = serde_json::from_slice(&body)
                .map_err(|why| Error::invalid_argument(format!("the body is not {{\"function\", \"args\"}}: {why}")))?;
            admit(parts, &envelope.function, &identity, told, cookies)?;
            (envelope.function, envelope.args.map_or(&b"{}"[..], |args| args.get().as_bytes()))
        }
    };
    let principal = identity.principal;
    let caller = Arc::new(Caller {
        principal,
        request: metadata.clone(),
        written: written(&head.headers)?,
        wrote: Wrote::default(),
        looked: Looked::default(),
    });
    let mutation_id = head.headers.get(&MUTATION_ID).map(|id| id.to_str().unwrap_or_default().to_owned());
    let call = Call { function: &function, args, caller: caller.clone(), mutation_id, acknowledge: None };
    // What the mutations of an action wrote stays when it fails after them.
    parts.executor.call(call).await.inspect_err(|_| told.wrote = caller.wrote.told())
}

/// Whether a caller may call a function, if there is one of this name.
fn admit(
    parts: &NodeParts,
    function: &str,
    identity: &Identity,
    told: &mut Told,
    cookies: &mut CookieFindings,
) -> Result<()> {
    // A name that is no function is the client's invention, and stays out of logs and metrics.
    let info = parts.app.functions().get(function).map(|entry| &entry.info);
    told.function = info.map(|info| info.name);
    if let Some(why) = identity.lapsed.as_ref().filter(|_| info.is_none_or(|info| info.access != Access::Public)) {
        cookies.refused = true;
        return Err(why.for_another());
    }
    parts.executor.router().route(function, &identity.principal.auth).map(drop)
}

/// The name in a path, where it may be escaped like anything in a path.
fn function_name(path: &str) -> Result<Cow<'_, str>> {
    // What is not even text is the name of no function.
    let decoded = percent_decode_str(path).decode_utf8();
    decoded.map_err(|why| Error::not_found("there is no function of this name").with_source(why))
}

fn respond(
    parts: &NodeParts,
    result: Result<Answer>,
    metadata: &RequestMetadata,
    told: &mut Told,
    cookies: CookieFindings,
) -> Response {
    let (change, mut response) = match result {
        Ok(answer) => {
            let mut response = answer::success(&answer.json, &metadata.request_id);
            if let Some(position) = answer.position {
                response.headers_mut().insert(POSITION, position.into());
            }
            if let Some(used) = answer.cache {
                response.headers_mut().insert(CACHE, HeaderValue::from_static(used.as_str()));
            }
            (answer.session, response)
        }
        Err(error) => {
            told.code = Some(error.code().to_owned());
            let mut response = answer::failure(&error, &metadata.request_id);
            if let Some(position) = told.wrote.take() {
                response.headers_mut().insert(POSITION, position.into());
            }
            if cookies.refused && response.status() == StatusCode::UNAUTHORIZED {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, INVALID_TOKEN);
            }
            (None, response)
        }
    };
    match tell_browser(&parts.authenticator, change, cookies, response.headers_mut()) {
        Ok(()) => response,
        Err(why) => answer::failure(&why, &metadata.request_id),
    }
}

/// Sets and clears cookies, and says what a page has to know about them.
fn tell_browser(
    authenticator: &Authenticator,
    change: Option<SessionChange>,
    cookies: CookieFindings,
    headers: &mut HeaderMap,
) -> Result<()> {
    match change {
        Some(SessionChange::Started(tokens)) => {
            headers.insert(SESSION, HeaderValue::from_static("started"));
            return authenticator.sign_in(&tokens, headers);
        }
        Some(SessionChange::Ended) => {
            headers.insert(SESSION, HeaderValue::from_static("ended"));
            return authenticator.sign_out(headers);
        }
        None => {}
    }
    if cookies.renewable {
        headers.insert(SESSION, HeaderValue::from_static("renew"));
    }
    // Or the browser would be refused for it until it expires.
    if cookies.forged { authenticator.discard_access(headers) } else { Ok(()) }
}

fn written(headers: &HeaderMap) -> Result<Written> {
    match headers.get(&POSITION) {
        // What is not even text is no position.
        Some(value) => Written::parse(value.to_str().unwrap_or_default()),
        None => Ok(Written::default()),
    }
}
