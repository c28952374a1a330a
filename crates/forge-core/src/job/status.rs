//! Where a job is in its life.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a job is in its life.
///
/// ```text
///  scheduled ─▶ ready ─▶ running ─▶ completed
///                 ▲ ▲       ├─────▶ cancelled
///   held ─────────┘ └───────┤ fails, and is to be tried again: scheduled
///                           └─────▶ dead_letter
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// It waits for a worker.
    Ready,
    /// It waits for its time: it was dispatched for later, or failed and is tried again.
    Scheduled,
    /// It waits for another one with the same key to end: see [`Concurrency`](super::Concurrency).
    Held,
    /// A worker is at it.
    Running,
    /// It has succeeded.
    Completed,
    /// It was called off, from outside or by itself.
    Cancelled,
    /// It has failed for good; somebody may look at it, retry or discard it.
    DeadLetter,
}

impl JobStatus {
    /// All of them, in the order of a life.
    pub const ALL: [Self; 7] =
        [Self::Ready, Self::Scheduled, Self::Held, Self::Running, Self::Completed, Self::Cancelled, Self::DeadLetter];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Scheduled => "scheduled",
            Self::Held => "held",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::DeadLetter => "dead_letter",
        }
    }

    /// Whether nothing more happens to it by itself.
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled | Self::DeadLetter)
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_is_the_same_everywhere() {
        for status in JobStatus::ALL {
            let json = serde_json::to_string(&status).unwrap();
            assert_eq!(json, format!("\"{status}\""));
            assert_eq!(serde_json::from_str::<JobStatus>(&json).unwrap(), status);
        }
        let ended = JobStatus::ALL.into_iter().filter(|status| status.is_ended());
        assert_eq!(ended.count(), 3);
    }
}
