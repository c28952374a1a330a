//! What has changed: two looks at the files, compared.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use ignore::WalkBuilder;

/// What is looked at.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The app's folder first, then those of the crates it is built from.
    pub(crate) crates: Vec<PathBuf>,
    /// The page's sources, if there is a page.
    pub(crate) page: Option<PathBuf>,
    /// What is written there by this program itself.
    pub(crate) client: Option<PathBuf>,
    /// The file of the configuration.
    pub(crate) config: PathBuf,
}

/// What there is to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Something that the program is built from has changed.
    pub(crate) program: bool,
    /// Something that the page is built from has changed.
    pub(crate) page: bool,
    /// The configuration has changed.
    pub(crate) config: bool,
    /// A `Cargo.toml` has changed, so the app may be built from other crates now.
    pub(crate) crates: bool,
    /// A person wants a new process, changes or not.
    pub(crate) restart: bool,
    /// When the first of it was noticed.
    pub(crate) since: Option<Instant>,
}

impl Changes {
    /// Everything, as at the start.
    pub(crate) fn everything() -> Self {
        Self { program: true, page: true, restart: true, ..Self::default() }
    }

    /// Whether there is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        !(self.program || self.page || self.config || self.crates || self.restart)
    }

    /// Both together.
    pub(crate) fn merge(&mut self, other: Self) {
        self.program |= other.program;
        self.page |= other.page;
        self.config |= other.config;
        self.crates |= other.crates;
        self.restart |= other.restart;
        self.since = match (self.since, other.since) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
}

/// The files at one moment, and the folders they are in.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    files: HashMap<PathBuf, (SystemTime, u64)>,
    /// To be watched.
    pub(crate) folders: Vec<PathBuf>,
}

/// Folders whose content no build of the program depends on, below a crate.
const BESIDE: &[&str] = &["tests", "benches", "examples"];

/// Folders that are never looked into, wherever they are.
const NEVER: &[&str] = &["target", "node_modules", "dist"];

impl Places {
    /// Looks at all files that are not ignored by `.gitignore` or hidden.
    pub(crate) fn look(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for root in &self.crates {
            let beside = BESIDE.iter().map(|name| root.join(name)).chain(self.page.clone());
            snapshot.add(root, beside.collect());
        }
        if let Some(page) = &self.page {
            snapshot.add(page, self.client.iter().cloned().collect());
        }
        // It need not be in the folder, and may be ignored there.
        if let Some(seen) = see(&self.config) {
            snapshot.files.insert(self.config.clone(), seen);
        }
        if let Some(folder) = self.config.parent()
            && !snapshot.folders.iter().any(|known| known == folder)
        {
            snapshot.folders.push(folder.to_owned());
        }
        snapshot
    }

    /// What differs between two looks.
    pub(crate) fn compare(&self, before: &Snapshot, after: &Snapshot, since: Instant) -> Changes {
        let mut changes = Changes::default();
        let new = after.files.iter().filter(|(path, seen)| before.files.get(*path) != Some(seen));
        let gone = before.files.iter().filter(|(path, _)| !after.files.contains_key(*path));
        for (path, _) in new.chain(gone) {
            changes.since = Some(since);
            if *path == self.config {
                changes.config = true;
            } else if self.page.as_ref().is_some_and(|page| path.starts_with(page)) {
                changes.page = true;
            } else {
                changes.program = true;
                changes.crates |= path.file_name().is_some_and(|name| name == "Cargo.toml");
            }
        }
        changes
    }
}

impl Snapshot {
    fn add(&mut self, root: &Path, left_out: Vec<PathBuf>) {
        let mut walk = WalkBuilder::new(root);
        // A `.gitignore` counts before there is a repository, too.
        walk.require_git(false).git_global(false).git_exclude(false);
        walk.filter_entry(move |entry| {
            let never = NEVER.iter().any(|never| entry.file_name() == *never);
            entry.depth() == 0 || !(never || left_out.iter().any(|folder| folder == entry.path()))
        });
        // What cannot be read cannot be built from either.
        for entry in walk.build().flatten() {
            let path = entry.path();
            if entry.file_type().is_some_and(|kind| kind.is_dir()) {
                self.folders.push(path.to_owned());
            } else if entry.file_name() != "Cargo.lock" {
                // A file that is gone again by now was not there.
                self.files.extend(see(path).map(|seen| (path.to_owned(), seen)));
            }
        }
    }
}

fn see(path: &Path) -> Option<(SystemTime, u64)> {
    let found = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    Some((found.modified().ok()?, found.len()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Folder {
        root: tempfile::TempDir,
        places: Places,
    }

    impl Folder {
        fn new(files: &[&str]) -> Self {
            let root = tempfile::tempdir().unwrap();
            let at = |name: &str| root.path().join(name);
            let places = Places {
                crates: vec![root.path().to_owned()],
                page: Some(at("frontend")),
                client: Some(at("frontend/src/lib/forge")),
                config: at("forge.toml"),
            };
            let folder = Self { root, places };
            files.iter().for_each(|file| folder.write(file, "x"));
            folder
        }

        fn write(&self, file: &str, text: &str) {
            let path = self.root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        /// What is seen when this is done.
        fn after(&self, change: impl FnOnce()) -> Changes {
            let before = self.places.look();
            change();
            self.places.compare(&before, &self.places.look(), Instant::now())
        }

        fn after_writing(&self, file: &str) -> Changes {
            Changes { since: None, ..self.after(|| self.write(file, "something else")) }
        }
    }

    #[test]
    fn each_file_has_its_consequence() {
        let folder = Folder::new(&["src/lib.rs", "frontend/src/App.svelte"]);
        let program = Changes { program: true, ..Changes::default() };
        assert_eq!(folder.after_writing("src/lib.rs"), program);
        assert_eq!(folder.after_writing("src/deep/new.rs"), program);
        assert_eq!(folder.after_writing("migrations/0001_a.sql"), program);
        assert_eq!(folder.after_writing("Cargo.toml"), Changes { crates: true, ..program });
        assert_eq!(folder.after_writing("forge.toml"), Changes { config: true, ..Changes::default() });
        assert_eq!(folder.after_writing("frontend/src/App.svelte"), Changes { page: true, ..Changes::default() });
    }

    #[test]
    fn what_does_not_matter_is_not_seen() {
        let folder = Folder::new(&["src/lib.rs"]);
        folder.write(".gitignore", "*.log\n");
        for file in [
            "tests/a.rs",
            "target/debug/x",
            "frontend/node_modules/a/index.js",
            "frontend/dist/index.html",
            "frontend/src/lib/forge/api.ts",
            "Cargo.lock",
            ".git/HEAD",
            ".forge/secret",
            "src/.lib.rs.swp",
            "some.log",
        ] {
            assert_eq!(folder.after_writing(file), Changes::default(), "{file}");
        }
    }

    #[test]
    fn a_file_that_goes_is_a_change_and_one_that_stays_is_none() {
        let folder = Folder::new(&["src/lib.rs", "src/other.rs"]);
        assert_eq!(folder.after(|| {}), Changes::default());
        assert!(folder.after(|| fs::remove_file(folder.root.path().join("src/other.rs")).unwrap()).program);
    }
}
