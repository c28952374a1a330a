//! The floors of the durable queue, and the server that they are measured on. `bench jobs` holds FORGE against the same ones.

pub mod database;
pub mod floor;
pub mod table;

/// What may go wrong while measuring is told to whoever measures.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
