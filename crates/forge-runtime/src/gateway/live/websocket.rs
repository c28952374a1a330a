//! `GET /ws`: a session over a WebSocket.
//!
//! One task per connection reads what the client wants and writes what it is to be told.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use forge_core::Error;
use forge_core::request::RequestMetadata;
use http::HeaderMap;

use super::hub::{Hub, WRITE_MAX};
use super::message;
use super::session::{Session, Stopping};
use crate::gateway::answer;
use crate::realtime::End;

/// The name of the protocol.
const PROTOCOL: &str = "forge.v1";
/// A client that has said nothing for so long is asked whether it is there, and given up when it does not answer in the same time.
const SILENCE: Duration = Duration::from_secs(30);
/// How much larger than it may be a message is still read, to be refused with a reason. Beyond that the connection just ends.
const EXCESS_READ: usize = 1 << 20;

pub(super) async fn upgrade(
    Extension(hub): Extension<Arc<Hub>>,
    Extension(metadata): Extension<Arc<RequestMetadata>>,
    headers: HeaderMap,
    socket: WebSocketUpgrade,
) -> Response {
    let request_id = metadata.request_id.clone();
    let opened = async {
        hub.ready()?;
        let setting_up = async {
            let principal = hub.parts.authenticator.authenticate_session(&headers).await?;
            principal.map(|principal| hub.session(metadata, principal)).transpose()
        };
        hub.admission.one(setting_up).await
    };
    let session = match opened.await {
        Ok(session) => session,
        Err(why) => return answer::failure(&why, &request_id),
    };
    let max = message_max(&hub) + EXCESS_READ;
    let socket = socket.protocols([PROTOCOL]).max_message_size(max).max_frame_size(max);
    // The usual buffers are 128 kB for each connection, idle ones too. Messages are rarely larger than this one.
    let socket = socket.read_buffer_size(2048).write_buffer_size(0);
    socket.on_upgrade(async move |socket| {
        // On the heap: most connections are idle.
        match session {
            Some(session) => Box::pin(run(hub, session, socket)).await,
            None => Box::pin(refuse(socket)).await,
        }
    })
}

fn message_max(hub: &Hub) -> usize {
    usize::try_from(hub.parts.config.gateway.max_body_size).unwrap_or(usize::MAX / 2)
}

async fn run(hub: Arc<Hub>, session: Session, mut socket: WebSocket) {
    session.outbox.say(message::connected(&session.id));
    let end = match converse(&hub, &session, &mut socket).await {
        Ok(never) => match never {},
        Err(end) => end,
    };
    session.leave().await;
    drop(session);
    close(&mut socket, end).await;
}

async fn converse(
    hub: &Hub,
    session: &Session,
    socket: &mut WebSocket,
) -> std::result::Result<std::convert::Infallible, End> {
    let mut stopping = Stopping::of(&hub.parts);
    let mut asked = false;
    loop {
        let outgoing = session.outgoing().await;
        for text in outgoing.texts {
            send(socket, Message::Text(text.into())).await?;
        }
        if let Some(end) = outgoing.end {
            return Err(end);
        }
        tokio::select! {
            message = tokio::time::timeout(SILENCE, socket.recv()) => match message {
                Ok(Some(Ok(Message::Text(text)))) => {
                    asked = false;
                    if text.len() > message_max(hub) {
                        session.refuse_size(text.len());
                    } else {
                        session.hear_text(&text).await;
                    }
                }
                Ok(Some(Ok(Message::Binary(_)))) => return Err(End::broken("messages are text")),
                Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => asked = false,
                Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) => return Err(End::GONE),
                Err(_) if asked => return Err(End::GONE),
                Err(_) => {
                    asked = true;
                    send(socket, Message::Ping(bytes::Bytes::new())).await?;
                }
            },
            () = session.due(&mut stopping) => {}
        }
    }
}

/// Tells a page that its cookies want renewal.
async fn refuse(mut socket: WebSocket) {
    let why = Error::unauthorized("the session wants renewal; renew it and connect again");
    if send(&mut socket, Message::Text(message::error(None, &why).into())).await.is_ok() {
        close(&mut socket, End::SIGNED_OUT).await;
    }
}

async fn close(socket: &mut WebSocket, end: End) {
    if end == End::GONE {
        return;
    }
    let close = CloseFrame { code: end.code, reason: Utf8Bytes::from_static(end.why) };
    // A client that is not there any more does not mind.
    let _ = tokio::time::timeout(Duration::from_secs(1), socket.send(Message::Close(Some(close)))).await;
}

async fn send(socket: &mut WebSocket, message: Message) -> std::result::Result<(), End> {
    match tokio::time::timeout(WRITE_MAX, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::GONE),
        Err(_) => Err(End::SLOW),
    }
}
