//! Jobs: units of work that are put into a queue and done by a worker, once more when that fails.
//!
//! `#[forge::job]` turns a Rust function into a unit type of the same name that implements [`Job`] (what it is called, takes,
//! returns and demands) and [`ForgeJob`] (how it runs), and its input into a [`JobInput`], so that an input alone says which job
//! is meant. The context it runs with holds a database, so its type belongs to the runtime; here it is the parameter `Ctx`.

mod key;
mod priority;
mod retry;
mod status;

use std::time::Duration;

pub use key::{key, part, whole};
pub use priority::Priority;
pub use retry::{Backoff, RetryPolicy};
pub use status::JobStatus;

use crate::Result;
use crate::function::{Access, BoxFuture};
use crate::wire::WireType;

/// The queue of a job that names none.
pub const DEFAULT_QUEUE: &str = "default";

/// What a job that names no capability asks of a worker; every worker has it unless it is configured otherwise.
pub const DEFAULT_CAPABILITY: &str = "general";

/// How long an attempt may take when the job does not say.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3600);

/// How long finished jobs and dead letters are kept when the job does not say: a week.
pub const DEFAULT_RETAIN: Duration = Duration::from_secs(7 * 86_400);

/// How many of a kind may run at the same time, in the whole cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concurrency {
    /// At most so many; at least 1.
    pub limit: u32,
    /// Whether the limit is one for each value of [`Job::concurrency_key`] instead of one for the kind.
    pub key: bool,
}

/// How many of a kind may be begun within a time, in the whole cluster. Attempts count, not jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// At most so many; at least 1.
    pub count: u32,
    /// Within this time.
    pub per: Duration,
}

/// Everything a job says about itself. Built by the macros.
#[derive(Debug, Clone, Copy)]
pub struct JobInfo {
    /// Its kind, as rows, logs and metrics name it: the Rust function's name.
    pub name: &'static str,
    /// The doc comment.
    pub doc: &'static str,
    /// The queue it waits in: [`DEFAULT_QUEUE`] when not said.
    pub queue: &'static str,
    /// How urgent it is, unless whoever dispatches it says otherwise.
    pub priority: Priority,
    /// How long one attempt may take: [`DEFAULT_TIMEOUT`] when not said.
    pub timeout: Duration,
    /// What happens when it fails.
    pub retry: RetryPolicy,
    /// What a worker must be able to do: [`DEFAULT_CAPABILITY`] when not said.
    pub capability: &'static str,
    /// Whether there is at most one live job for each value of [`Job::idempotency_key`]; dispatching a second one gives the first.
    pub idempotent: bool,
    /// How many may run at the same time; as many as workers have room for when not said.
    pub concurrency: Option<Concurrency>,
    /// How many may be begun within a time; any number when not said.
    pub rate_limit: Option<RateLimit>,
    /// How long it is kept at least once it is completed or cancelled: [`DEFAULT_RETAIN`] when not said. All jobs share a history that is dropped
    /// day by day, so the longest of them is what counts. Of one with none at all nothing is kept once it is completed, which is
    /// cheaper; its output is then gone as well.
    pub retain: Duration,
    /// How long it is kept as a dead letter: [`DEFAULT_RETAIN`] when not said.
    pub dead_letter_retain: Duration,
    /// Who may follow it, besides whoever dispatched it: nobody ([`JobInfo::NOBODY`]) unless roles are named.
    pub track: Access,
    /// The module it stands in.
    pub module: &'static str,
    /// The file it stands in.
    pub file: &'static str,
    /// The line it stands on.
    pub line: u32,
}

impl JobInfo {
    /// Whoever has one of no roles.
    pub const NOBODY: Access = Access::AnyRole(&[]);
}

/// A job: what it takes, returns and demands.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a job of FORGE",
    note = "pass the name of a function that has `#[forge::job]`"
)]
pub trait Job: Send + Sync + 'static {
    /// What it is given: an object on the wire, stored with the job.
    type Input: JobInput<Job = Self>;
    /// Its result.
    type Output: WireType + Send + 'static;
    /// What it says about itself.
    const INFO: JobInfo;

    /// What tells two live jobs of this kind apart, when it is [idempotent](JobInfo::idempotent). `None` also for an input
    /// that has no form on the wire, which cannot be dispatched.
    fn idempotency_key(input: &Self::Input) -> Option<String> {
        let _ = input;
        None
    }

    /// What the limit of [`Concurrency`] is for, when that goes by key.
    fn concurrency_key(input: &Self::Input) -> Option<String> {
        let _ = input;
        None
    }
}

/// The input of exactly one job, which it stands for where jobs are dispatched.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the input of a job",
    note = "dispatch the input type of a function that has `#[forge::job]`: its only parameter when that is a `#[forge::input]` struct, else the struct with the function's name in capitals"
)]
pub trait JobInput: WireType + Send + 'static {
    /// The job.
    type Job: Job<Input = Self>;
}

/// A job that runs with this context.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a job",
    note = "only a function with `#[forge::job]` can be run by a worker"
)]
pub trait ForgeJob<Ctx>: Job {
    /// Runs one attempt.
    fn execute(ctx: &Ctx, input: Self::Input) -> BoxFuture<'_, Result<Self::Output>>;
}

/// What a job's own error asks for, instead of what its [`RetryPolicy`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// To be run again after this time, without the attempt being counted: [`Error::retry_in`](crate::Error::retry_in).
    RetryIn(Duration),
    /// Not to be run again: [`Error::cancel`](crate::Error::cancel).
    Cancel,
}
