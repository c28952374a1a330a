//! Functions: the queries, mutations and actions that an app is made of.
//!
//! `#[forge::query]` and its kin turn a Rust function into a unit type of the same name that implements [`Function`] (what it
//! is called, takes, returns and demands) and [`ForgeQuery`], [`ForgeMutation`] or [`ForgeAction`] (how it runs). The
//! context it runs with holds a database, so its type belongs to the runtime; here it is the parameter `Ctx`.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::wire::WireType;

/// A boxed future, as the traits return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The three kinds of function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FunctionKind {
    /// Reads. Runs on connections that cannot write.
    Query,
    /// Writes, in one transaction that commits when it returns `Ok`.
    Mutation,
    /// Talks to the outside world; reaches the database only through queries and mutations.
    Action,
}

impl FunctionKind {
    /// The word for it: `query`, `mutation` or `action`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Mutation => "mutation",
            Self::Action => "action",
        }
    }
}

/// Who may call a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody, signed in or not: the attribute says `public`.
    Public,
    /// Anybody who is signed in: the default.
    SignedIn,
    /// Whoever has one of these roles.
    AnyRole(&'static [&'static str]),
}

/// How a mutation's transaction is isolated from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Isolation {
    /// As if mutations ran one after the other: the default. Conflicts are retried up to three times.
    Serializable,
    /// PostgreSQL's own default: each statement sees what was committed before it began.
    ReadCommitted,
}

/// Which changes run a live query again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TrackingMode {
    /// Those that can alter its result, as far as its statements tell: the default.
    #[default]
    Auto,
    /// All changes of the tables that it reads.
    Table,
    /// None: it runs again after `refresh_every` only.
    None,
}

/// How long a query's results are kept, and what ends that before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CachePolicy {
    /// No result that is older is answered.
    pub ttl: Duration,
    /// Whether a change of what the query read ends it. Otherwise age alone does.
    pub follow: bool,
}

/// Everything a function says about itself. Built by the macros.
#[derive(Debug, Clone, Copy)]
pub struct FunctionInfo {
    /// The name on the wire: the Rust function's name.
    pub name: &'static str,
    /// The kind.
    pub kind: FunctionKind,
    /// The doc comment.
    pub doc: &'static str,
    /// Who may call it.
    pub access: Access,
    /// How long it may take; `function.timeout` of the configuration when not said.
    pub timeout: Option<Duration>,
    /// A mutation's isolation.
    pub isolation: Isolation,
    /// Whether all statements of a query see one snapshot of the data.
    pub snapshot: bool,
    /// A live query is also run again after this time, whatever has changed; it may then read what cannot be followed.
    pub refresh_every: Option<Duration>,
    /// How far apart the runs of a live query are at least, counted from the beginning of one to that of the next.
    pub min_interval: Option<Duration>,
    /// Which changes concern a live query.
    pub tracking: TrackingMode,
    /// Whether a query's results are kept for the next callers.
    pub cache: Option<CachePolicy>,
    /// The module it stands in.
    pub module: &'static str,
    /// The file it stands in.
    pub file: &'static str,
    /// The line it stands on.
    pub line: u32,
}

/// What a query, a mutation and an action have in common.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a function of FORGE",
    note = "pass the name of a function that has `#[forge::query]`, `#[forge::mutation]` or `#[forge::action]`"
)]
pub trait Function: Send + Sync + 'static {
    /// The arguments: an object on the wire.
    type Args: WireType + Send + 'static;
    /// The result.
    type Output: WireType + Send + 'static;
    /// What it says about itself.
    const INFO: FunctionInfo;
}

/// A function that reads.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a query",
    note = "only a function with `#[forge::query]` can be called with `ctx.query(..)`"
)]
pub trait ForgeQuery<Ctx>: Function {
    /// Runs it.
    fn execute(ctx: &Ctx, args: Self::Args) -> BoxFuture<'_, Result<Self::Output>>;
}

/// A function that writes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a mutation",
    note = "only a function with `#[forge::mutation]` can be called with `ctx.mutate(..)`"
)]
pub trait ForgeMutation<Ctx>: Function {
    /// Runs it.
    fn execute(ctx: &Ctx, args: Self::Args) -> BoxFuture<'_, Result<Self::Output>>;
}

/// A function that talks to the outside world.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an action",
    note = "only a function with `#[forge::action]` can be called as one"
)]
pub trait ForgeAction<Ctx>: Function {
    /// Runs it.
    fn execute(ctx: &Ctx, args: Self::Args) -> BoxFuture<'_, Result<Self::Output>>;
}
