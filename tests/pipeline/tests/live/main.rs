//! Live queries, over the wire, on a real database.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod consistency;
mod explain;
mod following;
mod safety;
mod slow;
mod tracking;
