//! Who is subscribed to what: sessions' subscriptions, and the groups that share a result.

mod calls;
mod deliveries;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use forge_core::{Error, ErrorKind};
use uuid::Uuid;

use self::calls::Calls;
pub(super) use self::deliveries::Deliveries;
use super::events::Event;
use super::group::{Group, GroupId, Scope, Sight, Subscribed, Subscriber, SubscriptionKey, Told};
use super::holds::Holds;
use super::index::Index;
use super::outbox::{Delivery, News, Outbox, SessionId};
use super::pace::Paces;
use super::presence::{Presence, Presences, nowhere};
use super::roll::Roll;
use super::run::Job;
use super::version::Versions;
use crate::feed::{Batch, Change, EventNote, Note};
use crate::function::{Caller, Entry};
use crate::read_set::Dependency;

/// How many subscriptions a node has at most.
const SUBSCRIPTIONS_MAX: usize = 100_000;

/// How many events may wait for a round that succeeds; at one more, the oldest goes.
const EVENTS_MAX: usize = 10_000;

/// A wish to be told.
#[derive(Debug)]
pub(crate) struct Subscribe {
    pub(crate) outbox: Arc<Outbox>,
    /// The session's own number for it.
    pub(crate) id: u64,
    pub(crate) entry: Arc<Entry>,
    pub(crate) args: Arc<[u8]>,
    pub(crate) caller: Arc<Caller>,
    /// Set when it is a list of who is present.
    pub(crate) presence: Option<Presence>,
}

/// The end of a wish, or of all of a session's.
#[derive(Debug)]
pub(crate) struct Unsubscribe {
    pub(crate) session: SessionId,
    pub(crate) id: Option<u64>,
}

/// What came of running a group.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) json: Vec<u8>,
    pub(super) sight: Sight,
    pub(super) dependencies: Vec<Dependency>,
    /// When the runs of its round began.
    pub(super) began: Instant,
}

/// Subscriptions and groups of a node.
#[derive(Debug)]
pub(crate) struct SubscriptionManager {
    groups: HashMap<GroupId, Group>,
    calls: Calls,
    by_subscriber: BTreeMap<SubscriptionKey, GroupId>,
    index: Index,
    /// Groups whose result may not be right any more.
    dirty: BTreeSet<GroupId>,
    /// Groups that run apart from the rounds, now.
    running: BTreeSet<GroupId>,
    /// Groups that have to wait until these tables are watched, and run then.
    parked: BTreeMap<GroupId, BTreeSet<u32>>,
    /// Groups that do not run for a while, however much has changed.
    paces: Paces,
    /// Groups with subscribers who may not have been told.
    untold: BTreeSet<GroupId>,
    /// Functions that were slow when they ran last.
    slow: HashSet<&'static str>,
    /// When groups are to run again although nothing has changed that is known of.
    due: BTreeSet<(Instant, GroupId)>,
    next: u64,
    presences: Presences,
    /// To be told with the next results.
    events: VecDeque<EventNote>,
    /// Sessions that people have signed in to and that have ended.
    signed_out: Vec<Uuid>,
    roll: Roll,
    versions: Versions,
}

/// What became of a group with its new result.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// The result is not the one from before.
    pub(super) new: bool,
    /// Sessions whose subscription belongs to another group from now on, which is still to run.
    pub(super) moved: Vec<SessionId>,
}

impl SubscriptionManager {
    pub(super) fn new(roll: Roll, versions: Versions) -> Self {
        Self {
            groups: HashMap::new(),
            calls: Calls::default(),
            by_subscriber: BTreeMap::new(),
            index: Index::default(),
            dirty: BTreeSet::new(),
            running: BTreeSet::new(),
            parked: BTreeMap::new(),
            paces: Paces::default(),
            slow: HashSet::new(),
            untold: BTreeSet::new(),
            due: BTreeSet::new(),
            next: 0,
            presences: Presences::new(roll.clone()),
            events: VecDeque::new(),
            signed_out: Vec::new(),
            roll,
            versions,
        }
    }

    /// Whether nobody has to know what is committed.
    pub(super) fn is_empty(&self) -> bool {
        self.by_subscriber.is_empty() && !self.roll.has_sessions()
    }

    pub(super) fn counts(&self) -> (usize, usize) {
        (self.by_subscriber.len(), self.groups.len())
    }

    pub(super) fn group(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(&id)
    }

    /// Whether a session is subscribed to anything.
    pub(super) fn has_session(&self, session: SessionId) -> bool {
        self.by_subscriber.range((session, 0)..=(session, u64::MAX)).next().is_some()
    }

    /// Subscribes. The first result follows with the next round.
    pub(super) fn subscribe(&mut self, wish: Subscribe) {
        let key = (wish.outbox.id, wish.id);
        let refuse = |why: Error| {
            let news = [(wish.id, News::Failed(Arc::new(why)))].into_iter().collect();
            wish.outbox.put(0, Delivery { news, ..Delivery::default() });
        };
        let user = wish.caller.principal.auth.user_id();
        if let Some(presence) = &wish.presence {
            if !self.by_subscriber.contains_key(&(key.0, presence.of)) {
                return refuse(nowhere(presence.of));
            }
            if self.presences.renew(key, &wish.args, presence, user) {
                return;
            }
        }
        // One who subscribes to the same again, on behalf of a new token, stays present there.
        let same = self.group_of(key).is_some_and(|group| group.is_of(&wish.entry, &wish.args));
        if same && wish.presence.is_none() {
            self.end(key);
        } else {
            self.leave(key);
        }
        if self.by_subscriber.len() >= SUBSCRIPTIONS_MAX {
            let why = Error::rate_limited("this node has as many subscriptions as it may; try again, perhaps elsewhere", 5);
            return refuse(why);
        }
        if let Some(presence) = &wish.presence {
            self.presences.begin(key, &wish.args, presence, user);
        }
        let subscriber = Subscriber { outbox: wish.outbox, caller: Arc::new(Subscribed::new(wish.caller)), told: None };
        self.place(key, subscriber, wish.entry, wish.args);
    }

    /// Puts a subscriber into a group that would give the same result, or into one of its own.
    fn place(&mut self, key: SubscriptionKey, subscriber: Subscriber, entry: Arc<Entry>, args: Arc<[u8]>) {
        let id = self.calls.fitting(entry.info.name, &args, &subscriber.caller.fingerprint).unwrap_or_else(|| {
            self.next += 1;
            let id = GroupId(self.next);
            let runner = subscriber.caller.clone();
            let (subscribers, dependencies) = (BTreeMap::new(), Vec::new());
            let apart = self.slow.contains(entry.info.name);
            let (scope, result, moved, due) = (None, None, false, None);
            let group = Group { entry, args, scope, runner, subscribers, result, moved, dependencies, apart, due };
            self.calls.add(id, &group);
            self.groups.insert(id, group);
            self.dirty.insert(id);
            id
        });
        self.by_subscriber.insert(key, id);
        self.untold.insert(id);
        if let Some(group) = self.groups.get_mut(&id) {
            group.subscribers.insert(key, subscriber);
        }
    }

    pub(super) fn unsubscribe(&mut self, wish: &Unsubscribe) {
        match wish.id {
            Some(id) => self.leave((wish.session, id)),
            None => {
                let all = self.by_subscriber.range((wish.session, 0)..=(wish.session, u64::MAX));
                for key in all.map(|(key, _)| *key).collect::<Vec<_>>() {
                    self.leave(key);
                }
            }
        }
    }

    fn group_of(&self, key: SubscriptionKey) -> Option<&Group> {
        self.groups.get(self.by_subscriber.get(&key)?)
    }

    /// Ends a subscription for good, and with it that one is present there.
    fn leave(&mut self, key: SubscriptionKey) {
        self.end(key);
        self.presences.end(key);
        for about in self.presences.about(key) {
            self.end(about);
            self.presences.end(about);
        }
    }

    /// Takes a subscriber out of its group; a group without any ends.
    fn end(&mut self, key: SubscriptionKey) -> Option<Subscriber> {
        let id = self.by_subscriber.remove(&key)?;
        let group = self.groups.get_mut(&id)?;
        let subscriber = group.subscribers.remove(&key);
        match group.subscribers.values().next() {
            // Whoever it runs for is subscribed, and permitted.
            Some(other) => group.runner = other.caller.clone(),
            None => self.drop_group(id),
        }
        subscriber
    }

    fn drop_group(&mut self, id: GroupId) {
        let Some(group) = self.groups.remove(&id) else { return };
        self.calls.remove(id, &group);
        self.index.remove(id, &group.dependencies);
        group.due.map(|at| self.due.remove(&(at, id)));
        self.dirty.remove(&id);
        self.running.remove(&id);
        self.parked.remove(&id);
        self.paces.end(id);
        self.untold.remove(&id);
    }

    /// Notes whom a batch concerns. Returns how many groups that are.
    pub(super) fn mark(&mut self, batch: &Batch) -> usize {
        self.hear(batch);
        let mut concerned = HashSet::new();
        if batch.gap {
            concerned.extend(self.groups.keys().copied());
        } else {
            let each = |change: &Change| self.index.concerned(change, &mut concerned);
            batch.changes.iter().for_each(each);
        }
        self.dirty.extend(&concerned);
        concerned.len()
    }

    /// Whether a change concerns anybody, as far as is known now.
    pub(super) fn concerns(&self, change: &Change) -> bool {
        self.index.concerns(change)
    }

    /// Takes in what was said.
    fn hear(&mut self, batch: &Batch) {
        if batch.gap || batch.unheard {
            self.roll.mail_for(None);
        }
        for note in &batch.notes {
            match note {
                Note::Mail(node) => self.roll.mail_for(Some(*node)),
                Note::Event(event) => self.events.push_back(event.clone()),
                Note::SessionEnded(session) => self.signed_out.push(*session),
            }
        }
        let excess = self.events.len().saturating_sub(EVENTS_MAX);
        self.events.drain(..excess);
    }

    /// The sessions that have ended since the last time.
    pub(super) fn take_signed_out(&mut self) -> Vec<Uuid> {
        std::mem::take(&mut self.signed_out)
    }

    /// Everything may have changed.
    pub(super) fn mark_all(&mut self) {
        self.dirty.extend(self.groups.keys());
    }

    /// A group's query, to be run.
    pub(super) fn job(&self, id: GroupId, began: Instant) -> Option<Job> {
        let group = self.groups.get(&id)?;
        Some(Job { id, entry: group.entry.clone(), args: group.args.clone(), of: group.runner.clone(), began })
    }

    /// The sessions of a group's subscribers.
    pub(super) fn sessions(&self, id: GroupId) -> Vec<SessionId> {
        let group = self.groups.get(&id);
        group.iter().flat_map(|group| group.subscribers.keys().map(|(session, _)| *session)).collect()
    }

    /// Whether a session is subscribed to what a group is about.
    pub(super) fn is_subscribed(&self, session: SessionId, id: GroupId) -> bool {
        self.groups.get(&id).is_some_and(|group| group.of_session(session).next().is_some())
    }

    /// Takes the result of a run. Whoever may not share it goes to a group of their own, which is still to run.
    pub(super) fn ran(&mut self, id: GroupId, ran: Ran) -> Settled {
        let Some(group) = self.groups.get_mut(&id) else { return Settled::default() };
        if group.dependencies != ran.dependencies {
            self.index.remove(id, &group.dependencies);
            self.index.add(id, &ran.dependencies);
            group.dependencies = ran.dependencies;
        }
        if let Some(every) = group.entry.info.refresh_every {
            let at = Instant::now() + every;
            if let Some(before) = group.due.replace(at) {
                self.due.remove(&(before, id));
            }
            self.due.insert((at, id));
        }
        // Only what came to something counts: otherwise it runs again as soon as it can.
        if let Some(interval) = group.entry.info.min_interval {
            self.paces.rest(id, ran.began + interval);
        }
        let new = group.result.as_ref().is_none_or(|before| before.json.as_bytes() != ran.json);
        if new {
            group.result = Some(Arc::new(Told::new(ran.json, group.result.as_deref(), &self.versions)));
            self.untold.insert(id);
        }
        Settled { new, moved: self.narrow(id, &ran.sight) }
    }

    /// Takes in what a run looked at, and moves the subscribers for whom it was not to other groups. Returns whose they are.
    fn narrow(&mut self, id: GroupId, sight: &Sight) -> Vec<SessionId> {
        let Some(group) = self.groups.get_mut(&id) else { return Vec::new() };
        let scope = sight.scope();
        // A function may look at its caller in one run and not in another. What was once found to be private stays so.
        let widened = scope == Scope::Anybody && group.scope.is_some();
        if group.scope.as_ref() == Some(&scope) || widened {
            return Vec::new();
        }
        let public = scope == Scope::Anybody;
        self.calls.remove(id, group);
        group.scope = Some(scope);
        self.calls.add(id, group);
        if public {
            // Others may have begun to run the same on behalf of callers who turn out not to matter.
            self.merge(id);
            return Vec::new();
        }
        let (entry, args) = (group.entry.clone(), group.args.clone());
        let misfits = group.subscribers.iter().filter(|(_, one)| !sight.is_for(&one.caller));
        let misfits: Vec<SubscriptionKey> = misfits.map(|(key, _)| *key).collect();
        for key in &misfits {
            if let Some(subscriber) = self.end(*key) {
                let was_shown = subscriber.told.is_some();
                self.place(*key, subscriber, entry.clone(), args.clone());
                if let Some(group) = self.by_subscriber.get(key).and_then(|id| self.groups.get_mut(id)) {
                    group.moved |= was_shown;
                }
            }
        }
        misfits.into_iter().map(|(session, _)| session).collect()
    }

    /// Takes in the subscribers of groups of the same call that have not run yet: they would get the same result.
    fn merge(&mut self, id: GroupId) {
        let Some(group) = self.groups.get(&id) else { return };
        let (entry, args) = (group.entry.clone(), group.args.clone());
        for other in self.calls.of(entry.info.name, &args) {
            if other == id || self.groups.get(&other).is_none_or(|group| group.scope.is_some()) {
                continue;
            }
            let keys: Vec<_> =
                self.groups.get(&other).map(|group| group.subscribers.keys().copied().collect()).unwrap_or_default();
            for key in keys {
                if let Some(subscriber) = self.end(key) {
                    self.place(key, subscriber, entry.clone(), args.clone());
                }
            }
        }
    }

    /// A run has failed: ends the subscriptions that it was for, and tells them why. Returns the sessions of those whom it was not for;
    /// they belong to other groups from now on, which are still to run.
    pub(super) fn refused(
        &mut self,
        id: GroupId,
        why: Error,
        sight: &Sight,
        deliveries: &mut Deliveries,
    ) -> Vec<SessionId> {
        // One who was not looked at is no reason for others to be refused, nor are others a reason to be.
        let moved = if sight.looked == 0 { Vec::new() } else { self.narrow(id, sight) };
        self.failed(id, why, deliveries);
        moved
    }

    /// Ends a group, and tells its subscribers why.
    pub(super) fn failed(&mut self, id: GroupId, why: Error, deliveries: &mut Deliveries) {
        let why = Arc::new(why);
        let keys: Vec<_> =
            self.groups.get(&id).map(|group| group.subscribers.keys().copied().collect()).unwrap_or_default();
        for key in keys {
            // With it ends that one is present there, and sees who is.
            for about in self.presences.about(key) {
                self.presences.end(about);
                if let Some(subscriber) = self.end(about) {
                    deliveries.of(&subscriber.outbox).news.insert(about.1, News::Failed(why.clone()));
                }
            }
            self.presences.end(key);
            if let Some(subscriber) = self.end(key) {
                deliveries.of(&subscriber.outbox).news.insert(key.1, News::Failed(why.clone()));
            }
        }
    }

    /// Tells everybody who has not been told yet, about groups that are right.
    pub(super) fn tell(&mut self, deliveries: &mut Deliveries) {
        let (dirty, running) = (&self.dirty, &self.running);
        let groups = &mut self.groups;
        self.untold.retain(|id| {
            let Some(group) = groups.get_mut(id) else { return false };
            if group.result.is_none() || dirty.contains(id) || running.contains(id) {
                return true;
            }
            group.tell(|outbox, id, news| {
                deliveries.of(outbox).news.insert(id, news);
                true
            });
            false
        });
        self.tell_events(deliveries);
        let (by_subscriber, groups) = (&self.by_subscriber, &self.groups);
        self.presences
            .admit(|key| by_subscriber.get(&key).and_then(|id| groups.get(id)).is_some_and(|group| group.result.is_some()));
    }

    /// Tells events to whoever is subscribed now, after results that show what was committed with them.
    fn tell_events(&mut self, deliveries: &mut Deliveries) {
        for event in std::mem::take(&mut self.events) {
            let ids = self.calls.of(&event.function, &event.args.as_bytes().into());
            let told = Arc::new(Event { name: event.name, data: event.data });
            for group in ids.iter().filter_map(|id| self.groups.get(id)).filter(|group| group.result.is_some()) {
                for ((_, number), subscriber) in &group.subscribers {
                    deliveries.of(&subscriber.outbox).events.push(*number, told.clone());
                }
            }
        }
    }

    /// Puts a group's result into the frames that wait for it.
    pub(super) fn tell_waiting(&mut self, id: GroupId, holds: &mut Holds) {
        if let Some(group) = self.groups.get_mut(&id)
            && group.tell(|outbox, number, news| holds.put(outbox.id, id, number, news))
        {
            self.untold.remove(&id);
        }
    }
}

/// Why a query cannot be live.
pub(super) fn not_live(entry: &Entry, why: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("`{}` cannot be live: {why}", entry.info.name)).with_code("NOT_LIVE")
}
