//! `GET /events`: a session over server-sent events, for where a WebSocket does not get through.
//!
//! Each event's `data` is one message, as on the WebSocket; a comment now and then keeps proxies from closing the connection. The body is
//! asked for more when the client has taken what was sent, and only then is anything taken from the outbox.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use forge_core::request::RequestMetadata;
use forge_core::{Error, Result};
use futures_util::stream;
use http::{HeaderMap, HeaderValue, header};
use serde_json::json;

use super::hub::Hub;
use super::message;
use super::session::{Session, Stopping};
use crate::auth::Principal;
use crate::gateway::answer;
use crate::realtime::End;

/// After so much silence a comment is sent. Proxies commonly give up after a minute.
const COMMENT_EVERY: Duration = Duration::from_secs(15);

pub(super) async fn open(
    Extension(hub): Extension<Arc<Hub>>,
    Extension(metadata): Extension<Arc<RequestMetadata>>,
    headers: HeaderMap,
) -> Response {
    let request_id = metadata.request_id.clone();
    let opened = hub.admit(&headers, async |principal| begin(&hub, metadata, principal).await);
    let body = match opened.await {
        Ok(Some(streamed)) => Body::from_stream(stream::unfold(streamed, |mut streamed| async move {
            let chunk = streamed.next().await?;
            Some((Ok::<_, Infallible>(chunk), streamed))
        })),
        // As on a WebSocket, whose page cannot see an answer of 401.
        Ok(None) => {
            let why = Error::unauthorized("the session wants renewal; renew it and connect again");
            let chunk = [data(&message::error(None, &why)), last(End::SIGNED_OUT)].concat();
            Body::from_stream(stream::iter([Ok::<_, Infallible>(Bytes::from(chunk))]))
        }
        Err(why) => return answer::failure(&why, &request_id),
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Some proxies would collect it first.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

async fn begin(hub: &Arc<Hub>, metadata: Arc<RequestMetadata>, principal: Arc<Principal>) -> Result<Streamed> {
    let session = Arc::new(hub.session(metadata, principal)?);
    // Before anybody is told of it: the client may go away while that waits, and nothing else would end it then.
    let streamed = Streamed { stopping: Stopping::of(&hub.parts), session, hub: hub.clone(), ended: false };
    hub.open(&streamed.session).await?;
    streamed.session.outbox.say(message::connected(&streamed.session.id));
    Ok(streamed)
}

/// A session whose messages are a body. Dropped with its connection, it ends.
struct Streamed {
    session: Arc<Session>,
    hub: Arc<Hub>,
    stopping: Stopping,
    ended: bool,
}

impl Streamed {
    /// What comes next; nothing once it has ended.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        loop {
            let outgoing = self.session.outgoing().await;
            let mut chunk: String = outgoing.texts.iter().map(|text| data(text)).collect();
            if let Some(end) = outgoing.end {
                self.ended = true;
                chunk.push_str(&last(end));
            }
            if !chunk.is_empty() {
                return Some(chunk.into());
            }
            if tokio::time::timeout(COMMENT_EVERY, self.session.due(&mut self.stopping)).await.is_err() {
                return Some(Bytes::from_static(b":\n\n"));
            }
        }
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        self.hub.close(&self.session);
        let session = self.session.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { session.leave().await });
        }
    }
}

/// A message as an event.
fn data(text: &str) -> String {
    let mut event = String::with_capacity(text.len() + 8);
    // JSON of ours has no line breaks; one of an app's own might, and would end the event.
    for line in text.split(['\n', '\r']) {
        event.push_str("data: ");
        event.push_str(line);
        event.push('\n');
    }
    event.push('\n');
    event
}

/// Why nothing comes after this, as an event of a name of its own.
fn last(end: End) -> String {
    format!("event: close\n{}", data(&json!({"type": "close", "code": end.code, "reason": end.why}).to_string()))
}
