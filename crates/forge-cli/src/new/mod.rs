//! `forge new`: an app that works, to be changed.

mod name;
mod template;

use std::fs;
use std::path::{Path, PathBuf};

use forge_core::{Error, Result};

use crate::failure;
use crate::voice;

/// Makes the app.
pub(crate) fn run(path: &Path, path_to_forge: Option<&Path>) -> Result<()> {
    let name = name::of(path)?;
    let forge = forge(path_to_forge)?;
    refuse_what_is_there(path)?;
    for (file, content) in template::files(&name, &forge.dependency()) {
        let target = path.join(file);
        let folder = target.parent().unwrap_or(path);
        fs::create_dir_all(folder).map_err(failure::file("make the folder", folder))?;
        fs::write(&target, content).map_err(failure::file("write", &target))?;
    }
    if let Forge::Checkout { lock: Some(lock), .. } = &forge {
        // The versions that the checkout is tested with; cargo takes out what is not needed.
        let target = path.join("Cargo.lock");
        fs::copy(lock, &target).map_err(failure::file("write", &target))?;
    }
    voice::note(&format!("made {}\n\n  cd {}\n  forge dev", voice::bold(&name), path.display()));
    Ok(())
}

/// Where the app's `forge` comes from.
enum Forge {
    /// A checkout of the project on this machine.
    Checkout { krate: PathBuf, lock: Option<PathBuf> },
    /// A package of the same version as this command.
    Version,
}

impl Forge {
    /// As it stands in the app's `Cargo.toml`.
    fn dependency(&self) -> String {
        match self {
            Self::Checkout { krate, .. } => format!("path = {}", toml::Value::from(krate.display().to_string())),
            Self::Version => format!("version = \"{}\"", env!("CARGO_PKG_VERSION")),
        }
    }
}

fn forge(asked: Option<&Path>) -> Result<Forge> {
    let Some(asked) = asked else {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../forge");
        return Ok(checkout(&beside).unwrap_or(Forge::Version));
    };
    let found = [asked.join("crates/forge"), asked.to_owned()].iter().find_map(|folder| checkout(folder));
    found.ok_or_else(|| {
        let text = format!("{} is not a checkout of FORGE: it has no crates/forge/Cargo.toml", asked.display());
        Error::config("NEW_NO_FORGE", text)
    })
}

/// The crate `forge` in a folder, and the lock file of its workspace.
fn checkout(folder: &Path) -> Option<Forge> {
    let krate = fs::canonicalize(folder).ok()?;
    let text = fs::read_to_string(krate.join("Cargo.toml")).ok()?;
    let manifest: toml::Table = toml::from_str(&text).ok()?;
    (manifest.get("package")?.get("name")?.as_str()? == "forge").then_some(())?;
    let lock = krate.ancestors().map(|folder| folder.join("Cargo.lock")).find(|lock| lock.is_file());
    Some(Forge::Checkout { krate, lock })
}

/// An empty folder may be there already; nothing else.
fn refuse_what_is_there(path: &Path) -> Result<()> {
    match fs::read_dir(path).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Ok(false) => {
            let text = format!("{} is there already and not empty; take another name, or remove it", path.display());
            Err(Error::config("NEW_FOLDER_TAKEN", text))
        }
        Err(why) if why.kind() == std::io::ErrorKind::NotADirectory => {
            Err(Error::config("NEW_FOLDER_TAKEN", format!("{} is a file; take another name, or remove it", path.display())))
        }
        Err(why) => Err(failure::file("look into", path)(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        assert!(refuse_what_is_there(folder.path()).is_ok());
        assert!(refuse_what_is_there(&folder.path().join("new")).is_ok());
        let file = folder.path().join("file");
        fs::write(&file, "x").unwrap();
        for taken in [folder.path(), &file] {
            assert_eq!(refuse_what_is_there(taken).unwrap_err().code(), "NEW_FOLDER_TAKEN");
        }
    }

    #[test]
    fn a_checkout_is_found_from_its_root_and_from_its_crate() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for folder in [root.clone(), root.join("crates/forge")] {
            assert!(matches!(forge(Some(&folder)).unwrap(), Forge::Checkout { lock: Some(_), .. }));
        }
        assert_eq!(forge(Some(Path::new("/tmp"))).err().map(|why| why.code().to_owned()).as_deref(), Some("NEW_NO_FORGE"));
    }
}
