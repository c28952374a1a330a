//! The vocabulary of FORGE.
//!
//! Everything here is a name that the other rooms agree on: what a function is and may say about itself
//! ([`function`]), the same for jobs and crons ([`job`], [`cron`]), who calls it ([`auth`], [`request`]), which values cross the wire and how ([`wire`],
//! [`validate`]), what a table looks like ([`schema`]), what can go wrong ([`error`]), and the description of a
//! whole app that code generation reads ([`manifest`]).
//!
//! Deliberately not here: anything that opens, starts, waits or looks at a clock. There is no async runtime and no
//! database driver among the dependencies; contexts that hold a database live in `forge-runtime`.

pub mod auth;
pub mod cron;
pub mod error;
pub mod function;
pub mod human;
pub mod job;
pub mod manifest;
pub mod request;
pub mod schema;
pub mod validate;
pub mod wire;

pub use error::{Error, ErrorKind, Result, ResultExt};
