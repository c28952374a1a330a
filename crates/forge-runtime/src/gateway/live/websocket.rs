//! `GET /ws`: a session over a WebSocket.
//!
//! One task per connection reads what the client wants and writes what it is to be told.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Extension;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use forge_core::Error;
use forge_core::request::RequestMetadata;
use futures_util::{SinkExt as _, StreamExt as _, poll};
use http::HeaderMap;
use tokio::time::Instant;

use super::attention::Attention;
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
    let session = match hub.admit(&headers, async |principal| hub.session(metadata, principal)).await {
        Ok(session) => session,
        Err(why) => return answer::failure(&why, &request_id),
    };
    let max = message_max(&hub) + EXCESS_READ;
    let socket = socket.protocols([PROTOCOL]).max_message_size(max).max_frame_size(max);
    // The usual buffers are 128 kB for each connection, idle ones too. Messages are rarely larger than this one.
    let socket = socket.read_buffer_size(2048).write_buffer_size(2048);
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
    let mut stopped = pin!(stopping.ordered());
    // Not put off at each message: when it goes off, it is looked at what is due.
    let mut alarm = pin!(tokio::time::sleep(SILENCE.min(session.good_for())));
    let (mut heard, mut asked) = (Instant::now(), false);
    let attention = Attention::new();
    loop {
        let outgoing = session.outgoing().await;
        if !outgoing.texts.is_empty() {
            for text in outgoing.texts {
                in_time(socket.feed(Message::Text(text.into()))).await?;
            }
            in_time(socket.flush()).await?;
        }
        if let Some(end) = outgoing.end {
            return Err(end);
        }
        let occasion = poll_fn(|cx| {
            if session.outbox.poll_ready(cx).is_ready() {
                return Poll::Ready(Occasion::Write);
            }
            attention.poll(cx, |cx| {
                if let Poll::Ready(message) = socket.poll_next_unpin(cx) {
                    return Poll::Ready(Occasion::Heard(message));
                }
                if alarm.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Occasion::Alarm);
                }
                stopped.as_mut().poll(cx).map(|()| Occasion::Stop)
            })
        });
        match occasion.await {
            Occasion::Write => {}
            Occasion::Heard(message) => {
                match message {
                    Some(Ok(Message::Text(text))) if text.len() > message_max(hub) => session.refuse_size(text.len()),
                    Some(Ok(Message::Text(text))) => session.hear_text(&text).await,
                    Some(Ok(Message::Binary(_))) => return Err(End::broken("messages are text")),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(End::GONE),
                }
                (heard, asked) = (Instant::now(), false);
                // The next token may be good for a shorter time.
                let due = heard + session.good_for();
                if due < alarm.deadline() {
                    alarm.as_mut().reset(due);
                }
            }
            Occasion::Alarm => {
                if heard.elapsed() >= SILENCE {
                    if asked {
                        return Err(End::GONE);
                    }
                    (heard, asked) = (Instant::now(), true);
                    in_time(socket.send(Message::Ping(bytes::Bytes::new()))).await?;
                }
                let left = session.good_for();
                if left.is_zero() {
                    session.sign_out();
                }
                alarm.as_mut().reset(Instant::now() + left.min(SILENCE.saturating_sub(heard.elapsed())));
            }
            Occasion::Stop => session.outbox.end(End::STOPPING),
        }
    }
}

/// What a connection is woken for.
enum Occasion {
    Write,
    Heard(Option<std::result::Result<Message, axum::Error>>),
    Alarm,
    Stop,
}

/// Tells a page that its cookies want renewal.
async fn refuse(mut socket: WebSocket) {
    let why = Error::unauthorized("the session wants renewal; renew it and connect again");
    if in_time(socket.send(Message::Text(message::error(None, &why).into()))).await.is_ok() {
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

/// Writes, for as long as a client may take to take it.
async fn in_time(writing: impl Future<Output = std::result::Result<(), axum::Error>>) -> std::result::Result<(), End> {
    let mut writing = pin!(writing);
    // Mostly there is room, and a timer would be for nothing.
    let written = match poll!(writing.as_mut()) {
        Poll::Ready(written) => Ok(written),
        Poll::Pending => tokio::time::timeout(WRITE_MAX, writing).await,
    };
    match written {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::GONE),
        Err(_) => Err(End::SLOW),
    }
}
