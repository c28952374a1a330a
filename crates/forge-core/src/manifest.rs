//! The manifest: a whole app, described as data.
//!
//! `my-app manifest` prints it as JSON; code generation reads this and nothing else.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cron::{Cron, Overlap};
use crate::function::{Access, Function, FunctionKind, Isolation};
use crate::human::format_duration;
use crate::job::{Backoff, Job, Priority, RetryPolicy};
use crate::schema::{EnumDef, TableDef};
use crate::wire::{TypeDef, TypeRef, TypeRegistry, WireType};

/// The version of the manifest's own shape.
pub const MANIFEST_VERSION: u32 = 1;

/// An app, described.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`MANIFEST_VERSION`].
    pub manifest_version: u32,
    /// The app's name.
    pub name: String,
    /// The app's version.
    pub version: String,
    /// The functions, by name.
    pub functions: Vec<FunctionDef>,
    /// The jobs, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<JobDef>,
    /// The crons, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub crons: Vec<CronDef>,
    /// The named types that functions and jobs take and return, by name.
    pub types: Vec<TypeDef>,
    /// The tables, by name.
    pub tables: Vec<TableDef>,
    /// The enum types of the database, by name.
    pub enums: Vec<EnumDef>,
}

/// A function, described.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionDef {
    /// Its name on the wire.
    pub name: String,
    /// Its kind.
    pub kind: FunctionKind,
    /// Its doc comment.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    /// Its arguments: a named type, or [`TypeRef::Null`] when it takes none.
    pub args: TypeRef,
    /// Its result.
    pub output: TypeRef,
    /// Whether it may be called by somebody who is not signed in.
    pub public: bool,
    /// The roles of which the caller needs one; empty when any caller who is signed in may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// How long it may take, when it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// A mutation's isolation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
}

impl FunctionDef {
    /// Describes a function, and the types it uses.
    pub fn of<F: Function>(types: &mut TypeRegistry) -> Self {
        let info = F::INFO;
        let roles = roles(info.access);
        Self {
            name: info.name.to_owned(),
            kind: info.kind,
            doc: info.doc.to_owned(),
            args: F::Args::wire_type(types),
            output: F::Output::wire_type(types),
            public: info.access == Access::Public,
            roles,
            timeout: info.timeout.map(|timeout: Duration| format_duration(timeout)),
            isolation: (info.kind == FunctionKind::Mutation).then_some(info.isolation),
        }
    }
}

/// The roles of which somebody needs one.
fn roles(access: Access) -> Vec<String> {
    match access {
        Access::AnyRole(roles) => roles.iter().map(|role| (*role).to_owned()).collect(),
        Access::Public | Access::SignedIn => Vec::new(),
    }
}

/// A job, described.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobDef {
    /// Its kind.
    pub name: String,
    /// Its doc comment.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    /// Its input: a named type, or [`TypeRef::Null`] when it takes none.
    pub input: TypeRef,
    /// Its result.
    pub output: TypeRef,
    /// The queue it waits in.
    pub queue: String,
    /// How urgent it is.
    pub priority: Priority,
    /// How long an attempt may take.
    pub timeout: String,
    /// What a worker must be able to do.
    pub capability: String,
    /// What happens when it fails.
    pub retry: RetryDef,
    /// Whether there is at most one live job for each key.
    pub idempotent: bool,
    /// The roles of which somebody needs one to follow it; whoever dispatched it may anyway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
}

impl JobDef {
    /// Describes a job, and the types it uses.
    pub fn of<J: Job>(types: &mut TypeRegistry) -> Self {
        let info = J::INFO;
        Self {
            name: info.name.to_owned(),
            doc: info.doc.to_owned(),
            input: J::Input::wire_type(types),
            output: J::Output::wire_type(types),
            queue: info.queue.to_owned(),
            priority: info.priority,
            timeout: format_duration(info.timeout),
            capability: info.capability.to_owned(),
            retry: RetryDef::of(&info.retry),
            idempotent: info.idempotent,
            roles: roles(info.track),
        }
    }
}

/// What happens to a job that fails, described.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetryDef {
    /// How often it is run in all.
    pub max_attempts: u32,
    /// How the waiting time grows.
    pub backoff: Backoff,
    /// The first waiting time.
    pub initial: String,
    /// The longest.
    pub max_backoff: String,
    /// Whether each is made a bit shorter or longer by chance.
    pub jitter: bool,
    /// The codes of the errors that are worth another attempt; empty: all are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<String>,
}

impl RetryDef {
    fn of(policy: &RetryPolicy) -> Self {
        Self {
            max_attempts: policy.max_attempts,
            backoff: policy.backoff,
            initial: format_duration(policy.initial),
            max_backoff: format_duration(policy.max_backoff),
            jitter: policy.jitter,
            on: policy.on.iter().map(|code| (*code).to_owned()).collect(),
        }
    }
}

/// A cron, described.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CronDef {
    /// Its name.
    pub name: String,
    /// Its doc comment.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    /// When it is due.
    pub expression: String,
    /// In which time zone.
    pub timezone: String,
    /// Whether times that passed unseen are made up for, and how many at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_up_limit: Option<u32>,
    /// What happens when the last run is not finished.
    pub overlap: Overlap,
    /// The queue its runs wait in.
    pub queue: String,
    /// How urgent they are.
    pub priority: Priority,
    /// How long an attempt may take.
    pub timeout: String,
    /// What a worker must be able to do.
    pub capability: String,
    /// What happens when it fails.
    pub retry: RetryDef,
}

impl CronDef {
    /// Describes a cron.
    pub fn of<C: Cron>() -> Self {
        let info = C::INFO;
        Self {
            name: info.name.to_owned(),
            doc: info.doc.to_owned(),
            expression: info.expression.to_owned(),
            timezone: info.timezone.to_owned(),
            catch_up_limit: info.catch_up.then_some(info.catch_up_limit),
            overlap: info.overlap,
            queue: info.queue.to_owned(),
            priority: info.priority,
            timeout: format_duration(info.timeout),
            capability: info.capability.to_owned(),
            retry: RetryDef::of(&info.retry),
        }
    }
}
