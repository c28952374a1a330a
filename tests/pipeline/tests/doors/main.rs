//! The doors for HTTP, from outside: what comes in, what is refused, what comes back, and how a door is shut.

#[path = "../support/mod.rs"]
mod support;

// A crate that nothing names is not linked, and would bring no functions.
use pipeline as _;

mod answers;
mod ending;
mod foreign;
mod headers;
mod lapsing;
mod limits;
mod pages;
mod repeats;
mod sessions;
mod tokens;
