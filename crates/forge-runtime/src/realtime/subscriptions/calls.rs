//! The groups of each call, by whom they take.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::realtime::group::{Fingerprint, Group, GroupId, Scope};

/// Groups by what they are of and whom they take. Finding one for a caller costs as much as the logarithm of how many there are of the
/// call: a query that looks at its caller has one for each of them.
#[derive(Debug, Default)]
pub(super) struct Calls {
    by_call: HashMap<Call, BTreeSet<(Taken, GroupId)>>,
}

/// A function and its arguments.
type Call = (&'static str, Arc<[u8]>);

/// Who may join a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Taken {
    Anybody,
    Like(Fingerprint),
    Nobody,
}

impl Taken {
    /// Before the first run, only those of whom the function can see nothing different.
    fn by(group: &Group) -> Self {
        match &group.scope {
            Some(Scope::Anybody) => Self::Anybody,
            Some(Scope::Like(fingerprint)) => Self::Like(fingerprint.clone()),
            Some(Scope::Alone) => Self::Nobody,
            None => Self::Like(group.runner.fingerprint.clone()),
        }
    }
}

impl Calls {
    /// Files a group. Whom it takes must not change before it is [removed](Self::remove).
    pub(super) fn add(&mut self, id: GroupId, group: &Group) {
        let call = (group.entry.info.name, group.args.clone());
        self.by_call.entry(call).or_default().insert((Taken::by(group), id));
    }

    pub(super) fn remove(&mut self, id: GroupId, group: &Group) {
        let call = (group.entry.info.name, group.args.clone());
        if let Some(of_call) = self.by_call.get_mut(&call) {
            of_call.remove(&(Taken::by(group), id));
            if of_call.is_empty() {
                self.by_call.remove(&call);
            }
        }
    }

    /// A group whose result is this caller's as well.
    pub(super) fn fitting(&self, function: &str, args: &Arc<[u8]>, caller: &Fingerprint) -> Option<GroupId> {
        let of_call = self.by_call.get(&(function, args.clone()))?;
        // One for anybody comes before all others. Whoever leaves another one for it must not be led back there.
        let first = of_call.first().filter(|(taken, _)| *taken == Taken::Anybody);
        let like =
            || of_call.range((Taken::Like(caller.clone()), GroupId(0))..=(Taken::Like(caller.clone()), GroupId(u64::MAX)));
        first.or_else(|| like().next()).map(|(_, id)| *id)
    }

    /// All groups of a call.
    pub(super) fn of(&self, function: &str, args: &Arc<[u8]>) -> Vec<GroupId> {
        self.by_call.get(&(function, args.clone())).into_iter().flatten().map(|(_, id)| *id).collect()
    }
}
