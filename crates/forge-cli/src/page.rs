//! The app's page: its packages installed, its files built by its own tools.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

use forge_codegen::Flavour;
use forge_core::{Error, Result, ResultExt as _};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use crate::cargo::{TICK, clean_environment, seconds};
use crate::failure;
use crate::group::Group;
use crate::status::Status;

/// The sources of a page: the folder `frontend` of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    folder: PathBuf,
}

impl Page {
    /// The page of the app in a folder, if it has one.
    pub(crate) fn of(root: &Path) -> Option<Self> {
        let folder = root.join("frontend");
        folder.join("package.json").is_file().then_some(Self { folder })
    }

    /// Where its sources are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the generated client belongs.
    pub(crate) fn client(&self) -> PathBuf {
        self.folder.join("src/lib/forge")
    }

    /// Whether it has been built at all.
    pub(crate) fn is_built(&self) -> bool {
        self.folder.join("dist/index.html").is_file()
    }

    /// Which client fits it: the one for Svelte when the page is made with it.
    ///
    /// # Errors
    /// When its `package.json` cannot be read.
    pub(crate) fn flavour(&self) -> Result<Flavour> {
        let file = self.folder.join("package.json");
        let text = std::fs::read(&file).map_err(failure::file("read", &file))?;
        let package: Value = serde_json::from_slice(&text).map_err(|why| {
            Error::config("PAGE_BUILD_FAILED", format!("{} is not JSON: {why}", file.display())).with_source(why)
        })?;
        let uses = |list: &str| package[list].get("svelte").is_some();
        Ok(if uses("dependencies") || uses("devDependencies") { Flavour::Svelte } else { Flavour::Plain })
    }

    /// Installs packages where that is due, and builds. Says how long the build took.
    ///
    /// # Errors
    /// `PAGE_BUILD_FAILED`, after showing what npm said.
    pub(crate) async fn build(&self, status: &Status) -> Result<Duration> {
        if self.wants_install() {
            let how = if self.folder.join("package-lock.json").is_file() { "ci" } else { "install" };
            self.npm(&[how], "installing the page's packages", status).await?;
        }
        self.npm(&["run", "build"], "building the page", status).await
    }

    /// Whether the installed packages are not those of the lock file.
    fn wants_install(&self) -> bool {
        let changed = |file: &str| std::fs::metadata(self.folder.join(file)).and_then(|file| file.modified()).ok();
        // npm leaves its own account of what it has installed.
        let Some(installed) = changed("node_modules/.package-lock.json") else { return true };
        changed("package-lock.json").is_some_and(|wanted: SystemTime| wanted > installed)
    }

    async fn npm(&self, words: &[&str], doing: &str, status: &Status) -> Result<Duration> {
        let began = Instant::now();
        let mut command = Command::new("npm");
        command.args(words).current_dir(&self.folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        clean_environment(&mut command);
        let mut npm =
            Group::spawn(&mut command).map_err(failure::program("npm", "builds the page; it comes with Node.js"))?;
        let (Some(mut out), Some(mut err)) = npm.output() else {
            return Err(Error::internal("npm was started without pipes"));
        };
        let (mut words_out, mut words_err) = (Vec::new(), Vec::new());
        let work = async {
            tokio::try_join!(out.read_to_end(&mut words_out), err.read_to_end(&mut words_err))
                .context("reading what npm says")?;
            npm.wait().await
        };
        let ended = ticking(work, doing, status).await?;
        if ended.success() {
            return Ok(began.elapsed());
        }
        for words in [words_out, words_err] {
            let words = String::from_utf8_lossy(&words);
            if !words.trim().is_empty() {
                status.line(words.trim_end());
            }
        }
        let text = format!(
            "`npm {}` failed ({ended}) in {}; what it says about it stands above",
            words.join(" "),
            self.folder.display()
        );
        Err(Error::config("PAGE_BUILD_FAILED", text))
    }
}

/// Shows how long something has been going on.
async fn ticking(work: impl Future<Output = Result<ExitStatus>>, doing: &str, status: &Status) -> Result<ExitStatus> {
    let began = Instant::now();
    let mut tick = tokio::time::interval(TICK);
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => {
                status.clear();
                return done;
            }
            _ = tick.tick() => status.set(&format!("{doing} · {}", seconds(began.elapsed()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(package: &str) -> (tempfile::TempDir, Page) {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("frontend/node_modules")).unwrap();
        std::fs::write(root.path().join("frontend/package.json"), package).unwrap();
        let page = Page::of(root.path()).unwrap();
        (root, page)
    }

    #[test]
    fn an_app_without_a_package_has_no_page() {
        assert_eq!(Page::of(tempfile::tempdir().unwrap().path()), None);
    }

    #[test]
    fn the_client_fits_the_page() {
        assert_eq!(page(r#"{"devDependencies":{"svelte":"5"}}"#).1.flavour().unwrap(), Flavour::Svelte);
        assert_eq!(page(r#"{"dependencies":{"react":"19"}}"#).1.flavour().unwrap(), Flavour::Plain);
        assert_eq!(page("{").1.flavour().unwrap_err().code(), "PAGE_BUILD_FAILED");
    }

    #[test]
    fn packages_are_installed_when_they_are_missing_or_old() {
        let (root, page) = page("{}");
        let at = |file: &str, second: u64| {
            let path = root.path().join("frontend").join(file);
            let file = std::fs::File::create(path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(second)).unwrap();
        };
        assert!(page.wants_install());
        at("node_modules/.package-lock.json", 10);
        assert!(!page.wants_install(), "installed without a lock file");
        at("package-lock.json", 5);
        assert!(!page.wants_install());
        at("package-lock.json", 15);
        assert!(page.wants_install());
    }
}
