//! Failures that several commands meet.

use std::io;
use std::path::Path;

use forge_core::Error;

/// Turns a failed file operation into an error that says what was being done to which path.
pub(crate) fn file(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let message = format!("could not {doing} {}", path.display());
    move |why| Error::config("FILE_FAILED", format!("{message}: {why}")).with_source(why)
}

/// Turns the failed start of a program into an error that says what the program is for.
pub(crate) fn program(name: &str, purpose: &str) -> impl FnOnce(io::Error) -> Error {
    let message =
        if name.contains('/') { format!("{name} could not be started") } else { format!("`{name}` could not be started") };
    let purpose = purpose.to_owned();
    move |why| {
        let hint = if why.kind() == io::ErrorKind::NotFound { "; install it, or put it on the PATH" } else { "" };
        Error::config("TOOL_MISSING", format!("{message}: {why}. It {purpose}{hint}")).with_source(why)
    }
}
