//! `forge build`: the one file to deploy.
//!
//! The page needs the client, the client the manifest, the manifest a binary, and the binary that is deployed has the page
//! inside. A debug build, which reads the page from the disk, breaks the circle.

use std::path::{Path, PathBuf};
use std::time::Instant;

use forge_core::Result;

use crate::app::{App, Crates};
use crate::binary;
use crate::cargo::{self, Profile, seconds};
use crate::generate;
use crate::status::Status;
use crate::voice;

/// Builds, and prints where the binary is.
pub(crate) async fn run(path: &Path, status: &Status) -> Result<()> {
    let began = Instant::now();
    let app = App::open(path)?;
    let crates = app.crates().await?;
    let program = release(&app, &crates, status).await?;
    status.line(&format!("built in {}", seconds(began.elapsed())));
    voice::data(&program.display().to_string())
}

/// Builds client, page and the program that has the page inside.
pub(crate) async fn release(app: &App, crates: &Crates, status: &Status) -> Result<PathBuf> {
    if let Some(page) = app.page() {
        let debug = cargo::build(app, crates, Profile::Dev, status).await?;
        let manifest = binary::manifest(app, &debug.program).await?;
        generate::write(&manifest, &page, false)?.tell(status);
        page.build(status).await?;
    }
    Ok(cargo::build(app, crates, Profile::Release, status).await?.program)
}
