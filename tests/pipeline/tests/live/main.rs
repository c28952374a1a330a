//! Live queries, over the wire, on a real database.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod consistency;
mod events;
mod explain;
mod following;
mod jobs;
mod limits;
mod pace;
mod precision;
mod presence;
mod safety;
mod slow;
mod sse;
mod tracking;
mod writers;
