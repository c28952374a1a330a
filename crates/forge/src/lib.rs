//! # FORGE
//!
//! Write Rust functions, get a whole back end: typed calls, transactions, authentication, migrations, metrics and a
//! generated Svelte 5 client, in one binary, on PostgreSQL and nothing else.
//!
//! ```no_run
//! use forge::prelude::*;
//!
//! #[forge::input]
//! pub struct Greet {
//!     #[validate(length(min = 1, max = 100))]
//!     pub name: String,
//! }
//!
//! /// Says hello.
//! #[forge::query(public)]
//! pub async fn greet(_ctx: &QueryContext, input: Greet) -> Result<String> {
//!     Ok(format!("Hello, {}!", input.name))
//! }
//!
//! #[tokio::main]
//! async fn main() -> forge::Result<()> {
//!     Forge::new().run().await
//! }
//! ```
//!
//! Start with `forge new my-app`; the guide is in the project's `docs/`.
//!
//! This crate re-exports; it has no logic of its own. Names are in the [`prelude`]; attributes are here at the root, and are
//! written with the crate's name: `#[forge::query]`.

#[cfg(feature = "testing")]
pub mod testing;

/// Everything that an app's modules use all the time.
pub mod prelude {
    pub use forge_core::auth::{AuthContext, AuthUser};
    pub use forge_core::schema::Json;
    pub use forge_core::{Error, ErrorKind, Result, ResultExt};
    pub use forge_macros::sql;
    pub use forge_runtime::app::Forge;
    pub use forge_runtime::config::Secret;
    pub use forge_runtime::cron::CronContext;
    pub use forge_runtime::db::{Model, Page, Paginated};
    pub use forge_runtime::function::{ActionContext, MutationContext, QueryContext};
    pub use forge_runtime::jobs::JobContext;
    pub use forge_runtime::mail::Mail;
    pub use jiff::civil::{Date, Time};
    pub use rust_decimal::Decimal;
    pub use uuid::Uuid;

    pub use crate::Timestamp;
}

pub use forge_core::auth::{AuthContext, AuthUser};
pub use forge_core::cron::{Cron, CronInfo, ForgeCron, Overlap};
pub use forge_core::function::{
    ForgeAction, ForgeMutation, ForgeQuery, Function, FunctionInfo, FunctionKind, TrackingMode,
};
pub use forge_core::job::{Backoff, ForgeJob, Job, JobInfo, JobInput, JobStatus, Priority, RetryPolicy};
pub use forge_core::manifest::Manifest;
pub use forge_core::schema::Json;
pub use forge_core::wire::WireType;
pub use forge_core::{Error, ErrorKind, Result, ResultExt};
pub use forge_macros::{
    AppError, FromRow, action, cron, forge_enum, input, job, model, module, mutation, query, sql, test, workflow,
};
pub use forge_runtime::app::{App, Forge, Module, Node};
pub use forge_runtime::auth::{Claims, ClaimsBuilder, IssuedToken, SessionInfo, SessionTokens};
pub use forge_runtime::cluster::{ClusterInfo, LeaderInfo, LeaderRole, NodeId, NodeInfo, NodeRole, NodeStatus};
pub use forge_runtime::config::{Config, Secret};
pub use forge_runtime::cron::{CronContext, CronSchedule};
pub use forge_runtime::db::{
    Assignment, Column, Condition, Database, Db, Model, Order, Page, Paginated, RawClient, Rows, WriteDb, new_uuid,
};
pub use forge_runtime::function::{ActionContext, HttpClient, HttpRequest, HttpResponse, MutationContext, QueryContext};
pub use forge_runtime::jobs::{Dispatch, JobContext, JobHandle, JobResult};
pub use forge_runtime::mail::{Mail, Mailer, SentMail};
pub use forge_runtime::observability;
/// A moment in time, in UTC. The type of `timestamptz` columns; RFC 3339 text on the wire.
pub use jiff::Timestamp;
pub use uuid::Uuid;

/// The Rust in the documentation compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/live-queries.md")]
struct LiveQueries;

/// So does that of this page.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/jobs.md")]
struct Jobs;

/// And of this one.
#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../../../docs/testing.md")]
struct Testing;

/// And of this one.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/mail.md")]
struct MailPage;

/// What the attributes expand to. Not for use by hand: it changes without notice.
#[doc(hidden)]
pub mod __rt {
    pub use forge_core::function::{
        Access, BoxFuture, CachePolicy, ForgeAction, ForgeMutation, ForgeQuery, Function, FunctionInfo, FunctionKind,
        Isolation, TrackingMode,
    };
    pub use forge_core::{Error, Result, cron, job, schema, validate, wire};
    pub use forge_runtime::app::Module;
    pub use forge_runtime::cron::CronContext;
    pub use forge_runtime::db;
    pub use forge_runtime::function::{ActionContext, IntoResult, MutationContext, QueryContext, Registered, Registration};
    pub use forge_runtime::jobs::JobContext;
    pub use inventory;
    pub use postgres_types as pg;
    pub use serde;
    pub use serde_json;

    #[cfg(feature = "testing")]
    pub use crate::testing;
}
