//! Who runs the server. PostgreSQL refuses to run as root; root hands it to a user without rights.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use forge_core::{Error, Result};

use crate::failure;

/// The user that owns the data and runs the server: ourselves, or the one root hands it to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerUser {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// We are root, so that whatever the server needs must be given to this user.
    pub(crate) switched: bool,
}

/// The user id that stands for "nobody" on most systems.
const NOBODY: u32 = 65534;

impl ServerUser {
    /// Ourselves, unless we are root: then `postgres`, else `nobody`, else uid 65534.
    pub(crate) fn find() -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::ourselves());
        }
        // Without the file there are only numbers; the server then says itself what it lacks.
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let (uid, gid) = entry(&passwd, "postgres").or_else(|| entry(&passwd, "nobody")).unwrap_or((NOBODY, NOBODY));
        let user = Self { uid, gid, switched: true };
        user.prove()?;
        Ok(user)
    }

    fn ourselves() -> Self {
        Self { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw(), switched: false }
    }

    /// Inside some containers even root may not become another user. Better said once than once per attempt.
    fn prove(&self) -> Result<()> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", ":"]).stdin(Stdio::null());
        self.apply(&mut command);
        command.status().map(drop).map_err(|error| {
            Error::config(
                failure::ROOT_REFUSED,
                format!(
                    "PostgreSQL does not run as root, and this process may not hand it to uid {} (gid {}): {error}. \
                     Run as an ordinary user, or set DATABASE_URL to a server that runs elsewhere.",
                    self.uid, self.gid
                ),
            )
            .with_source(error)
        })
    }

    /// Makes a command run as this user, from a folder that anybody can enter.
    pub(crate) fn apply(&self, command: &mut Command) {
        command.current_dir("/");
        if self.switched {
            // The standard library also clears the supplementary groups when root sets a user.
            command.gid(self.gid).uid(self.uid);
        }
    }

    /// Whether this user can come to a folder: every folder on the way lets them pass.
    pub(crate) fn can_enter(&self, folder: &Path) -> bool {
        !self.switched || folder.ancestors().all(|part| fs::metadata(part).is_ok_and(|found| self.may_search(&found)))
    }

    fn may_search(&self, folder: &fs::Metadata) -> bool {
        let bit = if folder.uid() == self.uid {
            0o100
        } else if folder.gid() == self.gid {
            0o010
        } else {
            0o001
        };
        folder.mode() & bit != 0
    }

    /// Makes sure that a folder exists, is a real folder, belongs to this user and is closed to all others.
    /// Its parent must exist. Anything else in its place is refused, never changed: it may be a folder of
    /// somebody else, or a trap set by another user of the machine.
    pub(crate) fn private_folder(&self, folder: &Path) -> Result<()> {
        match fs::DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failure::file("make the folder", folder)(error));
            }
            _ => {}
        }
        let found = fs::symlink_metadata(folder).map_err(failure::file("look at the folder", folder))?;
        let closed = found.is_dir() && found.mode() & 0o077 == 0;
        if closed && found.uid() == self.uid {
            return Ok(());
        }
        // Made by root, a moment ago or just before it was interrupted: still to be handed over.
        if closed && self.switched && found.uid() == 0 && is_empty(folder)? {
            return chown(folder, Some(self.uid), Some(self.gid)).map_err(failure::file("hand over the folder", folder));
        }
        Err(Error::config(
            failure::FOLDER_NOT_PRIVATE,
            format!(
                "{} is not a folder of uid {} that is closed to all others (it belongs to uid {}, mode {:o}). The \
                 server's files must not lie where somebody else can reach them. If another user of this project \
                 made it, run as that user; otherwise remove it.",
                folder.display(),
                self.uid,
                found.uid(),
                found.mode() & 0o777
            ),
        ))
    }
}

fn is_empty(folder: &Path) -> Result<bool> {
    let mut entries = fs::read_dir(folder).map_err(failure::file("look into", folder))?;
    Ok(entries.next().is_none())
}

/// The user and group ids of a name in the text of a passwd file.
fn entry(passwd: &str, name: &str) -> Option<(u32, u32)> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    // Some systems write the id of nobody as -2.
    let mut id = || fields.next()?.parse::<i64>().ok().map(|id| id as u32);
    Some((id()?, id()?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn passwd_lines_are_read_by_whole_names() {
        let passwd =
            "root:x:0:0::/root:/bin/sh\npostgres2:x:7:7::/:/bin/sh\npostgres:x:101:104::/:/bin/sh\nnobody:*:-2:-2::/:";
        assert_eq!(entry(passwd, "postgres"), Some((101, 104)));
        assert_eq!(entry(passwd, "nobody"), Some((u32::MAX - 1, u32::MAX - 1)));
        assert_eq!(entry(passwd, "mysql"), None);
    }

    #[test]
    fn a_switched_user_is_stopped_by_a_closed_parent() {
        let outside = tempfile::tempdir().unwrap();
        let inside = outside.path().join("a");
        fs::create_dir(&inside).unwrap();
        // An id that owns nothing here, so that only the bits for others count.
        let user = ServerUser { uid: 54321, gid: 54321, switched: true };
        fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!user.can_enter(&inside));
        fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o711)).unwrap();
        fs::set_permissions(&inside, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(user.can_enter(&inside));
    }

    #[test]
    fn a_link_in_place_of_a_private_folder_is_refused() {
        let outside = tempfile::tempdir().unwrap();
        let link = outside.path().join("link");
        std::os::unix::fs::symlink("/tmp", &link).unwrap();
        let error = ServerUser::ourselves().private_folder(&link).unwrap_err();
        assert_eq!(error.code(), failure::FOLDER_NOT_PRIVATE);
    }

    #[test]
    fn an_open_folder_is_refused_and_left_as_it_is() {
        let outside = tempfile::tempdir().unwrap();
        let folder = outside.path().join("open");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let error = ServerUser::ourselves().private_folder(&folder).unwrap_err();
        assert_eq!(error.code(), failure::FOLDER_NOT_PRIVATE);
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o755);
        ServerUser::ourselves().private_folder(&outside.path().join("new")).unwrap();
    }
}
