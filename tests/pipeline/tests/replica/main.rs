//! Two servers, one of which follows the other: reads on a replica, and what happens when it takes over.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod failover;
mod reads;
mod servers;
