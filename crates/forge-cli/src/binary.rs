//! The app's own program, asked for what it knows: its manifest, its migrations, its checks.

use std::path::Path;
use std::process::Stdio;

use forge_core::manifest::{MANIFEST_VERSION, Manifest};
use forge_core::{Error, Result, ResultExt as _};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use crate::app::App;
use crate::cargo;
use crate::failure;
use crate::group::Group;

/// The app's program, to be run in the app's folder.
pub(crate) fn command(app: &App, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(&app.root).stdin(Stdio::null());
    cargo::clean_environment(&mut command);
    if std::env::var_os("FORGE_ENV").is_none_or(|mode| mode.is_empty()) {
        // Also a release build is on a developer's machine here.
        command.env("FORGE_ENV", "development");
    }
    command
}

/// Asks the program to describe the app.
///
/// # Errors
/// `MANIFEST_FAILED` when it cannot, or describes it in a way that this command does not understand.
pub(crate) async fn manifest(app: &App, program: &Path) -> Result<Manifest> {
    let mut command = command(app, program);
    command.arg("manifest").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Group::spawn(&mut command).map_err(failure::program(&program.display().to_string(), "is the app"))?;
    let (Some(mut out), Some(mut err)) = child.output() else {
        return Err(Error::internal("the app was started without pipes"));
    };
    let (mut text, mut words) = (Vec::new(), Vec::new());
    tokio::try_join!(out.read_to_end(&mut text), err.read_to_end(&mut words)).context("reading the app's manifest")?;
    let ended = child.wait().await?;
    if !ended.success() {
        let words = String::from_utf8_lossy(&words);
        let text = format!("`{} manifest` failed ({ended}):\n{}", app.name, words.trim());
        return Err(Error::config("MANIFEST_FAILED", text));
    }
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|why| {
        let text = format!(
            "`{} manifest` printed something that is no manifest: {why}; its main() must print nothing to stdout, and this command must be of the same version as the app's `forge`",
            app.name
        );
        Error::config("MANIFEST_FAILED", text).with_source(why)
    })?;
    if manifest.manifest_version != MANIFEST_VERSION {
        let text = format!(
            "the app describes itself in version {}, and this command reads version {MANIFEST_VERSION}: use the `forge` command of the version that the app depends on",
            manifest.manifest_version
        );
        return Err(Error::config("MANIFEST_FAILED", text));
    }
    Ok(manifest)
}

/// Runs a command of the program; what it says goes where ours goes.
///
/// # Errors
/// `APP_COMMAND_FAILED` when it fails.
pub(crate) async fn run(app: &App, program: &Path, words: &[&str], env: &[(&str, &str)]) -> Result<()> {
    let mut command = command(app, program);
    command.args(words).envs(env.iter().copied());
    let mut child = Group::spawn(&mut command).map_err(failure::program(&program.display().to_string(), "is the app"))?;
    let ended = child.wait().await?;
    if ended.success() {
        return Ok(());
    }
    let text = format!("`{} {}` failed ({ended}); what it says about it stands above", app.name, words.join(" "));
    Err(Error::config("APP_COMMAND_FAILED", text))
}
