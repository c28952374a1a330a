//! Where a job is in its life.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a job is in its life. The words are the same in the database, over HTTP, in TypeScript and on the command line.
///
/// ```text
///  pending ─▶ running ─▶ completed
///    ▲          ├─────▶ cancelled ◀── also from pending and retry
///    │          ├─────▶ dead_letter ─▶ discarded
///    │          ▼            │
///    └─ due ── retry         └─ retried: pending
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// It waits: for a worker, for its time, or for a place of its key (see [`Concurrency`](super::Concurrency)).
    Pending,
    /// A worker has it.
    Running,
    /// Its last attempt failed, and it waits for the time of the next one.
    Retry,
    /// It has failed for good; somebody may look at it, retry or discard it.
    DeadLetter,
    /// It has succeeded.
    Completed,
    /// It was called off, from outside or by itself.
    Cancelled,
    /// It was a dead letter, and somebody has given it up.
    Discarded,
}

impl JobStatus {
    /// All of them, in the order of a life.
    pub const ALL: [Self; 7] =
        [Self::Pending, Self::Running, Self::Retry, Self::DeadLetter, Self::Completed, Self::Cancelled, Self::Discarded];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Retry => "retry",
            Self::DeadLetter => "dead_letter",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Discarded => "discarded",
        }
    }

    /// Whether nothing more happens to it by itself.
    pub const fn has_ended(self) -> bool {
        !matches!(self, Self::Pending | Self::Running | Self::Retry)
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for JobStatus {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|status| status.as_str() == word).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str);
            format!("`{word}` is not a status of a job; there are {}", known.join(", "))
        })
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
            assert_eq!(status.as_str().parse(), Ok(status));
        }
        let why = "ready".parse::<JobStatus>().unwrap_err();
        assert!(why.contains("`ready`") && why.contains("pending, running, retry, dead_letter"), "{why}");
        let ended = JobStatus::ALL.into_iter().filter(|status| status.has_ended());
        assert_eq!(ended.count(), 4);
    }
}
