//! The door for HTTP.
//!
//! ```text
//!  connection ─▶ GatewayServer: limits, drain
//!    request ─▶ edge: ids, trace, client address, CORS ──▶ route ──▶ edge: headers, log line, metrics
//!                                                           ├ POST /rpc, /rpc/{function}   the pipeline
//!                                                           ├ GET /health, /ready, /metrics
//!                                                           └ GET anything else            the app's page
//!                                                           ├ GET /ws, /events             live queries and calls
//!                                                           ├ POST /auth/refresh           a new access token
//!                                                           ├ /_api/…                      operating it, behind a guard
//!                                                           └ GET /_forge/mail             mail that was sent, in development
//! ```
//!
//! `/health` says that the process lives and never looks at the database, so that an outage of the database does not make an
//! orchestrator kill every node; `/ready` says whether this node may take traffic.
//!
//! Built on hyper and axum's router; neither is part of the public API.

mod admin;
mod answer;
mod authenticator;
mod content;
mod cors;
mod edge;
mod inbox;
mod live;
mod page;
mod probes;
mod room;
mod rpc;
mod server;
mod session;

pub use authenticator::Authenticator;
pub use page::Page;
pub use server::GatewayServer;
