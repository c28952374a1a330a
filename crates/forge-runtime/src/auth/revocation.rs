//! Whether a session has been ended before its tokens expired.
//!
//! Asked with every call of a session's token, so the answer "still alive" is kept for up to five seconds: an ended
//! session is refused everywhere within that time; live queries of a session end with the round that sees its end. "Ended" is final and kept as long
//! as there is room. A question that fails is not an answer: the call fails, as "perhaps ended" must not mean "alive".
//!
//! One question is under way at a time. Whoever wants to know meanwhile waits, and is asked about in the next one together with all others who do: a
//! change that is to be shown to ten thousand people asks ten questions, not ten thousand.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use forge_core::{Error, Result};
use lru::LruCache;
use tokio::sync::{broadcast, watch};
use uuid::Uuid;

/// How long "still alive" is believed.
const BELIEVED: Duration = Duration::from_secs(5);

/// For how long nothing is believed of a session that somebody is ending: longer than it takes until that is committed.
const DOUBTED: Duration = Duration::from_secs(60);

/// How many sessions are remembered, at some hundred bytes each; the one unused longest makes room.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(100_000).expect("not zero");

/// How many sessions one question is about; for more there are several, one after the other.
const ASKED_MAX: usize = 1_000;

/// How long a question may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How many endings of sessions may wait for whoever listens; at one more, it is told that it has missed some.
const ENDINGS_MAX: usize = 1024;

type Loader = dyn Fn(Vec<Uuid>) -> Pin<Box<dyn Future<Output = Result<HashSet<Uuid>>> + Send>> + Send + Sync;

/// What is known about a session.
#[derive(Clone, Copy)]
enum Known {
    Alive(Instant),
    /// It may end at any moment until then, so it is asked every time.
    Doubted(Instant),
    Ended,
}

/// Those of a question's sessions that are alive.
type Answer = Arc<Result<HashSet<Uuid>>>;

/// A question that is still to be asked.
struct Question {
    sessions: HashSet<Uuid>,
    answer: watch::Sender<Option<Answer>>,
}

struct State {
    known: LruCache<Uuid, Known>,
    /// Those that wait, the first to be asked first.
    questions: VecDeque<Question>,
    /// Somebody asks them.
    asking: bool,
}

struct Shared {
    loader: Box<Loader>,
    believed: Duration,
    state: Mutex<State>,
    endings: broadcast::Sender<Uuid>,
}

/// Answers "has this session ended?", from memory or by asking a loader.
pub struct RevocationCache(Arc<Shared>);

impl RevocationCache {
    /// A cache over a question to the database: which of some sessions are alive. See [`Sessions::alive`](super::Sessions::alive).
    pub fn new<F>(loader: impl Fn(Vec<Uuid>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<HashSet<Uuid>>> + Send + 'static,
    {
        Self::believing(BELIEVED, Box::new(move |sessions| Box::pin(loader(sessions))))
    }

    /// Believes "still alive" for this long; zero asks every time.
    fn believing(believed: Duration, loader: Box<Loader>) -> Self {
        // Grows with those that are remembered, instead of having room for all of them from the start.
        let mut known = LruCache::unbounded();
        known.resize(REMEMBERED);
        Self(Arc::new(Shared {
            loader,
            believed,
            state: Mutex::new(State { known, questions: VecDeque::new(), asking: false }),
            endings: broadcast::Sender::new(ENDINGS_MAX),
        }))
    }

    /// Whether a session has ended.
    ///
    /// # Errors
    /// Those of the loader, and `DATABASE_UNAVAILABLE` when it does not answer in time.
    pub async fn is_revoked(&self, session: Uuid) -> Result<bool> {
        let mut answer = {
            let mut state = self.0.state();
            if let Some(alive) = self.0.is_alive(&mut state, session) {
                return Ok(!alive);
            }
            state.ask(session, &self.0)
        };
        let lost = || Error::internal("whoever asks which sessions have ended is gone");
        let answer = answer.wait_for(Option::is_some).await.map_err(|_| lost())?.clone().ok_or_else(lost)?;
        match &*answer {
            Ok(alive) => Ok(!alive.contains(&session)),
            Err(why) => Err(why.for_another()),
        }
    }

    /// Forgets what is known about a session, and for a minute believes nothing of it: this node asks with its every call. For a node that
    /// ends a session, before or after that is committed: from the commit on the session is refused here.
    pub fn forget(&self, session: Uuid) {
        self.0.state().known.put(session, Known::Doubted(Instant::now() + DOUBTED));
    }

    /// A session has ended, and that is committed.
    pub fn ended(&self, session: Uuid) {
        self.0.state().known.put(session, Known::Ended);
        // It fails when nobody listens.
        let _ = self.0.endings.send(session);
    }

    /// The sessions that [have ended](Self::ended), from now on.
    pub fn endings(&self) -> broadcast::Receiver<Uuid> {
        self.0.endings.subscribe()
    }
}

impl State {
    /// Asks about a session, together with all others that wait.
    fn ask(&mut self, session: Uuid, shared: &Arc<Shared>) -> watch::Receiver<Option<Answer>> {
        if self.questions.back().is_none_or(|last| last.sessions.len() >= ASKED_MAX) {
            self.questions.push_back(Question { sessions: HashSet::new(), answer: watch::Sender::new(None) });
        }
        let last = self.questions.len() - 1;
        let question = &mut self.questions[last];
        question.sessions.insert(session);
        let answer = question.answer.subscribe();
        if !std::mem::replace(&mut self.asking, true) {
            // By nobody's call: whoever wants to know may go away, and the others wait on.
            tokio::spawn(Asking(shared.clone()).run());
        }
        answer
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a session, unless it has to be asked.
    fn is_alive(&self, state: &mut State, session: Uuid) -> Option<bool> {
        match state.known.get(&session) {
            Some(Known::Ended) => Some(false),
            Some(Known::Alive(since)) if since.elapsed() < self.believed => Some(true),
            _ => None,
        }
    }

    /// Which of these are alive.
    async fn answer(&self, sessions: HashSet<Uuid>) -> Result<HashSet<Uuid>> {
        let (mut alive, mut unknown) = (HashSet::new(), Vec::new());
        {
            // The question before this one may have been about some of them.
            let mut state = self.state();
            for session in sessions {
                match self.is_alive(&mut state, session) {
                    Some(true) => drop(alive.insert(session)),
                    Some(false) => {}
                    None => unknown.push(session),
                }
            }
        }
        if unknown.is_empty() {
            return Ok(alive);
        }
        // The answer is as old as the question.
        let asked = Instant::now();
        let found = tokio::time::timeout(ANSWER_WITHIN, (self.loader)(unknown.clone())).await.map_err(|_| {
            Error::database_unavailable(format!(
                "the database did not say within {ANSWER_WITHIN:?} which sessions have ended"
            ))
        })??;
        let mut state = self.state();
        for session in unknown {
            let lives = found.contains(&session);
            match state.known.get(&session) {
                Some(Known::Ended) => continue,
                Some(Known::Doubted(until)) if lives && asked < *until => {}
                _ => drop(state.known.put(session, if lives { Known::Alive(asked) } else { Known::Ended })),
            }
            if lives {
                alive.insert(session);
            }
        }
        Ok(alive)
    }
}

/// Whoever asks the questions that wait.
struct Asking(Arc<Shared>);

impl Asking {
    async fn run(self) {
        while let Some(question) = self.next() {
            let answer = self.0.answer(question.sessions).await;
            question.answer.send_replace(Some(Arc::new(answer)));
        }
    }

    fn next(&self) -> Option<Question> {
        let mut state = self.0.state();
        let next = state.questions.pop_front();
        state.asking = next.is_some();
        next
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        // After a panic: those whose question it was are told, and the next one asks again.
        if std::thread::panicking() {
            let mut state = self.0.state();
            state.questions.clear();
            state.asking = false;
        }
    }
}

impl fmt::Debug for RevocationCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationCache").field("believed", &self.0.believed).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use forge_core::Error;

    use super::*;

    /// How many questions were asked, and a cache whose loader says whether they have ended of all whom a question is about. It fails when there
    /// is more than one question at a time.
    fn counting(
        believed: Duration,
        ended: impl Fn(usize) -> Result<bool> + Send + Sync + 'static,
    ) -> (Arc<AtomicUsize>, RevocationCache) {
        let asked = Arc::new(AtomicUsize::new(0));
        let (counter, ended, under_way) = (asked.clone(), Arc::new(ended), Arc::new(AtomicUsize::new(0)));
        let loader = move |sessions: Vec<Uuid>| {
            let (n, ended, under_way) = (counter.fetch_add(1, Ordering::SeqCst), ended.clone(), under_way.clone());
            let answering = async move {
                assert_eq!(under_way.fetch_add(1, Ordering::SeqCst), 0);
                tokio::task::yield_now().await;
                under_way.fetch_sub(1, Ordering::SeqCst);
                assert!(sessions.len() <= ASKED_MAX);
                ended(n).map(|ended| sessions.into_iter().filter(|_| !ended).collect())
            };
            Box::pin(answering) as Pin<Box<dyn Future<Output = _> + Send>>
        };
        (asked, RevocationCache::believing(believed, Box::new(loader)))
    }

    #[tokio::test]
    async fn many_calls_of_one_session_ask_once() {
        let (asked, cache) = counting(BELIEVED, |_| Ok(false));
        let session = Uuid::now_v7();
        let answers = futures_util::future::join_all((0..100).map(|_| cache.is_revoked(session))).await;
        assert!(answers.into_iter().all(|answer| !answer.unwrap()));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn alive_is_asked_again_and_ended_is_final() {
        let (asked, cache) = counting(Duration::ZERO, |n| Ok(n > 0));
        let session = Uuid::now_v7();
        assert!(!cache.is_revoked(session).await.unwrap());
        assert!(cache.is_revoked(session).await.unwrap());
        assert!(cache.is_revoked(session).await.unwrap());
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn what_is_forgotten_is_asked_anew() {
        let (asked, cache) = counting(BELIEVED, |n| Ok(n > 0));
        let session = Uuid::now_v7();
        assert!(!cache.is_revoked(session).await.unwrap());
        cache.forget(session);
        assert!(cache.is_revoked(session).await.unwrap());
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn while_somebody_ends_a_session_it_is_asked_every_time() {
        // Ended, but not committed yet when it is asked the first two times.
        let (asked, cache) = counting(BELIEVED, |n| Ok(n > 2));
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
        let (asked, cache) =
            counting(BELIEVED, |n| if n == 0 { Err(Error::database_unavailable("away")) } else { Ok(false) });
        let session = Uuid::now_v7();
        assert_eq!(cache.is_revoked(session).await.unwrap_err().code(), "DATABASE_UNAVAILABLE");
        assert!(!cache.is_revoked(session).await.unwrap());
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn many_sessions_at_once_are_few_questions_and_none_the_next_time() {
        let (asked, cache) = counting(Duration::from_secs(600), |_| Ok(false));
        let sessions: Vec<Uuid> = (0..20_000).map(|_| Uuid::now_v7()).collect();
        for _ in 0..2 {
            let all = futures_util::future::join_all(sessions.iter().map(|session| cache.is_revoked(*session)));
            assert!(all.await.into_iter().all(|answer| !answer.unwrap()));
            assert_eq!(asked.load(Ordering::SeqCst), 20);
        }
    }

    #[tokio::test]
    async fn who_goes_away_leaves_the_others_waiting_for_an_answer_that_comes() {
        let (asked, cache) = counting(BELIEVED, |n| Ok(n > 0));
        let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
        let mut gone = Box::pin(cache.is_revoked(first));
        assert!(futures_util::poll!(&mut gone).is_pending());
        let mut stays = Box::pin(cache.is_revoked(first));
        assert!(futures_util::poll!(&mut stays).is_pending());
        drop(gone);
        assert!(!stays.await.unwrap());
        assert!(cache.is_revoked(second).await.unwrap());
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn an_answer_to_what_was_asked_before_is_not_believed_of_what_is_being_ended() {
        let (gate, passes) = (Arc::new(tokio::sync::Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let (shut, counter) = (gate.clone(), passes.clone());
        let cache = RevocationCache::new(move |sessions: Vec<Uuid>| {
            let (shut, n) = (shut.clone(), counter.fetch_add(1, Ordering::SeqCst));
            async move {
                shut.acquire().await.unwrap().forget();
                Ok(if n == 0 { sessions.into_iter().collect() } else { HashSet::new() })
            }
        });
        let session = Uuid::now_v7();
        let mut before = Box::pin(cache.is_revoked(session));
        assert!(futures_util::poll!(&mut before).is_pending());
        tokio::task::yield_now().await;
        assert_eq!(passes.load(Ordering::SeqCst), 1, "it is on its way");
        cache.forget(session);
        let mut after = Box::pin(cache.is_revoked(session));
        assert!(futures_util::poll!(&mut after).is_pending());
        gate.add_permits(2);
        assert!(!before.await.unwrap());
        assert!(after.await.unwrap());
    }
}
