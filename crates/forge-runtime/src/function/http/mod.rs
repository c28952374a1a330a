//! The client that actions talk to the outside world with.
//!
//! A thin layer over `reqwest`, so that its version is our concern and not an app's: errors are FORGE's and every request carries
//! the trace on. Whoever answers is not trusted with this process: there is a limit to how long an answer may take, how large
//! it may be and where it may send us on, unless the request says otherwise.
//!
//! Not here: which addresses may be asked at all. An app that fetches what its users name has to decide that, and follows
//! redirects itself ([`HttpRequest::no_redirects`]), since each is an address of its own.

use std::time::Duration;

use forge_core::request::TraceContext;
use forge_core::{Error, Result};
use reqwest::Url;
use reqwest::redirect::Policy;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How long a request may take unless it says otherwise, from sending to the end of the answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long connecting may take, TLS included; it is part of the above.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How much of an answer is read unless the request says otherwise, in bytes: 10 MiB.
const BODY_MAX: u64 = 10 * 1024 * 1024;

/// How many redirects are followed.
const REDIRECTS_MAX: usize = 5;

/// An HTTP client. From `ctx.http()`. Connections are pooled and shared by all actions of the process.
#[derive(Debug, Clone)]
pub struct HttpClient {
    client: reqwest::Client,
    /// The same without redirects, which are a matter of the whole client.
    staying: reqwest::Client,
    trace: Option<TraceContext>,
}

impl HttpClient {
    pub(crate) fn new() -> Result<Self> {
        crate::install_crypto();
        let build = |redirects: Policy| {
            reqwest::Client::builder()
                .timeout(TIMEOUT)
                .connect_timeout(CONNECT_TIMEOUT)
                .redirect(redirects)
                .user_agent(concat!("forge/", env!("CARGO_PKG_VERSION")))
                .build()
                .map_err(|why| Error::internal("the HTTP client cannot be set up").with_source(why))
        };
        let few = Policy::custom(|attempt| match refusal(attempt.previous(), attempt.url()) {
            Some(why) => attempt.error(why),
            None => attempt.follow(),
        });
        Ok(Self { client: build(few)?, staying: build(Policy::none())?, trace: None })
    }

    pub(crate) fn in_trace(&self, trace: TraceContext) -> Self {
        Self { client: self.client.clone(), staying: self.staying.clone(), trace: Some(trace) }
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
        HttpRequest { request, staying: self.staying.clone(), redirects: true, body_max: BODY_MAX }
    }
}

/// Why a redirect is not followed: it is one too many, or leads from an encrypted connection to one that everybody on the way can
/// read. Credentials do not follow to another origin in any case; the client sees to that.
fn refusal(previous: &[Url], next: &Url) -> Option<String> {
    if previous.len() > REDIRECTS_MAX {
        return Some(format!("more than {REDIRECTS_MAX} redirects"));
    }
    let was_encrypted = previous.last().is_some_and(|url| url.scheme() == "https");
    (was_encrypted && next.scheme() != "https").then(|| "a redirect from https to http".to_owned())
}

/// A request being put together. Unless it says otherwise, it may take 30 seconds, follows up to 5 redirects, and at most 10 MiB of
/// the answer are read.
#[derive(Debug)]
#[must_use = "a request is not made until it is sent"]
pub struct HttpRequest {
    request: reqwest::RequestBuilder,
    staying: reqwest::Client,
    redirects: bool,
    body_max: u64,
}

impl HttpRequest {
    fn with(self, change: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder) -> Self {
        Self { request: change(self.request), ..self }
    }

    /// With a header.
    pub fn header(self, name: &str, value: &str) -> Self {
        self.with(|request| request.header(name, value))
    }

    /// With `Authorization: Bearer ..`. It is not sent on to another origin when a redirect leads there.
    pub fn bearer(self, token: &str) -> Self {
        self.with(|request| request.bearer_auth(token))
    }

    /// With a JSON body.
    pub fn json(self, body: &(impl Serialize + ?Sized)) -> Self {
        self.with(|request| request.json(body))
    }

    /// With this body.
    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        self.with(|request| request.body(body))
    }

    /// May take so long, from sending to the end of the answer, instead of 30 seconds. Connecting may take 10 seconds of that. The
    /// action's own time ends it in any case.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|request| request.timeout(timeout))
    }

    /// Reads at most so many bytes of the answer's body, instead of 10 MiB. It is all held in memory.
    pub fn max_body(self, bytes: u64) -> Self {
        Self { body_max: bytes, ..self }
    }

    /// Follows no redirect: that is an answer like any other, whose header `location` says where it leads. For addresses that
    /// users give, each of which has to be looked at before it is asked.
    pub fn no_redirects(self) -> Self {
        Self { redirects: false, ..self }
    }

    /// Sends it and waits for the head of the answer. Any status is an answer; see [`HttpResponse::ok`].
    ///
    /// # Errors
    /// `TIMEOUT` when it took too long, else `INTERNAL_ERROR`: the URL is wrong, there was no answer, or there were more redirects
    /// than 5 or one from `https` to `http`.
    pub async fn send(self) -> Result<HttpResponse> {
        let (client, request) = self.request.build_split();
        let client = if self.redirects { client } else { self.staying };
        let sent = async { client.execute(request?).await };
        Ok(HttpResponse { response: sent.await.map_err(failed)?, body_max: self.body_max })
    }
}

/// An answer.
#[derive(Debug)]
pub struct HttpResponse {
    response: reqwest::Response,
    body_max: u64,
}

impl HttpResponse {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// A header, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// Itself, when the status is a success.
    ///
    /// # Errors
    /// `INTERNAL_ERROR` with the status, when it is not.
    pub fn ok(self) -> Result<Self> {
        let status = self.response.status();
        if status.is_success() { Ok(self) } else { Err(Error::internal(format!("the other side answered {status}"))) }
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), and `INTERNAL_ERROR` when it is not JSON of this form.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T> {
        let body = self.bytes().await?;
        serde_json::from_slice(&body).map_err(|why| {
            Error::internal(format!("the other side's answer is not the JSON that is expected: {why}")).with_source(why)
        })
    }

    /// The body as text; what is not UTF-8 in it becomes replacement characters.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub async fn text(self) -> Result<String> {
        let body = self.bytes().await?;
        Ok(String::from_utf8(body).unwrap_or_else(|why| String::from_utf8_lossy(why.as_bytes()).into_owned()))
    }

    /// The body.
    ///
    /// # Errors
    /// `INTERNAL_ERROR` when it does not arrive, or is larger than [`max_body`](HttpRequest::max_body) allows: then no more of it is
    /// read. `TIMEOUT` when the request's time is over first.
    pub async fn bytes(mut self) -> Result<Vec<u8>> {
        let max = self.body_max;
        let too_large = || {
            Err(Error::internal(format!(
                "the other side's answer is larger than {max} bytes; allow more with `.max_body(..)` if that is right"
            )))
        };
        if self.response.content_length().is_some_and(|length| length > max) {
            return too_large();
        }
        // Not as large as was announced from the start: that much has to arrive first.
        let mut body = Vec::new();
        while let Some(chunk) = self.response.chunk().await.map_err(failed)? {
            if (body.len() + chunk.len()) as u64 > max {
                return too_large();
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

fn failed(why: reqwest::Error) -> Error {
    // The URL may hold a secret.
    let why = why.without_url();
    if why.is_timeout() {
        return Error::timeout("a request to another service took too long").with_source(why);
    }
    // What exactly is wrong stands below: no such host, nobody listens, too many redirects.
    let cause = std::iter::successors(std::error::Error::source(&why), |cause| cause.source()).last();
    let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
    Error::internal(format!("a request to another service failed: {why}{cause}")).with_source(why)
}

#[cfg(test)]
mod tests;
