//! What a request to an admin door says: its query and its body, of which nothing may be left over that nobody understands.

use std::collections::BTreeMap;
use std::time::Duration;

use forge_core::human::parse_duration;
use forge_core::{Error, Result};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::admin::PAGE;
use crate::jobs::admin::Filter;

/// The words behind the `?`. What was not taken when it is [`end`](Self::end)ed is refused.
#[derive(Debug)]
pub(super) struct Words {
    words: BTreeMap<String, String>,
    known: Vec<&'static str>,
    now: Timestamp,
}

impl Words {
    pub(super) fn read(query: Option<&str>, now: Timestamp) -> Result<Self> {
        let mut words = BTreeMap::new();
        // A URL's own rules, for a URL of which only this matters.
        let url = reqwest::Url::parse(&format!("http://localhost/?{}", query.unwrap_or_default()))
            .map_err(|why| Error::invalid_argument("what stands behind the `?` cannot be read").with_source(why))?;
        for (name, value) in url.query_pairs() {
            if words.insert(name.clone().into_owned(), value.into_owned()).is_some() {
                return Err(Error::invalid_argument(format!("`{name}` is said twice")));
            }
        }
        Ok(Self { words, known: Vec::new(), now })
    }

    /// A word; one that is empty says nothing.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        self.words.remove(name).filter(|value| !value.is_empty())
    }

    /// Words with commas between.
    pub(super) fn list(&mut self, name: &'static str) -> Option<Vec<String>> {
        Some(self.text(name)?.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect())
    }

    pub(super) fn id(&mut self, name: &'static str) -> Result<Option<Uuid>> {
        self.text(name).map(|text| id(name, &text)).transpose()
    }

    pub(super) fn time(&mut self, name: &'static str) -> Result<Option<Timestamp>> {
        let text = self.text(name);
        text.map(|text| time(name, &text, self.now)).transpose()
    }

    /// How many a page has, within what is allowed.
    pub(super) fn limit(&mut self) -> Result<i64> {
        self.number("limit", PAGE.1, PAGE.0)
    }

    /// A number from 0 to so many.
    pub(super) fn number(&mut self, name: &'static str, unsaid: i64, most: i64) -> Result<i64> {
        let Some(text) = self.text(name) else { return Ok(unsaid) };
        let number = text.parse().ok().filter(|number| (0..=most).contains(number));
        number.ok_or_else(|| Error::invalid_argument(format!("`{name}` is a number from 0 to {most}")))
    }

    pub(super) fn filter(&mut self) -> Result<Filter> {
        Ok(Filter {
            statuses: self.list("status"),
            kind: self.text("kind"),
            queue: self.text("queue"),
            code: self.text("code"),
            since: self.time("since")?,
            until: self.time("until")?,
        })
    }

    /// Everything has been taken.
    pub(super) fn end(self) -> Result<()> {
        match self.words.into_keys().next() {
            Some(other) => {
                let known = self.known.join(", ");
                let known = if known.is_empty() { "nothing".to_owned() } else { known };
                Err(Error::invalid_argument(format!("`{}` is not known here; there is {known}", other.escape_debug())))
            }
            None => Ok(()),
        }
    }
}

/// Which jobs a bulk action is about, as its body says it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SaidFilter {
    status: Option<Vec<String>>,
    kind: Option<String>,
    queue: Option<String>,
    code: Option<String>,
    since: Option<String>,
    until: Option<String>,
}

impl SaidFilter {
    pub(super) fn read(self, now: Timestamp) -> Result<Filter> {
        let at = |name, text: Option<String>| text.map(|text| time(name, &text, now)).transpose();
        Ok(Filter {
            since: at("since", self.since)?,
            until: at("until", self.until)?,
            statuses: self.status,
            kind: self.kind,
            queue: self.queue,
            code: self.code,
        })
    }
}

/// Reads a body; one that is empty is an empty object.
pub(super) fn body<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    let body = if body.iter().all(u8::is_ascii_whitespace) { b"{}" } else { body };
    serde_json::from_slice(body)
        .map_err(|why| Error::invalid_argument(format!("the body is not what is expected here: {why}")))
}

pub(super) fn id(name: &str, text: &str) -> Result<Uuid> {
    text.parse().map_err(|_| Error::invalid_argument(format!("`{name}` is an id such as {}, not `{text}`", Uuid::nil())))
}

/// A time, or how long ago it was.
fn time(name: &str, text: &str, now: Timestamp) -> Result<Timestamp> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let ago: Duration = parse_duration(text).map_err(|_| {
        let text = text.escape_debug();
        Error::invalid_argument(format!(
            "`{name}` is a time such as 2026-01-31T12:00:00Z, or how long ago, such as 1h, not `{text}`"
        ))
    })?;
    now.checked_sub(ago).map_err(|_| Error::invalid_argument(format!("`{name}` is too long ago")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_understood_is_refused() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let mut words = Words::read(Some("status=pending,retry&since=1h&queue=a%20b&kind="), now).unwrap();
        let filter = words.filter().unwrap();
        words.end().unwrap();
        assert_eq!(filter.statuses, Some(vec!["pending".to_owned(), "retry".to_owned()]));
        assert_eq!((filter.queue.as_deref(), filter.kind), (Some("a b"), None));
        assert_eq!(filter.since, Some("2026-01-31T11:00:00Z".parse().unwrap()));
        let mut words = Words::read(Some("statsu=pending"), now).unwrap();
        words.filter().unwrap();
        let why = words.end().unwrap_err();
        assert!(why.message().contains("`statsu` is not known here; there is status, kind"), "{why}");
        assert!(Words::read(Some("a=1&a=2"), now).is_err());
        for wrong in ["since=yesterday", "since=-1h", "limit=501", "limit=x", "before=7"] {
            let mut words = Words::read(Some(wrong), now).unwrap();
            let read =
                words.filter().map(drop).and_then(|()| words.limit().map(drop)).and_then(|()| words.id("before").map(drop));
            assert_eq!(read.unwrap_err().code(), "INVALID_ARGUMENT", "{wrong}");
        }
    }
}
