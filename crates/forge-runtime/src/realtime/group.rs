//! A group: subscriptions that share one result.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use forge_core::auth::AuthContext;
use sha2::{Digest as _, Sha256};

use super::outbox::{News, Outbox, SessionId};
use super::patch;
use super::version::{Version, Versions};
use crate::db::new_uuid;
use crate::function::{Caller, Entry, Looked, Written, Wrote};
use crate::read_set::Dependency;

/// A group's number on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct GroupId(pub(crate) u64);

/// What all callers who share a result have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    /// Nothing: the function looked at nothing of its caller. They only have to be permitted to call it.
    Anybody,
    /// The function may see the same of each of them.
    Like(Fingerprint),
    /// It looked at the request, which no two have in common.
    Alone,
}

/// Of everything that a function can see of a caller.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(crate) fn of(auth: &AuthContext) -> Self {
        let mut hash = Sha256::new();
        if auth.is_system() {
            hash.update(b"system");
        }
        if let Some(user) = auth.user() {
            // As JSON, which tells where one part ends and the next begins. When a token was made and ends is no part of a caller: the next
            // token of the same caller shares.
            let claims: BTreeMap<_, _> =
                user.claims.iter().filter(|(name, _)| !["exp", "iat", "nbf", "jti"].contains(&name.as_str())).collect();
            hash.update(serde_json::json!([user.id, user.roles, claims]).to_string());
        }
        Self(hash.finalize().into())
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A result, told to many.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) version: Version,
    pub(super) json: String,
    /// What makes it of the version before: that version, and how it is written behind the number of a subscription.
    pub(super) patch: Option<(Version, String)>,
}

impl Told {
    pub(super) fn new(json: Vec<u8>, before: Option<&Self>, versions: &Versions) -> Self {
        let version = versions.of(&json);
        let change = before.and_then(|before| Some((before.version, patch::between(before.json.as_bytes(), &json)?)));
        let patch = change.map(|(base, change)| (base, format!(",\"{}\",{change}]", version.brief())));
        // What functions answer is JSON, and that is UTF-8.
        let json = String::from_utf8(json).unwrap_or_else(|why| String::from_utf8_lossy(why.as_bytes()).into_owned());
        Self { version, json, patch }
    }
}

/// One subscription: of a session, under the number that the session gave it.
pub(super) type SubscriptionKey = (SessionId, u64);

/// One who is subscribed.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) outbox: Arc<Outbox>,
    pub(super) caller: Arc<Subscribed>,
    /// It has been told a result, or holds one from before.
    pub(super) told: Option<Version>,
}

/// Who subscribed.
#[derive(Debug)]
pub(super) struct Subscribed {
    pub(super) caller: Arc<Caller>,
    pub(super) fingerprint: Fingerprint,
}

impl Subscribed {
    pub(super) fn new(caller: Arc<Caller>) -> Self {
        let fingerprint = Fingerprint::of(&caller.principal.auth);
        Self { caller, fingerprint }
    }

    /// For one run: what it looks at is noted anew.
    pub(super) fn for_run(&self) -> Arc<Caller> {
        let mut request = (*self.caller.request).clone();
        request.request_id = new_uuid().to_string();
        let principal = self.caller.principal.clone();
        let (written, wrote, looked) = (Written::default(), Wrote::default(), Looked::default());
        Arc::new(Caller { principal, request: Arc::new(request), written, wrote, looked })
    }
}

/// Whom a run was for, and what it looked at of them: who may be told what came of it follows from that.
#[derive(Debug, Clone)]
pub(super) struct Sight {
    /// Perhaps not subscribed any more.
    pub(super) of: Arc<Subscribed>,
    /// As [`Looked`] has it.
    pub(super) looked: u8,
}

impl Sight {
    /// Who would get the same.
    pub(super) fn scope(&self) -> Scope {
        match self.looked {
            0 => Scope::Anybody,
            looked if looked & Looked::AT_REQUEST != 0 => Scope::Alone,
            _ => Scope::Like(self.of.fingerprint.clone()),
        }
    }

    /// Whether what came of the run is for this one.
    pub(super) fn is_for(&self, one: &Arc<Subscribed>) -> bool {
        match self.scope() {
            Scope::Anybody => true,
            Scope::Like(fingerprint) => fingerprint == one.fingerprint,
            Scope::Alone => Arc::ptr_eq(&self.of, one),
        }
    }
}

/// A group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) entry: Arc<Entry>,
    /// Canonical: equal arguments are equal bytes.
    pub(super) args: Arc<[u8]>,
    /// Known after the first run.
    pub(super) scope: Option<Scope>,
    /// On whose behalf it runs next.
    pub(super) runner: Arc<Subscribed>,
    pub(super) subscribers: BTreeMap<SubscriptionKey, Subscriber>,
    pub(super) result: Option<Arc<Told>>,
    /// Some of its subscribers have been shown a result of another group, which still stands on their pages.
    pub(super) moved: bool,
    pub(super) dependencies: Vec<Dependency>,
    /// It runs apart from the rounds: it is slow.
    pub(super) apart: bool,
    /// When it is to run again, whatever has changed.
    pub(super) due: Option<Instant>,
}

impl Group {
    /// Whether it is of this query with these arguments.
    pub(super) fn is_of(&self, entry: &Entry, args: &[u8]) -> bool {
        self.entry.info.name == entry.info.name && *self.args == *args
    }

    /// Whether subscribers have been shown a result: another one is to come to them together with others.
    pub(super) fn was_shown(&self) -> bool {
        self.result.is_some() || self.moved
    }

    /// The subscriptions of one session.
    pub(super) fn of_session(&self, session: SessionId) -> impl Iterator<Item = u64> {
        self.subscribers.range((session, 0)..=(session, u64::MAX)).map(|((_, id), _)| *id)
    }

    /// Hands the result to every subscriber who does not know it; `put` says whether it was taken. Returns whether everybody knows it now.
    pub(super) fn tell(&mut self, mut put: impl FnMut(&Arc<Outbox>, u64, News) -> bool) -> bool {
        let Some(result) = &self.result else { return false };
        let mut all = true;
        for ((_, id), subscriber) in &mut self.subscribers {
            if subscriber.told == Some(result.version) {
                continue;
            }
            if put(&subscriber.outbox, *id, News::Result(result.clone())) {
                subscriber.told = Some(result.version);
            } else {
                all = false;
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use forge_core::auth::AuthUser;

    use super::*;

    #[test]
    fn a_fingerprint_is_of_what_a_function_can_see() {
        let ada = |change: fn(&mut AuthUser)| {
            let mut user = AuthUser::new("ada");
            user.roles = vec!["editor".into()];
            change(&mut user);
            Fingerprint::of(&AuthContext::of(user))
        };
        let plain = ada(|_| {});
        assert_eq!(plain, ada(|user| drop(user.claims.insert("exp".into(), 7.into()))), "a renewed token");
        assert_ne!(plain, ada(|user| user.roles.clear()));
        assert_ne!(plain, ada(|user| drop(user.claims.insert("tenant".into(), 7.into()))));
        assert_ne!(plain, ada(|user| user.id = "bob".into()));
        assert_ne!(Fingerprint::of(&AuthContext::anonymous()), Fingerprint::of(&AuthContext::of(AuthUser::new(""))));
    }
}
