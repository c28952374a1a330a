//! The sink `wal`: changes travel as logical messages in the write-ahead log, and each node reads them there.
//!
//! ```text
//!  commit ─▶ log ─▶ walsender (a temporary slot per node) ─▶ Reader ─▶ Arrivals ─▶ ChangeFeed: what its snapshot sees
//! ```
//!
//! What it promises: while the stage is [`Following`](arrivals::Stage::Following), every transaction that committed since the stage was entered, and
//! wrote such a message, has arrived or lies behind the position. Nothing of one that was rolled back arrives. What has arrived may not be
//! visible yet: the log is read as soon as it is flushed, and a commit becomes visible only afterwards (much later, when it waits for
//! a synchronous standby).
//!
//! The reader never waits for whoever takes what has arrived: what does not fit is dropped and counted. It confirms what it has received at
//! once. So the server keeps log for it only while it does not answer at all, and for no longer than [`SENDER_TIMEOUT`].
//!
//! No table is in its publication, so no statement of anybody's can fail for want of a replica identity.

mod arrivals;
mod messages;
mod reader;

pub(crate) use arrivals::{Arrivals, Arrived, Caught, Mark};
pub(crate) use messages::PREFIX;
pub(crate) use reader::{PUBLICATION, Reader};

/// A reader that does not answer for so long is cut off by the server, in milliseconds.
const SENDER_TIMEOUT: &str = "30000";
