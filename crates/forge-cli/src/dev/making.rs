//! What is made when something has changed: the program, the client, the page.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use forge_core::Result;

use super::changes::Places;
use crate::app::{App, Crates};
use crate::binary;
use crate::build;
use crate::cargo::{self, Profile, seconds};
use crate::failure;
use crate::generate;
use crate::page::Page;
use crate::status::Status;

/// Makes things. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Maker {
    app: Arc<App>,
    release: bool,
    status: Status,
}

/// What was made.
#[derive(Debug)]
pub(crate) struct Made {
    /// The program.
    pub(crate) program: PathBuf,
    /// Which build of it this is.
    pub(crate) identity: Identity,
    /// How long that took.
    pub(crate) took: Duration,
    /// Whether the page must be built, since its client is another one.
    pub(crate) page: bool,
}

/// Tells one build of a program from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    inode: u64,
    changed_ns: i128,
    bytes: u64,
}

impl Identity {
    fn of(program: &Path) -> Result<Self> {
        let found = std::fs::metadata(program).map_err(failure::file("look at", program))?;
        let changed_ns = i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec());
        Ok(Self { inode: found.ino(), changed_ns, bytes: found.len() })
    }
}

impl Maker {
    /// For an app.
    pub(crate) fn new(app: Arc<App>, release: bool, status: Status) -> Self {
        Self { app, release, status }
    }

    /// The app.
    pub(crate) fn app(&self) -> &App {
        &self.app
    }

    /// Whether the page is part of the program, so that its sources are the program's, too.
    pub(crate) fn embeds_page(&self) -> bool {
        self.release
    }

    /// What to watch.
    pub(crate) fn places(&self, crates: &Crates) -> Places {
        let page = self.app.page();
        Places {
            crates: crates.folders.clone(),
            client: page.as_ref().map(Page::client),
            page: page.map(|page| page.folder().to_owned()),
            config: self.app.config_file(),
        }
    }

    /// Makes the program, and the client that fits it. The page, if it has never been built.
    pub(crate) async fn program(self, crates: Crates) -> Result<Made> {
        if self.release {
            let began = std::time::Instant::now();
            let program = build::release(&self.app, &crates, &self.status).await?;
            return Ok(Made { identity: Identity::of(&program)?, program, took: began.elapsed(), page: false });
        }
        let built = cargo::build(&self.app, &crates, Profile::Dev, &self.status).await?;
        let mut page = false;
        if let Some(sources) = self.app.page() {
            page = self.client(&built.program, &sources).await;
            if !sources.is_built() {
                // Told, and no reason for the program not to start.
                self.page_of(&sources).await.unwrap_or_else(|why| self.status.failure(&why));
                page = false;
            }
        }
        Ok(Made { identity: Identity::of(&built.program)?, program: built.program, took: built.took, page })
    }

    /// Makes the page.
    pub(crate) async fn page(self) -> Result<()> {
        match self.app.page() {
            Some(page) => self.page_of(&page).await,
            None => Ok(()),
        }
    }

    async fn page_of(&self, page: &Page) -> Result<()> {
        let took = page.build(&self.status).await?;
        self.status.line(&format!("page built in {}", seconds(took)));
        Ok(())
    }

    /// Writes the client anew where it must be. Says whether it was; a client that cannot be written is told, and the app runs
    /// all the same.
    async fn client(&self, program: &Path, page: &Page) -> bool {
        let written = match binary::manifest(&self.app, program).await {
            Ok(manifest) => generate::write(&manifest, page, false),
            Err(why) => Err(why),
        };
        match written {
            Ok(changes) => {
                changes.tell(&self.status);
                !changes.is_empty()
            }
            Err(why) => {
                self.status.failure(&why);
                false
            }
        }
    }
}
