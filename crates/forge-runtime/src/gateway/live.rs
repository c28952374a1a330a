//! `GET /ws`: a connection for live queries and calls.
//!
//! One task per connection reads what the client wants and writes what it is to be told. It never waits for the client while something else
//! could be done with what it holds: news waits in the session's [`Outbox`], the newest of each subscription, and is taken when the socket
//! takes more.
//!
//! Who the session speaks for is known from the request's cookie or bearer token, or from its first message `auth`. When that token
//! ends, or its session does, the connection is closed before anything else is sent.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, State};
use axum::response::Response;
use axum::routing::get;
use forge_core::request::RequestMetadata;
use forge_core::{Error, ErrorKind, Result};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, mpsc};

use super::answer;
use crate::app::{NodeParts, Stage};
use crate::auth::Principal;
use crate::function::{Call, Caller, Looked};
use crate::observability;
use crate::realtime::{Acknowledge, Outbox, Subscribe, Unsubscribe};

/// The name of the protocol.
const PROTOCOL: &str = "forge.v1";
/// How many subscriptions a connection has at most.
const SUBSCRIPTIONS_MAX: usize = 100;
/// How many calls of one connection run at a time.
const CALLS_MAX: usize = 16;
/// A client that has said nothing for so long is asked whether it is there, and given up when it does not answer in the same time.
const SILENCE: Duration = Duration::from_secs(30);
/// How long the client may take to take a message.
const WRITE_MAX: Duration = Duration::from_secs(30);

pub(super) fn routes(connections: Arc<Semaphore>) -> Router<NodeParts> {
    Router::new().route("/ws", get(upgrade)).layer(Extension(connections))
}

async fn upgrade(
    State(parts): State<NodeParts>,
    Extension(connections): Extension<Arc<Semaphore>>,
    Extension(metadata): Extension<Arc<RequestMetadata>>,
    headers: HeaderMap,
    socket: WebSocketUpgrade,
) -> Response {
    let refuse = |why: &Error| answer::failure(why, &metadata.request_id);
    if *parts.stage.borrow() != Stage::Ready {
        return refuse(&Error::database_unavailable("the server is starting or stopping; try again"));
    }
    let principal = match parts.authenticator.authenticate_session(&headers).await {
        Ok(principal) => principal,
        Err(why) => return refuse(&why),
    };
    let Ok(room) = connections.try_acquire_owned() else {
        return refuse(&Error::rate_limited("the server has as many connections as it may (gateway.max_connections)", 5));
    };
    let max = usize::try_from(parts.config.gateway.max_body_size).unwrap_or(usize::MAX);
    let socket = socket.protocols([PROTOCOL]).max_message_size(max).max_frame_size(max);
    // The usual buffers are 128 kB for each connection, idle ones too.
    let socket = socket.read_buffer_size(4096).write_buffer_size(0);
    socket.on_upgrade(async move |socket| {
        let _room = room;
        observability::live().session_began();
        // On the heap: most connections are idle.
        match principal {
            Some(principal) => Box::pin(Session::new(parts, metadata, principal).run(socket)).await,
            None => refuse_session(socket).await,
        }
        observability::live().session_ended();
    })
}

/// What a client sends, as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Sent {
    r#type: String,
    id: Option<u64>,
    function: Option<String>,
    args: Option<Box<RawValue>>,
    version: Option<String>,
    mutation_id: Option<String>,
    token: Option<String>,
}

/// What a client wants.
enum Wanted {
    Auth { token: String },
    Subscribe { id: u64, function: String, args: Option<Box<RawValue>>, version: Option<String> },
    Unsubscribe { id: u64 },
    Call { id: u64, function: String, args: Option<Box<RawValue>>, mutation_id: Option<String> },
    Ping,
}

impl Wanted {
    /// `None` when it is none of these.
    fn of(text: &str) -> Option<Self> {
        let Sent { r#type, id, function, args, version, mutation_id, token } = serde_json::from_str(text).ok()?;
        match (r#type.as_str(), id, function, args, version, mutation_id, token) {
            ("auth", None, None, None, None, None, Some(token)) => Some(Self::Auth { token }),
            ("subscribe", Some(id), Some(function), args, version, None, None) => {
                Some(Self::Subscribe { id, function, args, version })
            }
            ("unsubscribe", Some(id), None, None, None, None, None) => Some(Self::Unsubscribe { id }),
            ("call", Some(id), Some(function), args, None, mutation_id, None) => {
                Some(Self::Call { id, function, args, mutation_id })
            }
            ("ping", None, None, None, None, None, None) => Some(Self::Ping),
            _ => None,
        }
    }
}

/// Why a connection ends.
struct End {
    code: u16,
    why: &'static str,
}

const BROKEN: fn(&'static str) -> End = |why| End { code: 4400, why };
const SIGNED_OUT: End = End { code: 4401, why: "not signed in any more" };
const STOPPING: End = End { code: 1012, why: "the server stops" };
const SLOW: End = End { code: 1013, why: "too slow" };
const GONE: End = End { code: 1000, why: "" };

struct Session {
    parts: NodeParts,
    metadata: Arc<RequestMetadata>,
    principal: Arc<Principal>,
    outbox: Arc<Outbox>,
    /// What it is subscribed to, to subscribe again on behalf of a new token.
    subscribed: std::collections::BTreeMap<u64, (String, String)>,
    calls: Arc<Semaphore>,
    replies: mpsc::Sender<String>,
    replied: mpsc::Receiver<String>,
}

impl Session {
    fn new(parts: NodeParts, metadata: Arc<RequestMetadata>, principal: Arc<Principal>) -> Self {
        let (replies, replied) = mpsc::channel(CALLS_MAX);
        let outbox = Outbox::new();
        let (subscribed, calls) = (std::collections::BTreeMap::new(), Arc::new(Semaphore::new(CALLS_MAX)));
        Self { parts, metadata, principal, outbox, subscribed, calls, replies, replied }
    }

    async fn run(mut self, mut socket: WebSocket) {
        let end = match self.converse(&mut socket).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        self.parts.live.unsubscribe(Unsubscribe { session: self.outbox.id, id: None }).await;
        if end.code != GONE.code {
            close(&mut socket, &end).await;
        }
    }

    async fn converse(&mut self, socket: &mut WebSocket) -> std::result::Result<std::convert::Infallible, End> {
        let mut stage = self.parts.stage.clone();
        write(socket, json!({"type": "connected", "sessionId": self.metadata.request_id}).to_string()).await?;
        let mut asked = false;
        loop {
            let expiry = until(self.principal.expires_at);
            tokio::select! {
                message = tokio::time::timeout(SILENCE, socket.recv()) => match message {
                    Ok(Some(Ok(Message::Text(text)))) => {
                        asked = false;
                        self.heard(&text, socket).await?;
                    }
                    Ok(Some(Ok(Message::Binary(_)))) => return Err(BROKEN("messages are text")),
                    Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => asked = false,
                    Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) => return Err(GONE),
                    Err(_) if asked => return Err(GONE),
                    Err(_) => {
                        asked = true;
                        send(socket, Message::Ping(bytes::Bytes::new())).await?;
                    }
                },
                () = self.outbox.ready() => self.deliver(socket).await?,
                Some(reply) = self.replied.recv() => write(socket, reply).await?,
                () = tokio::time::sleep(expiry) => return Err(self.signed_out(socket).await),
                () = stopping(&mut stage) => return Err(STOPPING),
            }
        }
    }

    async fn signed_out(&self, socket: &mut WebSocket) -> End {
        let why = Error::unauthorized("the token has ended; renew it and connect again");
        match write(socket, failure("error", None, &why)).await {
            Ok(()) => SIGNED_OUT,
            Err(end) => end,
        }
    }

    /// Writes what waits. Before anything of it is shown, it is made sure that it still may be.
    async fn deliver(&mut self, socket: &mut WebSocket) -> std::result::Result<(), End> {
        if let Some(session) = self.principal.session {
            match self.parts.accounts.revocations.is_revoked(session).await {
                Ok(false) => {}
                Ok(true) => return Err(self.signed_out(socket).await),
                // Perhaps ended is not alive: the client connects again, and is told then.
                Err(_) => return Err(End { code: 1013, why: "the database is away" }),
            }
        }
        let outgoing = self.outbox.take();
        for (id, why) in outgoing.failures {
            self.subscribed.remove(&id);
            log_failure(&why, &self.metadata);
            write(socket, failure("error", Some(id), &why)).await?;
        }
        if let Some(frame) = outgoing.frame {
            observability::live().frame(frame.len());
            write(socket, frame).await?;
        }
        Ok(())
    }

    async fn heard(&mut self, text: &str, socket: &mut WebSocket) -> std::result::Result<(), End> {
        let Some(wanted) = Wanted::of(text) else {
            let why = Error::invalid_argument("the message is not one of auth, subscribe, unsubscribe, call and ping");
            write(socket, failure("error", None, &why)).await?;
            return Err(BROKEN("the message is not understood"));
        };
        match wanted {
            Wanted::Ping => write(socket, r#"{"type":"pong"}"#.into()).await,
            Wanted::Auth { token } => self.authenticate(&token, socket).await,
            Wanted::Unsubscribe { id } => {
                self.subscribed.remove(&id);
                self.parts.live.unsubscribe(Unsubscribe { session: self.outbox.id, id: Some(id) }).await;
                self.outbox.forget(id);
                Ok(())
            }
            Wanted::Subscribe { id, function, args, version } => {
                let args = args.map_or_else(|| "{}".to_owned(), |args| args.get().to_owned());
                if let Some(version) = version {
                    self.outbox.holds(id, version);
                }
                match self.subscribe(id, &function, &args).await {
                    Ok(()) => {
                        self.subscribed.insert(id, (function, args));
                        Ok(())
                    }
                    Err(why) => {
                        log_failure(&why, &self.metadata);
                        write(socket, failure("error", Some(id), &why)).await
                    }
                }
            }
            Wanted::Call { id, function, args, mutation_id } => {
                let Ok(room) = self.calls.clone().try_acquire_owned() else {
                    let why = Error::rate_limited(format!("a connection has at most {CALLS_MAX} calls under way"), 1);
                    return write(socket, failure("reply", Some(id), &why)).await;
                };
                let (parts, metadata, replies) = (self.parts.clone(), self.metadata.clone(), self.replies.clone());
                let caller = self.caller();
                let acknowledge = mutation_id.as_ref().map(|mutation| Acknowledge {
                    live: parts.live.clone(),
                    outbox: self.outbox.clone(),
                    mutation: mutation.clone(),
                });
                // It ends with its own time-out at the latest, also when the client goes away: what it has begun is finished.
                tokio::spawn(async move {
                    let args = args.as_ref().map_or("{}", |args| args.get()).as_bytes();
                    let call = Call { function: &function, args, caller, mutation_id, acknowledge };
                    let reply = match parts.executor.call(call).await {
                        Ok(answer) => {
                            let data = String::from_utf8_lossy(&answer.json);
                            let position = answer.position.map(|at| format!(",\"position\":\"{at}\"")).unwrap_or_default();
                            format!("{{\"type\":\"reply\",\"id\":{id},\"data\":{data}{position}}}")
                        }
                        Err(why) => {
                            log_failure(&why, &metadata);
                            failure("reply", Some(id), &why)
                        }
                    };
                    // Nobody waits for it any more when the connection has ended.
                    let _ = replies.send(reply).await;
                    drop(room);
                });
                Ok(())
            }
        }
    }

    fn caller(&self) -> Arc<Caller> {
        let (principal, request) = (self.principal.clone(), self.metadata.clone());
        Arc::new(Caller { principal, request, position: 0, looked: Looked::default() })
    }

    async fn subscribe(&self, id: u64, function: &str, args: &str) -> Result<()> {
        if self.subscribed.len() >= SUBSCRIPTIONS_MAX && !self.subscribed.contains_key(&id) {
            return Err(Error::new(
                ErrorKind::RateLimited,
                format!("a connection has at most {SUBSCRIPTIONS_MAX} subscriptions; end some of them first"),
            )
            .with_code("TOO_MANY_SUBSCRIPTIONS"));
        }
        let (entry, args) = self.parts.executor.subscribable(function, args.as_bytes(), &self.principal.auth)?;
        let (outbox, caller) = (self.outbox.clone(), self.caller());
        self.parts.live.subscribe(Subscribe { outbox, id, entry, args, caller }).await;
        Ok(())
    }

    /// A first token, or the next one of the same user.
    async fn authenticate(&mut self, token: &str, socket: &mut WebSocket) -> std::result::Result<(), End> {
        let principal = match self.parts.authenticator.verify(token).await {
            Ok(principal) => principal,
            Err(why) => {
                write(socket, failure("error", None, &why)).await?;
                return Err(SIGNED_OUT);
            }
        };
        let before = self.principal.auth.user_id();
        if before.is_some() && before != principal.auth.user_id() {
            let why = Error::forbidden("a connection speaks for one user; connect anew for another");
            write(socket, failure("error", None, &why)).await?;
            return Err(BROKEN("another user"));
        }
        self.principal = principal;
        // Roles may have changed, and with them what may be seen.
        for (id, (function, args)) in std::mem::take(&mut self.subscribed) {
            match self.subscribe(id, &function, &args).await {
                Ok(()) => drop(self.subscribed.insert(id, (function, args))),
                Err(why) => {
                    self.parts.live.unsubscribe(Unsubscribe { session: self.outbox.id, id: Some(id) }).await;
                    self.outbox.forget(id);
                    write(socket, failure("error", Some(id), &why)).await?;
                }
            }
        }
        write(socket, r#"{"type":"authenticated"}"#.into()).await
    }
}

/// Tells a page that its cookies want renewal.
async fn refuse_session(mut socket: WebSocket) {
    let why = Error::unauthorized("the session wants renewal; renew it and connect again");
    if write(&mut socket, failure("error", None, &why)).await.is_ok() {
        close(&mut socket, &SIGNED_OUT).await;
    }
}

async fn close(socket: &mut WebSocket, end: &End) {
    let close = CloseFrame { code: end.code, reason: Utf8Bytes::from_static(end.why) };
    // A client that is not there any more does not mind.
    let _ = tokio::time::timeout(Duration::from_secs(1), socket.send(Message::Close(Some(close)))).await;
}

/// Waits until the node is told to stop.
async fn stopping(stage: &mut tokio::sync::watch::Receiver<Stage>) {
    // A sender that is gone is a node that is gone.
    let _ = stage.wait_for(|stage| *stage == Stage::Stopping).await;
}

/// How long it is until a time in seconds since 1970. Far times are cut: the caller asks again.
fn until(expires_at: i64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let end = Duration::from_secs(u64::try_from(expires_at).unwrap_or(0));
    end.saturating_sub(now).min(Duration::from_secs(86_400 * 365))
}

async fn write(socket: &mut WebSocket, text: String) -> std::result::Result<(), End> {
    send(socket, Message::Text(text.into())).await
}

async fn send(socket: &mut WebSocket, message: Message) -> std::result::Result<(), End> {
    match tokio::time::timeout(WRITE_MAX, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(GONE),
        Err(_) => Err(SLOW),
    }
}

fn log_failure(why: &Error, metadata: &RequestMetadata) {
    if matches!(why.kind(), ErrorKind::Internal | ErrorKind::Database | ErrorKind::Config) {
        tracing::error!(request_id = metadata.request_id.as_str(), error = ?why, "a live query or call failed");
    }
}

fn failure(kind: &str, id: Option<u64>, why: &Error) -> String {
    // The status that HTTP would say: a client tells by it what may not be seen any more, whatever code the app gave it.
    let mut error = json!({"code": why.code(), "message": why.public_message(), "status": why.http_status()});
    if let Some(details) = why.details() {
        error["details"] = details.clone();
    }
    if kind == "reply" {
        return json!({"type": kind, "id": id, "error": error}).to_string();
    }
    error["type"] = kind.into();
    if let Some(id) = id {
        error["id"] = id.into();
    }
    error.to_string()
}
