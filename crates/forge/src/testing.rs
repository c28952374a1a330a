//! Tests of an app: a real database of its own for each, the real pipeline, no sleeping.
//!
//! ```no_run
//! # use forge::prelude::*;
//! # #[forge::query(public)] pub async fn greet(_ctx: &QueryContext, name: String) -> Result<String> { Ok(name) }
//! use forge::testing::TestApp;
//!
//! #[forge::test]
//! async fn it_greets(app: TestApp) -> Result<()> {
//!     let ada = app.user("ada").role("editor");
//!     assert_eq!(ada.call(greet, "Ada".to_owned()).await?, "Ada");
//!     Ok(())
//! }
//! ```
//!
//! The database server is `FORGE_TEST_DATABASE_URL` when that is set, else a private one that all tests of a run share and
//! that ends by itself. Each test gets a database cloned from a migrated template: some 20 ms. The template is
//! made anew when a migration changes, and only when every `sql!` statement and every model fits it. Live queries read the server's log where
//! they can; with `FORGE_REACTIVITY_CAPTURE=changelog` they do as on a server where they cannot.
//!
//! [`TestApp`] runs in the test's own process. What happens when nodes die, freeze or are cut off is what [`TestCluster`] is for.

mod cluster;
mod http;
mod line;
mod process;

use std::fmt::Debug;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use forge_core::auth::{AuthContext, AuthUser};
use forge_core::function::Function;
use forge_core::job::{Job, JobInput};
use forge_core::{Error, Result};
use forge_pg::{Options, PrivateServer, Templates, TestDatabase};
use forge_runtime::app::{App, Node};
use forge_runtime::config::{Config, Mode, Secret};
use forge_runtime::db::Database;
use forge_runtime::jobs::{JobHandle, JobResult};
use forge_runtime::mail::SentMail;
use forge_runtime::migrate::Migrator;
pub use forge_runtime::realtime::{ReceivedEvent, Subscription};
use serde_json::Value;

pub use cluster::{NodeUser, TestCluster, TestClusterBuilder, TestNode};
pub use process::NodeProcess;

/// What tokens are signed with in tests.
const SECRET: &str = "a secret for tests, and for nothing else";

/// What a test may return: nothing, or a `Result`.
pub trait TestResult {
    /// Panics when it is an error.
    fn succeed(self);
}

impl TestResult for () {
    fn succeed(self) {}
}

impl<E: Debug> TestResult for Result<(), E> {
    fn succeed(self) {
        if let Err(why) = self {
            panic!("the test failed: {why:?}");
        }
    }
}

/// Runs a test. Called by `#[forge::test]`.
pub fn run<R: TestResult>(_name: &'static str, test: impl AsyncFnOnce(TestApp) -> R) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.unwrap_or_else(|why| panic!("no async runtime: {why}"));
    runtime.block_on(async {
        let app = TestApp::start().await.unwrap_or_else(|why| panic!("the test app could not be started: {why:?}"));
        let handle = app.clone();
        test(app).await.succeed();
        handle.stop().await;
    });
}

/// The app under test, on a database of its own. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TestApp {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    node: tokio::sync::Mutex<Node>,
    parts: forge_runtime::app::NodeParts,
    address: SocketAddr,
    database: Mutex<Option<TestDatabase>>,
    url: String,
}

impl TestApp {
    /// Starts everything that is linked into this program, with default settings.
    ///
    /// # Errors
    /// When no database can be had, or the app does not start on it.
    pub async fn start() -> Result<Self> {
        Self::start_with(|_| {}).await
    }

    /// Starts with settings that differ from the defaults.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Result<Self> {
        Self::start_app(App::linked(&[])?, change).await
    }

    /// Starts an app that was put together by hand, say one whose functions are registered one by one:
    /// `TestApp::start_app(Forge::new().function(list_cards).app()?, |_| {})`. [`stop`](Self::stop) it at the end.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_app(app: App, change: impl FnOnce(&mut Config)) -> Result<Self> {
        let database = test_database(&app).await?;
        let url = database.url().to_owned();
        // So that all tests of an app can be run on either sink.
        let said = |name: &str| std::env::var(name).ok().filter(|_| name == "FORGE_REACTIVITY_CAPTURE");
        let mut config = Config::load_for(None, &said, Mode::Test)?.config;
        config.database.url = Some(Secret::new(url.clone()));
        config.database.pool_size = 5;
        config.database.shared_connections = 1;
        config.gateway.port = 0;
        config.security.auth.secret = Some(Secret::new(SECRET));
        change(&mut config);
        let mut node = Node::start(app, config).await?;
        // Tests look at what was dispatched before it is done. Said before there is a worker that could do anything.
        node.parts().hold_jobs(true);
        node.ready().await?;
        let address = node.address().ok_or_else(|| Error::internal("the node under test is no gateway"))?;
        let parts = node.parts().clone();
        Ok(Self {
            inner: Arc::new(Inner {
                node: tokio::sync::Mutex::new(node),
                parts,
                address,
                database: Mutex::new(Some(database)),
                url,
            }),
        })
    }

    /// Somebody who is signed in.
    pub fn user(&self, id: impl Into<String>) -> TestUser {
        TestUser { app: self.clone(), auth: AuthContext::of(AuthUser::new(id)) }
    }

    /// Somebody who is not signed in.
    pub fn anonymous(&self) -> TestUser {
        TestUser { app: self.clone(), auth: AuthContext::anonymous() }
    }

    /// Where the app listens, such as `http://127.0.0.1:40123`.
    pub fn url(&self) -> String {
        format!("http://{}", self.inner.address)
    }

    /// The URL of the test's database.
    pub fn database_url(&self) -> &str {
        &self.inner.url
    }

    /// The node's parts, for tests that look behind the door.
    pub fn parts(&self) -> &forge_runtime::app::NodeParts {
        &self.inner.parts
    }

    /// Runs the jobs that are due, and those that they dispatch, until none is left. Nothing runs jobs in a test but this and
    /// [`advance`](Self::advance), unless the test says [`work`](Self::work).
    ///
    /// ```no_run
    /// # use forge::prelude::*;
    /// # use forge::testing::TestApp;
    /// # #[forge::input] pub struct Greet { pub name: String }
    /// # #[forge::job] pub async fn greet(_ctx: &JobContext, _input: Greet) -> Result<()> { Ok(()) }
    /// # #[forge::mutation(public)] pub async fn sign_up(ctx: &MutationContext, name: String) -> Result<()> {
    /// #     ctx.dispatch_job(Greet { name }).await.map(drop) }
    /// #[forge::test]
    /// async fn who_signs_up_is_greeted(app: TestApp) -> Result<()> {
    ///     app.anonymous().call(sign_up, "Ada".to_owned()).await?;
    ///     app.assert_dispatched::<Greet>(|greet| greet.name == "Ada").await;
    ///     app.run_jobs().await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// When the database cannot be reached. What becomes of the jobs is theirs: see [`job`](Self::job).
    pub async fn run_jobs(&self) -> Result<()> {
        self.inner.parts.run_jobs().await
    }

    /// Has a worker run jobs by itself from now on, as outside of tests.
    pub fn work(&self) {
        self.inner.parts.hold_jobs(false);
    }

    /// Travels ahead by so much, and runs what is due by then: crons, delayed jobs, retries. Leases do not see it.
    ///
    /// # Errors
    /// As [`run_jobs`](Self::run_jobs).
    pub async fn advance(&self, by: Duration) -> Result<()> {
        // What crons there are begins now, if it has not.
        self.inner.parts.run_crons().await?;
        self.inner.parts.clock().advance(by);
        self.inner.parts.run_crons().await?;
        self.run_jobs().await
    }

    /// Checks that a job waits whose input is such as is looked for.
    ///
    /// # Panics
    /// When there is none; the message lists what there is.
    pub async fn assert_dispatched<I: JobInput>(&self, wanted: impl Fn(&I) -> bool) {
        let name = <I::Job as Job>::INFO.name;
        let waiting = self.inner.parts.waiting_jobs::<I>().await;
        let waiting = waiting.unwrap_or_else(|why| panic!("the jobs called `{name}` cannot be looked at: {why:?}"));
        assert!(
            waiting.iter().any(|(input, _)| wanted(input)),
            "no job `{name}` that waits is the one that is looked for; there are {}: {}",
            waiting.len(),
            waiting.iter().map(|(_, json)| json.as_str()).collect::<Vec<_>>().join(", ")
        );
    }

    /// How a job stands.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is none (any more).
    pub async fn job(&self, job: JobHandle) -> Result<JobResult> {
        self.inner.parts.job(job.id).await
    }

    /// The mail that was sent, the oldest first: the newest hundred. In tests it goes no further than here.
    pub fn mails(&self) -> Vec<SentMail> {
        self.inner.parts.mails()
    }

    /// A connection of its own to the test's database, to look at what is there.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn sql(&self) -> Result<tokio_postgres::Client> {
        connect(&self.inner.url).await
    }

    /// Stops the app and removes the database. Done by `#[forge::test]`.
    pub async fn stop(&self) {
        self.inner.node.lock().await.stop().await;
        let database = self.inner.database.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(database) = database
            && let Err(why) = database.remove().await
        {
            // The next run sweeps it away.
            eprintln!("the test's database stays for now: {why}");
        }
    }
}

/// A caller in a test.
#[derive(Debug, Clone)]
pub struct TestUser {
    app: TestApp,
    auth: AuthContext,
}

impl TestUser {
    /// The same user with one more role.
    #[must_use]
    pub fn role(self, role: impl Into<String>) -> Self {
        self.change(|user| user.roles.push(role.into()))
    }

    /// The same user with a claim.
    #[must_use]
    pub fn claim(self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.change(|user| {
            user.claims.insert(name.into(), value.into());
        })
    }

    fn change(mut self, change: impl FnOnce(&mut AuthUser)) -> Self {
        if let Some(user) = self.auth.user() {
            let mut user = user.clone();
            change(&mut user);
            self.auth = AuthContext::of(user);
        }
        self
    }

    /// Calls a function: through the whole pipeline, with the arguments as JSON.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn call<F: Function>(&self, function: F, args: impl Into<F::Args>) -> Result<F::Output> {
        let _ = function;
        self.app.inner.parts.call_as::<F>(self.auth.clone(), args.into()).await
    }
}

impl TestUser {
    /// Subscribes to a query, as a page would. `next()` gives the first result, and then each new one.
    ///
    /// ```no_run
    /// # use forge::prelude::*;
    /// # use forge::testing::TestApp;
    /// # #[forge::query(public)] pub async fn count_cards(ctx: &QueryContext) -> Result<i64> { Ok(0) }
    /// # #[forge::mutation(public)] pub async fn add_card(ctx: &MutationContext) -> Result<()> { Ok(()) }
    /// #[forge::test]
    /// async fn a_new_card_is_seen(app: TestApp) -> Result<()> {
    ///     let ada = app.user("ada");
    ///     let mut count = ada.subscribe(count_cards, ()).await?;
    ///     assert_eq!(count.next().await?, 0);
    ///     ada.call(add_card, ()).await?;
    ///     assert_eq!(count.next().await?, 1);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// When the query cannot be called by this user. What goes wrong later, `next()` tells.
    pub async fn subscribe<F: Function>(&self, function: F, args: impl Into<F::Args>) -> Result<Subscription<F::Output>> {
        let _ = function;
        self.app.inner.parts.subscribe_as::<F>(self.auth.clone(), args.into()).await
    }
}

async fn test_database(app: &App) -> Result<TestDatabase> {
    let migrations = app.migrations()?;
    // Whatever changes the schema, or the statements and models that must fit it, makes another template.
    let mut key = String::new();
    for migration in &migrations {
        key.push_str(&format!("{} {} {}\n", migration.set, migration.version, migration.checksum));
    }
    key.push_str(&forge_runtime::migrate::system_fingerprint()?);
    key.push_str(&app.check_fingerprint()?);
    templates()
        .await?
        .database(&key, async |url: String| {
            let mut config = Config::defaults(Mode::Test);
            config.database.url = Some(Secret::new(url));
            Migrator::new(&config.database, &config.migrations, migrations)?.run(|_| {}).await?;
            app.check(&Database::new("tests", &config.database)?).await.map(drop)
        })
        .await
}

/// A database with nothing in it.
async fn empty_database() -> Result<TestDatabase> {
    templates().await?.database("nothing at all", async |_| Ok(())).await
}

async fn templates() -> Result<Templates> {
    Ok(match std::env::var("FORGE_TEST_DATABASE_URL") {
        Ok(url) => Templates::on_url(url),
        Err(_) => Templates::new(&server().await?),
    })
}

/// The server that all tests of a project share: one per workspace, so that its crates' tests share it too.
async fn server() -> Result<PrivateServer> {
    let package = match std::env::var_os("CARGO_MANIFEST_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => std::env::current_dir()?,
    };
    let project =
        package.ancestors().filter(|dir| dir.join("Cargo.lock").exists()).last().unwrap_or(&package).to_path_buf();
    PrivateServer::ensure(Options::test(project)).await
}

async fn connect(url: &str) -> Result<tokio_postgres::Client> {
    let connected = tokio_postgres::connect(url, tokio_postgres::NoTls).await;
    let (client, connection) =
        connected.map_err(|why| Error::database_unavailable("the test's database cannot be reached").with_source(why))?;
    tokio::spawn(async move {
        // A database that is removed ends whoever still looks at it.
        if let Err(why) = connection.await
            && why.code() != Some(&tokio_postgres::error::SqlState::ADMIN_SHUTDOWN)
        {
            eprintln!("a test's connection ended: {why}");
        }
    });
    Ok(client)
}
