//! Which groups run, and when.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

use super::SubscriptionManager;
use crate::realtime::group::{Group, GroupId};
use crate::realtime::outbox::SessionId;
use crate::realtime::pace::that_may_run;

impl SubscriptionManager {
    /// Notes whose time has come, to run although nothing has changed, or because something has.
    pub(in crate::realtime) fn mark_due(&mut self, now: Instant) {
        self.paces.wake(now);
        while let Some((at, id)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, id));
            self.dirty.insert(id);
        }
    }

    /// When the next one's time comes.
    pub(in crate::realtime) fn next_due(&self) -> Option<Instant> {
        let due = self.due.first().map(|(at, _)| *at);
        due.into_iter().chain(self.paces.next(&self.dirty)).min()
    }

    /// Has those groups wait that would otherwise never be run together with others that their sessions are shown. `slow` are those that could begin to
    /// run apart.
    pub(in crate::realtime) fn line_up(&mut self, slow: &[GroupId]) {
        if self.paces.is_idle() {
            return;
        }
        let interval = |id: &GroupId| self.groups.get(id).and_then(|group| group.entry.info.min_interval);
        let marked = self.dirty.iter().filter(|id| !self.parked.contains_key(*id) && !self.running.contains(*id));
        let (resting, awake): (Vec<_>, Vec<_>) =
            marked.filter_map(|id| Some((interval(id)?, *id))).partition(|(_, id)| self.paces.rests(*id));
        let awake = awake.into_iter().filter(|(_, id)| !self.runs_apart(*id));
        let all: Vec<_> = awake.chain(slow.iter().map(|id| (Duration::MAX, *id))).collect();
        let may: HashSet<_> = that_may_run(all.iter().copied(), resting, |id| self.shown(id)).into_iter().collect();
        self.paces.hold(all.into_iter().map(|(_, id)| id).filter(|id| !may.contains(id)));
    }

    /// What is to run: in the round, and apart from it.
    pub(in crate::realtime) fn to_run(&self) -> (Vec<GroupId>, Vec<GroupId>) {
        let free = |id: &&GroupId| !self.parked.contains_key(*id) && !self.running.contains(*id) && !self.paces.waits(**id);
        self.dirty.iter().filter(free).partition(|id| !self.runs_apart(**id))
    }

    fn runs_apart(&self, id: GroupId) -> bool {
        self.groups.get(&id).is_some_and(|group| group.apart)
    }

    /// Whether a group that runs in rounds is still to run.
    pub(in crate::realtime) fn has_dirty(&self) -> bool {
        self.dirty.iter().any(|id| !self.parked.contains_key(id) && !self.runs_apart(*id) && !self.paces.waits(*id))
    }

    /// Whether there is anything to do without anything having changed. `apart_waits` when those that run apart cannot begin now.
    pub(in crate::realtime) fn has_work(&self, apart_waits: bool) -> bool {
        let waits = |id: &GroupId| {
            self.parked.contains_key(id)
                || self.running.contains(id)
                || (self.dirty.contains(id) && (self.paces.waits(*id) || (apart_waits && self.runs_apart(*id))))
        };
        self.dirty.iter().chain(&self.untold).any(|id| !waits(id))
    }

    /// These groups begin to run apart from the rounds. What changes from now on makes them dirty again.
    pub(in crate::realtime) fn begin_apart(&mut self, ids: impl IntoIterator<Item = GroupId>) {
        for id in ids {
            self.dirty.remove(&id);
            self.running.insert(id);
        }
    }

    /// A group's run has ended.
    pub(in crate::realtime) fn ended_apart(&mut self, id: GroupId) {
        self.running.remove(&id);
    }

    /// Where a group is to run from now on, by how its last run by itself went.
    pub(in crate::realtime) fn measured(&mut self, id: GroupId, quick: bool) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.apart = !quick;
            if quick {
                self.slow.remove(group.entry.info.name);
            } else {
                self.slow.insert(group.entry.info.name);
            }
        }
    }

    /// A group has to run again.
    pub(in crate::realtime) fn mark_one(&mut self, id: GroupId) {
        if self.groups.contains_key(&id) {
            self.dirty.insert(id);
        }
    }

    /// A group is right, once it gets its result.
    pub(in crate::realtime) fn clean(&mut self, id: GroupId) {
        self.dirty.remove(&id);
    }

    /// A group waits until these tables are watched.
    pub(in crate::realtime) fn park(&mut self, id: GroupId, tables: BTreeSet<u32>) {
        if self.groups.contains_key(&id) {
            self.dirty.insert(id);
            self.parked.insert(id, tables);
        }
    }

    /// The groups that wait until tables are watched.
    pub(in crate::realtime) fn parked(&self) -> impl Iterator<Item = GroupId> {
        self.parked.keys().copied()
    }

    /// A table is watched: the groups that waited for no other one run again.
    pub(in crate::realtime) fn watched(&mut self, table: u32) {
        self.parked.retain(|_, tables| {
            tables.remove(&table);
            !tables.is_empty()
        });
    }

    /// The groups that wait for a table.
    pub(in crate::realtime) fn waiting_for(&self, table: u32) -> Vec<GroupId> {
        self.parked.iter().filter(|(_, tables)| tables.contains(&table)).map(|(id, _)| *id).collect()
    }

    /// Sessions that are shown nothing at the moment: one of their results, which they or others have had before, is being made anew
    /// apart from the rounds, or is to be in a while.
    pub(in crate::realtime) fn unsettled(&self) -> HashSet<SessionId> {
        let later = |id: &&GroupId| self.parked.contains_key(*id) || self.runs_apart(**id) || self.paces.waits(**id);
        let later = self.dirty.iter().filter(later);
        let groups = later.chain(&self.running).filter_map(|id| self.groups.get(id));
        let again = groups.filter(|group| group.was_shown());
        again.flat_map(|group| group.subscribers.keys().map(|(session, _)| *session)).collect()
    }

    /// The sessions that are shown a group's result together with others. A first result waits for nothing and nothing for it.
    pub(in crate::realtime) fn shown(&self, id: GroupId) -> Vec<SessionId> {
        let had = self.groups.get(&id).is_some_and(Group::was_shown);
        if had { self.sessions(id) } else { Vec::new() }
    }
}
