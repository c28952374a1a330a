//! The query cache: results of queries with `cache`, kept until what they read changes.
//!
//! ```text
//!  call ─▶ Looks: is the last look at the feed young enough, and does it know what this caller has written?
//!            └─▶ Store ─ kept ────▶ answer
//!                   └── not kept ─▶ Flight: one run for all who wait, in one snapshot ─▶ Footprint ─▶ kept, if nothing of it has changed
//!  feed ─▶ Follower, look by look ─▶ Store: what the changes concern is dropped
//! ```
//!
//! What it promises:
//!
//! - **A result is dropped with the first look that sees a change which can alter it**, and no result is answered on the strength of a look
//!   that began more than [`LAG_MAX`](looks::LAG_MAX) ago, or before a commit of this node was answered, or that does not see what the
//!   caller says to have written. When no such look can be had, the query runs.
//! - **Nothing foreign**: a result belongs to anybody when the function looked at nothing of its caller, else to callers of whom it could
//!   see nothing different, and to nobody when it looked at the request. Who may call is asked at every call, before this room.
//! - **No result is older than its `cache` says.**
//! - **Callers of the same thing share one run**; one who goes away takes nothing from the others.
//!
//! Which tables a run has read is known only when it is over. So a run notes which batch of changes came last before it began, later ones
//! are remembered as long as it is under way, and its result is held against those that its snapshot does not contain before it is kept.
//!
//! The feed has a reader of its own here, beside that of live queries: theirs reads when a round begins, and a round lasts as long as its
//! queries do. Nothing is read while nobody asks for anything that is kept, but for a look every [`REMEMBER`], as the feed forgets.
//!
//! Bounded: by `function.cache_size`, the least recently used results go first. Not here: live queries (see [`crate::realtime`]).

mod flight;
mod footprint;
mod looks;
mod store;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use forge_core::Result;
use forge_core::function::CachePolicy;
use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;

use self::flight::{Flight, Flown, Landing};
use self::footprint::{Footprint, Footprints};
use self::looks::Looks;
use self::store::{Footing, Key, Store};
use crate::db::Database;
use crate::feed::ChangeFeed;
use crate::function::{Caller, Entry, FunctionExecutor, Looked, Written, Wrote};
use crate::observability;

/// How often the feed is looked at while nobody asks, so that it has not forgotten when somebody does.
const REMEMBER: Duration = Duration::from_secs(10);

/// How long a look may take.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// How long to wait after a look that failed, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// What the cache had to do with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CacheUse {
    /// It was kept.
    Hit,
    /// The query ran.
    Miss,
    /// The query ran for somebody else who asked for the same.
    Shared,
    /// The query ran, and the cache was not used.
    Bypass,
}

impl CacheUse {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Shared => "shared",
            Self::Bypass => "bypass",
        }
    }
}

/// The query cache of a node. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct QueryCache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    database: Database,
    enabled: bool,
    follows: bool,
    store: Mutex<Store>,
    looks: Looks,
    footprints: Footprints,
    /// Functions of which it has been said that their results are not kept.
    told: Mutex<HashSet<&'static str>>,
}

/// What is asked for, and by whom.
struct Asked {
    executor: FunctionExecutor,
    entry: Arc<Entry>,
    policy: CachePolicy,
    /// Canonical: equal arguments are equal bytes.
    args: Arc<[u8]>,
    caller: Arc<Caller>,
    anybody: Key,
    like: Key,
}

impl QueryCache {
    /// A cache of so many bytes at most. `follows` tells whether the app has a query whose results changes end.
    pub(crate) fn new(database: Database, size: u64, follows: bool) -> Self {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        Self(Arc::new(Inner {
            enabled: size > 0,
            follows: follows && size > 0,
            store: Mutex::new(Store::new(size)),
            looks: Looks::default(),
            footprints: Footprints::new(database.clone()),
            told: Mutex::default(),
            database,
        }))
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is anything that changes can end. Then a mutation's answer has to say its position, as another node may keep what it has
    /// changed.
    pub(crate) fn follows(&self) -> bool {
        self.0.follows
    }

    /// This node has committed something, or may have. Said before that is answered, so that the next call waits for a look that sees it;
    /// until there is such a call, nobody looks.
    pub(crate) fn committed(&self) {
        if self.0.follows {
            self.0.looks.committed();
        }
    }

    /// Answers a query with `cache`, without running it if that can be. None when the cache cannot be used for this call.
    ///
    /// # Errors
    /// Those of the query.
    pub(crate) async fn answer(
        &self,
        executor: &FunctionExecutor,
        entry: &Arc<Entry>,
        policy: CachePolicy,
        args: &[u8],
        caller: &Arc<Caller>,
    ) -> Result<Option<(Arc<[u8]>, CacheUse)>> {
        let need = self.0.looks.need(&caller.written);
        // What is not JSON is told so by the function.
        let args = if args.trim_ascii().is_empty() { b"{}" } else { args };
        let Some(args) = serde_json::from_slice::<serde_json::Value>(args).ok().filter(|_| self.0.enabled) else {
            return Ok(None);
        };
        let args: Arc<[u8]> = args.to_string().into_bytes().into();
        let anybody = Key::of_anybody(entry.info.name, &args);
        let (mut like, mut foreign) = (None, false);
        loop {
            if policy.follow && !self.0.looks.meet(&need).await {
                return Ok(None);
            }
            let (flight, leads) = {
                let mut store = self.store();
                if let Some(json) = store.get(&anybody) {
                    return Ok(Some((json, CacheUse::Hit)));
                }
                let like = *like.get_or_insert_with(|| anybody.like(&caller.principal.auth));
                if let Some(json) = store.get(&like) {
                    return Ok(Some((json, CacheUse::Hit)));
                }
                let key = if foreign || store.is_private(entry.info.name) { like } else { anybody };
                match store.flight(&key) {
                    Some(flight) => (flight, false),
                    None => {
                        let (executor, entry, caller) = (executor.clone(), entry.clone(), caller.clone());
                        let asked = Asked { executor, entry, policy, args: args.clone(), caller, anybody, like };
                        (self.take_off(&mut store, key, asked), true)
                    }
                }
            };
            let flown = flight.await;
            let result = || match &flown.result {
                Ok(json) => Ok(json.clone()),
                Err(why) => Err(why.for_another()),
            };
            if leads {
                return result().map(|json| Some((json, CacheUse::Miss)));
            }
            if flown.looked & Looked::AT_REQUEST != 0 {
                // It is the answer of one call only, and so will be that of this one.
                return Ok(None);
            }
            foreign = flown.looked != 0 && Some(flown.like) != like;
            let good = !policy.follow || need.is_met(flown.began, flown.commits, flown.snapshot.as_ref());
            if good && !foreign {
                return result().map(|json| Some((json, CacheUse::Shared)));
            }
            // It may have been kept, and still be right. If not, whatever begins from now on will do.
        }
    }

    /// Begins a run that others may join.
    fn take_off(&self, store: &mut Store, key: Key, asked: Asked) -> Flight {
        let number = store.begin(asked.policy.follow);
        let landing = Landing { cache: self.clone(), key, number };
        let cache = self.clone();
        let flight = async move {
            let flown = cache.fly(asked, number).await;
            drop(landing);
            Arc::new(flown)
        };
        let flight = flight.boxed().shared();
        if let Some(weak) = flight.downgrade() {
            store.announce(key, number, weak);
        }
        flight
    }

    async fn fly(&self, asked: Asked, number: u64) -> Flown {
        let Asked { executor, entry, policy, args, caller, anybody, like } = asked;
        // What it looks at is noted anew.
        let (principal, request) = (caller.principal.clone(), caller.request.clone());
        let written = Written { lsn: caller.position(), ..caller.written.clone() };
        let (wrote, looked) = (Wrote::default(), Looked::default());
        let caller = Arc::new(Caller { principal, request, written, wrote, looked });
        let (began, commits) = (Instant::now(), self.0.looks.commits());
        let deadline = began + executor.live_limit(&entry);
        let (result, footing): (Result<Vec<u8>>, _) = if policy.follow {
            match executor.run_noted(&entry, &args, &caller, deadline).await {
                Ok(noted) => {
                    if noted.stale {
                        self.0.footprints.forget();
                        self.store().forget_followed();
                    }
                    (executor.fitting(&entry, noted.json), Some((noted.snapshot, noted.asked, noted.stumbled)))
                }
                Err(why) => (Err(why), None),
            }
        } else {
            let result = executor.run_alone(&entry, &args, &caller, deadline).await;
            (result.and_then(|json| executor.fitting(&entry, json)), None)
        };
        let result = result.map(Arc::<[u8]>::from);
        let looked = caller.looked.at();
        if looked != 0 {
            self.store().found_private(entry.info.name);
        }
        let snapshot = footing.as_ref().map(|(snapshot, ..)| snapshot.clone());
        if let Ok(json) = &result {
            let key = if looked == 0 { anybody } else { like };
            let ends = began + policy.ttl;
            let footprint = match footing {
                _ if looked & Looked::AT_REQUEST != 0 => {
                    self.tell(&entry, "it looks at the request, which no two calls have in common");
                    None
                }
                Some((_, _, true)) => None,
                Some((snapshot, asked, false)) => match self.0.footprints.of(&asked, began).await {
                    Ok(Footprint::Known(dependencies)) => Some(Some(Footing { snapshot, dependencies })),
                    Ok(Footprint::NotYet) => None,
                    Ok(Footprint::Never(why)) => {
                        self.tell(&entry, &why);
                        None
                    }
                    Err(why) => {
                        tracing::debug!(error = ?why, "a result is not kept, as the catalogue cannot be asked");
                        None
                    }
                },
                None => Some(None),
            };
            if let Some(footprint) = footprint {
                self.store().keep(key, number, store::Result { json: json.clone(), ends, footprint });
            }
        }
        Flown { result, looked, like, began, commits, snapshot }
    }

    /// Says once why a function's results are not kept.
    fn tell(&self, entry: &Entry, why: &str) {
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(entry.info.name) {
            tracing::warn!(
                function = entry.info.name,
                "its results are not kept, although it says `cache`: {why}. To let their age alone decide, write cache(ttl = \"..\", follow = false)"
            );
        }
    }

    /// Follows the feed until told to stop.
    pub(crate) async fn run(self, mut feed: ChangeFeed, stop: CancellationToken) {
        let (mut pause, mut failing) = (PAUSE.0, false);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.0.looks.wanted.notified() => {}
                () = tokio::time::sleep(REMEMBER) => {
                    let mut store = self.store();
                    store.sweep();
                    if !store.follows() {
                        continue;
                    }
                }
            }
            let looked = tokio::time::timeout(LOOK_MAX, self.look(&mut feed)).await;
            match looked.unwrap_or_else(|_| Err(forge_core::Error::timeout("the change feed did not answer in time"))) {
                Ok(()) => (pause, failing) = (PAUSE.0, false),
                Err(why) => {
                    self.0.looks.failed();
                    if !failing {
                        tracing::warn!(error = ?why, "the change feed cannot be read; until it can, queries run instead of being answered with what is kept");
                    }
                    failing = true;
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(pause) => {}
                    }
                    pause = (pause * 2).min(PAUSE.1);
                }
            }
        }
    }

    async fn look(&self, feed: &mut ChangeFeed) -> Result<()> {
        let begun = self.0.looks.begin();
        let transaction = self.0.database.begin_look().await?;
        let batch = feed.read(&transaction).await?;
        observability::query_cache().looked();
        let snapshot = batch.snapshot.clone();
        self.store().apply(batch);
        self.0.looks.end(&begun, snapshot);
        transaction.rollback().await;
        Ok(())
    }
}
