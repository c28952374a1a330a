//! Everything of FORGE that runs.
//!
//! Rooms, in the order a call passes them: [`app`] puts an app together and runs a node of it, [`gateway`] is the door for
//! HTTP, [`auth`] knows who calls, [`function`] runs what is called, [`db`] is the database as functions see it. Beside them:
//! [`cluster`] knows of the other nodes, [`config`], [`migrate`], [`observability`].
//!
//! An app depends on the facade `forge`, not on this crate; what is public here may change with any version.

pub(crate) mod admin;
pub mod app;
pub mod auth;
pub(crate) mod cache;
pub mod cluster;
pub mod config;
pub mod cron;
pub mod db;
pub(crate) mod feed;
pub mod function;
pub mod gateway;
pub mod jobs;
pub mod mail;
pub mod migrate;
pub mod observability;
pub(crate) mod read_set;
pub mod realtime;

/// Chooses the one cryptography provider of the process. Doing it again changes nothing.
pub fn install_crypto() {
    // An error says that one is installed already: ours, from an earlier call, or the program's own choice.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
