//! Making a new data folder.

use std::fs;
use std::path::Path;
use std::time::Duration;

use forge_core::{Error, Result};

use crate::failure;
use crate::find::Installation;
use crate::place::Place;
use crate::process;
use crate::settings::{Purpose, SUPERUSER};

/// `initdb` takes one second, on a slow disk ten.
const DEADLINE: Duration = Duration::from_secs(120);
/// Begins the name of a data folder that is not complete.
const UNFINISHED: &str = "data.new-";

/// Makes the data folder of a place. It appears under its name only when it is complete, so that an interrupted
/// attempt is never taken for data. The caller holds the lock.
pub(crate) fn initialize(place: &Place, installation: &Installation) -> Result<()> {
    remove_unfinished(&place.home)?;
    let folder = place.home.join(format!("{UNFINISHED}{}", std::process::id()));
    place.user.private_folder(&folder)?;
    let made = run_initdb(place, installation, &folder)
        .and_then(|()| fs::rename(&folder, place.data()).map_err(failure::file("move the new data to", &place.data())));
    if made.is_err() {
        // The failure itself is the news; what is left is removed by the next attempt if it cannot be now.
        let _ = fs::remove_dir_all(&folder);
    }
    made
}

fn run_initdb(place: &Place, installation: &Installation, folder: &Path) -> Result<()> {
    let mut command = process::server_command(&installation.bin().join("initdb"), &place.user);
    command.arg("-D").arg(folder).args(["--no-locale", "--encoding=UTF8", "-U", SUPERUSER]);
    // Whoever can enter the socket's folder is trusted; anybody can open a TCP connection, and needs the password.
    command.args(["--auth-local=trust", "--auth-host=scram-sha-256"]);
    if place.purpose == Purpose::Test {
        command.arg("--no-sync");
    }
    let failed = |reason: String| {
        let code = failure::classify(&reason).unwrap_or(failure::INIT_FAILED);
        let message = format!(
            "`initdb` of PostgreSQL {} could not make a data folder in {}:\n{reason}\n{}",
            installation.version(),
            place.home.display(),
            failure::advice(code)
        );
        Error::config(code, message)
    };
    let finished = process::run(command, DEADLINE).map_err(|error| failed(error.to_string()))?;
    if finished.status.success() { Ok(()) } else { Err(failed(failure::tail(&finished.said(), 12))) }
}

fn remove_unfinished(home: &Path) -> Result<()> {
    for entry in fs::read_dir(home).map_err(failure::file("look into", home))?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            fs::remove_dir_all(entry.path()).map_err(failure::file("remove the unfinished", &entry.path()))?;
        }
    }
    Ok(())
}
