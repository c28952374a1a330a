//! Queries that say how far apart their runs are at least (`min_interval`): when they run.
//!
//! ```text
//!  a change ─▶ it runs at once ──────── rests ────────┬─ nothing has changed meanwhile ─▶ nothing
//!                 changes meanwhile only mark it ─────┴─ something has ─▶ it runs once, and rests again
//! ```
//!
//! Whoever writes does not shorten a rest, nor does who waits for an acknowledgement: the interval is there for the times when many write,
//! and each of them waits for one. While a group is marked and rests, its sessions are shown nothing, as what else they follow would be of
//! another moment, and acknowledgements wait for the same frame: for no longer than the rest.
//!
//! A session that follows several such groups is shown something only when all of them have been run in one round. Left to themselves they might
//! never be, while somebody writes without a pause: one would rest whenever another one runs. So a group whose rest is over [waits](that_may_run) for
//! those of its sessions that have shorter intervals, and what waits is joined by the others of its sessions, until all run together. The
//! longer an interval, the longer somebody waits for it, so it is the longer ones that wait for the shorter: nobody is slowed down for
//! long by what strangers follow beside the same query.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::apart::that_may_begin;
use super::group::GroupId;
use super::outbox::SessionId;

/// A group's place in line: the shorter its interval, the sooner. Slow ones come last, having none.
pub(super) type Place = (Duration, GroupId);

/// Groups that do not run now, although something may have changed.
#[derive(Debug, Default)]
pub(super) struct Paces {
    /// They have run a short while ago. Until when.
    resting: BTreeMap<GroupId, Instant>,
    /// They could run, and wait for others of their sessions.
    held: BTreeSet<GroupId>,
}

impl Paces {
    /// A group has run. It rests until then.
    pub(super) fn rest(&mut self, id: GroupId, until: Instant) {
        self.resting.insert(id, until);
    }

    /// Ends the rests that are over by now. Who waits for whom is then to be [found out](Self::hold) anew.
    pub(super) fn wake(&mut self, now: Instant) {
        self.resting.retain(|_, until| *until > now);
        self.held.clear();
    }

    pub(super) fn hold(&mut self, held: impl IntoIterator<Item = GroupId>) {
        self.held.extend(held);
    }

    pub(super) fn rests(&self, id: GroupId) -> bool {
        self.resting.contains_key(&id)
    }

    /// Whether none rests, so that nobody waits.
    pub(super) fn is_idle(&self) -> bool {
        self.resting.is_empty()
    }

    /// Whether a group does not run although it is marked.
    pub(super) fn waits(&self, id: GroupId) -> bool {
        self.rests(id) || self.held.contains(&id)
    }

    /// When the first of these may go on that rest. What is held waits for one of them.
    pub(super) fn next(&self, marked: &BTreeSet<GroupId>) -> Option<Instant> {
        self.resting.iter().filter(|(id, _)| marked.contains(id)).map(|(_, until)| *until).min()
    }

    /// A group has ended.
    pub(super) fn end(&mut self, id: GroupId) {
        self.resting.remove(&id);
        self.held.remove(&id);
    }
}

/// Those of the groups whose rest is over that may run now, given those that are marked and rest: none that is before them in line and of which
/// one of their `sessions` is shown the result as well, and none of a session with one that has to wait itself.
pub(super) fn that_may_run(
    awake: impl IntoIterator<Item = Place>,
    resting: impl IntoIterator<Item = Place>,
    sessions: impl Fn(GroupId) -> Vec<SessionId>,
) -> Vec<GroupId> {
    let mut first: HashMap<SessionId, Place> = HashMap::new();
    for place in resting {
        for session in sessions(place.1) {
            first.entry(session).and_modify(|first| *first = place.min(*first)).or_insert(place);
        }
    }
    let is_free = |place: &Place| sessions(place.1).iter().all(|one| first.get(one).is_none_or(|first| first > place));
    let (free, waits): (Vec<_>, Vec<_>) = awake.into_iter().partition(is_free);
    let ids = |places: Vec<Place>| places.into_iter().map(|(_, id)| id);
    that_may_begin(ids(free).collect(), ids(waits), sessions)
}

#[cfg(test)]
mod tests {
    use super::super::differential::Dice;
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn place(interval: u64, id: u64) -> Place {
        (ms(interval), GroupId(id))
    }

    #[test]
    fn the_longer_wait_for_the_shorter_and_who_is_shown_with_one_that_waits_waits_too() {
        // By group: the sessions that are shown it.
        let sessions = |id: GroupId| match id.0 {
            1 => vec![10, 11],
            2 => vec![11, 12],
            3 => vec![12],
            _ => vec![13],
        };
        let run = |awake: &[Place], resting: &[Place]| {
            let may = that_may_run(awake.iter().copied(), resting.iter().copied(), sessions);
            may.iter().map(|id| id.0).collect::<Vec<_>>()
        };
        assert_eq!(run(&[place(9, 2), place(9, 4)], &[place(5, 1)]), [4]);
        assert_eq!(run(&[place(5, 1)], &[place(9, 2)]), [1], "the shorter does not wait");
        assert_eq!(run(&[place(5, 2)], &[place(5, 1)]), [0; 0], "of equals, the later");
        assert_eq!(run(&[place(5, 1)], &[place(5, 2)]), [1]);
        assert_eq!(run(&[place(9, 2), place(5, 3)], &[place(5, 1)]), [0; 0], "3 is to run together with 2");
        assert_eq!(run(&[place(9, 2), place(5, 3), place(5, 1)], &[]), [2, 3, 1]);
    }

    #[test]
    fn a_rest_is_over_in_time_and_only_what_is_marked_is_waited_for() {
        let (mut paces, now) = (Paces::default(), Instant::now());
        paces.rest(GroupId(1), now + ms(5));
        paces.rest(GroupId(2), now + ms(9));
        paces.hold([GroupId(3)]);
        assert_eq!([1, 2, 3, 4].map(|id| paces.waits(GroupId(id))), [true, true, true, false]);
        let marked = |ids: &[u64]| ids.iter().map(|id| GroupId(*id)).collect::<BTreeSet<_>>();
        assert_eq!(paces.next(&marked(&[1, 2, 3])), Some(now + ms(5)));
        assert_eq!(paces.next(&marked(&[2, 3])), Some(now + ms(9)));
        assert_eq!(paces.next(&marked(&[3, 4])), None);
        paces.wake(now + ms(5));
        assert_eq!([1, 2, 3].map(|id| paces.waits(GroupId(id))), [false, true, false]);
        paces.end(GroupId(2));
        assert!(paces.is_idle());
    }

    /// Groups that are marked at all times, and a round every millisecond: the worst that writers can do.
    #[test]
    fn while_somebody_always_writes_every_session_is_shown_something_and_no_query_runs_too_often() {
        const INTERVALS: [u64; 3] = [20, 33, 100];
        // How long a run may wait after its interval: for another one's, and not for the longest.
        const LATE: u64 = 33;
        // Before that, groups and sessions are still what they began as: each with a time of its own.
        const SETTLED: u64 = 300;
        for seed in 0..200 {
            let mut dice = Dice::new(seed);
            let groups = 2 + dice.below(10);
            let interval: Vec<u64> = (0..groups).map(|_| *dice.pick(&INTERVALS)).collect();
            // In half of the cases the first is followed by everybody, as what stands at the top of each page is.
            let common = if seed % 2 == 0 { Some(0) } else { None };
            let mut some = || common.into_iter().chain((0..=dice.below(3)).map(|_| dice.below(groups))).collect();
            let follows: Vec<BTreeSet<usize>> = (0..7).map(|_| some()).collect();
            let number = |id: GroupId| usize::try_from(id.0).unwrap();
            let sessions = |id: GroupId| -> Vec<SessionId> {
                (0_u64..).zip(&follows).filter(|(_, all)| all.contains(&number(id))).map(|(session, _)| session).collect()
            };
            let place = |id: GroupId| (ms(interval[number(id)]), id);
            let (mut paces, began) = (Paces::default(), Instant::now());
            let (mut ran, mut shown) = (vec![0; groups], vec![0; follows.len()]);
            for now in 0..2_000_u64 {
                paces.wake(began + ms(now));
                // Each runs for the first time at a time of its own.
                let known = (0..groups).filter(|n| *n as u64 * 7 <= now).map(|n| GroupId(n as u64));
                let (resting, awake): (Vec<GroupId>, Vec<GroupId>) = known.partition(|id| paces.rests(*id));
                let places = |ids: &[GroupId]| ids.iter().map(|id| place(*id)).collect::<Vec<_>>();
                let may = that_may_run(places(&awake), places(&resting), sessions);
                for id in &may {
                    let n = number(*id);
                    assert!(ran[n] == 0 || now - ran[n] >= interval[n], "seed {seed}: {n} ran at {} and {now}", ran[n]);
                    ran[n] = now;
                    paces.rest(*id, began + ms(now + interval[n]));
                }
                for (all, shown) in follows.iter().zip(&mut shown) {
                    if all.iter().all(|n| may.contains(&GroupId(*n as u64))) {
                        *shown = now;
                    }
                    let longest = all.iter().map(|n| interval[*n]).max().unwrap();
                    let late = (now - *shown).saturating_sub(longest);
                    assert!(now < SETTLED || late <= LATE, "seed {seed}: nothing shown from {shown} to {now}: {all:?}");
                }
                for n in awake.into_iter().map(number) {
                    let late = (now - ran[n]).saturating_sub(interval[n]);
                    assert!(now < SETTLED || late <= LATE, "seed {seed}: {n} did not run from {} to {now}", ran[n]);
                }
            }
        }
    }
}
