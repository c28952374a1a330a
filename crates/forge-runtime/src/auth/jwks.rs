//! Public keys that an identity provider publishes (a JWK set), fetched, kept, and fetched again.
//!
//! - Kept for `security.auth.jwks_cache`; the first caller after that waits for new ones.
//! - A key id that is not among them fetches them anew, at most every 30 seconds however many callers ask.
//! - While they cannot be fetched, the last ones serve for up to 24 hours, and nobody waits: the attempts go on in the
//!   background, every 30 seconds, as long as tokens come in.
//! - One fetch at a time; it runs in a task of its own, so that a caller who goes away does not undo it.
//! - At most 1 MiB and 100 keys within 5 seconds, no redirects. Secrets (`oct`) in a set are ignored, as are keys that are
//!   not for signatures.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use forge_core::{Error, Result};
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinHandle;

use crate::config::{Algorithm, is_loopback};

use super::clock::Clock;
use super::jwk_set;
use super::keys::Key;

/// The least seconds between two fetches.
const PAUSE: i64 = 30;
/// How many seconds the last keys serve while new ones cannot be fetched.
const STALE: i64 = 24 * 3600;
/// How long a fetch may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer, in bytes.
const SIZE_LIMIT: usize = 1 << 20;

/// The time of something that has not happened.
const NEVER: i64 = i64::MIN;

/// What a look-up came to.
pub(super) enum Found {
    /// Keys that may have signed the token.
    Keys(Vec<Arc<Key>>),
    /// The set is current, and no key of it fits.
    Unknown,
    /// The set cannot be had, so nothing can be said.
    Unavailable,
}

/// The keys of one URL.
pub(super) struct Jwks {
    url: String,
    client: reqwest::Client,
    keep: i64,
    allowed: Vec<Algorithm>,
    clock: Clock,
    keys: RwLock<Arc<Vec<Arc<Key>>>>,
    /// A hash of the current keys, to see whether a fetch changed anything.
    print: std::sync::Mutex<[u8; 32]>,
    generation: AtomicU64,
    fetched_at: AtomicI64,
    attempted_at: AtomicI64,
    failing: AtomicBool,
    flight: Arc<tokio::sync::Mutex<()>>,
}

impl Jwks {
    pub(super) fn new(url: &str, keep: Duration, allowed: Vec<Algorithm>, clock: Clock) -> Result<Self> {
        let client = client(url).map_err(|error| {
            Error::config(
                "CONFIG_AUTH_KEY",
                format!("security.auth.jwks_url: no HTTP client can be set up for it: {error}"),
            )
            .with_source(error)
        })?;
        let keep = i64::try_from(keep.as_secs()).unwrap_or(i64::MAX);
        Ok(Self::unfetched(url.into(), client, keep, allowed, clock))
    }

    /// The same URL with another clock and nothing fetched yet.
    pub(super) fn restarted(&self, clock: Clock) -> Self {
        Self::unfetched(self.url.clone(), self.client.clone(), self.keep, self.allowed.clone(), clock)
    }

    fn unfetched(url: String, client: reqwest::Client, keep: i64, allowed: Vec<Algorithm>, clock: Clock) -> Self {
        Self {
            url,
            client,
            keep,
            allowed,
            clock,
            keys: RwLock::default(),
            print: std::sync::Mutex::default(),
            generation: AtomicU64::new(0),
            fetched_at: AtomicI64::new(NEVER),
            attempted_at: AtomicI64::new(NEVER),
            failing: AtomicBool::new(false),
            flight: Arc::default(),
        }
    }

    /// Grows whenever the keys change.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether the keys are old and an attempt to fetch new ones may be made.
    fn is_due(&self) -> bool {
        let now = self.clock.now();
        elapsed(self.fetched_at.load(Ordering::Acquire), now) >= self.keep && self.may_attempt(now)
    }

    /// Whether what was found right by the keys of a generation needs no second look.
    pub(super) fn still_vouches(&self, generation: u64) -> bool {
        self.generation() == generation && self.is_usable() && !self.is_due()
    }

    /// Fetches the keys if there are none; whether there are some now.
    pub(super) async fn preload(self: &Arc<Self>) -> bool {
        if !self.is_usable() {
            self.refresh().await;
        }
        self.is_usable()
    }

    /// The keys that a token may have been signed with: the one with its key id; without an id, the only one that fits.
    pub(super) async fn find(self: &Arc<Self>, kid: Option<&str>, algorithm: Algorithm) -> Found {
        if self.is_due() {
            if self.failing.load(Ordering::Acquire) && self.is_usable() {
                self.refresh_in_background();
            } else {
                self.refresh().await;
            }
        }
        let mut fitting = self.pick(kid, algorithm);
        if fitting.is_empty() && (kid.is_some() || !self.is_usable()) {
            // Others may be waiting for an answer already; then this waits with them.
            self.refresh().await;
            fitting = self.pick(kid, algorithm);
        }
        // Without an id, trying one key after another would let a stranger spend our time.
        if kid.is_none() && fitting.len() > 1 {
            return Found::Unknown;
        }
        if !fitting.is_empty() {
            return Found::Keys(fitting);
        }
        if self.failing.load(Ordering::Acquire) || !self.is_usable() { Found::Unavailable } else { Found::Unknown }
    }

    fn pick(&self, kid: Option<&str>, algorithm: Algorithm) -> Vec<Arc<Key>> {
        if !self.is_usable() {
            return Vec::new();
        }
        let keys = Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner));
        let fits = |key: &&Arc<Key>| key.fits(algorithm, self.clock.now()) && (kid.is_none() || key.kid.as_deref() == kid);
        keys.iter().filter(fits).cloned().collect()
    }

    /// Whether there are keys that are not too old to be used at all.
    fn is_usable(&self) -> bool {
        elapsed(self.fetched_at.load(Ordering::Acquire), self.clock.now()) < STALE.max(self.keep)
    }

    fn may_attempt(&self, now: i64) -> bool {
        elapsed(self.attempted_at.load(Ordering::Acquire), now) >= PAUSE
    }

    /// Fetches once, however many call at the same time; all of them wait for that one. Shortly after a fetch, it does
    /// nothing.
    async fn refresh(self: &Arc<Self>) {
        let flight = Arc::clone(&self.flight).lock_owned().await;
        let Some(task) = self.start(flight) else {
            return;
        };
        if let Err(error) = task.await {
            // The runtime is shutting down, or the task panicked.
            tracing::error!("fetching the keys that tokens are checked with was cut short: {error}");
            self.failing.store(true, Ordering::Release);
        }
    }

    fn refresh_in_background(self: &Arc<Self>) {
        if let Ok(flight) = Arc::clone(&self.flight).try_lock_owned() {
            self.start(flight);
        }
    }

    /// Begins a fetch in a task of its own, unless one was begun a short while ago.
    fn start(self: &Arc<Self>, flight: OwnedMutexGuard<()>) -> Option<JoinHandle<()>> {
        if !self.may_attempt(self.clock.now()) {
            return None;
        }
        self.attempted_at.store(self.clock.now(), Ordering::Release);
        let this = Arc::clone(self);
        Some(tokio::spawn(async move {
            let _flight = flight;
            match this.fetch().await {
                Ok(keys) => this.install(keys),
                Err(problem) => {
                    this.failing.store(true, Ordering::Release);
                    tracing::warn!(
                        url = %this.url,
                        "the keys that tokens are checked with cannot be fetched: {problem}; \
                         the last ones serve for up to 24 hours"
                    );
                }
            }
        }))
    }

    fn install(&self, (keys, print): (Vec<Key>, [u8; 32])) {
        let mut current = self.print.lock().unwrap_or_else(PoisonError::into_inner);
        if *current != print {
            *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys.into_iter().map(Arc::new).collect());
            *current = print;
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        self.fetched_at.store(self.clock.now(), Ordering::Release);
        self.failing.store(false, Ordering::Release);
    }

    async fn fetch(&self) -> Result<(Vec<Key>, [u8; 32]), String> {
        let body = tokio::time::timeout(TIMEOUT, self.body())
            .await
            .map_err(|_| format!("no answer within {} s", TIMEOUT.as_secs()))??;
        jwk_set::read(&body, &self.allowed)
    }

    async fn body(&self) -> Result<Vec<u8>, String> {
        let told = |error: reqwest::Error| {
            let error = error.without_url();
            std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source())
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(": ")
        };
        let mut response = self.client.get(&self.url).header("accept", "application/json").send().await.map_err(told)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(format!("the answer is HTTP {}", response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(told)? {
            if body.len() + chunk.len() > SIZE_LIMIT {
                return Err("the answer is larger than 1 MiB".into());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// Seconds since `then`; a clock that was set back makes everything old, so that nothing lasts longer than it should.
fn elapsed(then: i64, now: i64) -> i64 {
    if then == NEVER || now < then { i64::MAX } else { now.saturating_sub(then) }
}

fn client(url: &str) -> Result<reqwest::Client, reqwest::Error> {
    crate::install_crypto();
    let local = reqwest::Url::parse(url).is_ok_and(|url| url.host_str().is_some_and(is_loopback));
    let builder =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(TIMEOUT).https_only(!local);
    if local { builder.no_proxy().build() } else { builder.build() }
}
