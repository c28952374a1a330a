//! What a session is still to be told: a slot per subscription, never a queue.
//!
//! A round puts everything that it has for a session in at once, and whoever writes to the client takes everything at once, so a frame
//! is never half of a round. When the client is slower than the rounds, a newer result takes the place of an older one that was not
//! sent, and the frame then shows the newest of each: the state of the last round.
//!
//! How a followed job stands has such a slot as well.
//!
//! Beside results there are answers, of which a client gets no more than it asked for, and events, of which the newest hundred wait.

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use forge_core::Error;

use crate::realtime::by_number::ByNumber;
use crate::realtime::events::{Event, Events};
use crate::realtime::frame::Frame;
use crate::realtime::group::Told;
use crate::realtime::version::Held;

/// A session's number on this node.
pub(crate) type SessionId = u64;

/// How many answers may wait for a client that goes on asking without reading them; at one more, its session ends.
const ANSWERS_MAX: usize = 256;

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
pub(in crate::realtime) enum News {
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
pub(in crate::realtime) struct Delivery {
    pub(in crate::realtime) news: ByNumber<News>,
    pub(in crate::realtime) acks: Vec<String>,
    /// To be told after the results, in this order.
    pub(in crate::realtime) events: Events,
}

impl Delivery {
    /// Takes in what a later round has: what is newer takes the place of what is older.
    pub(in crate::realtime) fn then(&mut self, later: Self) {
        self.events.then(later.events, &later.news);
        self.news.extend(later.news);
        self.acks.extend(later.acks);
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
    pub(in crate::realtime) fn put(&self, position: u64, delivery: Delivery) {
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
    pub(in crate::realtime) fn latest(&self, subscription: u64) -> Option<News> {
        let mut waiting = self.waiting();
        let latest = waiting.news.remove(subscription);
        waiting.since = waiting.since.filter(|_| latest.is_some());
        latest
    }

    /// Why a subscription failed, if it did. It is still to be taken.
    pub(in crate::realtime) fn failure(&self, subscription: u64) -> Option<Arc<Error>> {
        match self.waiting().news.get(subscription) {
            Some(News::Failed(why)) => Some(why.clone()),
            _ => None,
        }
    }

    /// Takes the oldest event. When there is none, [`ready`](Self::ready) waits for something else.
    pub(in crate::realtime) fn event(&self) -> Option<Arc<Event>> {
        let mut waiting = self.waiting();
        let event = waiting.events.oldest();
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
        outgoing.events = waiting.events.messages();
        for (id, job) in waiting.jobs.iter_mut() {
            outgoing.jobs.extend(job.news.take().map(|news| (*id, job.turn, news)));
        }
        outgoing
    }
}
