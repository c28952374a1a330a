//! What is made when something has changed: the program, the client, the page.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use forge_core::Result;

use super::changes::Places;
use super::surroundings::Surroundings;
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
    /// Whether the page's client is another one now.
    pub(crate) client_changed: bool,
    /// Whether the page was built as well.
    pub(crate) page_is_current: bool,
    /// What the app runs in, if the configuration has changed.
    pub(crate) surroundings: Option<Surroundings>,
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

    /// Makes the program, and the client that fits it; the page, too, if it has never been built.
    pub(crate) async fn program(self, crates: Crates, config_changed: bool) -> Result<Made> {
        let surroundings = if config_changed { Some(Surroundings::of(&self.app, &self.status).await?) } else { None };
        let began = Instant::now();
        if self.release {
            let program = build::release(&self.app, &crates, &self.status).await?;
            let identity = Identity::of(&program)?;
            return Ok(Made {
                program,
                identity,
                took: began.elapsed(),
                client_changed: false,
                page_is_current: true,
                surroundings,
            });
        }
        let built = cargo::build(&self.app, &crates, Profile::Dev, &self.status).await?;
        let (mut client_changed, mut page_is_current) = (false, false);
        if let Some(page) = self.app.page() {
            client_changed = self.client(&built.program, &page).await;
            if !page.is_built() {
                // Told, and no reason for the program not to start.
                self.page_of(&page).await.unwrap_or_else(|why| self.status.failure(&why));
                page_is_current = true;
            }
        }
        let identity = Identity::of(&built.program)?;
        Ok(Made { program: built.program, identity, took: built.took, client_changed, page_is_current, surroundings })
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
