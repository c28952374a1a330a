//! How the command speaks: data to stdout, everything else to stderr, colours only where they can be seen.

use std::io::{ErrorKind, Write as _};

use forge_core::{Error, Result};

const RED: &str = "\x1b[1;31m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// Prints data. A reader that has seen enough (`| head`) is no failure.
pub(crate) fn data(text: &str) -> Result<()> {
    let mut out = anstream::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(why) if why.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(why) => Err(Error::config("FILE_FAILED", format!("could not write to stdout: {why}")).with_source(why)),
        Ok(()) => Ok(()),
    }
}

/// Says something to the person at the terminal; when stderr is closed there is nobody to tell.
pub(crate) fn note(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Tells why the command failed.
pub(crate) fn failure(error: &Error) {
    note(&failure_text(error));
}

/// What went wrong, its causes as far as they are not told yet, and what to do next.
pub(crate) fn failure_text(error: &Error) -> String {
    let mut text = format!("{RED}error{PLAIN}{BOLD}[{}]{PLAIN}: {}", error.code(), error.message());
    let mut cause = error.source().map(|source| source as &dyn std::error::Error);
    while let Some(why) = cause {
        let words = why.to_string();
        if !text.contains(&words) {
            text.push_str(&format!("\n  caused by: {words}"));
        }
        cause = why.source();
    }
    text.push_str(&format!("\n  more: forge explain {}", error.code()));
    text
}

/// Bold, where it can be seen.
pub(crate) fn bold(text: &str) -> String {
    format!("{BOLD}{text}{PLAIN}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_why_and_what_next() {
        let cause = std::io::Error::other("disk on fire");
        let text = failure_text(&Error::config("FILE_FAILED", "could not read x").with_source(cause));
        let plain = text.replace(RED, "").replace(BOLD, "").replace(PLAIN, "");
        assert_eq!(
            plain,
            "error[FILE_FAILED]: could not read x\n  caused by: disk on fire\n  more: forge explain FILE_FAILED"
        );
    }

    #[test]
    fn a_cause_is_told_once() {
        let cause = std::io::Error::other("disk on fire");
        let text = failure_text(&Error::config("FILE_FAILED", "could not read x: disk on fire").with_source(cause));
        assert!(!text.contains("caused by"), "{text}");
    }
}
