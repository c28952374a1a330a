//! `[cluster]`: how the nodes of a database know of each other.

use std::time::Duration;

use super::kind::duration;
use super::table::section;
use super::units::{mins, ms, secs};

section! {
    /// How the nodes of a database know of each other. They find each other in the database, so there is nothing to say about who or where they
    /// are. All nodes of a database should have the same values.
    pub struct ClusterConfig(mode) {
        /// How often a node shows that it lives: one short statement.
        heartbeat_interval: Duration = secs(5), duration(ms(50)..=mins(1));
        /// How long a node may be silent before the others take it for dead, give its work to others, and let somebody else lead. A node that
        /// cannot reach the database stops working one `heartbeat_interval` before that. When its process ends, that is noticed at once, not
        /// after this time. At least three times `heartbeat_interval`.
        dead_threshold: Duration = secs(15), duration(ms(150)..=mins(10));
    }
}

impl ClusterConfig {
    /// How long a node that cannot beat goes on working: whoever takes it for dead does so later.
    pub(crate) fn let_go_after(&self) -> Duration {
        self.dead_threshold.saturating_sub(self.heartbeat_interval)
    }

    /// How long a node whose session has ended may take to come back with another one.
    pub(crate) fn reconnect_within(&self) -> Duration {
        self.heartbeat_interval + self.heartbeat_interval / 4
    }

    /// How long one beat may take, connecting included, before it is tried anew on another connection.
    pub(crate) fn beat_within(&self) -> Duration {
        self.let_go_after() / 2
    }

    /// How long a leader leads after its last beat.
    pub(crate) fn lease(&self) -> Duration {
        self.dead_threshold
    }
}
