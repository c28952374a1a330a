//! Where mail lands in development and in tests: in memory, the newest of it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::message::SentMail;

/// How many are kept.
const KEPT_MAX: usize = 100;

/// How much room they may take together, in bytes; the newest is kept in any case.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// The mail of this process.
#[derive(Debug, Default)]
pub(crate) struct Inbox(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    mails: VecDeque<SentMail>,
    bytes: usize,
    last: u64,
}

impl Inbox {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, mail: SentMail) {
        let mut kept = self.kept();
        kept.last += 1;
        tracing::info!(to = ?mail.to, subject = mail.subject, "a mail has landed in the inbox: /_forge/mail/{}", kept.last);
        kept.bytes += mail.size();
        let id = kept.last;
        kept.mails.push_back(SentMail { id, ..mail });
        while kept.mails.len() > KEPT_MAX || kept.bytes > BYTES_MAX && kept.mails.len() > 1 {
            let gone = kept.mails.pop_front().map_or(0, |mail| mail.size());
            kept.bytes -= gone;
        }
    }

    /// All that is kept, the oldest first.
    pub(crate) fn all(&self) -> Vec<SentMail> {
        self.kept().mails.iter().cloned().collect()
    }

    /// One of them.
    pub(crate) fn get(&self, id: u64) -> Option<SentMail> {
        self.kept().mails.iter().find(|mail| mail.id == id).cloned()
    }
}
