//! Functions at work: the one pipeline that runs every query, mutation and action, whoever asks.
//!
//! ```text
//!  name ─▶ FunctionRouter: is there such a function? may this caller?
//!            └▶ FunctionExecutor: room? ─▶ decode and validate ─▶ database scope
//!                 query:    reads, or one snapshot
//!                 mutation: one transaction, run again on conflicts, its answer kept under the mutation id
//!                 action:   none
//!               ─▶ run under the timeout, panics caught ─▶ encode ─▶ commit ─▶ answer
//! ```
//!
//! What it promises: a caller sees either the whole effect of a mutation or nothing of it; a function that panics, loops
//! or takes too long disturbs nobody else; an abandoned call leaves nothing running on the database. A mutation repeated
//! with the same mutation id takes effect once.
//!
//! Not here: HTTP (see [`crate::gateway`]), and what a token means (see [`crate::auth`]).

mod commit;
mod context;
mod executor;
mod http;
mod idempotency;
mod position;
mod query;
mod registry;
mod router;

pub use context::{ActionContext, MutationContext, QueryContext};
pub use executor::FunctionExecutor;
pub use http::{HttpClient, HttpRequest, HttpResponse};
pub use registry::{FunctionRegistry, Registered, Registration};
pub use router::FunctionRouter;

pub(crate) use context::{Caller, Looked, World};
pub(crate) use executor::{Answer, Call, panic_text};
pub(crate) use idempotency::sweep as sweep_mutation_ids;
pub(crate) use position::{Written, Wrote};
pub(crate) use registry::{Entry, Item, Place, Run, RunIn, canonical, twice};
pub(crate) use router::permit;

use forge_core::{Error, Result};

/// What a function may return: a `Result` whose error becomes a FORGE one.
#[diagnostic::on_unimplemented(
    message = "a function returns a `Result`, not `{Self}`",
    note = "write `-> Result<T>`; the error may be `forge::Error` or an enum with `#[derive(forge::AppError)]`"
)]
pub trait IntoResult {
    /// What it returns when it succeeds.
    type Output;

    /// The result with FORGE's own error.
    ///
    /// # Errors
    /// The function's.
    fn into_result(self) -> Result<Self::Output>;
}

impl<T, E: Into<Error>> IntoResult for Result<T, E> {
    type Output = T;
    fn into_result(self) -> Result<T> {
        self.map_err(Into::into)
    }
}
