//! The outermost layer of every request: who it is from, under which ids, and what is told of it afterwards.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::response::Response;
use bytes::Bytes;
use forge_core::Result;
use forge_core::request::{RequestMetadata, TraceContext};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use hyper::body::Incoming;
use rand::Rng as _;
use tower::Service as _;
use tracing::Instrument as _;

use super::answer::{self, Told};
use super::cors::Cors;
use super::room::{Place, Room};
use super::{admin, inbox, live, page, probes, rpc, session};
use crate::app::NodeParts;
use crate::auth::ClientIp;

use crate::observability::{self, HttpLabels};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
const TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The longest user agent that is kept, in bytes.
const USER_AGENT_BYTES_MAX: usize = 256;

/// The outermost layer, with the routes below it.
#[derive(Debug)]
pub(super) struct Edge {
    parts: NodeParts,
    router: Router,
    live: Arc<live::Hub>,
    cors: Cors,

    client_ip: ClientIp,
    room: Arc<Room>,
    sample_rate: f64,
    log: bool,
}

impl Edge {
    pub(super) fn new(parts: NodeParts) -> Result<Self> {
        let config = parts.config.clone();
        let live = live::Hub::new(parts.clone());
        Ok(Self {
            cors: Cors::new(&config.security.cors)?,

            client_ip: ClientIp::new(config.gateway.trusted_proxies.clone()),
            room: Room::new(&config.gateway),
            sample_rate: config.observability.sample_rate,
            log: config.observability.request_log,
            router: Router::new()
                .merge(rpc::routes())
                .merge(session::routes())
                .merge(admin::routes(&parts))
                .merge(live::routes(live.clone()))
                .merge(probes::routes(&config))
                .merge(inbox::routes(&parts))
                .method_not_allowed_fallback(page::nothing_here)
                .fallback(page::serve)
                .with_state(parts.clone()),
            live,
            parts,
        })
    }

    /// The live sessions.
    pub(super) fn live(&self) -> Arc<live::Hub> {
        self.live.clone()
    }

    /// Answers a request.
    pub(super) async fn handle(&self, peer: SocketAddr, request: Request<Incoming>) -> Response {
        let began = Instant::now();
        let metadata = Arc::new(self.metadata(peer.ip(), request.headers()));
        let trace = TraceText::of(&metadata.trace);
        // Dropped when the client goes away in the middle; then the line says so.
        let mut line = Line {
            log: self.log,
            began,
            method: method_label(request.method()),
            route: route_label(request.uri().path()),
            metadata: metadata.clone(),
            trace,
            status: 499,
            response_bytes: 0,
            told: Told::default(),
        };
        let origin = request.headers().get(header::ORIGIN).cloned();
        let mut response = if let Some(preflight) = self.cors.preflight(&request) {
            preflight
        } else {
            // A node that is busy lives: whoever watches over it must not end it for that.
            let place = if is_probe(line.route) { Ok(self.room.beside()) } else { self.room.enter() };
            match place {
                Ok(place) => self.route(request, &metadata, place, &mut line.told).await,
                Err(full) => answer::failure(&full, &metadata.request_id),
            }
        };
        self.cors.allow(origin.as_ref(), response.headers_mut());
        identify(&metadata, &line.trace, response.headers_mut());
        line.status = response.status().as_u16();
        line.response_bytes = response.body().size_hint().exact().unwrap_or(0) as usize;
        response
    }

    async fn route(
        &self,
        request: Request<Incoming>,
        metadata: &Arc<RequestMetadata>,
        place: Place,
        told: &mut Told,
    ) -> Response {
        // The one span of the request; what the app logs below it carries the request's id.
        let span = tracing::info_span!("request", request_id = %metadata.request_id);
        if rpc::is_call(&request) {
            // On the heap: a connection keeps room for what it works on, and most connections are idle.
            return Box::pin(rpc::call(&self.parts, request, metadata, &place, told)).instrument(span).await;
        }
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(metadata.clone());
        // Held here as well: not every handler keeps what came with its request.
        let place = Arc::new(place);
        request.extensions_mut().insert(place.clone());
        let mut router = self.router.clone();
        match router.call(request).instrument(span).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    fn metadata(&self, peer: IpAddr, headers: &HeaderMap) -> RequestMetadata {
        let parent = text(headers, &TRACEPARENT).and_then(TraceContext::parse);
        let trace = match parent {
            Some(parent) => TraceContext { span_id: span_id(), ..parent },
            None => TraceContext {
                trace_id: text(headers, &TRACE_ID)
                    .and_then(trace_id)
                    .unwrap_or_else(|| rand::rng().next_u64() as u128 | (u128::from(span_id()) << 64)),
                span_id: span_id(),
                sampled: rand::random::<f64>() < self.sample_rate,
            },
        };
        let mut user_agent = text(headers, &header::USER_AGENT).map(str::to_owned);
        if let Some(agent) = &mut user_agent {
            agent.truncate(agent.floor_char_boundary(USER_AGENT_BYTES_MAX));
        }
        RequestMetadata {
            request_id: text(headers, &REQUEST_ID)
                .filter(|id| is_id(id))
                .map_or_else(|| crate::db::new_uuid().to_string(), str::to_owned),
            correlation_id: text(headers, &CORRELATION_ID).filter(|id| is_id(id)).map(str::to_owned),
            trace,
            client_ip: Some(self.client_ip.of(peer, headers)),
            user_agent,
        }
    }
}

/// The one log line of a request, written when it ends in whatever way.
struct Line {
    log: bool,
    began: Instant,
    method: &'static str,
    route: &'static str,
    metadata: Arc<RequestMetadata>,
    trace: TraceText,
    status: u16,
    response_bytes: usize,
    told: Told,
}

impl Drop for Line {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        let labels = HttpLabels { method: self.method, path: self.route, status: self.status };
        observability::http().finished(labels, took, self.told.request_bytes, self.response_bytes);
        // Probes come every few seconds and say nothing.
        if !self.log || is_probe(self.route) {
            return;
        }
        tracing::info!(
            target: observability::REQUEST,
            request_id = self.metadata.request_id.as_str(),
            trace_id = self.trace.trace_id(),
            method = self.method,
            route = self.route,
            function = self.told.function.unwrap_or_default(),
            status = self.status,
            code = self.told.code.as_deref().unwrap_or_default(),
            user = self.told.caller.as_ref().and_then(|caller| caller.auth.user_id()).unwrap_or_default(),
            duration_us = took.as_micros() as u64,
            bytes = self.response_bytes as u64,
        );
    }
}

fn identify(metadata: &RequestMetadata, trace: &TraceText, headers: &mut HeaderMap) {
    // Ids are visible ASCII, so these conversions cannot fail; if one did, the header would be missing, nothing more.
    if let Ok(id) = HeaderValue::from_str(&metadata.request_id) {
        headers.insert(REQUEST_ID, id);
    }
    let traceparent = Bytes::copy_from_slice(trace.traceparent().as_bytes());
    if let Ok(id) = HeaderValue::from_maybe_shared(traceparent.slice(TraceText::TRACE_ID)) {
        headers.insert(TRACE_ID, id);
    }
    if let Ok(trace) = HeaderValue::from_maybe_shared(traceparent) {
        headers.insert(TRACEPARENT, trace);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// A place in a trace as a `traceparent` header has it, written once for two headers and a log line.
struct TraceText([u8; 55]);

impl TraceText {
    /// Where in it the trace's id stands.
    const TRACE_ID: Range<usize> = 3..35;

    fn of(trace: &TraceContext) -> Self {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(&mut text[3..19], (trace.trace_id >> 64) as u64);
        write_hex(&mut text[19..35], trace.trace_id as u64);
        write_hex(&mut text[36..52], trace.span_id);
        text[54] += u8::from(trace.sampled);
        Self(text)
    }

    fn traceparent(&self) -> &str {
        // Digits, letters and hyphens.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    fn trace_id(&self) -> &str {
        self.traceparent().get(Self::TRACE_ID).unwrap_or_default()
    }
}

/// Writes a number over as many hexadecimal digits as there is room for.
fn write_hex(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 0xf) as usize];
        number >>= 4;
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Whether a client's id may be taken over: short, visible, and nothing that would need escaping in JSON or a log.
fn is_id(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'))
}

fn trace_id(text: &str) -> Option<u128> {
    if text.len() != 32 {
        return None;
    }
    u128::from_str_radix(text, 16).ok().filter(|id| *id != 0)
}

fn span_id() -> u64 {
    rand::rng().next_u64().max(1)
}

/// The method as a label: anything unusual is one value, so that a client cannot make up metrics.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}

/// What machines ask, every few seconds.
fn is_probe(route: &str) -> bool {
    matches!(route, "/health" | "/ready" | "/metrics")
}

/// The route as a label, never the path itself.
fn route_label(path: &str) -> &'static str {
    match path {
        "/rpc" => "/rpc",
        "/health" => "/health",
        "/ready" => "/ready",
        "/metrics" => "/metrics",
        "/ws" => "/ws",
        "/events" => "/events",
        _ if path.starts_with("/events/") => "/events/{session}",
        _ if path.starts_with("/rpc/") => "/rpc/{function}",
        _ if path.starts_with("/auth/") => "/auth",
        _ if path == "/_api" || path.starts_with("/_api/") => "/_api",
        _ if path.starts_with("/_forge/mail") => "/_forge/mail",
        _ => "page",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_written_as_its_display_says() {
        for (trace_id, span_id, sampled) in [
            (1, 1, false),
            (u128::MAX, u64::MAX, true),
            (0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, 0xf0_67aa_0ba9_02b7, true),
        ] {
            let trace = TraceContext { trace_id, span_id, sampled };
            let text = TraceText::of(&trace);
            assert_eq!(text.traceparent(), trace.to_string());
            assert_eq!(text.trace_id(), format!("{trace_id:032x}"));
        }
    }
}
