//! The TypeScript client: what is written, that TypeScript's own compiler accepts it, and that names cannot break it.

// What a test's helpers meet that is wrong is the test's failure.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod compile;
mod manifest;
mod refuse;
mod text;
mod weird;
