//! Secrets of an app on a developer's machine: what signs tokens, what lets one in at the admin doors. They are kept, so that whoever is signed in stays so
//! over restarts.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use forge_core::Result;

use crate::app::App;
use crate::failure;

/// The file of the secret that signs tokens.
pub(crate) const SIGNING: &str = "secret";

/// A secret of the app on this machine, in this file, made on first use.
pub(crate) fn of(app: &App, file: &str) -> Result<String> {
    let file = app.private_folder()?.join(file);
    match std::fs::read_to_string(&file) {
        Ok(text) if text.trim().len() >= 64 => return Ok(text.trim().to_owned()),
        // An interrupted write left it short: nobody can have signed in with it.
        Ok(_) => std::fs::remove_file(&file).map_err(failure::file("remove", &file))?,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => {}
        Err(why) => return Err(failure::file("read", &file)(why)),
    }
    let bytes: [u8; 64] = rand::random();
    let secret: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut options = std::fs::OpenOptions::new();
    let mut out = options.write(true).create_new(true).mode(0o600).open(&file).map_err(failure::file("make", &file))?;
    out.write_all(secret.as_bytes()).map_err(failure::file("write", &file))?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let app = App { root: folder.path().to_owned(), name: "shop".into() };
        let first = of(&app, SIGNING).unwrap();
        assert_eq!(first.len(), 128);
        assert_eq!(of(&app, SIGNING).unwrap(), first);
        let file = folder.path().join(".forge/secret");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(folder.path().join(".forge/.gitignore")).unwrap(), "*\n");
        std::fs::write(&file, "short").unwrap();
        assert_ne!(of(&app, SIGNING).unwrap(), first);
    }
}
