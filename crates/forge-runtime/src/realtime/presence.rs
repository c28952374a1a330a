//! Presence: who else looks at what somebody looks at.
//!
//! ```text
//!  presence {id, of, state} ─▶ Presences ── once subscription `of` succeeds ──▶ Roll ─▶ a row of forge_presence
//!                                   └▶ a subscription, under `id`, to the list of those rows ─▶ frames, as for any query
//! ```
//!
//! One is present at a query with its arguments, and whoever may subscribe to those sees who is. So the query decides who is let in, with each
//! of its runs: when it fails, for the rights of its caller say, they leave the list and are shown it no more. Where a query answers
//! different callers differently, its arguments must say what they have in common.
//!
//! The rows lie in a table that the change feed watches like any other, so lists are right across nodes and fit the other results of their
//! frame. Rows of a node that died go when another one notices (see [`Roll`](super::roll::Roll)).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use forge_core::function::{Access, BoxFuture, ForgeQuery, Function, FunctionInfo, FunctionKind, Isolation, TrackingMode};
use forge_core::{Error, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::group::SubscriptionKey;
use super::roll::{Member, Roll};
use crate::db::Shape;
use crate::db::error::from_driver;
use crate::function::{Entry, QueryContext};

/// How large the state of one who is present may be, as JSON, in bytes.
pub(crate) const STATE_BYTES_MAX: usize = 1024;

/// The longest-standing 500 are listed.
static LIST: LazyLock<Arc<Shape>> = LazyLock::new(|| {
    Shape::of("SELECT id, user_id, state, since FROM forge_presence WHERE topic = $1 ORDER BY since, id LIMIT 500")
});

/// A wish to be present, or to see who is.
#[derive(Debug, Clone)]
pub(crate) struct Presence {
    /// The session's subscription whose query it is about.
    pub(crate) of: u64,
    /// JSON; `None` only watches.
    pub(crate) state: Option<Arc<str>>,
}

/// What two who are present at the same query with the same arguments have in common.
pub(crate) fn topic(function: &str, args: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(function);
    hash.update([0]);
    hash.update(args);
    URL_SAFE_NO_PAD.encode(&hash.finalize()[..18])
}

/// The list, as a query. Its argument is the topic; nobody can call it by name.
pub(crate) fn entry() -> Arc<Entry> {
    static ENTRY: LazyLock<Arc<Entry>> = LazyLock::new(|| Arc::new(Entry::query::<WhoIsPresent>()));
    ENTRY.clone()
}

struct WhoIsPresent;

impl Function for WhoIsPresent {
    type Args = String;
    type Output = Value;
    const INFO: FunctionInfo = FunctionInfo {
        // No function of an app can have this name.
        name: "forge:presence",
        kind: FunctionKind::Query,
        doc: "",
        access: Access::Public,
        timeout: None,
        isolation: Isolation::Serializable,
        cache: None,
        refresh_every: None,
        min_interval: None,
        tracking: TrackingMode::Auto,
        snapshot: false,
        module: module_path!(),
        file: file!(),
        line: line!(),
    };
}

impl ForgeQuery<QueryContext> for WhoIsPresent {
    fn execute(ctx: &QueryContext, topic: String) -> BoxFuture<'_, Result<Value>> {
        Box::pin(async move { list(ctx, &topic).await })
    }
}

async fn list(ctx: &QueryContext, topic: &str) -> Result<Value> {
    let answer = ctx.db().run(&LIST, &[&topic]).await?;
    let member = |row: &tokio_postgres::Row| {
        let (id, user): (Uuid, Option<String>) =
            (row.try_get(0).map_err(from_driver)?, row.try_get(1).map_err(from_driver)?);
        let (state, since): (&str, jiff::Timestamp) =
            (row.try_get(2).map_err(from_driver)?, row.try_get(3).map_err(from_driver)?);
        let state: Value = serde_json::from_str(state)?;
        Ok(json!({"id": id, "userId": user, "state": state, "since": since.to_string()}))
    };
    answer.rows.iter().map(member).collect()
}

/// Who is present, of this node's sessions, and who watches.
#[derive(Debug)]
pub(super) struct Presences {
    roll: Roll,
    all: BTreeMap<SubscriptionKey, Present>,
    /// Those who wait for their query's first result.
    waiting: BTreeSet<SubscriptionKey>,
}

#[derive(Debug)]
struct Present {
    /// Of the same session.
    of: u64,
    id: Uuid,
    member: Member,
}

impl Presences {
    pub(super) fn new(roll: Roll) -> Self {
        Self { roll, all: BTreeMap::new(), waiting: BTreeSet::new() }
    }

    /// Takes in a wish for a subscription that is made for it.
    pub(super) fn begin(&mut self, key: SubscriptionKey, topic: &[u8], presence: &Presence, user: Option<&str>) {
        let topic = serde_json::from_slice(topic).unwrap_or_default();
        let member = Member { topic, user: user.map(str::to_owned), state: presence.state.clone() };
        self.all.insert(key, Present { of: presence.of, id: Uuid::from_u128(rand::random()), member });
        self.waiting.insert(key);
    }

    /// Takes in a wish of one who is there already, at the same query; false when it is none.
    pub(super) fn renew(&mut self, key: SubscriptionKey, topic: &[u8], presence: &Presence, user: Option<&str>) -> bool {
        let topic: String = serde_json::from_slice(topic).unwrap_or_default();
        let Some(present) = self.all.get_mut(&key).filter(|one| one.of == presence.of && one.member.topic == topic) else {
            return false;
        };
        present.member.state = presence.state.clone();
        present.member.user = user.map(str::to_owned);
        if !self.waiting.contains(&key) {
            self.roll.set(present.id, present.member.clone());
        }
        true
    }

    /// Everybody whose query succeeds is present from now on.
    pub(super) fn admit(&mut self, succeeds: impl Fn(SubscriptionKey) -> bool) {
        let (all, roll) = (&self.all, &self.roll);
        self.waiting.retain(|key| {
            let Some(present) = all.get(key) else { return false };
            let admitted = succeeds((key.0, present.of));
            if admitted {
                roll.set(present.id, present.member.clone());
            }
            !admitted
        });
    }

    /// One has left.
    pub(super) fn end(&mut self, key: SubscriptionKey) {
        self.waiting.remove(&key);
        if let Some(present) = self.all.remove(&key) {
            self.roll.remove(present.id);
        }
    }

    /// Those of a session that are about one of its subscriptions.
    pub(super) fn about(&self, (session, of): SubscriptionKey) -> Vec<SubscriptionKey> {
        let all = self.all.range((session, 0)..=(session, u64::MAX));
        all.filter(|(_, present)| present.of == of).map(|(key, _)| *key).collect()
    }
}

/// Why there is nothing to be present at.
pub(crate) fn nowhere(of: u64) -> Error {
    Error::invalid_argument(format!(
        "`of` names no subscription of this session: {of}; subscribe first, and be present at that"
    ))
}
