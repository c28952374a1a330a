//! One line at the bottom of a terminal that says what is going on; elsewhere plain lines only.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use forge_core::Error;

use crate::voice;

/// The status line. Cheap to clone; all clones are the same line.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    terminal: bool,
    colour: bool,
    current: Arc<Mutex<String>>,
}

impl Status {
    /// Looks at stderr.
    pub(crate) fn new() -> Self {
        let stderr = std::io::stderr();
        let colour = anstream::AutoStream::choice(&stderr) != anstream::ColorChoice::Never;
        Self { terminal: stderr.is_terminal(), colour, current: Arc::default() }
    }

    /// Whether somebody watches the line change.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether children should write in colours.
    pub(crate) fn has_colour(&self) -> bool {
        self.colour
    }

    /// Says what is going on, in place of what was said before. Nothing without a terminal.
    pub(crate) fn set(&self, text: &str) {
        if !self.terminal {
            return;
        }
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if *current != text {
            text.clone_into(&mut current);
            draw(None, &current);
        }
    }

    /// Takes the line away.
    pub(crate) fn clear(&self) {
        self.set("");
    }

    /// Says something that stays.
    pub(crate) fn line(&self, text: &str) {
        if !self.terminal {
            voice::note(text);
            return;
        }
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        draw(Some(text), &current);
    }

    /// Tells of a failure that does not end the command.
    pub(crate) fn failure(&self, error: &Error) {
        self.line(&voice::failure_text(error));
    }
}

/// Writes in one piece, so that nothing comes between; when stderr is closed there is nobody to tell.
fn draw(line: Option<&str>, status: &str) {
    let mut text = String::from("\r\x1b[K");
    if let Some(line) = line {
        text.push_str(line);
        text.push('\n');
    }
    text.push_str(&shortened(status, width()));
    let mut out = std::io::stderr().lock();
    let text = if anstream::AutoStream::choice(&out) == anstream::ColorChoice::Never {
        // Moving the cursor is no colour.
        format!("\r\x1b[K{}", anstream::adapter::strip_str(&text))
    } else {
        text
    };
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The terminal's width in columns.
fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stderr());
    size.ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(80)
}

/// A line that wraps could not be taken back.
fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() < width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(2)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn a_status_never_wraps() {
        assert_eq!(shortened("building", 80), "building");
        assert_eq!(shortened("building", 8), "buildi…");
        assert_eq!(shortened("bäume", 5), "bäu…");
    }
}
