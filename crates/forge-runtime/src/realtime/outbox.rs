//! What a session is still to be told: a slot per subscription, never a queue.
//!
//! A round puts everything that it has for a session in at once, and whoever writes to the client takes everything at once, so a frame
//! is never half of a round. When the client is slower than the rounds, a newer result takes the place of an older one that was not
//! sent, and the frame then shows the newest of each: the state of the last round.
//!
//! How a followed job stands has such a slot as well.
//!
//! Beside results there are answers, of which a client gets no more than it asked for, and events, of which the newest hundred wait.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use forge_core::Error;
use serde_json::json;

use super::by_number::ByNumber;
use super::events::Event;
use super::group::Told;
use super::version::Held;

/// A session's number on this node.
pub(crate) type SessionId = u64;

/// How many answers may wait for a client that goes on asking without reading them; at one more, its session ends.
const ANSWERS_MAX: usize = 256;

/// How many events may wait for a client; at one more, the oldest goes.
const EVENTS_MAX: usize = 100;

/// Why a session ends: a close code of the WebSocket protocol, 4400 and above being our own, and a few words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) code: u16,
    pub(crate) why: &'static str,
}

impl End {
    pub(crate) const SIGNED_OUT: Self = Self { code: 4401, why: "not signed in any more" };
    pub(crate) const STOPPING: Self = Self { code: 1012, why: "the server stops" };
    pub(crate) const SLOW: Self = Self { code: 1013, why: "too slow" };
    pub(crate) const BUSY: Self = Self { code: 1013, why: "too many sessions" };
    pub(crate) const OFTEN: Self = Self { code: 1013, why: "too many tokens" };
    pub(crate) const AWAY: Self = Self { code: 1013, why: "the database is away" };
    pub(crate) const TOO_LARGE: Self = Self { code: 1009, why: "the message is too large" };
    /// The client is gone: there is nobody to tell.
    pub(crate) const GONE: Self = Self { code: 1000, why: "" };

    /// The client does not keep to the protocol.
    pub(crate) const fn broken(why: &'static str) -> Self {
        Self { code: 4400, why }
    }
}

/// What a session is still to be told.
#[derive(Debug)]
pub(crate) struct Outbox {
    pub(crate) id: SessionId,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Answers and errors, as JSON.
    said: Vec<String>,
    /// How many of these are answers to calls, which may be large.
    replies: usize,
    news: ByNumber<News>,
    acks: Vec<String>,
    position: u64,
    /// What the client has of each subscription.
    held: ByNumber<Held>,
    events: Events,
    jobs: ByNumber<Job>,
    /// How many jobs were followed.
    followed: u64,
    end: Option<End>,
    /// Since when something waits.
    since: Option<Instant>,
    /// Of whoever writes to the client, when there was nothing to write.
    writer: Option<Waker>,
}

/// News of one subscription.
#[derive(Debug, Clone)]
pub(super) enum News {
    Result(Arc<Told>),
    Failed(Arc<Error>),
}

/// A job that the session follows.
#[derive(Debug)]
struct Job {
    /// Tells it from others that had its number.
    turn: u64,
    news: Option<JobNews>,
}

/// News of a job that a session follows.
#[derive(Debug)]
pub(crate) enum JobNews {
    /// How it stands, as JSON.
    Stands {
        text: String,
        /// There will be nothing more.
        over: bool,
    },
    /// It is not followed any more.
    Failed(Arc<Error>),
}

/// Everything that one round has for a session.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    pub(super) news: ByNumber<News>,
    pub(super) acks: Vec<String>,
    /// To be told after the results, in this order.
    pub(super) events: Events,
}

impl Delivery {
    /// Takes in what a later round has: what is newer takes the place of what is older.
    pub(super) fn then(&mut self, later: Self) {
        self.events.then(later.events, &later.news);
        self.news.extend(later.news);
        self.acks.extend(later.acks);
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
    fn then(&mut self, later: Self, news: &ByNumber<News>) {
        // What may not be seen any more is not told any more.
        self.waiting.retain(|(id, _)| !matches!(news.get(*id), Some(News::Failed(_))));
        self.missed += later.missed;
        later.waiting.into_iter().for_each(|(id, event)| self.push(id, event));
    }

    pub(super) fn forget(&mut self, subscription: u64) {
        self.waiting.retain(|(of, _)| *of != subscription);
    }
}

/// What to write next, in this order.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    /// Answers and errors, as JSON.
    pub(crate) said: Vec<String>,
    /// Subscriptions that failed.
    pub(crate) failures: Vec<(u64, Arc<Error>)>,
    /// A frame, as JSON.
    pub(crate) frame: Option<String>,
    /// Events, as JSON.
    pub(crate) events: Vec<String>,
    /// How jobs stand: the number and the turn of each.
    pub(crate) jobs: Vec<(u64, u64, JobNews)>,
    /// Nothing comes after this.
    pub(crate) end: Option<End>,
}

impl Outbox {
    /// For a new session.
    pub(crate) fn new() -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { id, waiting: Mutex::default() })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Waiting)) {
        let mut waiting = self.waiting();
        change(&mut waiting);
        waiting.since.get_or_insert_with(Instant::now);
        let writer = waiting.writer.take();
        drop(waiting);
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    /// Puts a round's delivery in.
    pub(super) fn put(&self, position: u64, delivery: Delivery) {
        self.change(|waiting| {
            waiting.position = waiting.position.max(position);
            waiting.events.then(delivery.events, &delivery.news);
            waiting.news.extend(delivery.news);
            waiting.acks.extend(delivery.acks);
        });
    }

    /// An answer, or an error that no subscription is to blame for.
    pub(crate) fn say(&self, json: String) {
        self.change(|waiting| {
            if waiting.said.len() < ANSWERS_MAX {
                waiting.said.push(json);
            } else {
                waiting.end.get_or_insert(End::SLOW);
            }
        });
    }

    /// Has whoever writes look at what the session is, though there may be nothing to write.
    pub(crate) fn look(&self) {
        self.change(|_| {});
    }

    /// The answer to a call.
    pub(crate) fn reply(&self, json: String) {
        self.change(|waiting| {
            waiting.said.push(json);
            waiting.replies += 1;
        });
    }

    /// How many answers to calls wait. Whoever lets clients call takes care that it is not too many.
    pub(crate) fn replies(&self) -> usize {
        self.waiting().replies
    }

    /// The session ends once the answers are written. The first reason counts.
    pub(crate) fn end(&self, end: End) {
        self.change(|waiting| {
            waiting.end.get_or_insert(end);
        });
    }

    /// The session ends with this last word. One that ends already has had it.
    pub(crate) fn end_saying(&self, json: String, end: End) {
        self.change(|waiting| {
            if waiting.end.is_none() {
                waiting.said.push(json);
                waiting.end = Some(end);
            }
        });
    }

    /// Whether something has waited for longer than this.
    pub(crate) fn is_stalled(&self, longest: Duration) -> bool {
        self.waiting().since.is_some_and(|since| since.elapsed() > longest)
    }

    /// The client subscribes anew, and says which version it holds from an earlier connection, if any.
    pub(crate) fn holds(&self, subscription: u64, version: Option<&str>) {
        self.forget(subscription);
        if let Some(held) = version.and_then(Held::claimed) {
            self.waiting().held.insert(subscription, held);
        }
    }

    /// A job is followed under this number from now on. Returns which turn of the number that is.
    pub(crate) fn follow(&self, subscription: u64) -> u64 {
        self.forget(subscription);
        let mut waiting = self.waiting();
        waiting.followed += 1;
        let turn = waiting.followed;
        waiting.jobs.insert(subscription, Job { turn, news: None });
        turn
    }

    /// News of a job; the newest counts. Nothing when the number has been given to something else meanwhile.
    pub(crate) fn job(&self, subscription: u64, turn: u64, news: JobNews) {
        if self.waiting().jobs.get(subscription).is_some_and(|job| job.turn == turn) {
            self.change(|waiting| {
                if let Some(job) = waiting.jobs.get_mut(subscription).filter(|job| job.turn == turn) {
                    job.news = Some(news);
                }
            });
        }
    }

    /// Nothing more is said of a subscription.
    pub(crate) fn forget(&self, subscription: u64) {
        let mut waiting = self.waiting();
        waiting.news.remove(subscription);
        waiting.held.remove(subscription);
        waiting.events.forget(subscription);
        waiting.jobs.remove(subscription);
    }

    /// Whether there is something to take. If not, whoever asks is woken when there is; it is the only one who asks.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.waiting();
        if waiting.since.is_some() {
            return Poll::Ready(());
        }
        if !waiting.writer.as_ref().is_some_and(|writer| writer.will_wake(cx.waker())) {
            waiting.writer = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Waits until there is something to take.
    pub(crate) async fn ready(&self) {
        std::future::poll_fn(|cx| self.poll_ready(cx)).await;
    }

    /// Takes the newest of one subscription. When there is none, [`ready`](Self::ready) waits for something else.
    pub(super) fn latest(&self, subscription: u64) -> Option<News> {
        let mut waiting = self.waiting();
        let latest = waiting.news.remove(subscription);
        waiting.since = waiting.since.filter(|_| latest.is_some());
        latest
    }

    /// Why a subscription failed, if it did. It is still to be taken.
    pub(super) fn failure(&self, subscription: u64) -> Option<Arc<Error>> {
        match self.waiting().news.get(subscription) {
            Some(News::Failed(why)) => Some(why.clone()),
            _ => None,
        }
    }

    /// Takes the oldest event. When there is none, [`ready`](Self::ready) waits for something else.
    pub(super) fn event(&self) -> Option<Arc<Event>> {
        let mut waiting = self.waiting();
        let event = waiting.events.waiting.pop_front().map(|(_, event)| event);
        waiting.since = waiting.since.filter(|_| event.is_some());
        event
    }

    /// Whether there is nothing to take.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting().since.is_none()
    }

    /// Takes everything.
    pub(crate) fn take(&self) -> Outgoing {
        let mut waiting = self.waiting();
        let waiting = &mut *waiting;
        waiting.since = None;
        waiting.replies = 0;
        let mut outgoing = Outgoing { said: std::mem::take(&mut waiting.said), end: waiting.end, ..Outgoing::default() };
        if outgoing.end.is_some() {
            // Whoever does not belong here any more is shown nothing more.
            return outgoing;
        }
        let mut frame = Frame::default();
        for (id, news) in waiting.news.drain() {
            match news {
                News::Failed(why) => {
                    waiting.held.remove(id);
                    outgoing.failures.push((id, why));
                }
                News::Result(told) => frame.add(id, &told, waiting.held.insert(id, Held::Sent(told.version))),
            }
        }
        outgoing.frame = frame.text(waiting.position, &std::mem::take(&mut waiting.acks));
        for (id, event) in std::mem::take(&mut waiting.events.waiting) {
            outgoing.events.push(event.message(id, std::mem::take(&mut waiting.events.missed)));
        }
        for (id, job) in waiting.jobs.iter_mut() {
            outgoing.jobs.extend(job.news.take().map(|news| (*id, job.turn, news)));
        }
        outgoing
    }
}

/// A frame that is being written.
#[derive(Debug, Default)]
struct Frame {
    /// With commas between them.
    results: String,
    /// Some of them are no patches.
    whole: bool,
}

impl Frame {
    /// A result, for a client that has `held` of it.
    fn add(&mut self, id: u64, told: &Told, held: Option<Held>) {
        let Self { results, whole } = self;
        if !results.is_empty() {
            results.push(',');
        }
        let had = |version| held.is_some_and(|held| held.is(version));
        // Writing to a text does not fail.
        let _ = match &told.patch {
            Some((base, patch)) if had(*base) && !had(told.version) => write!(results, "[{id}{patch}"),
            _ => {
                *whole = true;
                let version = told.version.brief();
                if had(told.version) {
                    write!(results, "{{\"id\":{id},\"version\":\"{version}\",\"current\":true}}")
                } else {
                    write!(results, "{{\"id\":{id},\"version\":\"{version}\",\"data\":{}}}", told.json)
                }
            }
        };
    }

    /// The frame as JSON, if there is anything in it. Patches are many and small: nothing goes with them that nobody needs.
    fn text(self, position: u64, acks: &[String]) -> Option<String> {
        let Self { results, whole } = self;
        if results.is_empty() && acks.is_empty() {
            return None;
        }
        let position = if whole { format!("\"position\":\"{position}\",") } else { String::new() };
        let acks = if acks.is_empty() { String::new() } else { format!(",\"acks\":{}", json!(acks)) };
        Some(format!("{{\"type\":\"frame\",{position}\"results\":[{results}]{acks}}}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::version::Versions;
    use super::*;

    fn told(json: Vec<u8>, before: Option<&Told>) -> Arc<Told> {
        Arc::new(Told::new(json, before, &Versions::new(None)))
    }

    fn list(n: usize, last: &str) -> Vec<u8> {
        let mut rows: Vec<Value> = (0..n).map(|id| json!({"id": id, "title": "a title of some length"})).collect();
        rows.push(json!({"id": "last", "title": last}));
        Value::Array(rows).to_string().into_bytes()
    }

    fn news(news: Vec<(u64, News)>) -> Delivery {
        Delivery { news: news.into_iter().collect(), ..Delivery::default() }
    }

    fn frame(outbox: &Outbox) -> Value {
        serde_json::from_str(&outbox.take().frame.unwrap()).unwrap()
    }

    #[test]
    fn a_client_gets_the_newest_as_a_patch_to_what_it_has() {
        let outbox = Outbox::new();
        let put = |told: &Arc<Told>| outbox.put(7, news(vec![(3, News::Result(told.clone()))]));
        let first = told(list(9, "x"), None);
        let second = told(list(9, "y"), Some(&first));
        let third = told(list(9, "missed"), Some(&second));
        let fourth = told(list(9, "z"), Some(&third));
        put(&first);
        let whole = frame(&outbox);
        assert_eq!((&whole["results"][0]["data"][9]["title"], &whole["position"]), (&json!("x"), &json!("7")));
        put(&second);
        let brief = second.version.brief();
        let patched = format!(r#"{{"type":"frame","results":[[3,"{brief}",9,"title","y"]]}}"#);
        assert_eq!(outbox.take().frame.as_ref(), Some(&patched));
        assert!(patched.len() - r#""y""#.len() <= 60, "{patched}");
        // Slower than the rounds: what it misses in between makes the patch useless, so it gets the whole.
        put(&third);
        put(&fourth);
        assert_eq!(frame(&outbox)["results"][0]["data"][9]["title"], "z");
        put(&fourth);
        assert_eq!(frame(&outbox)["results"][0]["current"], true);
        assert!(outbox.take().frame.is_none());
    }

    #[test]
    fn of_a_job_the_newest_counts_and_nothing_of_one_that_had_its_number_before() {
        let outbox = Outbox::new();
        let stands = |text: &str| JobNews::Stands { text: text.to_owned(), over: false };
        let texts = |outbox: &Outbox| -> Vec<String> {
            let jobs = outbox.take().jobs.into_iter();
            jobs.map(|(id, _, news)| match news {
                JobNews::Stands { text, .. } => format!("{id} {text}"),
                JobNews::Failed(why) => format!("{id} {}", why.code()),
            })
            .collect()
        };
        let (first, other) = (outbox.follow(4), outbox.follow(2));
        outbox.job(4, first, stands("10 %"));
        outbox.job(4, first, stands("20 %"));
        outbox.job(2, other, JobNews::Failed(Arc::new(Error::not_found("x"))));
        assert_eq!(texts(&outbox), ["2 NOT_FOUND", "4 20 %"]);
        assert!(outbox.is_empty() && texts(&outbox).is_empty());
        let second = outbox.follow(4);
        outbox.job(4, first, stands("late"));
        assert!(outbox.is_empty(), "it is about another one now");
        outbox.job(4, second, stands("new"));
        outbox.forget(4);
        outbox.job(4, second, stands("forgotten"));
        assert!(texts(&outbox).is_empty());
        let third = outbox.follow(4);
        outbox.job(4, third, stands("secret"));
        outbox.end(End::SIGNED_OUT);
        assert!(texts(&outbox).is_empty(), "whoever is signed out is shown nothing more");
    }

    #[test]
    fn a_client_that_says_what_it_holds_gets_what_makes_the_newest_of_it() {
        let first = told(list(9, "x"), None);
        let second = told(list(9, "y"), Some(&first));
        let (old, new) = (first.version.brief().to_string(), second.version.brief().to_string());
        let told_to = |held: Option<&str>| {
            let outbox = Outbox::new();
            outbox.holds(1, Some(&old));
            outbox.holds(1, held);
            outbox.put(7, news(vec![(1, News::Result(second.clone()))]));
            frame(&outbox)["results"][0].clone()
        };
        assert_eq!(told_to(Some(&new))["current"], true);
        assert_eq!(told_to(Some(&old)), json!([1, new, 9, "title", "y"]));
        for unknown in [None, Some("AAAAAAAA"), Some("")] {
            assert_eq!(told_to(unknown)["data"][9]["title"], "y", "{unknown:?}");
        }
    }

    #[test]
    fn acknowledgements_come_with_the_round_that_shows_them() {
        let outbox = Outbox::new();
        let told = told(b"1".to_vec(), None);
        outbox.put(9, Delivery { acks: vec!["m\"1".into()], ..news(vec![(1, News::Result(told))]) });
        let frame = frame(&outbox);
        assert_eq!((frame["acks"][0].as_str(), frame["results"][0]["data"].as_i64()), (Some("m\"1"), Some(1)));
        assert_eq!(frame["position"], "9");
    }

    #[test]
    fn nothing_is_said_of_what_was_given_up() {
        let outbox = Outbox::new();
        let told = told(b"1".to_vec(), None);
        outbox.put(9, news(vec![(1, News::Result(told))]));
        outbox.forget(1);
        assert!(outbox.take().frame.is_none());
    }

    fn moved(number: usize) -> Events {
        let mut events = Events::default();
        events.push(1, Arc::new(Event { name: "moved".into(), data: number.to_string() }));
        events
    }

    #[test]
    fn events_come_after_the_frame_and_the_oldest_of_too_many_go() {
        let outbox = Outbox::new();
        let told = told(b"1".to_vec(), None);
        outbox.put(9, Delivery { events: moved(0), ..news(vec![(1, News::Result(told))]) });
        for number in 1..EVENTS_MAX + 3 {
            outbox.put(9, Delivery { events: moved(number), ..Delivery::default() });
        }
        let outgoing = outbox.take();
        assert!(outgoing.frame.is_some());
        assert_eq!(outgoing.events.len(), EVENTS_MAX);
        assert_eq!(outgoing.events[0], r#"{"type":"event","id":1,"name":"moved","data":3,"missed":3}"#);
        assert_eq!(outgoing.events[1], r#"{"type":"event","id":1,"name":"moved","data":4}"#);
    }

    #[test]
    fn however_much_happens_what_waits_for_a_client_that_does_not_read_is_a_slot_for_each_thing_it_follows() {
        const ROUNDS: usize = 2_000;
        let outbox = Outbox::new();
        let turn = outbox.follow(9);
        let mut before = None;
        for round in 0..ROUNDS {
            let now = told(list(3, &round.to_string()), before.as_deref());
            let all = (1..=3).map(|id| (id, News::Result(now.clone()))).collect();
            outbox.put(round as u64, Delivery { events: moved(round), ..news(all) });
            outbox.job(9, turn, JobNews::Stands { text: format!("{round}"), over: false });
            before = Some(now);
        }
        let outgoing = outbox.take();
        assert_eq!((outgoing.said.len(), outgoing.events.len(), outgoing.jobs.len()), (0, EVENTS_MAX, 1));
        let frame: Value = serde_json::from_str(&outgoing.frame.unwrap()).unwrap();
        let last: Vec<&Value> = frame["results"].as_array().unwrap().iter().map(|one| &one["data"][3]["title"]).collect();
        assert_eq!(last, vec![&json!((ROUNDS - 1).to_string()); 3], "the newest of each, once");
        assert!(outbox.is_empty());
    }

    #[test]
    fn of_a_subscription_that_failed_or_ended_no_event_is_told() {
        let outbox = Outbox::new();
        outbox.put(9, Delivery { events: moved(0), ..Delivery::default() });
        outbox.put(10, news(vec![(1, News::Failed(Arc::new(Error::forbidden("not any more"))))]));
        let outgoing = outbox.take();
        assert_eq!((outgoing.failures.len(), outgoing.events.len()), (1, 0));
        outbox.put(9, Delivery { events: moved(0), ..Delivery::default() });
        outbox.forget(1);
        assert!(outbox.take().events.is_empty());
    }

    #[test]
    fn whoever_does_not_read_answers_is_too_slow_and_whoever_has_ended_is_shown_nothing() {
        let outbox = Outbox::new();
        let told = told(b"1".to_vec(), None);
        outbox.put(9, Delivery { events: moved(0), ..news(vec![(1, News::Result(told))]) });
        (0..=ANSWERS_MAX).for_each(|_| outbox.say("{}".into()));
        let outgoing = outbox.take();
        assert_eq!((outgoing.said.len(), outgoing.end), (ANSWERS_MAX, Some(End::SLOW)));
        assert!(outgoing.frame.is_none() && outgoing.events.is_empty());
    }
}
