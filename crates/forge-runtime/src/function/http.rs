//! The client that actions talk to the outside world with.
//!
//! A thin layer over `reqwest`, so that its version is our concern and not an app's: errors are FORGE's, every request carries
//! the trace on, and there is a timeout unless one is set.

use std::time::Duration;

use forge_core::request::TraceContext;
use forge_core::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How long a request may take unless it says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

/// An HTTP client. From `ctx.http()`. Connections are pooled and shared by all actions of the process.
#[derive(Debug, Clone)]
pub struct HttpClient {
    client: reqwest::Client,
    trace: Option<TraceContext>,
}

impl HttpClient {
    pub(crate) fn new() -> Result<Self> {
        crate::install_crypto();
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .user_agent(concat!("forge/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|why| Error::internal("the HTTP client cannot be set up").with_source(why))?;
        Ok(Self { client, trace: None })
    }

    pub(crate) fn in_trace(&self, trace: TraceContext) -> Self {
        Self { client: self.client.clone(), trace: Some(trace) }
    }

    /// A GET request.
    pub fn get(&self, url: &str) -> HttpRequest {
        self.request(self.client.get(url))
    }

    /// A POST request.
    pub fn post(&self, url: &str) -> HttpRequest {
        self.request(self.client.post(url))
    }

    /// A PUT request.
    pub fn put(&self, url: &str) -> HttpRequest {
        self.request(self.client.put(url))
    }

    /// A PATCH request.
    pub fn patch(&self, url: &str) -> HttpRequest {
        self.request(self.client.patch(url))
    }

    /// A DELETE request.
    pub fn delete(&self, url: &str) -> HttpRequest {
        self.request(self.client.delete(url))
    }

    fn request(&self, mut request: reqwest::RequestBuilder) -> HttpRequest {
        if let Some(trace) = self.trace {
            request = request.header("traceparent", trace.to_string());
        }
        HttpRequest(request)
    }
}

/// A request being put together.
#[derive(Debug)]
#[must_use = "a request is not made until it is sent"]
pub struct HttpRequest(reqwest::RequestBuilder);

impl HttpRequest {
    /// With a header.
    pub fn header(self, name: &str, value: &str) -> Self {
        Self(self.0.header(name, value))
    }

    /// With `Authorization: Bearer ..`.
    pub fn bearer(self, token: &str) -> Self {
        Self(self.0.bearer_auth(token))
    }

    /// With a JSON body.
    pub fn json(self, body: &(impl Serialize + ?Sized)) -> Self {
        Self(self.0.json(body))
    }

    /// With this body.
    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self(self.0.body(body.into()))
    }

    /// May take so long, from sending to the end of the answer, instead of 30 seconds.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self(self.0.timeout(timeout))
    }

    /// Sends it and waits for the head of the answer. Any status is an answer; see [`HttpResponse::ok`].
    ///
    /// # Errors
    /// `TIMEOUT` when it took too long, else `INTERNAL_ERROR`: the URL is wrong, or there was no answer.
    pub async fn send(self) -> Result<HttpResponse> {
        self.0.send().await.map(HttpResponse).map_err(failed)
    }
}

/// An answer.
#[derive(Debug)]
pub struct HttpResponse(reqwest::Response);

impl HttpResponse {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    /// A header, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.0.headers().get(name)?.to_str().ok()
    }

    /// Itself, when the status is a success.
    ///
    /// # Errors
    /// `INTERNAL_ERROR` with the status, when it is not.
    pub fn ok(self) -> Result<Self> {
        let status = self.0.status();
        if status.is_success() { Ok(self) } else { Err(Error::internal(format!("the other side answered {status}"))) }
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When the body does not arrive, or is not JSON of this form.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T> {
        self.0.json().await.map_err(failed)
    }

    /// The body as text.
    ///
    /// # Errors
    /// When the body does not arrive.
    pub async fn text(self) -> Result<String> {
        self.0.text().await.map_err(failed)
    }

    /// The body.
    ///
    /// # Errors
    /// When the body does not arrive.
    pub async fn bytes(self) -> Result<Vec<u8>> {
        self.0.bytes().await.map(|bytes| bytes.to_vec()).map_err(failed)
    }
}

fn failed(why: reqwest::Error) -> Error {
    // The URL may hold a secret.
    let why = why.without_url();
    if why.is_timeout() {
        return Error::timeout("a request to another service took too long").with_source(why);
    }
    Error::internal(format!("a request to another service failed: {why}")).with_source(why)
}
