//! Which other origins may call from a browser: none, unless they are listed.

use axum::body::Body;
use axum::response::Response;
use forge_core::{Error, Result};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};

use crate::config::CorsConfig;

/// The rules of `security.cors`.
#[derive(Debug)]
pub(super) struct Cors {
    any: bool,
    origins: Vec<HeaderValue>,
    methods: HeaderValue,
    headers: HeaderValue,
    max_age: HeaderValue,
}

impl Cors {
    pub(super) fn new(config: &CorsConfig) -> Result<Self> {
        let value = |text: String| {
            HeaderValue::from_str(&text)
                .map_err(|why| Error::internal("a CORS setting is not a header's value").with_source(why))
        };
        Ok(Self {
            any: config.allowed_origins.iter().any(|origin| origin == "*"),
            origins: config.allowed_origins.iter().map(|origin| value(origin.clone())).collect::<Result<_>>()?,
            methods: value(config.allowed_methods.join(", "))?,
            headers: value(config.allowed_headers.join(", "))?,
            max_age: HeaderValue::from(config.max_age.as_secs()),
        })
    }

    /// The answer to a preflight request. To an origin that is not listed it allows nothing.
    pub(super) fn preflight<B>(&self, request: &Request<B>) -> Option<Response> {
        let headers = request.headers();
        if request.method() != Method::OPTIONS || !headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        if self.lists(headers.get(header::ORIGIN)?) {
            let answer = response.headers_mut();
            answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
            answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, self.headers.clone());
            answer.insert(header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        }
        Some(response)
    }

    /// Allows a listed origin to read the answer.
    pub(super) fn allow(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        if self.origins.is_empty() {
            return;
        }
        // The answer depends on the origin, whichever it is.
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        let Some(origin) = origin.filter(|origin| self.lists(origin)) else { return };
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(
                "x-request-id, x-trace-id, x-forge-cache, x-forge-position, x-forge-session, www-authenticate, retry-after",
            ),
        );
        if self.any {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        } else {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    fn lists(&self, origin: &HeaderValue) -> bool {
        self.any || self.origins.contains(origin)
    }
}
