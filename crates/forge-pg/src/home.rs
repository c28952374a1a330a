//! Which folder holds the data: in memory, in the project, or outside of it.

use std::fs;
use std::path::{Path, PathBuf};

use forge_core::{Error, Result};

use crate::failure;
use crate::settings::Purpose;
use crate::user::ServerUser;

/// Free memory that `/dev/shm` must have before test data goes there.
const ENOUGH_MEMORY: u64 = 1 << 30;

/// A folder that may hold the data.
pub(crate) struct Home {
    /// Closed to all but the server's user, and made if it is missing. The project's own folder stays as it is.
    pub(crate) shelter: Option<PathBuf>,
    /// Has `data` in it.
    pub(crate) folder: PathBuf,
    in_memory: bool,
}

impl Home {
    fn sheltered(purpose: Purpose, folder: PathBuf) -> Self {
        let below = match purpose {
            Purpose::Dev => folder.clone(),
            Purpose::Test => folder.join("live"),
        };
        Self { shelter: Some(folder), folder: below, in_memory: false }
    }

    /// Data lies here, or (for tests) a server that is retiring, which the next one waits for.
    fn is_used(&self) -> bool {
        let retiring = || self.shelter.as_ref().is_some_and(|folder| *folder != self.folder && !is_bare(folder));
        fs::symlink_metadata(self.folder.join("data")).is_ok() || retiring()
    }

    /// Makes it a folder that the server's user can use, or says why it cannot be one.
    fn claim(&self, user: &ServerUser) -> Result<()> {
        let around = self.shelter.as_deref().and_then(Path::parent).unwrap_or(&self.folder);
        fs::create_dir_all(around).map_err(failure::file("make the folder", around))?;
        if !user.can_enter(around) {
            let message = format!("uid {}, which runs the server, cannot enter {}", user.uid, around.display());
            return Err(Error::config(failure::FILE_FAILED, message));
        }
        if let Some(shelter) = &self.shelter {
            user.private_folder(shelter)?;
        }
        // Data of another user (the project was used with and without sudo) is refused here.
        let data = self.folder.join("data");
        if fs::symlink_metadata(&data).is_ok() { user.private_folder(&data) } else { Ok(()) }
    }
}

/// The folder with the data: the one that has some, else the first that can have it.
pub(crate) fn choose(purpose: Purpose, state: &Path, key: &str, user: &ServerUser) -> Result<Home> {
    let name = format!("forge-{key}");
    let mut candidates = match purpose {
        Purpose::Dev => vec![Home { shelter: None, folder: state.to_owned(), in_memory: false }],
        Purpose::Test => vec![
            Home { in_memory: true, ..Home::sheltered(purpose, Path::new("/dev/shm").join(&name)) },
            Home::sheltered(purpose, state.join("cluster")),
        ],
    };
    if user.switched {
        let outside = [Path::new("/var/lib/forge").join(key), Path::new("/var/tmp").join(&name)];
        candidates.extend(outside.map(|folder| Home::sheltered(purpose, folder)));
    }
    if let Some(position) = candidates.iter().position(Home::is_used) {
        let used = candidates.swap_remove(position);
        return used.claim(user).map(|()| used);
    }
    let mut refused = None;
    for candidate in candidates {
        if candidate.in_memory && !has_room(Path::new("/dev/shm")) {
            continue;
        }
        match candidate.claim(user) {
            Ok(()) => return Ok(candidate),
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.unwrap_or_else(|| Error::config(failure::FILE_FAILED, "no folder can hold the server's data")))
}

fn is_bare(folder: &Path) -> bool {
    fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}

fn has_room(folder: &Path) -> bool {
    rustix::fs::statvfs(folder).is_ok_and(|found| found.f_bavail.saturating_mul(found.f_frsize) > ENOUGH_MEMORY)
}
