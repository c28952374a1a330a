//! Server events: what a function tells everybody who is subscribed to a query, beside the query's result.
//!
//! ```text
//!  ctx.emit(list_cards, args, "moved", data) ─▶ a note in the change feed, in the transaction of the mutation
//!       └ commit ─▶ the next round of each node ─▶ frame ─▶ event, for whoever is subscribed to list_cards with these arguments
//! ```
//!
//! What it promises: an event exists only if its transaction commits; it comes right after the frame that shows what was committed with it;
//! it is told to those who hold a subscription of that query and those arguments that succeeds at that moment, at most once, and to nobody
//! else. It is no mailbox: who is not connected misses it, and so does everybody of a node that was cut off from the database for longer
//! than the feed is kept. What must not be missed belongs into a table.

use std::collections::VecDeque;
use std::sync::Arc;

use forge_core::function::ForgeQuery;
use forge_core::wire::{self, WireType};
use forge_core::{Error, Result};
use serde_json::{Value, json};

use super::by_number::ByNumber;
use super::outbox::News;
use crate::feed::EventNote;
use crate::function::{QueryContext, canonical};

/// How large an event's data may be, as JSON, in bytes.
const DATA_BYTES_MAX: usize = 8 * 1024;

/// How long an event's name may be, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// How many events may wait for a client; at one more, the oldest goes.
pub(super) const EVENTS_MAX: usize = 100;

/// What is told of an event.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) name: String,
    /// JSON.
    pub(crate) data: String,
}

impl Event {
    /// The message for a subscription; `missed` events went unsaid before it.
    pub(super) fn message(&self, id: u64, missed: u64) -> String {
        let missed = if missed == 0 { String::new() } else { format!(",\"missed\":{missed}") };
        format!("{{\"type\":\"event\",\"id\":{id},\"name\":{},\"data\":{}{missed}}}", json!(self.name), self.data)
    }
}

/// Events that wait, each with the number of its subscription. The newest hundred are kept.
#[derive(Debug, Default)]
pub(super) struct Events {
    waiting: VecDeque<(u64, Arc<Event>)>,
    /// How many went since the last one that was taken.
    missed: u64,
}

impl Events {
    pub(super) fn push(&mut self, subscription: u64, event: Arc<Event>) {
        self.waiting.push_back((subscription, event));
        if self.waiting.len() > EVENTS_MAX {
            self.waiting.pop_front();
            self.missed += 1;
        }
    }

    /// Takes in what a later round has, along with its news.
    pub(super) fn then(&mut self, later: Self, news: &ByNumber<News>) {
        // What may not be seen any more is not told any more.
        self.waiting.retain(|(id, _)| !matches!(news.get(*id), Some(News::Failed(_))));
        self.missed += later.missed;
        later.waiting.into_iter().for_each(|(id, event)| self.push(id, event));
    }

    pub(super) fn forget(&mut self, subscription: u64) {
        self.waiting.retain(|(of, _)| *of != subscription);
    }
    /// Takes the oldest.
    pub(super) fn oldest(&mut self) -> Option<Arc<Event>> {
        self.waiting.pop_front().map(|(_, event)| event)
    }

    /// Takes all of them, as messages.
    pub(super) fn messages(&mut self) -> Vec<String> {
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_iter().map(|(id, event)| event.message(id, std::mem::take(&mut self.missed))).collect()
    }
}

/// An event that a test received.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceivedEvent {
    /// Its name.
    pub name: String,
    /// What came with it.
    pub data: Value,
}

/// The note that stands for an event.
///
/// # Errors
/// `INVALID_ARGUMENT` when the name is none, `PAYLOAD_TOO_LARGE` when the data are too large, `INTERNAL_ERROR` when they cannot be written as
/// JSON.
pub(crate) fn note<F: ForgeQuery<QueryContext>>(args: &F::Args, name: &str, data: &impl WireType) -> Result<EventNote> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(Error::invalid_argument(format!(
            "`{}` is not the name of an event: 1 to {NAME_BYTES_MAX} bytes of visible text",
            name.escape_debug()
        )));
    }
    let mut json = Vec::with_capacity(128);
    wire::write_json(data, &mut json)?;
    if json.len() > DATA_BYTES_MAX {
        return Err(Error::payload_too_large(format!(
            "the event `{name}` has {} bytes of data, more than {DATA_BYTES_MAX}; send what identifies it, and let the query's result show the rest",
            json.len()
        )));
    }
    let args = canonical::<F>(args)?;
    Ok(EventNote {
        function: F::INFO.name.to_owned(),
        args: String::from_utf8(args.to_vec())?,
        name: name.to_owned(),
        data: String::from_utf8(json)?,
    })
}
