//! The programs that are measured, built before anything is.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;

/// Where the programs lie.
#[derive(Debug)]
pub(crate) struct Programs {
    /// The app on FORGE.
    pub(crate) app: PathBuf,
    /// The folder with the app's configuration.
    pub(crate) app_folder: PathBuf,
    /// The app with the queue that is measured.
    pub(crate) jobs: PathBuf,
    /// The bare handlers.
    pub(crate) floors: PathBuf,
    /// The script for Node.js.
    pub(crate) fastify: PathBuf,
    /// The folder of the peer with live queries; its packages are installed when it is its turn.
    pub(crate) postgraphile: PathBuf,
}

/// Builds what has changed since the last time.
pub(crate) fn build() -> Result<Programs> {
    if cfg!(debug_assertions) {
        return Err("a debug build measures nothing that matters; run it with `cargo run --release -p bench`".into());
    }
    let bench = Path::new(env!("CARGO_MANIFEST_DIR"));
    let executable = std::env::current_exe()?;
    let release = executable.parent().ok_or("this program lies in no folder")?;
    let target = release.parent().ok_or("this program does not lie in a target folder")?;
    let cargo = || {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--release", "--locked", "--quiet"]);
        cargo
    };
    finish(cargo().args(["--package", "bench-app", "--target-dir"]).arg(target).current_dir(bench))?;
    let floors = bench.join("floors");
    let floors_target = target.join("floors");
    finish(cargo().arg("--target-dir").arg(&floors_target).current_dir(&floors))?;
    let fastify = floors.join("fastify");
    install(&fastify)?;
    Ok(Programs {
        app: release.join("bench-app"),
        app_folder: bench.join("app"),
        jobs: release.join("bench-jobs"),
        floors: floors_target.join("release/floors"),
        fastify: fastify.join("server.js"),
        postgraphile: floors.join("postgraphile"),
    })
}

/// Installs what a package's lock file says, when that has not been done yet.
pub(crate) fn install(package: &Path) -> Result<()> {
    if is_installed(package) {
        return Ok(());
    }
    finish(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(package))
}

/// Whether what is installed is what the lock file says.
fn is_installed(package: &Path) -> bool {
    let changed = |file: &str| std::fs::metadata(package.join(file)).and_then(|file| file.modified());
    matches!((changed("node_modules/.package-lock.json"), changed("package-lock.json")), (Ok(installed), Ok(locked)) if installed >= locked)
}

/// Runs a command, whose output goes where ours goes, to its end.
pub(crate) fn finish(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status =
        command.stdout(std::io::stderr()).status().map_err(|why| format!("cannot run {name}: {why}; is it installed?"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} ended with {status}").into()) }
}
