//! Notes: what code says in a transaction, and every node hears when that commits.

use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Change;
use crate::db::Shape;

/// Says a note, `$1`, in the transaction that it runs in.
pub(crate) static TELL: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of("SELECT forge_tell($1)"));

/// A note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Note {
    /// Messages for sessions of this node wait in `forge_live_messages`.
    Mail(Uuid),
    /// For whoever is subscribed to a query.
    Event(EventNote),
    /// A session, of those that people sign in to, has ended.
    SessionEnded(Uuid),
}

/// An event. Arguments and data are texts of JSON, which pass through the feed as they were written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EventNote {
    /// The query's name.
    pub(crate) function: String,
    /// Canonical.
    pub(crate) args: String,
    pub(crate) name: String,
    pub(crate) data: String,
}

/// A note as it stands in the feed.
#[derive(Debug, Deserialize)]
pub(crate) struct Said {
    #[serde(rename = "n")]
    note: Note,
    /// When it was said, in microseconds of the database's clock. What was said after having seen another's effect comes after that.
    at: i64,
}

impl Said {
    pub(super) fn in_order(mut said: Vec<Self>) -> Vec<Note> {
        said.sort_by_key(|one| one.at);
        said.into_iter().map(|one| one.note).collect()
    }
}

/// What one row of the feed is.
#[derive(Debug)]
pub(super) enum Item {
    Change(Change),
    Said(Said),
}

impl Item {
    pub(super) fn parse(text: &[u8]) -> serde_json::Result<Self> {
        if text.starts_with(b"{\"n\":") {
            serde_json::from_slice(text).map(Self::Said)
        } else {
            serde_json::from_slice(text).map(Self::Change)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_told_from_changes_and_come_in_the_order_in_which_they_were_said() {
        let change = Item::parse(br#"{"t":7,"k":["a"],"c":null,"r":[["1"]]}"#).unwrap();
        assert!(matches!(change, Item::Change(Change { table: 7, .. })));
        let event = |name: &str, at: i64| {
            let note = Note::Event(EventNote {
                function: "f".into(),
                args: "{}".into(),
                name: name.into(),
                data: "\"\\u0000\"".into(),
            });
            let text = format!("{{\"n\":{},\"at\":{at}}}", serde_json::to_string(&note).unwrap());
            match Item::parse(text.as_bytes()).unwrap() {
                Item::Said(said) => said,
                Item::Change(change) => panic!("{change:?}"),
            }
        };
        let heard = Said::in_order(vec![event("second", 2), event("first", 1)]);
        let names: Vec<&str> = heard
            .iter()
            .map(|note| match note {
                Note::Event(event) => event.name.as_str(),
                Note::Mail(_) | Note::SessionEnded(_) => "",
            })
            .collect();
        assert_eq!(names, ["first", "second"]);
        assert!(Item::parse(b"{\"n\":{\"unheard\":1},\"at\":1}").is_err());
    }
}
