//! Which lanes a worker asks for jobs, how many of each, and from where on.
//!
//! ```text
//!  asleep ──woken: something is there──▶ awake ──claimed fewer than asked for──▶ asleep
//!                                          └────claimed as many────▶ awake, from the last one on
//! ```
//!
//! A lane is what jobs of one kind and one priority form, in the order in which they became ready. A worker remembers where in it it took
//! the last one and begins there the next time: what lies before has been taken, and as long as an old snapshot keeps it from being
//! vacuumed, walking over it is what makes queues in tables slow. Whatever becomes visible behind that place (a transaction that
//! committed late, a job that was given back) comes with a wake-up that says where it stands, and a look over all lanes, now and
//! then, finds what nobody told of.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

/// The priorities that there are, the most urgent first.
pub(super) const PRIORITIES: [i16; 5] = [100, 75, 50, 25, 0];

/// After how much waiting a lane counts as one priority higher, so that nothing starves.
const AGEING: Duration = Duration::from_secs(600);

/// Where a lane begins of which nothing is known: before any job. (The least that `Timestamp` holds is more than PostgreSQL's.)
const BEGINNING: Timestamp = Timestamp::UNIX_EPOCH;

/// How many lanes one claim asks at most.
const ASK_MAX: usize = 16;

/// A kind, as far as lanes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LaneKind {
    pub(super) kind: &'static str,
    pub(super) queue: &'static str,
}

#[derive(Debug)]
struct Lane {
    of: LaneKind,
    priority: i16,
    /// Where the last claim left off.
    start: Timestamp,
    /// Where its first job stands, as far as is known. Unlike `start` it moves on when a lane that slept is woken.
    head: Timestamp,
    awake: bool,
}

/// The lanes of a worker.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    by_kind: HashMap<&'static str, usize>,
    /// Which lane was asked last, as those of one urgency take turns.
    last: usize,
}

/// What a claim asks of one lane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ask {
    pub(super) lane: usize,
    pub(super) of: LaneKind,
    pub(super) priority: i16,
    pub(super) start: Timestamp,
    pub(super) n: usize,
}

impl Lanes {
    /// The lanes of these kinds, all asleep.
    pub(super) fn new(kinds: impl IntoIterator<Item = LaneKind>) -> Self {
        let (mut lanes, mut by_kind) = (Vec::new(), HashMap::new());
        for of in kinds {
            by_kind.insert(of.kind, lanes.len());
            lanes.extend(PRIORITIES.map(|priority| Lane {
                of,
                priority,
                start: BEGINNING,
                head: Timestamp::MAX,
                awake: false,
            }));
        }
        Self { lanes, by_kind, last: 0 }
    }

    /// Kind and priority of each, in order: what a look over all of them is about.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, i16)> {
        self.lanes.iter().map(|lane| (lane.of.kind, lane.priority))
    }

    /// Something is there, at this place or behind it. A kind or priority of which this worker knows nothing is for others.
    pub(super) fn wake(&mut self, kind: &str, priority: i16, at: Timestamp) {
        let Some(first) = self.by_kind.get(kind) else { return };
        let Some(n) = PRIORITIES.iter().position(|one| *one == priority) else { return };
        self.wake_nth(first + n, at);
    }

    /// As [`wake`](Self::wake), by the lane's number in [`all`](Self::all).
    pub(super) fn wake_nth(&mut self, n: usize, at: Timestamp) {
        if let Some(lane) = self.lanes.get_mut(n) {
            lane.start = lane.start.min(at);
            lane.head = if lane.awake { lane.head.min(at) } else { at };
            lane.awake = true;
        }
    }

    /// Puts the lanes of some queues to sleep.
    pub(super) fn rest(&mut self, of: impl Fn(&str) -> bool) {
        self.lanes.iter_mut().filter(|lane| of(lane.of.queue)).for_each(|lane| lane.awake = false);
    }

    /// Whether any lane may have something.
    pub(super) fn is_awake(&self) -> bool {
        self.lanes.iter().any(|lane| lane.awake)
    }

    /// Whether any lane of a kind may have something.
    pub(super) fn is_kind_awake(&self, kind: &str) -> bool {
        self.by_kind
            .get(kind)
            .is_some_and(|first| self.lanes[*first..*first + PRIORITIES.len()].iter().any(|lane| lane.awake))
    }

    /// What to ask for, to get `n` jobs: the most urgent lanes, those of one urgency in turn. `room` is how many of a queue this worker
    /// can have, `allowed` how many of a kind may be started.
    pub(super) fn ask(
        &mut self,
        n: usize,
        now: Timestamp,
        mut room: impl FnMut(&'static str) -> usize,
        mut allowed: impl FnMut(&'static str) -> usize,
    ) -> Vec<Ask> {
        let mut rooms: HashMap<&'static str, usize> = HashMap::new();
        let mut open: Vec<(usize, usize)> = Vec::new();
        for (at, lane) in self.lanes.iter().enumerate().filter(|(_, lane)| lane.awake) {
            let room = *rooms.entry(lane.of.queue).or_insert_with(|| room(lane.of.queue));
            let may = room.min(allowed(lane.of.kind));
            if may > 0 {
                open.push((at, may));
            }
        }
        let Some(best) = open.iter().map(|(at, _)| self.lanes[*at].urgency(now)).max() else { return Vec::new() };
        open.retain(|(at, _)| self.lanes[*at].urgency(now) == best);
        // Whoever comes after the one that was asked last is next.
        let turn = open.iter().position(|(at, _)| *at > self.last).unwrap_or(0);
        open.rotate_left(turn);
        open.truncate(ASK_MAX.min(n));
        let share = n.div_ceil(open.len().max(1));
        let mut left = n;
        let mut asks = Vec::new();
        for (at, may) in open {
            let lane = &self.lanes[at];
            let room = rooms.entry(lane.of.queue).or_default();
            let n = share.min(may).min(left).min(*room);
            if n > 0 {
                (left, *room) = (left - n, *room - n);
                self.last = at;
                asks.push(Ask { lane: at, of: lane.of, priority: lane.priority, start: lane.start, n });
            }
        }
        asks
    }

    /// What a lane gave: how many, and where the last of them stood.
    pub(super) fn gave(&mut self, ask: &Ask, n: usize, last: Option<Timestamp>) {
        let Some(lane) = self.lanes.get_mut(ask.lane) else { return };
        // Not when a wake-up has pulled it back meanwhile.
        if lane.start == ask.start {
            if let Some(last) = last {
                lane.start = lane.start.max(last);
                lane.head = last;
            }
            lane.awake = n >= ask.n;
        }
    }
}

impl Lane {
    /// Its priority, in levels, with one more for each time it has waited long.
    fn urgency(&self, now: Timestamp) -> i64 {
        let waited = now.duration_since(self.head).as_secs().max(0);
        (i64::from(self.priority / 25) + waited / AGEING.as_secs() as i64).min(4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: LaneKind = LaneKind { kind: "mail", queue: "default" };
    const SMS: LaneKind = LaneKind { kind: "sms", queue: "default" };
    const VIDEO: LaneKind = LaneKind { kind: "video", queue: "media" };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn asked(lanes: &mut Lanes, n: usize, now: i64) -> Vec<(&'static str, i16, usize)> {
        let asks = lanes.ask(n, at(now), |_| usize::MAX, |_| usize::MAX);
        asks.iter().map(|ask| (ask.of.kind, ask.priority, ask.n)).collect()
    }

    #[test]
    fn the_most_urgent_lane_has_it_all_and_equals_share() {
        let mut lanes = Lanes::new([MAIL, SMS, VIDEO]);
        assert!(asked(&mut lanes, 10, 0).is_empty() && !lanes.is_awake());
        lanes.wake("mail", 50, at(0));
        lanes.wake("sms", 50, at(0));
        assert_eq!(asked(&mut lanes, 10, 0), [("mail", 50, 5), ("sms", 50, 5)]);
        // The turn is the other's: with room for one, it is asked first.
        assert_eq!(asked(&mut lanes, 1, 0), [("mail", 50, 1)]);
        assert_eq!(asked(&mut lanes, 1, 0), [("sms", 50, 1)]);
        lanes.wake("video", 75, at(0));
        assert_eq!(asked(&mut lanes, 10, 0), [("video", 75, 10)]);
        lanes.wake("nobody's", 50, at(0));
        lanes.wake("mail", 51, at(0));
    }

    #[test]
    fn who_waits_long_becomes_urgent() {
        let mut lanes = Lanes::new([MAIL, SMS]);
        lanes.wake("mail", 0, at(0));
        assert_eq!(asked(&mut lanes, 1, 0), [("mail", 0, 1)]);
        lanes.wake("sms", 50, at(1000));
        assert_eq!(asked(&mut lanes, 1, 1000), [("sms", 50, 1)]);
        // After twenty minutes it is as urgent as what is two levels above.
        assert_eq!(asked(&mut lanes, 2, 1201), [("mail", 0, 1), ("sms", 50, 1)]);
        // How long a lane was empty says nothing of what comes next.
        let ask = lanes.ask(1, at(1201), |_| 1, |kind| usize::from(kind == "mail"))[0];
        lanes.gave(&ask, 0, None);
        lanes.wake("mail", 0, at(9000));
        lanes.wake("sms", 50, at(9000));
        assert_eq!(asked(&mut lanes, 2, 9000), [("sms", 50, 2)]);
    }

    #[test]
    fn a_lane_goes_on_where_it_left_off_unless_it_is_pulled_back() {
        let mut lanes = Lanes::new([MAIL]);
        lanes.wake("mail", 50, at(5));
        let ask = lanes.ask(2, at(9), |_| 9, |_| 9)[0];
        assert_eq!(ask.start, BEGINNING);
        lanes.gave(&ask, 2, Some(at(7)));
        let ask = lanes.ask(2, at(9), |_| 9, |_| 9)[0];
        assert_eq!(ask.start, at(7));
        // One that committed late stands before: what was under way meanwhile does not put the lane to sleep.
        lanes.wake("mail", 50, at(6));
        lanes.gave(&ask, 0, None);
        let ask = lanes.ask(2, at(9), |_| 9, |_| 9)[0];
        assert_eq!(ask.start, at(6));
        lanes.gave(&ask, 1, Some(at(6)));
        assert!(!lanes.is_awake());
        // A later one does not move the place on: there may be others between.
        lanes.wake("mail", 50, at(8));
        assert_eq!(lanes.ask(2, at(9), |_| 9, |_| 9)[0].start, at(6));
    }

    #[test]
    fn room_and_allowance_are_kept_to() {
        let mut lanes = Lanes::new([MAIL, SMS, VIDEO]);
        ["mail", "sms", "video"].iter().for_each(|kind| lanes.wake(kind, 50, at(0)));
        let asks = lanes.ask(
            100,
            at(0),
            |queue| if queue == "media" { 0 } else { 7 },
            |kind| if kind == "mail" { 3 } else { usize::MAX },
        );
        let asks: Vec<_> = asks.iter().map(|ask| (ask.of.kind, ask.n)).collect();
        assert_eq!(asks, [("mail", 3), ("sms", 4)]);
    }

    #[test]
    fn lanes_of_a_paused_queue_rest_until_they_are_woken() {
        let mut lanes = Lanes::new([MAIL, VIDEO]);
        ["mail", "video"].iter().for_each(|kind| lanes.wake(kind, 50, at(0)));
        lanes.rest(|queue| queue == VIDEO.queue);
        assert_eq!(asked(&mut lanes, 10, 0), [("mail", 50, 10)]);
        lanes.rest(|queue| queue == MAIL.queue);
        assert!(!lanes.is_awake());
        lanes.wake("video", 50, at(0));
        assert_eq!(asked(&mut lanes, 10, 0), [("video", 50, 10)]);
    }
}
