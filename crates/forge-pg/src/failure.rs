//! The errors of this crate: one code each, with a page of that name in `docs/errors`.

use std::fmt::Display;
use std::io;
use std::path::Path;

use forge_core::Error;

pub(crate) const CONNECT_FAILED: &str = "PG_CONNECT_FAILED";
pub(crate) const DISK_FULL: &str = "PG_DISK_FULL";
pub(crate) const FILE_FAILED: &str = "PG_FILE_FAILED";
pub(crate) const FOLDER_NOT_PRIVATE: &str = "PG_FOLDER_NOT_PRIVATE";
pub(crate) const INIT_FAILED: &str = "PG_INIT_FAILED";
pub(crate) const LOCK_TIMEOUT: &str = "PG_LOCK_TIMEOUT";
pub(crate) const NOT_FOUND: &str = "PG_NOT_FOUND";
pub(crate) const PATH_TOO_LONG: &str = "PG_PATH_TOO_LONG";
pub(crate) const PORT_IN_USE: &str = "PG_PORT_IN_USE";
pub(crate) const ROOT_REFUSED: &str = "PG_ROOT_REFUSED";
pub(crate) const SQL_FAILED: &str = "PG_SQL_FAILED";
pub(crate) const START_FAILED: &str = "PG_START_FAILED";
pub(crate) const STOP_FAILED: &str = "PG_STOP_FAILED";
pub(crate) const TEMPLATE_TIMEOUT: &str = "PG_TEMPLATE_TIMEOUT";
pub(crate) const URL_INVALID: &str = "PG_URL_INVALID";
pub(crate) const VERSION_UNSUPPORTED: &str = "PG_VERSION_UNSUPPORTED";
pub(crate) const WRONG_MAJOR: &str = "PG_WRONG_MAJOR";

/// Turns a failed file operation into an error that says what was being done to which path.
/// A full disk has a code of its own, wherever it shows first.
pub(crate) fn file(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let message = format!("could not {doing} {}", path.display());
    move |error| {
        let code = if error.kind() == io::ErrorKind::StorageFull { DISK_FULL } else { FILE_FAILED };
        Error::config(code, format!("{message}: {error}")).with_source(error)
    }
}

/// Turns a failed statement into an error that says what it was for, with the server's own words.
pub(crate) fn sql(doing: impl Display) -> impl FnOnce(tokio_postgres::Error) -> Error {
    let message = format!("could not {doing}");
    move |error| {
        let reason = match error.as_db_error() {
            Some(db) => format!("{} (SQLSTATE {})", db.message(), db.code().code()),
            None => error.to_string(),
        };
        Error::config(SQL_FAILED, format!("{message}: {reason}")).with_source(error)
    }
}

/// Names the cause behind a server program's own words when it is one with a page of its own.
pub(crate) fn classify(output: &str) -> Option<&'static str> {
    if output.contains("No space left on device") {
        Some(DISK_FULL)
    } else if output.contains("Address already in use") {
        Some(PORT_IN_USE)
    } else {
        None
    }
}

/// What a person can do about a server program that failed.
pub(crate) fn advice(code: &str) -> &'static str {
    match code {
        DISK_FULL => "Free some space on that disk and try again; nothing else is wrong with the data.",
        PORT_IN_USE => "Another program listens on that port: ask for another one, or end that program.",
        _ => "Correct what it says and try again.",
    }
}

/// The last lines of a text, indented, for a message.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let from = all.len().saturating_sub(lines);
    all[from..].iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_read_from_the_words_of_the_server() {
        assert_eq!(classify("FATAL:  could not write: No space left on device"), Some(DISK_FULL));
        assert_eq!(classify("could not bind IPv4 address: Address already in use"), Some(PORT_IN_USE));
        assert_eq!(classify("FATAL:  out of memory"), None);
    }

    #[test]
    fn a_tail_keeps_the_last_lines_that_say_something() {
        assert_eq!(tail("a\n\nb\nc\n", 2), "  b\n  c");
    }
}
