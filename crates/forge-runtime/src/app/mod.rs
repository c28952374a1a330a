//! An app: what its crates contribute, put together, described, and run.
//!
//! ```text
//! attributes ─link time─▶ Registrations ─┐
//! include(module), function(f) ──────────┴▶ App ─▶ manifest
//!                                             └──▶ Node: database, migrations, executor, gateway; drains on SIGTERM
//! ```

mod boundary;
mod command;
mod doctor;
mod drain;
mod explain;
mod handover;
mod node;

pub(crate) use handover::listener as inherited_listener;
pub(crate) use node::Stage;
pub use node::{Node, NodeParts};

use std::collections::BTreeMap;
use std::path::PathBuf;

use forge_core::cron::Cron;
use forge_core::function::Function;
use forge_core::job::Job;
use forge_core::manifest::{MANIFEST_VERSION, Manifest};
use forge_core::schema::{EnumDef, TableDef};
use forge_core::wire::TypeRegistry;
use forge_core::{Error, Result};

use crate::cron::{CronEntry, CronRegistry};
use crate::db::{Database, check_models, check_statements, statements_fingerprint};
use crate::function::{FunctionRegistry, Item, Registered, Registration};
use crate::jobs::JobRegistry;
use crate::migrate::Migration;

/// A crate that contributes to an app: its migrations and its page. Made by `forge::module!()`.
#[derive(Debug, Clone)]
pub struct Module {
    name: &'static str,
    version: &'static str,
    dir: &'static str,
    migrations: &'static [(&'static str, &'static str)],
    page: &'static [(&'static str, &'static [u8])],
}

impl Module {
    /// Called by `forge::module!()`: the crate's name, version and folder, its migrations (file name, text), and its built page
    /// (path, content; empty in debug builds, which read the page from the folder).
    pub const fn linked(
        name: &'static str,
        version: &'static str,
        dir: &'static str,
        migrations: &'static [(&'static str, &'static str)],
        page: &'static [(&'static str, &'static [u8])],
    ) -> Self {
        Self { name, version, dir, migrations, page }
    }

    /// The crate's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The migrations of the crate.
    ///
    /// # Errors
    /// When a file is not called or written like a migration.
    pub fn migrations(&self) -> Result<Vec<Migration>> {
        self.migrations.iter().map(|(file, sql)| Migration::parse("app", file, sql)).collect()
    }

    pub(crate) fn page(&self) -> crate::gateway::Page {
        if self.page.is_empty() {
            return crate::gateway::Page::on_disk(PathBuf::from(self.dir).join("frontend/dist"));
        }
        crate::gateway::Page::embedded(self.page)
    }
}

/// An app, put together from everything that is linked into this program.
#[derive(Debug, Clone)]
pub struct App {
    name: String,
    version: String,
    functions: FunctionRegistry,
    jobs: JobRegistry,
    crons: CronRegistry,
    tables: Vec<TableDef>,
    enums: Vec<EnumDef>,
    modules: Vec<Module>,
}

impl App {
    /// Collects what is linked; `included` come first, and the first of all names the app.
    ///
    /// # Errors
    /// `FUNCTION_TWICE` when two functions, jobs or crons have the same name, `CRON_INVALID` when a cron's time zone is not known;
    /// `SECRET_ANSWERED`, `SECRET_STORED` and `PRIVATE_ARGUMENT` when one would answer with a
    /// [`Secret`](crate::config::Secret), or takes a model with private columns.
    pub fn linked(included: &[Module]) -> Result<Self> {
        Self::of(included, &[])
    }

    /// Collects what is linked and what was named beside it.
    fn of(included: &[Module], named: &[Registration]) -> Result<Self> {
        let mut modules = included.to_vec();
        let (mut entries, mut tables, mut enums) = (Vec::new(), Vec::new(), Vec::new());
        let (mut jobs, mut crons) = (Vec::new(), Vec::new());
        for registration in inventory::iter::<Registration>.into_iter().copied().chain(named.iter().copied()) {
            match registration.item {
                Item::Function(entry) => entries.push(entry()),
                Item::Job(entry) => jobs.push(entry()),
                Item::Cron(entry) => crons.push(entry()),
                Item::Table(table) => tables.push(table()),
                Item::Enum(definition) => enums.push(definition()),
                Item::Module(module) => {
                    if !modules.iter().any(|known| known.name == registration.krate) {
                        modules.push(module());
                    }
                }
            }
        }
        let functions = FunctionRegistry::new(entries)?;
        let runs: Vec<_> = crons.iter().map(|cron: &CronEntry| (cron.job)()).collect();
        let crons = CronRegistry::new(crons)?;
        let jobs = JobRegistry::new(jobs.into_iter().chain(runs))?;
        boundary::check(&functions, &jobs, &tables)?;
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        enums.sort_by(|a, b| a.name.cmp(&b.name));
        let (name, version) = modules.first().map_or(("app", "0.0.0"), |module| (module.name, module.version));
        Ok(Self { name: name.to_owned(), version: version.to_owned(), functions, jobs, crons, tables, enums, modules })
    }

    /// The app's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The app's version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Its functions.
    pub fn functions(&self) -> &FunctionRegistry {
        &self.functions
    }

    /// Its jobs.
    pub fn jobs(&self) -> &JobRegistry {
        &self.jobs
    }

    /// Its crons.
    pub fn crons(&self) -> &CronRegistry {
        &self.crons
    }

    /// The migrations of all its crates.
    ///
    /// # Errors
    /// When a file is not called or written like a migration.
    pub fn migrations(&self) -> Result<Vec<Migration>> {
        let lists: Vec<Vec<Migration>> = self.modules.iter().map(Module::migrations).collect::<Result<_>>()?;
        Ok(lists.into_iter().flatten().collect())
    }

    pub(crate) fn page(&self) -> crate::gateway::Page {
        self.modules.iter().map(Module::page).find(crate::gateway::Page::exists).unwrap_or_default()
    }

    /// The app, described.
    ///
    /// # Errors
    /// `TYPE_NAME_TWICE` when two types that cross the wire have the same name.
    pub fn manifest(&self) -> Result<Manifest> {
        let mut types = TypeRegistry::default();
        let functions = self.functions.iter().map(|entry| (entry.describe)(&mut types)).collect();
        let jobs = self.jobs.describe(&mut types).into_iter().map(|(_, job)| job).collect();
        let types = types.finish().map_err(|clashes| Error::config("TYPE_NAME_TWICE", clashes.join("\n")))?;
        Ok(Manifest {
            manifest_version: MANIFEST_VERSION,
            name: self.name.clone(),
            version: self.version.clone(),
            functions,
            jobs,
            crons: self.crons.describe(),
            types,
            tables: self.tables.clone(),
            enums: self.enums.clone(),
        })
    }

    /// Checks the app against a migrated database: whether its `sql!` statements fit, and whether its models are what the tables are.
    /// Returns how many statements there were.
    ///
    /// # Errors
    /// `CHECK_FAILED` with everything that does not fit, `DATABASE_UNAVAILABLE` when the database cannot be reached.
    pub async fn check(&self, database: &Database) -> Result<usize> {
        let mut problems = check_models(database, &self.tables, &self.enums).await?;
        let (checked, unfit) = check_statements(database).await?;
        problems.extend(unfit);
        if problems.is_empty() { Ok(checked) } else { Err(Error::config("CHECK_FAILED", problems.join("\n"))) }
    }

    /// Changes whenever something does that [`check`](Self::check) looks at.
    ///
    /// # Errors
    /// None that is known: all of it can be written as JSON.
    pub fn check_fingerprint(&self) -> Result<String> {
        let models = serde_json::to_string(&(&self.tables, &self.enums))?;
        Ok(format!("{models}\n{}", statements_fingerprint()))
    }

    /// How many of each kind there are, for the log.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for info in self.functions.infos() {
            *counts.entry(info.kind.as_str()).or_default() += 1;
        }
        let beside = [("job", self.jobs.infos().count()), ("cron", self.crons.len())];
        counts.extend(beside.into_iter().filter(|(_, count)| *count > 0));
        counts.insert("table", self.tables.len());
        counts.insert("enum", self.enums.len());
        counts
    }
}

/// The program of an app: `Forge::new().include(app::module()).run().await`.
#[derive(Debug, Default)]
pub struct Forge {
    modules: Vec<Module>,
    functions: Vec<Registration>,
}

impl Forge {
    /// Everything that is linked into this program. A crate that nothing refers to is not linked: name it with
    /// [`include`](Self::include).
    pub fn new() -> Self {
        Self::default()
    }

    /// Names a crate, which links it. The first one gives the app its name and version.
    #[must_use]
    pub fn include(mut self, module: Module) -> Self {
        self.modules.push(module);
        self
    }

    /// Registers one function, a query, a mutation or an action, for those who would rather list what their app offers than have
    /// all of it that is linked. Its attribute says `register = false`.
    ///
    /// ```text
    /// #[forge::query(register = false)]
    /// pub async fn list_cards(ctx: &QueryContext) -> Result<Vec<Card>> { .. }
    ///
    /// Forge::new().include(my_app::module()).function(my_app::list_cards).run().await
    /// ```
    #[must_use]
    pub fn function<F: Function + Registered>(self, function: F) -> Self {
        self.named(function)
    }

    /// Registers one job whose attribute says `register = false`; see [`function`](Self::function).
    #[must_use]
    pub fn job<J: Job + Registered>(self, job: J) -> Self {
        self.named(job)
    }

    /// Registers one cron whose attribute says `register = false`; see [`function`](Self::function).
    #[must_use]
    pub fn cron<C: Cron + Registered>(self, cron: C) -> Self {
        self.named(cron)
    }

    fn named<T: Registered>(mut self, _: T) -> Self {
        self.functions.push(T::REGISTRATION);
        self
    }

    /// The app that this is, for tests and tools.
    ///
    /// # Errors
    /// `FUNCTION_TWICE` when two functions have the same name, or one is registered twice.
    pub fn app(&self) -> Result<App> {
        App::of(&self.modules, &self.functions)
    }

    /// Does what the command line says: `serve` (the default), `migrate`, `manifest`, `check`, `doctor`, `help`.
    ///
    /// # Errors
    /// What is wrong with the configuration, the command line, the database's schema or the address to listen on.
    pub async fn run(self) -> Result<()> {
        command::run(self.app()?).await
    }
}
