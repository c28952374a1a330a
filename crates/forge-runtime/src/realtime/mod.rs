//! Live queries: whoever subscribes to a query is told its result, and told again when it changes.
//!
//! ```text
//!  subscribe ─▶ SubscriptionManager: a group per function, arguments and scope
//!                        │
//!  feed ─▶ InvalidationEngine ─ round: one snapshot ─┬─ what changed up to it       (feed)
//!                        ▲                           ├─ whom that concerns         (index)
//!     this node's commits wake it                    ├─ run those groups, once each; slow ones apart, over the same snapshot
//!                                                    └─ what is new ─▶ Outbox of each session ─▶ one frame ─▶ its client
//! ```
//!
//! What it promises, to every session:
//!
//! - **It converges**: once writing stops, each result is what a fresh call would answer.
//! - **Nothing torn**: a frame shows all of the session's results as of one snapshot of the database.
//! - **Never backwards**: a later frame is of a later snapshot.
//! - **Its own mutations**: the acknowledgement of a mutation is in the very frame that shows its effect.
//! - **Nothing foreign**: a result is shared only by callers of whom the function could see nothing different.
//!
//! These follow from one decision: a round reads the feed and runs the queries in the same REPEATABLE READ transaction, one round after the
//! other. What the snapshot sees has been looked at, what it does not see will be in the next batch, and a group's new dependencies are
//! in place before that is read: there is no gap to guard. Rounds are short, and whatever happens meanwhile is one batch of the next.
//!
//! Two more things come with the results: [events](events) that functions emit, and lists of who is [present](presence).
//!
//! A slow query holds up only the sessions that are subscribed to it (see `apart` and `holds`): their frames wait for it, as they are to be
//! of one snapshot. Rounds go on meanwhile.
//!
//! Bounded: subscriptions per session and per node; what waits for a slow client is the newest result of each of its subscriptions.
//!
//! Not here: who a session is and what it sends (see [`crate::gateway`]).

mod apart;
mod by_number;
mod definitions;
#[cfg(test)]
pub(crate) mod differential;
mod events;
mod group;
mod holds;
mod index;
mod intervals;
mod invalidation;
mod local;
mod outbox;
mod pace;
mod patch;
mod presence;
mod roll;
mod run;
mod subscriptions;
mod version;
mod watches;

pub(crate) use apart::LANES;
pub use events::ReceivedEvent;
pub(crate) use events::note as event_note;
pub(crate) use group::{Fingerprint, GroupId};
pub(crate) use index::Index;
pub(crate) use invalidation::{Acknowledge, InvalidationEngine, Live, Pledge};
pub use local::Subscription;
pub(crate) use outbox::{End, JobNews, Outbox};
pub(crate) use presence::{Presence, STATE_BYTES_MAX, entry as presence_entry, nowhere, topic as presence_topic};
pub(crate) use roll::MAIL_MAX;
pub(crate) use subscriptions::{Subscribe, Unsubscribe};
pub(crate) use version::Versions;
