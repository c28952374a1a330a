//! `forge generate`: the client's files, written where the page imports them from.
//!
//! A file that a person has edited is never overwritten or removed unless that is asked for. A file that is current is not
//! touched, so that nothing is built again for its sake.

use std::fs;
use std::path::{Path, PathBuf};

use forge_codegen::{Edits, GeneratedFile, check_edits, typescript_for};
use forge_core::manifest::Manifest;
use forge_core::{Error, Result};

use crate::app::App;
use crate::binary;
use crate::cargo::{self, Profile};
use crate::failure;
use crate::page::Page;
use crate::status::Status;
use crate::voice;

/// What has to be done so that the files are current.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// To be written, and those that are there but say something else.
    pub(crate) written: Vec<PathBuf>,
    /// Generated earlier, and not any more.
    pub(crate) removed: Vec<PathBuf>,
}

impl Changes {
    /// Whether nothing has to be done.
    pub(crate) fn is_empty(&self) -> bool {
        self.written.is_empty() && self.removed.is_empty()
    }

    /// Says what was done.
    pub(crate) fn tell(&self, status: &Status) {
        let done = [(self.written.len(), "written"), (self.removed.len(), "removed")];
        let words: Vec<String> =
            done.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{} {what}", files(*count))).collect();
        if !words.is_empty() {
            status.line(&format!("client: {}", words.join(", ")));
        }
    }
}

fn files(count: usize) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}

/// Builds the app and writes the files, or says which are not current.
pub(crate) async fn run(path: &Path, check: bool, force: bool, status: &Status) -> Result<()> {
    let app = App::open(path)?;
    let page = app.page().ok_or_else(|| {
        let text = format!("`{}` has no page: there is no {}", app.name, app.root.join("frontend/package.json").display());
        Error::config("PAGE_NOT_FOUND", text)
    })?;
    let crates = app.crates().await?;
    let built = cargo::build(&app, &crates, Profile::Dev, status).await?;
    let manifest = binary::manifest(&app, &built.program).await?;
    if check {
        return compare(&manifest, &page);
    }
    let changes = write(&manifest, &page, force)?;
    if changes.is_empty() {
        voice::note("the client is current");
    }
    changes.tell(status);
    Ok(())
}

/// Writes what is not current.
///
/// # Errors
/// `GENERATED_EDITED` when a file in the way was edited by hand, or is not a generated one, and `force` is not given; nothing
/// is written then.
pub(crate) fn write(manifest: &Manifest, page: &Page, force: bool) -> Result<Changes> {
    let (folder, wanted) = (page.client(), typescript_for(manifest, page.flavour()?)?);
    let (changes, edited) = plan(&folder, &wanted)?;
    if !edited.is_empty() && !force {
        return Err(Error::config(
            "GENERATED_EDITED",
            format!(
                "edited by hand, so not overwritten: {}; move what you wrote to a file of your own, then run `forge generate --force`",
                list(&edited)
            ),
        ));
    }
    for file in &wanted {
        let path = folder.join(&file.path);
        if changes.written.contains(&path) {
            write_whole(&path, &file.content)?;
        }
    }
    for path in &changes.removed {
        fs::remove_file(path).map_err(failure::file("remove", path))?;
    }
    Ok(changes)
}

/// Fails when the files are not what would be written.
fn compare(manifest: &Manifest, page: &Page) -> Result<()> {
    let (changes, _) = plan(&page.client(), &typescript_for(manifest, page.flavour()?)?)?;
    if changes.is_empty() {
        voice::note("the client is current");
        return Ok(());
    }
    let all: Vec<PathBuf> = changes.written.into_iter().chain(changes.removed).collect();
    Err(Error::config(
        "GENERATED_OUTDATED",
        format!("not what the app describes: {}; run `forge generate` and commit what it writes", list(&all)),
    ))
}

/// What has to be done, and which of it would lose what a person wrote.
fn plan(folder: &Path, wanted: &[GeneratedFile]) -> Result<(Changes, Vec<PathBuf>)> {
    let (mut changes, mut edited) = (Changes::default(), Vec::new());
    for file in wanted {
        let path = folder.join(&file.path);
        match fs::read_to_string(&path) {
            Ok(there) if there.replace("\r\n", "\n") == file.content => continue,
            Ok(there) if check_edits(&there) != Edits::Untouched => edited.push(path.clone()),
            Ok(_) => {}
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => {}
            Err(why) => return Err(failure::file("read", &path)(why)),
        }
        changes.written.push(path);
    }
    for path in files_below(folder)? {
        if wanted.iter().any(|file| folder.join(&file.path) == path) {
            continue;
        }
        // What is not text is not ours.
        match fs::read_to_string(&path).map(|there| check_edits(&there)) {
            Ok(Edits::Untouched) => changes.removed.push(path),
            Ok(Edits::Edited) => {
                edited.push(path.clone());
                changes.removed.push(path);
            }
            Ok(Edits::NotOurs) | Err(_) => {}
        }
    }
    Ok((changes, edited))
}

/// All files below a folder, which need not exist, sorted.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut waiting) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = waiting.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => continue,
            Err(why) => return Err(failure::file("read the folder", &folder)(why)),
        };
        for entry in entries {
            let path = entry.map_err(failure::file("read the folder", &folder))?.path();
            if path.is_dir() { waiting.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    Ok(found)
}

/// Writes a file whole or not at all: half of one would look like an edit.
fn write_whole(path: &Path, content: &str) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(failure::file("make the folder", folder))?;
    let draft = folder.join(".forge-draft");
    fs::write(&draft, content).map_err(failure::file("write", &draft))?;
    fs::rename(&draft, path).map_err(failure::file("write", path))
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(functions: &str) -> Manifest {
        let text = format!(
            r#"{{"manifestVersion":1,"name":"shop","version":"0.1.0","types":[],"tables":[],"enums":[],"functions":[{functions}]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn page() -> (tempfile::TempDir, Page) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("frontend")).unwrap();
        fs::write(root.path().join("frontend/package.json"), r#"{"devDependencies":{"svelte":"5"}}"#).unwrap();
        let page = Page::of(root.path()).unwrap();
        (root, page)
    }

    #[test]
    fn current_files_are_not_touched() {
        let (_root, page) = page();
        assert!(!write(&manifest(""), &page, false).unwrap().is_empty());
        assert!(write(&manifest(""), &page, false).unwrap().is_empty());
        let api = page.client().join("api.ts");
        let swapped = fs::read_to_string(&api).unwrap().replace('\n', "\r\n");
        fs::write(&api, swapped).unwrap();
        assert!(compare(&manifest(""), &page).is_ok(), "line ends of a checkout are no change");
    }

    #[test]
    fn what_a_person_wrote_stays() {
        let (_root, page) = page();
        write(&manifest(""), &page, false).unwrap();
        let api = page.client().join("api.ts");
        let edited = format!("{}// mine\n", fs::read_to_string(&api).unwrap());
        fs::write(&api, &edited).unwrap();
        let refused = write(&manifest(""), &page, false).unwrap_err();
        assert_eq!(refused.code(), "GENERATED_EDITED");
        assert!(refused.message().contains("api.ts"), "{refused}");
        assert_eq!(fs::read_to_string(&api).unwrap(), edited);
        assert_eq!(compare(&manifest(""), &page).unwrap_err().code(), "GENERATED_OUTDATED");
        write(&manifest(""), &page, true).unwrap();
        compare(&manifest(""), &page).unwrap();
    }

    #[test]
    fn only_files_of_ours_are_removed() {
        let (_root, page) = page();
        write(&manifest(""), &page, false).unwrap();
        let (old, own) = (page.client().join("old/api.ts"), page.client().join("mine.ts"));
        fs::create_dir_all(page.client().join("old")).unwrap();
        fs::copy(page.client().join("api.ts"), &old).unwrap();
        fs::write(&own, "export const mine = 1;\n").unwrap();
        assert_eq!(compare(&manifest(""), &page).unwrap_err().code(), "GENERATED_OUTDATED");
        let changes = write(&manifest(""), &page, false).unwrap();
        assert_eq!(changes, Changes { written: vec![], removed: vec![old.clone()] });
        assert!(!old.exists() && own.exists());
    }
}
