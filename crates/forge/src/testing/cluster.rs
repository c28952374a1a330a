//! Several nodes on one database, each a process that can be killed, frozen and cut off.

use std::path::PathBuf;
use std::sync::Arc;

use forge_core::auth::AuthUser;
use forge_core::function::Function;
use forge_core::{Error, Result, wire};
use forge_pg::TestDatabase;
use forge_runtime::auth::{Claims, TokenIssuer};
use forge_runtime::config::{Config, Mode, Secret};
use serde_json::Value;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::line::Line;
use super::process::NodeProcess;
use super::{SECRET, connect, empty_database, http};

/// How nodes of a test are set up unless the test says otherwise: they beat often, so that nobody waits for long until one is found to be gone,
/// and a silence that a busy machine may cause kills nobody.
const SETTINGS: [(&str, &str); 2] = [("FORGE_CLUSTER_HEARTBEAT_INTERVAL", "500ms"), ("FORGE_CLUSTER_DEAD_THRESHOLD", "4s")];

/// An app on several nodes: real processes of its own program on one database, each of which the test can kill, freeze, and cut off from the database.
///
/// ```no_run
/// # macro_rules! env { ($name:literal) => { "target/debug/my-app" } }
/// # use forge::prelude::*;
/// # use forge::testing::TestCluster;
/// # #[forge::mutation(public)] pub async fn order(ctx: &MutationContext, cake: String) -> Result<()> { Ok(()) }
/// # #[forge::query(public)] pub async fn baked(ctx: &QueryContext) -> Result<i64> { Ok(0) }
/// #[tokio::test]
/// async fn what_a_dead_node_had_is_done_by_another() -> Result<()> {
///     let cluster = TestCluster::of(env!("CARGO_BIN_EXE_my-app")).start(2).await?;
///     cluster.node(0).anonymous().call(order, "Sacher".to_owned()).await?;
///     cluster.node(0).kill().await?;
///     while cluster.node(1).anonymous().call(baked, ()).await? < 1 {
///         tokio::task::yield_now().await;
///     }
///     cluster.stop().await
/// }
/// ```
///
/// Nodes are set up as in [`NodeProcess`], beat twice a second, and take each other for dead after four seconds of silence;
/// [`setting`](TestClusterBuilder::setting) says otherwise. When the test fails (this is dropped in a panic), their logs are printed. Whatever happens, its processes
/// end with it.
#[derive(Debug)]
pub struct TestCluster {
    program: Arc<Program>,
    nodes: Vec<TestNode>,
    database: Option<TestDatabase>,
    url: String,
}

#[derive(Debug)]
struct Program {
    path: PathBuf,
    settings: Vec<(String, String)>,
}

/// See [`TestCluster::of`].
#[derive(Debug)]
#[must_use = "nothing is started until `start(n)` is awaited"]
pub struct TestClusterBuilder {
    program: Program,
    url: Option<String>,
}

impl TestClusterBuilder {
    /// A setting of every node, as an environment variable: `.setting("FORGE_WORKER_CONCURRENCY", "4")`.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.program.settings.push((name.into(), value.into()));
        self
    }

    /// On this database, which belongs to the caller, instead of an empty one that is removed at the end.
    pub fn database(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// Starts so many nodes, and waits until all are ready. The first one migrates the database.
    ///
    /// # Errors
    /// When no database can be had, or a node does not become ready; with its log.
    pub async fn start(self, nodes: usize) -> Result<TestCluster> {
        let (database, url) = match self.url {
            Some(url) => (None, url),
            None => {
                let database = empty_database().await?;
                let url = database.url().to_owned();
                (Some(database), url)
            }
        };
        let mut cluster = TestCluster { program: Arc::new(self.program), nodes: Vec::new(), database, url };
        for _ in 0..nodes {
            cluster.add().await?;
        }
        Ok(cluster)
    }
}

impl TestCluster {
    /// Of this program: the app's own, which cargo names to its integration tests as `env!("CARGO_BIN_EXE_my-app")`.
    pub fn of(program: impl Into<PathBuf>) -> TestClusterBuilder {
        let settings = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        TestClusterBuilder { program: Program { path: program.into(), settings }, url: None }
    }

    /// Starts one more node, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready; with its log.
    pub async fn add(&mut self) -> Result<&TestNode> {
        self.add_with::<&str>(&[]).await
    }

    /// The same with settings of its own, say `[("FORGE_NODE_ROLES", "gateway,worker")]`. It needs the role `gateway`, by which it says that it is ready.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub async fn add_with<S: AsRef<str>>(&mut self, settings: &[(S, S)]) -> Result<&TestNode> {
        let (line, through) = Line::before(&self.url)?;
        let own = settings.iter().map(|(name, value)| (name.as_ref().to_owned(), value.as_ref().to_owned())).collect();
        let node = TestNode {
            program: self.program.clone(),
            own,
            direct: self.url.clone(),
            through,
            line,
            process: Mutex::new(None),
            seen: std::sync::Mutex::default(),
        };
        node.restart().await?;
        self.nodes.push(node);
        Ok(&self.nodes[self.nodes.len() - 1])
    }

    /// A node, counted from 0 in the order in which they were started.
    ///
    /// # Panics
    /// When there are not so many.
    pub fn node(&self, n: usize) -> &TestNode {
        &self.nodes[n]
    }

    /// All of them, also those that do not run.
    pub fn nodes(&self) -> &[TestNode] {
        &self.nodes
    }

    /// The URL of the database, past the nodes' lines to it.
    pub fn database_url(&self) -> &str {
        &self.url
    }

    /// A connection of its own to the database, to look at what is there. Nothing that is done to nodes concerns it.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn sql(&self) -> Result<tokio_postgres::Client> {
        connect(&self.url).await
    }

    /// Ends all nodes at once, and removes the database.
    ///
    /// # Errors
    /// When the database cannot be removed; a later run does so then.
    pub async fn stop(mut self) -> Result<()> {
        for node in &self.nodes {
            node.kill().await?;
        }
        match self.database.take() {
            Some(database) => database.remove().await,
            None => Ok(()),
        }
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (n, node) in self.nodes.iter().enumerate() {
                eprintln!("--- node {n}, the end of its log:\n{}", node.last_words());
            }
        }
    }
}

/// A node of a [`TestCluster`].
#[derive(Debug)]
pub struct TestNode {
    program: Arc<Program>,
    own: Vec<(String, String)>,
    direct: String,
    through: String,
    line: Line,
    process: Mutex<Option<NodeProcess>>,
    /// Where it listens, and what it has logged in former lives.
    seen: std::sync::Mutex<(String, String)>,
}

impl TestNode {
    /// Where it listens, such as `http://127.0.0.1:40123`. After a [`restart`](Self::restart), somewhere else.
    pub fn url(&self) -> String {
        self.seen().0.clone()
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, (String, String)> {
        self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Ends its process at once (SIGKILL), in the middle of whatever it does. Fine when there is none.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn kill(&self) -> Result<()> {
        let mut process = self.process.lock().await;
        if let Some(running) = process.as_mut() {
            running.kill().await?;
            running.ended().await?;
        }
        self.bury(&mut process);
        Ok(())
    }

    /// Tells it to stop (SIGTERM) and waits until it has: it finishes what it has within its time for that.
    ///
    /// # Errors
    /// When it does not run, does not end within a minute, or says that it failed; with its log.
    pub async fn stop(&self) -> Result<()> {
        self.process.lock().await.as_ref().ok_or_else(no_process)?.terminate()?;
        self.ended().await
    }

    /// Waits until it has ended by itself, as a node does that was asked to drain.
    ///
    /// # Errors
    /// When it does not run, does not end within a minute, or says that it failed; with its log.
    pub async fn ended(&self) -> Result<()> {
        let mut process = self.process.lock().await;
        let running = process.as_mut().ok_or_else(no_process)?;
        let status = running.ended().await?;
        let log = running.last_words();
        self.bury(&mut process);
        if status.success() {
            return Ok(());
        }
        Err(Error::internal(format!("a node that was to stop ended with {status}; the end of its log:\n{log}")))
    }

    fn bury(&self, process: &mut Option<NodeProcess>) {
        if let Some(ended) = process.take() {
            self.seen().1.push_str(&ended.log());
        }
    }

    /// Starts it (again), after ending it at once if it runs, and waits until it is ready. What was done to its line to the database is undone.
    ///
    /// # Errors
    /// When it does not become ready; with its log.
    pub async fn restart(&self) -> Result<()> {
        self.kill().await?;
        self.line.heal();
        let settings = self.program.settings.iter().chain(&self.own).map(|(name, value)| (name, value));
        let mut started = NodeProcess::spawn(&self.program.path, &self.through, settings)?;
        started.listening().await?;
        started.ready().await?;
        self.seen().0 = started.url().to_owned();
        *self.process.lock().await = Some(started);
        Ok(())
    }

    /// Freezes its process (SIGSTOP): it does nothing any more, its connections live on.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn pause(&self) -> Result<()> {
        self.process.lock().await.as_ref().ok_or_else(no_process)?.pause()
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// When it does not run.
    pub async fn resume(&self) -> Result<()> {
        self.process.lock().await.as_ref().ok_or_else(no_process)?.resume()
    }

    /// Cuts it off from the database: its connections have ended when this returns, and it gets no others.
    ///
    /// # Errors
    /// When they do not end within half a minute.
    pub async fn cut(&self) -> Result<()> {
        self.line.cut().await
    }

    /// Cuts it off from the database without telling anybody, as a network does that is gone: what either side says does not arrive,
    /// or does so only once the line is [healed](Self::heal).
    pub fn freeze_line(&self) {
        self.line.freeze();
    }

    /// Lets it reach the database again.
    pub fn heal(&self) {
        self.line.heal();
    }

    /// Waits until it is ready, as it says itself (`/ready`).
    ///
    /// # Errors
    /// When it does not run, ends, or takes more than a minute; with its log.
    pub async fn ready(&self) -> Result<()> {
        self.process.lock().await.as_ref().ok_or_else(no_process)?.ready().await
    }

    /// The status that its `/ready` answers with; 0 when nobody answers.
    pub async fn readiness(&self) -> u16 {
        http::send(&self.url(), "GET /ready", None, &[]).await.map_or(0, |(status, _)| status)
    }

    /// Under which id it is known to the others (`forge_nodes`); one that was taken for dead comes back under another one. The last it had when it
    /// does not run any more.
    ///
    /// # Errors
    /// When the database cannot be reached, or knows no such node.
    pub async fn id(&self) -> Result<Uuid> {
        let address = self.url().trim_start_matches("http://").to_owned();
        let text = "SELECT id FROM forge_nodes WHERE address = $1 ORDER BY status = 'dead', last_heartbeat DESC LIMIT 1";
        let found = connect(&self.direct).await?.query_opt(text, &[&address]).await;
        let found = found.map_err(|why| Error::database_unavailable("the nodes cannot be looked at").with_source(why))?;
        found.map(|row| row.get(0)).ok_or_else(|| Error::not_found(format!("no node has listened at {address}")))
    }

    /// What it has logged, in all its lives.
    pub async fn log(&self) -> String {
        let process = self.process.lock().await;
        let now = process.as_ref().map(NodeProcess::log).unwrap_or_default();
        format!("{}{now}", self.seen().1)
    }

    fn last_words(&self) -> String {
        match self.process.try_lock() {
            Ok(process) => process.as_ref().map_or_else(|| self.seen().1.clone(), NodeProcess::last_words),
            Err(_) => "it is being started or stopped".to_owned(),
        }
    }

    /// Somebody who calls functions at this node and is signed in.
    pub fn user(&self, id: impl Into<String>) -> NodeUser<'_> {
        NodeUser { node: self, user: Some(AuthUser::new(id)) }
    }

    /// Somebody who is not signed in.
    pub fn anonymous(&self) -> NodeUser<'_> {
        NodeUser { node: self, user: None }
    }
}

fn no_process() -> Error {
    Error::internal("this node does not run: it was killed or stopped, and not started again")
}

/// A caller at a [`TestNode`].
#[derive(Debug, Clone)]
pub struct NodeUser<'a> {
    node: &'a TestNode,
    user: Option<AuthUser>,
}

impl NodeUser<'_> {
    /// The same user with one more role.
    #[must_use]
    pub fn role(mut self, role: impl Into<String>) -> Self {
        if let Some(user) = &mut self.user {
            user.roles.push(role.into());
        }
        self
    }

    /// The same user with a claim.
    #[must_use]
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        if let Some(user) = &mut self.user {
            user.claims.insert(name.into(), value.into());
        }
        self
    }

    /// Calls a function, over HTTP.
    ///
    /// # Errors
    /// Those of the call, with their code and status; an internal error when nobody answers.
    pub async fn call<F: Function>(&self, function: F, args: impl Into<F::Args>) -> Result<F::Output> {
        let _ = function;
        let mut json = Vec::new();
        wire::write_json(&args.into(), &mut json)?;
        let (url, head) = (self.node.url(), format!("POST /rpc/{}", F::INFO.name));
        let token = self.user.as_ref().map(token).transpose()?;
        let (status, body) = http::send(&url, &head, token.as_deref(), &json)
            .await
            .map_err(|why| Error::internal(format!("{url} does not answer to {head}")).with_source(why))?;
        let mut body: Value = serde_json::from_slice(&body)?;
        if body["success"] == true {
            return wire::read_json(serde_json::to_vec(&body["data"])?.as_slice());
        }
        let error = body["error"].take();
        let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        // A test sees few of them, and errors have codes that live for ever.
        let failed = Error::app(text("code").leak(), status, text("message"));
        Err(if error["details"].is_null() { failed } else { failed.with_details(error["details"].clone()) })
    }
}

/// A token for somebody, as the nodes of a test would issue it.
fn token(user: &AuthUser) -> Result<String> {
    let mut config = Config::defaults(Mode::Test).security.auth;
    config.secret = Some(Secret::new(SECRET));
    let mut claims = Claims::builder(user.id.clone()).roles(user.roles.clone());
    for (name, value) in &user.claims {
        claims = claims.claim(name, value.clone());
    }
    Ok(TokenIssuer::new(&config)?.issue(&claims.build())?.token)
}
