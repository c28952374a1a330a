//! Live sessions: queries that are told again when they change, calls, presence and events, over a WebSocket or over HTTP alone.
//!
//! ```text
//!  GET /ws ──────────────────▶ websocket ─┐                   ┌─ realtime: subscriptions, presence
//!  GET /events ──────────────▶ stream ────┼─▶ Session ────────┤
//!  POST /events/{session} ───▶ post ──────┘      ▲            ├─ function: calls
//!         └ of another node ─▶ forge_live_messages ┘            └─ jobs: how one stands
//!             (the change feed tells that node)
//! ```
//!
//! A [`Session`](session::Session) knows no socket: it takes messages in, and has something to write in its outbox. A transport brings the one and
//! takes the other when its client takes more, so what waits for a slow client is bounded by the outbox: the newest result of each
//! subscription. Both transports carry the same messages, described in `docs/live-queries-wire.md`.
//!
//! What is promised for both: whoever a session speaks for is known from the request's cookie or bearer token, or from a message `auth`; when
//! that token ends, or the session it belongs to is revoked, nothing more is shown and no call is begun. A session ends with its connection.

mod attention;
mod call;
mod hub;
mod job;
mod limits;
mod message;
mod post;
mod session;
mod speakers;
mod standing;
mod stream;
mod websocket;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post as posted};

pub(super) use hub::Hub;

use crate::app::NodeParts;

pub(super) fn routes(hub: Arc<Hub>) -> Router<NodeParts> {
    Router::new()
        .route("/ws", get(websocket::upgrade))
        .route("/events", get(stream::open))
        .route("/events/{session}", posted(post::take))
        .layer(axum::Extension(hub))
}
