//! Finding an installed PostgreSQL: a folder with `postgres` and `initdb` in it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use forge_core::{Error, Result};

use crate::failure;
use crate::obtain;
use crate::process;
use crate::user::ServerUser;

/// The oldest major version of PostgreSQL that FORGE runs on.
pub const OLDEST_SUPPORTED: u16 = 15;

/// Where distributions put one folder per version: parent, beginning of its name, path to the programs below it.
const VERSIONED: &[(&str, &str, &str)] = &[
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// How long `postgres --version` may take (a cold disk, a slow network drive).
const VERSION_DEADLINE: Duration = Duration::from_secs(20);

/// A PostgreSQL that can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    bin: PathBuf,
    version: String,
    major: u16,
}

impl Installation {
    /// The folder with `postgres` and `initdb`.
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// The version as the server says it, such as `18.4`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The major version, such as 18. Data of one cannot be read by another.
    pub fn major(&self) -> u16 {
        self.major
    }

    /// Looks whether a folder holds a server that this user can run. The refusal is a short reason.
    pub(crate) fn in_folder(folder: &Path, user: &ServerUser) -> std::result::Result<Self, String> {
        let postgres = fs::canonicalize(folder.join("postgres")).map_err(|_| "no `postgres` there".to_owned())?;
        let bin = postgres.parent().unwrap_or(folder).to_owned();
        if !bin.join("initdb").exists() {
            return Err("`postgres` without `initdb`".to_owned());
        }
        let mut command = process::server_command(&postgres, user);
        command.arg("--version");
        let finished = process::run(command, VERSION_DEADLINE)
            .map_err(|error| format!("cannot be run as uid {}: {error}", user.uid))?;
        if !finished.status.success() {
            return Err(format!("`postgres --version` failed: {}", finished.said().trim()));
        }
        let (version, major) = parse_version(&finished.output)
            .ok_or_else(|| format!("`postgres --version` said {:?}", finished.output.trim()))?;
        if major < OLDEST_SUPPORTED {
            return Err(format!("version {version} is older than {OLDEST_SUPPORTED}"));
        }
        Ok(Self { bin, version, major })
    }
}

/// The version and the major in `postgres (PostgreSQL) 15.18 (Debian …)`.
fn parse_version(line: &str) -> Option<(String, u16)> {
    let version = line.split_once("(PostgreSQL) ")?.1.split_whitespace().next()?;
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((version.to_owned(), digits.parse().ok()?))
}

/// Where to look for an installation, first match first.
#[derive(Debug, Clone)]
pub struct Search {
    folders: Vec<PathBuf>,
    /// The folders were named by a person: what is wrong with them is an error, not a reason to look on.
    explicit: bool,
}

impl Search {
    /// The usual places: the folder named by `FORGE_PG_BIN` and no other, if that is set; else `PATH`
    /// (`postgres`, or `pg_config` which knows where it is), the folders of distributions, Homebrew and
    /// Postgres.app with the newest version first, and copies that [`obtain`](crate::obtain) unpacked earlier.
    pub fn usual() -> Self {
        if let Some(folder) = std::env::var_os("FORGE_PG_BIN").filter(|folder| !folder.is_empty()) {
            return Self { folders: vec![folder.into()], explicit: true };
        }
        let mut folders = on_path(&std::env::var_os("PATH").unwrap_or_default());
        folders.extend(VERSIONED.iter().flat_map(|(parent, prefix, below)| versions(parent, prefix, below)));
        folders.extend(obtain::unpacked(&cache_folder()));
        Self { folders, explicit: false }
    }

    /// Exactly these folders, in this order. With none, nothing is found.
    pub fn only(folders: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        Self { folders: folders.into_iter().map(Into::into).collect(), explicit: false }
    }

    /// The first usable installation, of this major version if one is named, or why there is none.
    pub(crate) fn find(&self, major: Option<u16>, user: &ServerUser) -> std::result::Result<Installation, NotFound> {
        let mut skipped = Vec::new();
        let mut found: Vec<Installation> = Vec::new();
        for folder in &self.folders {
            match Installation::in_folder(folder, user) {
                Ok(installation) if major.is_none_or(|major| installation.major == major) => {
                    return Ok(installation);
                }
                Ok(installation) if !found.contains(&installation) => found.push(installation),
                Ok(_) => {}
                Err(reason) => skipped.push((folder.clone(), reason)),
            }
        }
        Err(NotFound { found, skipped, explicit: self.explicit, tried: Vec::new() })
    }
}

/// Why a search found nothing: installations of other majors, and folders that hold none that can be used.
#[derive(Debug)]
pub(crate) struct NotFound {
    pub(crate) found: Vec<Installation>,
    pub(crate) skipped: Vec<(PathBuf, String)>,
    /// A person named the folder, so that nothing else is to be tried.
    pub(crate) explicit: bool,
    /// Attempts to obtain one, a line each.
    pub(crate) tried: Vec<String>,
}

impl NotFound {
    /// The one message about it.
    pub(crate) fn into_error(self) -> Error {
        if let (true, Some((folder, reason))) = (self.explicit, self.skipped.first()) {
            let code = if reason.contains("older than") { failure::VERSION_UNSUPPORTED } else { failure::NOT_FOUND };
            let message = format!(
                "FORGE_PG_BIN names {}, which cannot be used: {reason}. It must be a folder with `postgres` and \
                 `initdb` of PostgreSQL {OLDEST_SUPPORTED} or newer.",
                folder.display()
            );
            return Error::config(code, message);
        }
        let mut message = format!("no PostgreSQL {OLDEST_SUPPORTED} or newer was found on this machine.\n");
        if self.skipped.is_empty() {
            message.push_str("None of the usual folders exists.\n");
        }
        for (folder, reason) in &self.skipped {
            message.push_str(&format!("  {}: {reason}\n", folder.display()));
        }
        if !self.tried.is_empty() {
            message.push_str("It could not be obtained through a package client either:\n");
        }
        for line in &self.tried {
            message.push_str(&format!("  {line}\n"));
        }
        message.push_str(&format!(
            "Any one of these helps:\n  \
             install it (`apt-get install postgresql`, `brew install postgresql@18`, or as your system does it);\n  \
             set FORGE_PG_BIN to a folder with `postgres` and `initdb` of version {OLDEST_SUPPORTED} or newer;\n  \
             set DATABASE_URL to a server that runs already."
        ));
        Error::config(failure::NOT_FOUND, message)
    }
}

/// Finds a PostgreSQL that can be run here, without obtaining one. The error lists every folder that was looked at
/// and what is wrong with it.
pub fn find_installation(search: &Search) -> Result<Installation> {
    search.find(None, &ServerUser::find()?).map_err(|nothing| nothing.into_error())
}

/// Where FORGE keeps what it unpacked: `FORGE_CACHE`, else `forge` in the user's cache folder. For root it is
/// `/var/cache/forge`, since the user that runs the server cannot enter root's home.
pub fn cache_folder() -> PathBuf {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = named("FORGE_CACHE") {
        return folder;
    }
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/cache/forge");
    }
    named("XDG_CACHE_HOME")
        .or_else(|| named("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
        .join("forge")
}

/// Folders on a `PATH` with a `postgres` in them; only without any, those that a `pg_config` there points to.
fn on_path(path: &OsStr) -> Vec<PathBuf> {
    let folders: Vec<PathBuf> = std::env::split_paths(path).filter(|folder| folder.is_absolute()).collect();
    let with_server: Vec<PathBuf> = folders.iter().filter(|folder| folder.join("postgres").exists()).cloned().collect();
    if !with_server.is_empty() {
        return with_server;
    }
    folders.iter().filter_map(|folder| pointed_to(&folder.join("pg_config"))).collect()
}

/// The program folder that a `pg_config` knows. One that does not answer points nowhere: other places follow.
fn pointed_to(pg_config: &Path) -> Option<PathBuf> {
    if !pg_config.exists() {
        return None;
    }
    let mut command = Command::new(pg_config);
    command.arg("--bindir");
    let finished = process::run(command, VERSION_DEADLINE).ok()?;
    Some(finished.output.trim()).filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

/// The existing program folders below `parent` whose names begin with `prefix`, highest version first.
fn versions(parent: &str, prefix: &str, below: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut found: Vec<(Vec<u32>, PathBuf)> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| (numbers(&entry.file_name().to_string_lossy()), entry.path().join(below)))
        .filter(|(_, folder)| folder.join("postgres").exists())
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, folder)| folder).collect()
}

/// The numbers in a name, so that 9 sorts before 15.
fn numbers(name: &str) -> Vec<u32> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn pretend(folder: &Path, version: &str) {
        fs::create_dir_all(folder).unwrap();
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["postgres", "initdb"] {
            let file = folder.join(name);
            fs::write(&file, format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version} (Pretended)'\n")).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    fn open_tempdir() -> tempfile::TempDir {
        tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap()
    }

    #[test]
    fn versions_are_read_from_what_servers_say() {
        assert_eq!(parse_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0)\n"), Some(("15.18".to_owned(), 15)));
        assert_eq!(parse_version("postgres (PostgreSQL) 19beta1\n"), Some(("19beta1".to_owned(), 19)));
        assert_eq!(parse_version("something else"), None);
    }

    #[test]
    fn the_first_usable_folder_wins_and_a_major_can_be_asked_for() {
        let root = open_tempdir();
        let [old, fifteen, eighteen] = ["old", "a", "b"].map(|name| root.path().join(name));
        pretend(&old, "14.9");
        pretend(&fifteen, "15.2");
        pretend(&eighteen, "18.1");
        let search = Search::only([root.path().join("none"), old, fifteen.clone(), eighteen.clone()]);
        let user = ServerUser::find().unwrap();
        assert_eq!(search.find(None, &user).unwrap().version(), "15.2");
        assert_eq!(search.find(Some(18), &user).unwrap().bin(), fs::canonicalize(&eighteen).unwrap());
        let nothing = search.find(Some(17), &user).unwrap_err();
        assert_eq!(nothing.found.iter().map(Installation::major).collect::<Vec<_>>(), [15, 18]);
    }

    #[test]
    fn a_message_names_what_was_looked_at_and_why_it_was_refused() {
        let root = open_tempdir();
        pretend(root.path(), "14.9");
        let error = find_installation(&Search::only([root.path().to_owned(), "/nowhere".into()])).unwrap_err();
        assert_eq!(error.code(), failure::NOT_FOUND);
        for part in ["version 14.9 is older than 15", "/nowhere: no `postgres` there", "FORGE_PG_BIN"] {
            assert!(error.message().contains(part), "{part} is not in {error}");
        }
    }

    #[test]
    fn a_folder_named_by_a_person_that_is_too_old_is_an_error_of_its_own() {
        let root = open_tempdir();
        pretend(root.path(), "9.6.24");
        let search = Search { folders: vec![root.path().to_owned()], explicit: true };
        assert_eq!(find_installation(&search).unwrap_err().code(), failure::VERSION_UNSUPPORTED);
    }

    #[test]
    fn a_link_on_the_path_leads_to_the_folder_with_both_programs() {
        let root = open_tempdir();
        let (bin, links) = (root.path().join("bin"), root.path().join("links"));
        pretend(&bin, "16.3");
        fs::create_dir(&links).unwrap();
        symlink(bin.join("postgres"), links.join("postgres")).unwrap();
        let search = Search::only(on_path(links.as_os_str()));
        assert_eq!(find_installation(&search).unwrap().bin(), fs::canonicalize(&bin).unwrap());
    }

    #[test]
    fn higher_versions_come_first() {
        let root = open_tempdir();
        for version in ["9.6", "15", "18"] {
            pretend(&root.path().join(version).join("bin"), version);
        }
        let found = versions(&root.path().to_string_lossy(), "", "bin");
        let names: Vec<_> = found.iter().map(|folder| folder.parent().unwrap().file_name().unwrap()).collect();
        assert_eq!(names, ["18", "15", "9.6"]);
    }
}
