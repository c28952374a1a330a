//! Single keys from a terminal. What the terminal was set to comes back at the end.

use std::io::{IsTerminal as _, Read as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use tokio::sync::mpsc;

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// Build and start anew.
    Rebuild,
    /// End.
    Quit,
}

/// Reads keys while it lives.
#[derive(Debug)]
pub(crate) struct Keys {
    keys: mpsc::UnboundedReceiver<Key>,
    before: Option<Termios>,
}

impl Keys {
    /// Listens if stdin is a terminal that is ours; else there will never be a key.
    pub(crate) fn listen() -> Self {
        let (tell, keys) = mpsc::unbounded_channel();
        let before = one_by_one();
        if before.is_some() {
            // Without the thread there are no keys; signals still end the command.
            let _ = std::thread::Builder::new().name("forge-keys".into()).spawn(move || read(&tell));
        }
        Self { keys, before }
    }

    /// Whether there can be keys.
    pub(crate) fn are_read(&self) -> bool {
        self.before.is_some()
    }

    /// Waits for the next key; forever when there are none.
    pub(crate) async fn next(&mut self) -> Key {
        match self.keys.recv().await {
            Some(key) => key,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // A terminal that is gone needs no repair.
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Makes the terminal hand over each key at once and not print it; Ctrl-C stays a signal. Gives what was set before.
fn one_by_one() -> Option<Termios> {
    let stdin = std::io::stdin();
    // In the background of a shell, touching the terminal would stop us.
    let ours = stdin.is_terminal() && tcgetpgrp(&stdin).is_ok_and(|group| group == rustix::process::getpgrp());
    let before = ours.then(|| tcgetattr(&stdin).ok()).flatten()?;
    let mut wanted = before.clone();
    wanted.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Now, &wanted).ok().map(|()| before)
}

fn read(tell: &mpsc::UnboundedSender<Key>) {
    for byte in std::io::stdin().lock().bytes() {
        let key = match byte {
            Ok(b'r' | b'R') => Key::Rebuild,
            Ok(b'q' | b'Q') => Key::Quit,
            Ok(_) => continue,
            Err(_) => return,
        };
        if tell.send(key).is_err() {
            return;
        }
    }
}
