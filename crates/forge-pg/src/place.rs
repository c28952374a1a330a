//! Where the parts of a project's server lie, and who may use them at a time.
//!
//! ```text
//! <project>/.forge/pg/             state of the server for development: lock, server.log, location.json, password
//!     data/                        its data
//! <project>/.forge/pg-test/15/     the same for tests, one per major version
//!     cluster/live/                data/, last-used, watchdog.pid
//! /tmp/forge-<key>-<label>/        the socket
//! ```
//!
//! Data for tests goes to `/dev/shm` when it has room. Data goes to a folder outside of the project when the user
//! that runs the server cannot enter the project (root's home). `key` stands for the project's path and the user.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use forge_core::{Error, Result};
use sha2::{Digest, Sha256};

use crate::failure;
use crate::home::{self, Home};
use crate::process;
use crate::settings::Purpose;
use crate::user::ServerUser;

/// The longest path of a socket, without the zero at its end.
const LONGEST_SOCKET: usize = if cfg!(target_os = "linux") { 107 } else { 103 };
/// The longest thing that another process does while it holds the lock: initdb and a start with recovery.
const LOCK_DEADLINE: Duration = Duration::from_secs(200);

/// The file that says where everything is.
const NOTE: &str = "location.json";

/// The folders of one server.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) purpose: Purpose,
    pub(crate) project: PathBuf,
    pub(crate) user: ServerUser,
    /// Lock, log, note: always in the project.
    pub(crate) state: PathBuf,
    /// Holds `data/`; for tests it is called `live` and is renamed when the server retires.
    pub(crate) home: PathBuf,
    /// The private folder around it, if it has one.
    pub(crate) shelter: Option<PathBuf>,
    key: String,
}

impl Place {
    /// The place of a project's server; `major` tells servers for tests apart. Makes the folders around the data.
    pub(crate) fn of(project: &Path, purpose: Purpose, major: Option<u16>, user: ServerUser) -> Result<Self> {
        let project = fs::canonicalize(project).map_err(failure::file("find the project folder", project))?;
        let around = states(&project, purpose);
        let state = match purpose {
            Purpose::Dev => around.clone(),
            Purpose::Test => around.join(major.unwrap_or(0).to_string()),
        };
        fs::create_dir_all(&state).map_err(failure::file("make the folder", &state))?;
        keep_out_of_git(&around)?;
        let major = major.filter(|_| purpose == Purpose::Test).map(|major| format!("-{major}")).unwrap_or_default();
        let key = format!("{}-{}{major}", project_key(&project), purpose.word());
        let Home { folder: home, shelter, .. } = home::choose(purpose, &state, &key, &user)?;
        Ok(Self { purpose, project, user, state, home, shelter, key })
    }

    /// Whether a project ever had a place for this.
    pub(crate) fn was_made(project: &Path, purpose: Purpose) -> bool {
        states(project, purpose).exists()
    }

    /// The data folder. It exists only once it is complete.
    pub(crate) fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.state.join("server.log")
    }

    /// The major version that made the data, if there is any.
    pub(crate) fn major(&self) -> Result<Option<u16>> {
        let file = self.data().join("PG_VERSION");
        match fs::read_to_string(&file) {
            Ok(text) => match text.trim().parse() {
                Ok(major) => Ok(Some(major)),
                Err(_) => {
                    let message = format!("{} should hold a major version, but holds {text:?}", file.display());
                    Err(Error::config(failure::FILE_FAILED, message))
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failure::file("read", &file)(error)),
        }
    }

    /// A private folder for the socket, short enough: the one asked for, else in `/tmp`, else in the user's
    /// runtime folder.
    pub(crate) fn socket_folder(&self, asked: Option<&Path>, port: u16) -> Result<PathBuf> {
        if let Some(folder) = asked {
            self.check_socket_folder(folder, port)?;
            return Ok(folder.to_owned());
        }
        let name = format!("forge-{}", self.key);
        let first = Path::new("/tmp").join(&name);
        let refused = match self.check_socket_folder(&first, port) {
            Ok(()) => return Ok(first),
            Err(error) => error,
        };
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty());
        match runtime.map(|folder| Path::new(&folder).join(&name)) {
            Some(second) if self.check_socket_folder(&second, port).is_ok() => Ok(second),
            _ => Err(refused),
        }
    }

    fn check_socket_folder(&self, folder: &Path, port: u16) -> Result<()> {
        let socket = folder.join(format!(".s.PGSQL.{port}"));
        let length = socket.as_os_str().len();
        if length > LONGEST_SOCKET {
            return Err(Error::config(
                failure::PATH_TOO_LONG,
                format!(
                    "the path of the server's socket would have {length} bytes, and the system allows \
                     {LONGEST_SOCKET}: {}. Ask for a socket folder with a shorter path, such as one in /tmp.",
                    socket.display()
                ),
            ));
        }
        self.user.private_folder(folder)?;
        if !self.user.can_enter(folder) {
            return Err(Error::config(
                failure::FOLDER_NOT_PRIVATE,
                format!(
                    "the server runs as uid {}, which cannot enter {}: a folder on the way is closed to it. Ask for a \
                     socket folder elsewhere, such as one in /tmp.",
                    self.user.uid,
                    folder.display()
                ),
            ));
        }
        Ok(())
    }

    /// Waits until no other process sets up, starts or stops this server. The lock ends with the value, or with
    /// the process.
    pub(crate) fn lock(&self, progress: &dyn Fn(&str)) -> Result<File> {
        let path = self.state.join("lock");
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failure::file("open", &path))?;
        let started = Instant::now();
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(fs::TryLockError::WouldBlock) => {}
                Err(fs::TryLockError::Error(error)) => {
                    return Err(failure::file("lock", &path)(error));
                }
            }
            // The holder writes its id; a file that is just being written reads as empty.
            let holder = fs::read_to_string(&path).unwrap_or_default();
            if started.elapsed() > LOCK_DEADLINE {
                return Err(Error::config(
                    failure::LOCK_TIMEOUT,
                    format!(
                        "process {} has held {} for more than {} s while setting up the database server. Look at what \
                         it does, or end it, and try again.",
                        holder.trim(),
                        path.display(),
                        LOCK_DEADLINE.as_secs()
                    ),
                ));
            }
            if !told && started.elapsed() > Duration::from_secs(2) {
                progress(&format!("Waiting for process {} which sets up the database server", holder.trim()));
                told = true;
            }
            thread::sleep(process::PAUSE);
        }
        file.set_len(0).map_err(failure::file("write", &path))?;
        write!(file, "{}", std::process::id()).map_err(failure::file("write", &path))?;
        Ok(file)
    }

    /// The version of the server that was started last, as [`note`](Self::note) has it.
    pub(crate) fn noted_version(&self) -> Result<String> {
        let path = self.state.join(NOTE);
        let text = fs::read_to_string(&path).map_err(failure::file("read", &path))?;
        let noted = serde_json::from_str::<serde_json::Value>(&text).ok();
        let version = noted.as_ref().and_then(|note| note.get("postgres")?.as_str());
        version.map(str::to_owned).ok_or_else(|| {
            let message = format!("{} should name the version of the server, but holds {text:?}", path.display());
            Error::config(failure::FILE_FAILED, message)
        })
    }

    /// Tells a person where everything is: in the project, and the way back in a folder outside of it.
    pub(crate) fn note(&self, socket: &Path, version: &str) -> Result<()> {
        let path = self.state.join(NOTE);
        let note = serde_json::json!({
            "purpose": self.purpose.word(),
            "project": self.project,
            "data": self.data(),
            "socket": socket,
            "log": self.log(),
            "postgres": version,
            "uid": self.user.uid,
        });
        let text = format!("{note:#}\n");
        fs::write(&path, &text).map_err(failure::file("write", &path))?;
        if !self.home.starts_with(&self.project) {
            let back = self.home.join(NOTE);
            fs::write(&back, &text).map_err(failure::file("write", &back))?;
        }
        Ok(())
    }
}

/// The folder in a project that has the states of its servers.
fn states(project: &Path, purpose: Purpose) -> PathBuf {
    project.join(".forge").join(match purpose {
        Purpose::Dev => "pg",
        Purpose::Test => "pg-test",
    })
}

/// Twelve hex digits that stand for the project's path and the user.
fn project_key(project: &Path) -> String {
    let mut hash = Sha256::new();
    hash.update(project.as_os_str().as_bytes());
    hash.update(rustix::process::geteuid().as_raw().to_le_bytes());
    hash.finalize()[..6].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Data, logs and a password have no place in a repository.
fn keep_out_of_git(folder: &Path) -> Result<()> {
    let file = folder.join(".gitignore");
    if file.exists() {
        return Ok(());
    }
    fs::write(&file, "*\n").map_err(failure::file("write", &file))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that the server's user can enter, so that nothing is put outside of it.
    fn project() -> tempfile::TempDir {
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        tempfile::Builder::new().permissions(open).tempdir().unwrap()
    }

    fn place(project: &Path) -> Place {
        Place::of(project, Purpose::Dev, None, ServerUser::find().unwrap()).unwrap()
    }

    #[test]
    fn projects_have_keys_of_their_own() {
        assert_ne!(project_key(Path::new("/a")), project_key(Path::new("/b")));
        assert_eq!(project_key(Path::new("/a")), project_key(Path::new("/a")));
    }

    #[test]
    fn a_socket_path_over_the_limit_is_refused_with_its_length() {
        let project = project();
        let long = project.path().join("x".repeat(120));
        let error = place(project.path()).socket_folder(Some(&long), 5432).unwrap_err();
        assert_eq!(error.code(), failure::PATH_TOO_LONG);
        assert!(error.message().contains("shorter path") && !long.exists(), "{error}");
    }

    #[test]
    fn one_lock_at_a_time() {
        let project = project();
        let place = place(project.path());
        let held = place.lock(&|_| {}).unwrap();
        let second = File::open(place.state.join("lock")).unwrap();
        assert!(matches!(second.try_lock(), Err(fs::TryLockError::WouldBlock)));
        assert_eq!(fs::read_to_string(place.state.join("lock")).unwrap(), std::process::id().to_string());
        drop(held);
        second.try_lock().unwrap();
    }

    #[test]
    fn the_state_of_a_server_is_kept_out_of_git() {
        let project = project();
        place(project.path());
        assert_eq!(fs::read_to_string(project.path().join(".forge/pg/.gitignore")).unwrap(), "*\n");
    }
}
