//! Whether a session has been ended before its tokens expired.
//!
//! Asked with every call of a session's token, so the answer "still alive" is kept for up to five seconds: an ended
//! session is refused everywhere within that time; live queries of a session end with the round that sees its end. "Ended" is final and kept as long as there is room. One question
//! per session is under way at a time, however many calls wait for it. A question that fails is not an answer: the call
//! fails, as "perhaps ended" must not mean "alive".

use std::fmt;
use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use forge_core::Result;
use lru::LruCache;
use tokio::sync::broadcast;
use uuid::Uuid;

/// How long "still alive" is believed.
const BELIEVED: Duration = Duration::from_secs(5);

/// For how long nothing is believed of a session that somebody is ending: longer than it takes until that is committed.
const DOUBTED: Duration = Duration::from_secs(60);

/// How many sessions are remembered; the one unused longest makes room.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// How many endings of sessions may wait for whoever listens; at one more, it is told that it has missed some.
const ENDINGS_MAX: usize = 1024;

type Loader = dyn Fn(Uuid) -> Pin<Box<dyn Future<Output = Result<bool>> + Send>> + Send + Sync;

/// What is known about one session. The lock is held while a question is under way, so that others wait for its answer.
type Slot = Arc<tokio::sync::Mutex<Known>>;

#[derive(Clone, Copy)]
enum Known {
    Nothing,
    Alive(Instant),
    /// It may end at any moment until then, so it is asked every time.
    Doubted(Instant),
    Ended,
}

/// Answers "has this session ended?", from memory or by asking a loader.
pub struct RevocationCache {
    loader: Box<Loader>,
    believed: Duration,
    slots: Mutex<LruCache<Uuid, Slot>>,
    endings: broadcast::Sender<Uuid>,
}

impl RevocationCache {
    /// A cache over a question to the database; see [`Sessions::is_revoked`](super::Sessions::is_revoked).
    pub fn new<F>(loader: impl Fn(Uuid) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<bool>> + Send + 'static,
    {
        Self {
            loader: Box::new(move |session| Box::pin(loader(session))),
            believed: BELIEVED,
            slots: Mutex::new(LruCache::new(REMEMBERED)),
            endings: broadcast::Sender::new(ENDINGS_MAX),
        }
    }

    /// Believes "still alive" for less than the usual five seconds; zero asks every time. More than five is cut to five.
    pub fn with_staleness(mut self, believed: Duration) -> Self {
        self.believed = believed.min(BELIEVED);
        self
    }

    /// Whether a session has ended.
    ///
    /// # Errors
    /// Those of the loader.
    pub async fn is_revoked(&self, session: Uuid) -> Result<bool> {
        let slot = Arc::clone(self.slots().get_or_insert(session, || Arc::new(tokio::sync::Mutex::new(Known::Nothing))));
        let mut known = slot.lock().await;
        match *known {
            Known::Ended => return Ok(true),
            Known::Alive(since) if since.elapsed() < self.believed => return Ok(false),
            Known::Alive(_) | Known::Doubted(_) | Known::Nothing => {}
        }
        // The answer is as old as the question.
        let asked = Instant::now();
        let ended = (self.loader)(session).await?;
        *known = match *known {
            _ if ended => Known::Ended,
            Known::Doubted(until) if asked < until => Known::Doubted(until),
            _ => Known::Alive(asked),
        };
        Ok(ended)
    }

    /// Forgets what is known about a session, and for a minute believes nothing of it: this node asks with its every call. For a node that
    /// ends a session, before or after that is committed: from the commit on the session is refused here.
    pub fn forget(&self, session: Uuid) {
        // A slot of its own: a question that is under way was asked too early to count.
        let doubted = Known::Doubted(Instant::now() + DOUBTED);
        self.slots().put(session, Arc::new(tokio::sync::Mutex::new(doubted)));
    }

    /// A session has ended, and that is committed.
    pub fn ended(&self, session: Uuid) {
        self.slots().put(session, Arc::new(tokio::sync::Mutex::new(Known::Ended)));
        // It fails when nobody listens.
        let _ = self.endings.send(session);
    }

    /// The sessions that [have ended](Self::ended), from now on.
    pub fn endings(&self) -> broadcast::Receiver<Uuid> {
        self.endings.subscribe()
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, LruCache<Uuid, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RevocationCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationCache").field("believed", &self.believed).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use forge_core::Error;

    use super::*;

    fn counting(answer: impl Fn(usize) -> Result<bool> + Send + Sync + 'static) -> (Arc<AtomicUsize>, RevocationCache) {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let answer = Arc::new(answer);
        let cache = RevocationCache::new(move |_| {
            let (n, answer) = (counter.fetch_add(1, Ordering::SeqCst), Arc::clone(&answer));
            async move {
                tokio::task::yield_now().await;
                answer(n)
            }
        });
        (asked, cache)
    }

    #[tokio::test]
    async fn many_calls_of_one_session_ask_once() {
        let (asked, cache) = counting(|_| Ok(false));
        let session = Uuid::now_v7();
        let answers = futures_util::future::join_all((0..100).map(|_| cache.is_revoked(session))).await;
        assert!(answers.into_iter().all(|answer| !answer.unwrap()));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn alive_is_asked_again_and_ended_is_final() {
        let (asked, cache) = counting(|n| Ok(n > 0));
        let cache = cache.with_staleness(Duration::ZERO);
        let session = Uuid::now_v7();
        assert!(!cache.is_revoked(session).await.unwrap());
        assert!(cache.is_revoked(session).await.unwrap());
        assert!(cache.is_revoked(session).await.unwrap());
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn what_is_forgotten_is_asked_anew() {
        let (asked, cache) = counting(|n| Ok(n > 0));
        let session = Uuid::now_v7();
        assert!(!cache.is_revoked(session).await.unwrap());
        cache.forget(session);
        assert!(cache.is_revoked(session).await.unwrap());
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn while_somebody_ends_a_session_it_is_asked_every_time() {
        // Ended, but not committed yet when it is asked the first two times.
        let (asked, cache) = counting(|n| Ok(n > 2));
        let session = Uuid::now_v7();
        assert!(!cache.is_revoked(session).await.unwrap());
        cache.forget(session);
        assert!(!cache.is_revoked(session).await.unwrap());
        assert!(!cache.is_revoked(session).await.unwrap());
        assert!(cache.is_revoked(session).await.unwrap());
        assert_eq!(asked.load(Ordering::SeqCst), 4);
    }

    #[tokio::test]
    async fn a_question_that_failed_is_no_answer() {
        let (asked, cache) = counting(|n| if n == 0 { Err(Error::database_unavailable("away")) } else { Ok(false) });
        let session = Uuid::now_v7();
        assert_eq!(cache.is_revoked(session).await.unwrap_err().code(), "DATABASE_UNAVAILABLE");
        assert!(!cache.is_revoked(session).await.unwrap());
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }
}
