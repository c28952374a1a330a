//! The jobs that a worker has claimed and not begun yet, and who may begin one.
//!
//! ```text
//!  claimed ─▶ waiting, by queue ──take: a slot is free, and the queue may have it──▶ running ──done──▶ slot free
//!                      └──waits too long──▶ handed back
//! ```
//!
//! A worker claims what its free slots can begin at once, and ahead of that as much as it gets done in a few hundredths of a second, so that its
//! slots need not wait for the database; of slow jobs that is nothing. A queue may have at most `max` slots, and `reserved` ones
//! are kept free for it. The other slots are all queues': what waits of one leaves less room for the others.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// How far ahead a worker claims: what it gets done in this time, by its own measure.
const AHEAD: Duration = Duration::from_millis(25);

/// The most that is claimed ahead, of one queue and of all together.
const AHEAD_MAX: usize = 2000;

/// The slots of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slots {
    /// The most that run at a time.
    pub(super) max: usize,
    /// How many are kept free for it by the others.
    pub(super) reserved: usize,
}

#[derive(Debug)]
struct Queue<J> {
    slots: Slots,
    waiting: VecDeque<(Instant, J)>,
    running: usize,
    /// Begun since something was put on the shelf last.
    begun: usize,
    /// Ended in this stretch of [`AHEAD`], and in the one before. (What begins says little: slow jobs begin at once when slots are free.)
    ended: (usize, usize),
}

#[derive(Debug)]
struct Inner<J> {
    /// In one order, so that queues take turns.
    queues: BTreeMap<&'static str, Queue<J>>,
    running: usize,
    /// The queue that had a slot last.
    last: &'static str,
    /// When the stretch began in which what ends is counted.
    since: Instant,
}

/// The shelf.
#[derive(Debug)]
pub(super) struct Shelf<J> {
    size: usize,
    inner: Mutex<Inner<J>>,
    /// Something may be begun.
    more: Notify,
    /// There may be room for more.
    room: Notify,
}

impl<J> Shelf<J> {
    /// An empty one for so many slots in all, and these queues.
    pub(super) fn new(size: usize, queues: impl IntoIterator<Item = (&'static str, Slots)>) -> Self {
        let queue = |slots| Queue { slots, waiting: VecDeque::new(), running: 0, begun: 0, ended: (0, 0) };
        let inner = Inner {
            queues: queues.into_iter().map(|(name, slots)| (name, queue(slots))).collect(),
            running: 0,
            last: "",
            since: Instant::now(),
        };
        Self { size, inner: Mutex::new(inner), more: Notify::new(), room: Notify::new() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner<J>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many more of a queue are to be claimed.
    pub(super) fn room(&self, queue: &str) -> usize {
        let mut inner = self.inner();
        inner.count(Instant::now());
        let shared = inner.shared_room(self.size);
        inner.queues.get(queue).map_or(0, |queue| queue.room(self.size).min(queue.own_room() + shared))
    }

    /// How many more are to be claimed, of all queues together.
    pub(super) fn room_of_all(&self) -> usize {
        let mut inner = self.inner();
        inner.count(Instant::now());
        inner.shared_room(self.size) + inner.queues.values().map(Queue::own_room).sum::<usize>()
    }

    /// Waits until there may be more room than before.
    pub(super) async fn roomier(&self) {
        self.room.notified().await;
    }

    /// Puts claimed jobs on it.
    pub(super) fn put(&self, jobs: impl IntoIterator<Item = (&'static str, J)>) {
        let (mut inner, now) = (self.inner(), Instant::now());
        inner.queues.values_mut().for_each(|queue| queue.begun = 0);
        let mut n = 0;
        for (queue, job) in jobs {
            if let Some(queue) = inner.queues.get_mut(queue) {
                queue.waiting.push_back((now, job));
                n += 1;
            }
        }
        drop(inner);
        for _ in 0..n.min(self.size) {
            self.more.notify_one();
        }
    }

    /// Takes a job to begin it, as soon as there is one that may be; its slot is taken until [`done`](Self::done).
    pub(super) async fn take(&self) -> (&'static str, J) {
        loop {
            if let Some(taken) = self.try_take() {
                return taken;
            }
            self.more.notified().await;
        }
    }

    fn try_take(&self) -> Option<(&'static str, J)> {
        let mut inner = self.inner();
        let free = self.size.saturating_sub(inner.running);
        if free == 0 {
            return None;
        }
        let kept: usize = inner.queues.values().map(Queue::kept).sum();
        let may = |queue: &Queue<J>| {
            let own = queue.kept();
            !queue.waiting.is_empty() && queue.running < queue.slots.max && (own > 0 || free > kept)
        };
        let last = inner.last;
        let after = inner.queues.range(last..).skip_while(|(name, _)| **name == last);
        let name = after.chain(inner.queues.range(..=last)).find(|(_, queue)| may(queue)).map(|(name, _)| *name)?;
        inner.last = name;
        inner.running += 1;
        let queue = inner.queues.get_mut(name)?;
        queue.running += 1;
        queue.begun += 1;
        let (_, job) = queue.waiting.pop_front()?;
        let low = queue.waiting.len() * 2 <= queue.begun;
        let more = inner.queues.values().any(|queue| !queue.waiting.is_empty());
        drop(inner);
        if low {
            self.room.notify_one();
        }
        if more {
            // Whoever is woken by what another one took looks for the rest.
            self.more.notify_one();
        }
        Some((name, job))
    }

    /// A job has ended, or waits for others without a slot.
    pub(super) fn done(&self, queue: &str) {
        let mut inner = self.inner();
        inner.count(Instant::now());
        inner.running = inner.running.saturating_sub(1);
        if let Some(queue) = inner.queues.get_mut(queue) {
            queue.running = queue.running.saturating_sub(1);
            queue.ended.0 += 1;
        }
        drop(inner);
        self.more.notify_one();
        self.room.notify_one();
    }

    /// A job that waited for others goes on. It does not wait for a slot: for that moment there is one more than there should be.
    pub(super) fn back(&self, queue: &str) {
        let mut inner = self.inner();
        inner.running += 1;
        if let Some(queue) = inner.queues.get_mut(queue) {
            queue.running += 1;
        }
    }

    /// Gives a job's slot away as long as the guard lives. A job may do so several times at once, of which `waits` keeps count: it has but one slot, which is
    /// away from the first of them to the last.
    pub(super) fn away<'a>(&'a self, queue: &'static str, waits: &'a Mutex<usize>) -> impl Drop + 'a {
        struct Away<'a, J>(&'a Shelf<J>, &'static str, &'a Mutex<usize>);
        impl<J> Drop for Away<'_, J> {
            fn drop(&mut self) {
                let mut waits = self.2.lock().unwrap_or_else(PoisonError::into_inner);
                *waits -= 1;
                if *waits == 0 {
                    self.0.back(self.1);
                }
            }
        }
        let mut count = waits.lock().unwrap_or_else(PoisonError::into_inner);
        if *count == 0 {
            self.done(queue);
        }
        *count += 1;
        drop(count);
        Away(self, queue, waits)
    }

    /// Takes off what has waited for so long; all that waits when nothing is said.
    pub(super) fn take_back(&self, longer_than: Duration) -> Vec<J> {
        let mut inner = self.inner();
        let old = |(since, _): &(Instant, J)| since.elapsed() >= longer_than;
        let mut back = Vec::new();
        for queue in inner.queues.values_mut() {
            while queue.waiting.front().is_some_and(old) {
                back.extend(queue.waiting.pop_front().map(|(_, job)| job));
            }
        }
        back
    }

    /// Takes off all that waits of some queues.
    pub(super) fn take_off(&self, of: impl Fn(&str) -> bool) -> Vec<J> {
        let mut inner = self.inner();
        let queues = inner.queues.iter_mut().filter(|(name, _)| of(name));
        queues.flat_map(|(_, queue)| queue.waiting.drain(..)).map(|(_, job)| job).collect()
    }

    /// How many run, and how many wait.
    pub(super) fn counts(&self) -> (usize, usize) {
        let inner = self.inner();
        (inner.running, inner.queues.values().map(|queue| queue.waiting.len()).sum())
    }
}

impl<J> Inner<J> {
    /// How many more are to be claimed for slots that are no queue's own.
    fn shared_room(&self, size: usize) -> usize {
        let kept: usize = self.queues.values().map(Queue::kept).sum();
        let ahead = self.queues.values().map(Queue::ahead).sum::<usize>().min(AHEAD_MAX);
        let waiting: usize = self.queues.values().map(|queue| queue.waiting.len().saturating_sub(queue.kept())).sum();
        (size.saturating_sub(self.running + kept) + ahead).saturating_sub(waiting)
    }

    /// Begins the next stretch when this one is over.
    fn count(&mut self, now: Instant) {
        let passed = now.duration_since(self.since);
        if passed < AHEAD {
            return;
        }
        self.since = now;
        for queue in self.queues.values_mut() {
            // It may have taken longer than a stretch.
            let ended = queue.ended.0 as f64 * AHEAD.as_secs_f64() / passed.as_secs_f64();
            queue.ended = (0, ended as usize);
        }
    }
}

impl<J> Queue<J> {
    /// How many of its reserved slots nobody uses.
    fn kept(&self) -> usize {
        self.slots.reserved.saturating_sub(self.running)
    }

    /// How many are to be claimed ahead of the slots.
    fn ahead(&self) -> usize {
        self.ended.0.max(self.ended.1).min(AHEAD_MAX)
    }

    /// How many more are to be claimed, were it alone.
    fn room(&self, size: usize) -> usize {
        (self.slots.max.min(size) + self.ahead()).saturating_sub(self.running + self.waiting.len())
    }

    /// How many more are to be claimed for its reserved slots.
    fn own_room(&self) -> usize {
        self.kept().saturating_sub(self.waiting.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf(size: usize, queues: &[(&'static str, usize, usize)]) -> Shelf<u32> {
        Shelf::new(size, queues.iter().map(|(name, max, reserved)| (*name, Slots { max: *max, reserved: *reserved })))
    }

    /// Makes it long ago that something ended.
    fn pass_time<J>(shelf: &Shelf<J>) {
        shelf.inner().since -= AHEAD * 10_000;
    }

    #[test]
    fn queues_take_turns_within_their_slots() {
        let shelf = shelf(4, &[("a", 4, 0), ("b", 1, 0)]);
        shelf.put([("a", 1), ("a", 2), ("a", 3), ("b", 4), ("b", 5), ("nobody's", 6)]);
        let taken: Vec<_> = std::iter::from_fn(|| shelf.try_take()).collect();
        assert_eq!(taken, [("a", 1), ("b", 4), ("a", 2), ("a", 3)]);
        assert_eq!(shelf.counts(), (4, 1));
        shelf.done("a");
        assert_eq!(shelf.try_take(), None, "b has its one slot");
        shelf.done("b");
        assert_eq!(shelf.try_take(), Some(("b", 5)));
    }

    #[test]
    fn reserved_slots_stay_free_for_their_queue() {
        let shelf = shelf(3, &[("a", 3, 0), ("b", 3, 2)]);
        shelf.put([("a", 1), ("a", 2)]);
        assert_eq!(shelf.try_take(), Some(("a", 1)));
        assert_eq!(shelf.try_take(), None, "two slots are b's");
        shelf.put([("b", 3), ("b", 4), ("b", 5)]);
        assert_eq!(shelf.try_take(), Some(("b", 3)));
        assert_eq!(shelf.try_take(), Some(("b", 4)));
        assert_eq!(shelf.try_take(), None, "all slots are taken");
        shelf.done("a");
        assert_eq!(shelf.try_take(), Some(("a", 2)), "b has what is its own, and a's turn comes first");
    }

    #[test]
    fn more_is_claimed_of_what_is_fast() {
        let shelf = shelf(10, &[("a", 10, 0)]);
        assert_eq!((shelf.room("a"), shelf.room("b")), (10, 0));
        for _ in 0..5 {
            shelf.put((0..10).map(|n| ("a", n)));
            while let Some((queue, _)) = shelf.try_take() {
                shelf.done(queue);
            }
        }
        assert!(shelf.room("a") > 10, "{}", shelf.room("a"));
        pass_time(&shelf);
        assert_eq!(shelf.room("a"), 10, "it has become slow");
        shelf.put([("a", 1)]);
        assert_eq!(shelf.take_back(Duration::from_secs(5)), [] as [u32; 0]);
        assert_eq!(shelf.take_back(Duration::ZERO), [1]);
    }

    #[test]
    fn no_more_is_claimed_than_the_slots_of_all_queues_can_begin() {
        let names = ["a", "b", "c", "d", "e"];
        let shelf = shelf(50, &names.map(|name| (name, 50, 0)));
        let claim = || {
            let mut claimed = 0;
            for name in names {
                let n = shelf.room(name).min(shelf.room_of_all()).min(20);
                shelf.put((0..n).map(|_| (name, 0)));
                claimed += n;
            }
            claimed
        };
        assert_eq!(claim() + claim(), 50, "as many as there are slots");
        while shelf.try_take().is_some() {}
        assert_eq!(claim(), 0, "all of them run, slowly: nothing is to wait behind them");
        assert_eq!(shelf.counts(), (50, 0));
        shelf.done("a");
        shelf.done("b");
        pass_time(&shelf);
        assert_eq!(names.map(|name| shelf.room(name)), [2; 5]);
        assert_eq!(claim(), 2);
    }

    #[test]
    fn reserved_slots_are_claimed_for_whatever_the_others_have() {
        let shelf = shelf(10, &[("a", 10, 0), ("b", 10, 3)]);
        assert_eq!((shelf.room("a"), shelf.room("b"), shelf.room_of_all()), (7, 10, 10));
        shelf.put((0..7).map(|n| ("a", n)));
        while shelf.try_take().is_some() {}
        assert_eq!((shelf.room("a"), shelf.room("b"), shelf.room_of_all()), (0, 3, 3));
        shelf.put((0..2).map(|n| ("b", n)));
        assert_eq!((shelf.room("a"), shelf.room("b"), shelf.room_of_all()), (0, 1, 1));
        while shelf.try_take().is_some() {}
        shelf.done("a");
        pass_time(&shelf);
        assert_eq!((shelf.room("a"), shelf.room("b"), shelf.room_of_all()), (1, 2, 2));
    }

    #[test]
    fn a_job_that_waits_twice_gives_one_slot_away() {
        let (shelf, waits) = (shelf(3, &[("a", 3, 0)]), Mutex::new(0));
        shelf.put([("a", 1), ("a", 2)]);
        while shelf.try_take().is_some() {}
        let first = shelf.away("a", &waits);
        let second = shelf.away("a", &waits);
        assert_eq!(shelf.counts(), (1, 0), "the other one runs on");
        drop(first);
        assert_eq!(shelf.counts(), (1, 0), "it still waits");
        drop(second);
        assert_eq!(shelf.counts(), (2, 0));
        drop(shelf.away("a", &waits));
        assert_eq!(shelf.counts(), (2, 0));
    }

    #[test]
    fn what_waits_of_a_queue_can_be_taken_off() {
        let shelf = shelf(1, &[("a", 1, 0), ("b", 1, 0)]);
        shelf.put([("a", 1), ("a", 2), ("b", 3)]);
        assert_eq!(shelf.try_take(), Some(("a", 1)));
        assert_eq!(shelf.take_off(|queue| queue == "a"), [2]);
        assert_eq!(shelf.counts(), (1, 1), "what runs goes on");
    }

    #[tokio::test]
    async fn whoever_waits_for_a_job_gets_one() {
        let shelf = std::sync::Arc::new(shelf(2, &[("a", 2, 0)]));
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                tokio::spawn({
                    let shelf = shelf.clone();
                    async move { shelf.take().await.1 }
                })
            })
            .collect();
        tokio::task::yield_now().await;
        shelf.put([("a", 1), ("a", 2)]);
        let mut got = Vec::new();
        for one in waiting {
            got.push(one.await.unwrap());
        }
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
    }
}
