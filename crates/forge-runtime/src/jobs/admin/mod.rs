//! Looking at jobs and queues from outside, and acting on them. What it promises is said in [`crate::admin`].

mod act;
mod look;
mod queues;

use std::sync::{Arc, LazyLock};

use forge_core::job::JobStatus;
use forge_core::{Error, Result};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

pub(crate) use act::{Bulk, Verb};
pub(crate) use queues::{Counts, Pause};

use crate::db::Shape;

/// By how much the clocks of nodes, which ids are made by, and the database's, which says when a job was dispatched, may differ.
const CLOCKS: SignedDuration = SignedDuration::from_mins(10);

macro_rules! statements {
    ($($name:ident = $file:literal;)*) => {
        $(pub(super) static $name: LazyLock<Arc<Shape>> = LazyLock::new(|| {
            Shape::of(&super::store::text(concat!("admin/", $file), include_str!(concat!("sql/", $file))))
        });)*
    };
}

statements! {
    LIST = "list.sql";
    SHOW = "show.sql";
    CHILDREN = "children.sql";
    COUNT_DEAD = "count_dead.sql";
    COUNT_LIVE = "count_live.sql";
    RETRY = "retry.sql";
    DISCARD = "discard.sql";
    CANCEL = "cancel.sql";
    DEPTHS = "depths.sql";
    DEAD = "dead.sql";
    PAUSED = "paused.sql";
    PAUSE = "pause.sql";
    RESUME = "resume.sql";
    KNOWN = "known.sql";
    ANY = "any.sql";
    COMPLETED = "completed.sql";
}

/// Which jobs are meant. What is not said does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) statuses: Option<Vec<String>>,
    pub(crate) kind: Option<String>,
    pub(crate) queue: Option<String>,
    /// The code of the last error.
    pub(crate) code: Option<String>,
    /// Dispatched then or later.
    pub(crate) since: Option<Timestamp>,
    /// Dispatched before.
    pub(crate) until: Option<Timestamp>,
}

impl Filter {
    /// Whether it leaves anything out.
    pub(crate) fn says_something(&self) -> bool {
        *self != Self::default()
    }

    /// Which statuses there are.
    ///
    /// # Errors
    /// When one of those that are named is none, and when none is named: that would not mean none, but leave nothing out.
    pub(crate) fn check_statuses(&self, known: &[JobStatus]) -> Result<()> {
        let known: Vec<&str> = known.iter().map(|status| status.as_str()).collect();
        if self.statuses.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::invalid_argument(format!(
                "`status` names none; leave it out, or name some of: {}",
                known.join(", ")
            )));
        }
        match self.statuses.iter().flatten().find(|status| !known.contains(&status.as_str())) {
            Some(other) => {
                Err(Error::invalid_argument(format!("`{other}` is not a status here; there are: {}", known.join(", "))))
            }
            None => Ok(()),
        }
    }

    /// As the audit has it.
    fn as_json(&self) -> Value {
        let mut all = json!({
            "status": self.statuses, "kind": self.kind, "queue": self.queue, "code": self.code, "since": self.since, "until": self.until,
        });
        if let Some(all) = all.as_object_mut() {
            all.retain(|_, value| !value.is_null());
        }
        all
    }

    /// Between which ids they are, the first excluded.
    fn ids(&self) -> (Uuid, Uuid) {
        let begin = self.since.map_or(Uuid::nil(), |since| first_id_at(since.saturating_sub(CLOCKS).unwrap_or(since)));
        let end = self.until.map_or(Uuid::max(), |until| first_id_at(until.saturating_add(CLOCKS).unwrap_or(until)));
        (begin, end)
    }
}

/// An id that none of an earlier time reaches: ids begin with the milliseconds since 1970.
fn first_id_at(time: Timestamp) -> Uuid {
    Uuid::from_u128(u128::try_from(time.as_millisecond()).unwrap_or(0) << 80)
}

/// A queue, as it stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct QueueView {
    pub(crate) queue: String,
    pub(crate) paused: bool,
    pub(crate) paused_by: Option<String>,
    pub(crate) paused_at: Option<Timestamp>,
    /// Waiting for a worker.
    pub(crate) ready: i64,
    /// For their time.
    pub(crate) scheduled: i64,
    /// For a place of their key.
    pub(crate) held: i64,
    pub(crate) running: i64,
    pub(crate) dead_letters: i64,
    /// How long the oldest of those that are ready has been so.
    pub(crate) oldest_ready_seconds: Option<f64>,
    /// How long until the next scheduled one is due; negative when it is.
    pub(crate) next_due_seconds: Option<f64>,
    pub(crate) completed_per_minute: i64,
    pub(crate) died_per_minute: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_of_time_is_a_span_of_ids() {
        let at = Timestamp::now();
        let id = Uuid::now_v7();
        let hour = SignedDuration::from_hours(1);
        let filter = |since, until| Filter { since, until, ..Filter::default() }.ids();
        let (begin, end) = filter(Some(at - hour), Some(at + hour));
        assert!(begin < id && id < end);
        let (begin, _) = filter(Some(at + hour), None);
        assert!(id < begin);
        let (_, end) = filter(None, Some(at - hour));
        assert!(end < id);
        assert_eq!(filter(None, None), (Uuid::nil(), Uuid::max()));
        // However far away.
        filter(Some(Timestamp::MIN), Some(Timestamp::MAX));
    }

    #[test]
    fn what_is_said_is_told_to_the_audit() {
        let filter = Filter { kind: Some("mail".into()), ..Filter::default() };
        assert_eq!(filter.as_json(), json!({"kind": "mail"}));
        assert!(filter.says_something() && !Filter::default().says_something());
        let wrong = Filter { statuses: Some(vec!["done".into()]), ..Filter::default() };
        assert!(wrong.check_statuses(&JobStatus::ALL).unwrap_err().message().contains("`done` is not a status here"));
        let none = Filter { statuses: Some(Vec::new()), ..Filter::default() };
        for verb in [Verb::Retry, Verb::Discard, Verb::Cancel] {
            assert!(none.check_statuses(verb.statuses()).unwrap_err().message().contains("`status` names none"));
        }
    }
}
