//! The typed database layer on a real PostgreSQL.

// Items are `pub` as in an app, where others could reach them.
#![allow(unreachable_pub, missing_docs)]
// A panic in a test is its report.
#![allow(clippy::unwrap_used)]

use forge::prelude::*;

mod checks;
mod pages;
mod private;
mod streams;
mod upserts;

forge::module!(migrations = "tests/database/migrations");

/// What somebody has set.
#[forge::model]
#[derive(PartialEq)]
pub struct Setting {
    #[id]
    pub id: Uuid,
    #[unique]
    pub owner: Option<String>,
    pub theme: String,
    pub visits: i64,
    /// Unique, until somebody changes the database.
    #[unique]
    pub note: Option<String>,
    #[default = "now()"]
    pub created_at: Timestamp,
    #[updated_at]
    pub updated_at: Timestamp,
}
