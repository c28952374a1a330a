//! What a session is still to be told: a slot per subscription, never a queue.
//!
//! A round puts everything that it has for a session in at once, and whoever writes to the client takes everything at once, so a frame
//! is never half of a round. When the client is slower than the rounds, a newer result takes the place of an older one that was not
//! sent, and the frame then shows the newest of each: the state of the last round.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forge_core::Error;
use serde_json::json;
use tokio::sync::Notify;

use super::group::Told;

/// A session's number on this node.
pub(crate) type SessionId = u64;

/// What a session is still to be told.
#[derive(Debug)]
pub(crate) struct Outbox {
    pub(crate) id: SessionId,
    waiting: Mutex<Waiting>,
    ready: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    news: BTreeMap<u64, News>,
    acks: Vec<String>,
    position: u64,
    /// The version that the client has of each subscription.
    sent: HashMap<u64, String>,
}

/// News of one subscription.
#[derive(Debug, Clone)]
pub(super) enum News {
    Result(Arc<Told>),
    Failed(Arc<Error>),
}

/// Everything that one round has for a session.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    /// By the session's number of the subscription.
    pub(super) news: BTreeMap<u64, News>,
    pub(super) acks: Vec<String>,
}

impl Delivery {
    /// Takes in what a later round has: what is newer takes the place of what is older.
    pub(super) fn then(&mut self, later: Self) {
        self.news.extend(later.news);
        self.acks.extend(later.acks);
    }
}

/// What to write next.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    /// A frame, as JSON.
    pub(crate) frame: Option<String>,
    /// Subscriptions that failed.
    pub(crate) failures: Vec<(u64, Arc<Error>)>,
}

impl Outbox {
    /// For a new session.
    pub(crate) fn new() -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { id, waiting: Mutex::default(), ready: Notify::new() })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a round's delivery in.
    pub(super) fn put(&self, position: u64, delivery: Delivery) {
        let mut waiting = self.waiting();
        waiting.position = waiting.position.max(position);
        waiting.news.extend(delivery.news);
        waiting.acks.extend(delivery.acks);
        drop(waiting);
        self.ready.notify_one();
    }

    /// The client says which version it holds from an earlier connection.
    pub(crate) fn holds(&self, subscription: u64, version: String) {
        self.waiting().sent.insert(subscription, version);
    }

    /// Nothing more is said of a subscription.
    pub(crate) fn forget(&self, subscription: u64) {
        let mut waiting = self.waiting();
        waiting.news.remove(&subscription);
        waiting.sent.remove(&subscription);
    }

    /// Waits until there is something to take.
    pub(crate) async fn ready(&self) {
        self.ready.notified().await;
    }

    /// Takes the newest of one subscription.
    pub(super) fn latest(&self, subscription: u64) -> Option<News> {
        self.waiting().news.remove(&subscription)
    }

    /// Takes everything.
    pub(crate) fn take(&self) -> Outgoing {
        let mut waiting = self.waiting();
        let waiting = &mut *waiting;
        let mut outgoing = Outgoing::default();
        let mut results: Vec<String> = Vec::new();
        for (id, news) in std::mem::take(&mut waiting.news) {
            match news {
                News::Failed(why) => {
                    waiting.sent.remove(&id);
                    outgoing.failures.push((id, why));
                }
                News::Result(told) => {
                    let had = waiting.sent.insert(id, told.version.clone());
                    results.push(entry(id, &told, had.as_deref()));
                }
            }
        }
        let acks = std::mem::take(&mut waiting.acks);
        if !results.is_empty() || !acks.is_empty() {
            let acks = if acks.is_empty() { String::new() } else { format!(",\"acks\":{}", json!(acks)) };
            let results = results.join(",");
            outgoing.frame =
                Some(format!("{{\"type\":\"frame\",\"position\":\"{}\",\"results\":[{results}]{acks}}}", waiting.position));
        }
        outgoing
    }
}

/// A result for a client that has the version `had`.
fn entry(id: u64, told: &Told, had: Option<&str>) -> String {
    // Versions are base64url, and results and patches are JSON.
    let version = &told.version;
    let json = |bytes| std::str::from_utf8(bytes).unwrap_or("null");
    match (had, &told.patch) {
        (Some(had), _) if had == version => format!("{{\"id\":{id},\"version\":\"{version}\",\"current\":true}}"),
        (Some(had), Some((base, patch))) if had == base => {
            format!("{{\"id\":{id},\"version\":\"{version}\",\"base\":\"{base}\",\"delta\":{}}}", json(patch.as_slice()))
        }
        _ => format!("{{\"id\":{id},\"version\":\"{version}\",\"data\":{}}}", json(told.json.as_slice())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn list(n: usize, last: &str) -> Vec<u8> {
        let mut rows: Vec<Value> = (0..n).map(|id| json!({"id": id, "title": "a title of some length"})).collect();
        rows.push(json!({"id": "last", "title": last}));
        Value::Array(rows).to_string().into_bytes()
    }

    fn frame(outbox: &Outbox) -> Value {
        serde_json::from_str(&outbox.take().frame.unwrap()).unwrap()
    }

    #[test]
    fn a_client_gets_the_newest_as_a_patch_to_what_it_has() {
        let outbox = Outbox::new();
        let put =
            |told: &Arc<Told>| outbox.put(7, Delivery { news: [(3, News::Result(told.clone()))].into(), acks: Vec::new() });
        let first = Arc::new(Told::new(list(9, "x"), None));
        let second = Arc::new(Told::new(list(9, "y"), Some(&first)));
        let third = Arc::new(Told::new(list(9, "missed"), Some(&second)));
        let fourth = Arc::new(Told::new(list(9, "z"), Some(&third)));
        put(&first);
        assert_eq!(frame(&outbox)["results"][0]["data"][9]["title"], "x");
        put(&second);
        let patched = frame(&outbox);
        assert_eq!(patched["results"][0]["base"], first.version.as_str());
        assert_eq!(patched["results"][0]["delta"]["[]"][0][1], 9);
        // Slower than the rounds: what it misses in between makes the patch useless, so it gets the whole.
        put(&third);
        put(&fourth);
        assert_eq!(frame(&outbox)["results"][0]["data"][9]["title"], "z");
        put(&fourth);
        assert_eq!(frame(&outbox)["results"][0]["current"], true);
        assert!(outbox.take().frame.is_none());
    }

    #[test]
    fn acknowledgements_come_with_the_round_that_shows_them() {
        let outbox = Outbox::new();
        let told = Arc::new(Told::new(b"1".to_vec(), None));
        outbox.put(9, Delivery { news: [(1, News::Result(told))].into(), acks: vec!["m\"1".into()] });
        let frame = frame(&outbox);
        assert_eq!((frame["acks"][0].as_str(), frame["results"][0]["data"].as_i64()), (Some("m\"1"), Some(1)));
        assert_eq!(frame["position"], "9");
    }

    #[test]
    fn nothing_is_said_of_what_was_given_up() {
        let outbox = Outbox::new();
        let told = Arc::new(Told::new(b"1".to_vec(), None));
        outbox.put(9, Delivery { news: [(1, News::Result(told))].into(), acks: Vec::new() });
        outbox.forget(1);
        assert!(outbox.take().frame.is_none());
    }
}
