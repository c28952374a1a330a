//! The functions of an app, by name: collected at link time, or registered by hand.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use forge_core::cron::{CronInfo, ForgeCron};
use forge_core::function::{BoxFuture, ForgeAction, ForgeMutation, ForgeQuery, Function, FunctionInfo};
use forge_core::job::{ForgeJob, JobInfo};
use forge_core::manifest::FunctionDef;
use forge_core::schema::{EnumDef, TableDef};
use forge_core::wire::{self, TypeRegistry};
use forge_core::{Error, Result};

use super::context::{ActionContext, MutationContext, QueryContext};
use crate::app::Module;
use crate::cron::{CronContext, CronEntry};
use crate::db::{Model, PgEnum};
use crate::jobs::{JobContext, JobEntry};
use crate::observability::FunctionMetrics;

/// A function with its types erased: JSON in, JSON out.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The function's own type, which tells it from another one of the same name.
    id: TypeId,
    pub(crate) info: FunctionInfo,
    pub(crate) describe: fn(&mut TypeRegistry) -> FunctionDef,
    /// Checks arguments, and writes them as [`canonical`] does.
    pub(crate) canonical: fn(&[u8]) -> Result<Arc<[u8]>>,
    pub(crate) run: Run,
    pub(crate) metrics: FunctionMetrics,
    /// Ordinary attempts of a mutation share it; a last attempt after several conflicts has it alone.
    pub(crate) lane: tokio::sync::RwLock<()>,
}

/// How it is run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Run {
    Query(RunIn<QueryContext>),
    Mutation(RunIn<MutationContext>),
    Action(RunIn<ActionContext>),
}

/// Decodes arguments, runs the function in a context, encodes its result.
pub(crate) type RunIn<C> = for<'a> fn(&'a C, &'a [u8]) -> Encoded<'a>;

/// A result on its way, as JSON.
pub(crate) type Encoded<'a> = BoxFuture<'a, Result<Vec<u8>>>;

impl Entry {
    fn new<F: Function>(run: Run) -> Self {
        Self {
            id: TypeId::of::<F>(),
            info: F::INFO,
            describe: FunctionDef::of::<F>,
            canonical: |args| canonical::<F>(&decode::<F>(args)?),
            run,
            metrics: FunctionMetrics::new(&F::INFO),
            lane: tokio::sync::RwLock::new(()),
        }
    }

    pub(crate) fn query<F: ForgeQuery<QueryContext>>() -> Self {
        Self::new::<F>(Run::Query(|ctx, args| {
            Box::pin(async move { encode::<F>(F::execute(ctx, decode::<F>(args)?).await?) })
        }))
    }

    fn mutation<F: ForgeMutation<MutationContext>>() -> Self {
        Self::new::<F>(Run::Mutation(|ctx, args| {
            Box::pin(async move { encode::<F>(F::execute(ctx, decode::<F>(args)?).await?) })
        }))
    }

    fn action<F: ForgeAction<ActionContext>>() -> Self {
        Self::new::<F>(Run::Action(|ctx, args| {
            Box::pin(async move { encode::<F>(F::execute(ctx, decode::<F>(args)?).await?) })
        }))
    }
}

fn decode<F: Function>(args: &[u8]) -> Result<F::Args> {
    // A function without parameters takes nothing, an empty object, or `null`.
    if TypeId::of::<F::Args>() == TypeId::of::<()>() {
        return match args.trim_ascii() {
            b"" | b"{}" | b"null" => wire::read_json(b"null"),
            object if object.starts_with(b"{") && object[1..].trim_ascii() == b"}" => wire::read_json(b"null"),
            _ => Err(Error::invalid_argument("the arguments do not fit: this function takes none")),
        };
    }
    wire::read_json(args)
}

/// Arguments as JSON of one form only: equal arguments are equal bytes, however a client orders fields or leaves out what is null.
pub(crate) fn canonical<F: Function>(args: &F::Args) -> Result<Arc<[u8]>> {
    let mut json = Vec::with_capacity(64);
    wire::write_json(args, &mut json)?;
    let value: serde_json::Value = serde_json::from_slice(&json)?;
    Ok(value.to_string().into_bytes().into())
}

fn encode<F: Function>(output: F::Output) -> Result<Vec<u8>> {
    let mut json = Vec::with_capacity(256);
    wire::write_json(&output, &mut json)?;
    Ok(json)
}

/// The functions of an app, by name. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct FunctionRegistry {
    functions: Arc<BTreeMap<&'static str, Arc<Entry>>>,
}

impl FunctionRegistry {
    pub(crate) fn new(entries: impl IntoIterator<Item = Entry>) -> Result<Self> {
        let mut functions = BTreeMap::new();
        for entry in entries {
            let (id, info) = (entry.id, entry.info);
            if let Some(other) = functions.insert(info.name, Arc::new(entry)) {
                let other = (other.id != id).then(|| Place::of_function(&other.info));
                return Err(twice(&Place::of_function(&info), other.as_ref()));
            }
        }
        Ok(Self { functions: Arc::new(functions) })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Entry>> {
        self.functions.get(name)
    }

    /// Whether this very function is among them, and not just another one of its name.
    pub(crate) fn has<F: Function>(&self) -> bool {
        self.get(F::INFO.name).is_some_and(|entry| entry.id == TypeId::of::<F>())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.functions.values()
    }

    /// What the functions say about themselves, by name.
    pub fn infos(&self) -> impl Iterator<Item = &FunctionInfo> {
        self.functions.values().map(|entry| &entry.info)
    }

    /// The name most like this one, when one is like it.
    pub(crate) fn nearest(&self, name: &str) -> Option<&'static str> {
        let likeness = |candidate: &&'static str| (strsim::jaro_winkler(name, candidate) * 1000.0) as u32;
        self.functions.keys().copied().max_by_key(likeness).filter(|best| likeness(best) > 850)
    }
}

/// What is called by a name, and where it stands.
pub(crate) struct Place {
    /// Function, job or cron.
    word: &'static str,
    name: &'static str,
    file: &'static str,
    line: u32,
}

impl Place {
    pub(crate) fn of_function(info: &FunctionInfo) -> Self {
        Self { word: "function", name: info.name, file: info.file, line: info.line }
    }

    pub(crate) fn of_job(info: &JobInfo) -> Self {
        Self { word: "job", name: info.name, file: info.file, line: info.line }
    }

    pub(crate) fn of_cron(info: &CronInfo) -> Self {
        Self { word: "cron", name: info.name, file: info.file, line: info.line }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { word, name, file, line } = self;
        write!(f, "the {word} `{name}` ({file}:{line})")
    }
}

/// Why an app with two functions, jobs or crons of one name does not start. Without an `other`, it is one that was registered twice.
pub(crate) fn twice(one: &Place, other: Option<&Place>) -> Error {
    let Place { word, name, file, line } = one;
    let why = match other {
        Some(other) => format!(
            "two {word}s are called `{name}`: {}:{} and {file}:{line}; rename one, or give it another name with `name = \"..\"`",
            other.file, other.line
        ),
        None => format!(
            "{one} is registered twice: either its attribute registers it, which `register = false` turns off, or `.{word}(..)` does, once"
        ),
    };
    Error::config("FUNCTION_TWICE", why)
}

/// A function, a job or a cron that can be registered. Implemented by their attributes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a function of FORGE",
    note = "pass the name of a function that has `#[forge::query]`, `#[forge::mutation]`, `#[forge::action]`, `#[forge::job]` or `#[forge::cron]`"
)]
pub trait Registered {
    /// What it contributes to an app.
    const REGISTRATION: Registration;
}

/// Something that a crate of the app contributes. Made by the attributes and collected at link time.
#[derive(Debug, Clone, Copy)]
pub struct Registration {
    pub(crate) krate: &'static str,
    pub(crate) item: Item,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Item {
    Function(fn() -> Entry),
    Job(fn() -> JobEntry),
    Cron(fn() -> CronEntry),
    Table(fn() -> TableDef),
    Enum(fn() -> EnumDef),
    Module(fn() -> Module),
}

impl Registration {
    /// A query.
    pub const fn query<F: ForgeQuery<QueryContext>>(krate: &'static str) -> Self {
        Self { krate, item: Item::Function(Entry::query::<F>) }
    }

    /// A mutation.
    pub const fn mutation<F: ForgeMutation<MutationContext>>(krate: &'static str) -> Self {
        Self { krate, item: Item::Function(Entry::mutation::<F>) }
    }

    /// An action.
    pub const fn action<F: ForgeAction<ActionContext>>(krate: &'static str) -> Self {
        Self { krate, item: Item::Function(Entry::action::<F>) }
    }

    /// A job.
    pub const fn job<J: ForgeJob<JobContext>>(krate: &'static str) -> Self {
        Self { krate, item: Item::Job(JobEntry::new::<J>) }
    }

    /// A cron.
    pub const fn cron<C: ForgeCron<CronContext>>(krate: &'static str) -> Self {
        Self { krate, item: Item::Cron(CronEntry::of::<C>) }
    }

    /// A table.
    pub const fn model<M: Model>(krate: &'static str) -> Self {
        Self { krate, item: Item::Table(M::definition) }
    }

    /// An enum type.
    pub const fn pg_enum<E: PgEnum>(krate: &'static str) -> Self {
        Self { krate, item: Item::Enum(E::definition) }
    }

    /// A crate with its migrations and its page.
    pub const fn module(krate: &'static str, module: fn() -> Module) -> Self {
        Self { krate, item: Item::Module(module) }
    }
}

inventory::collect!(Registration);
