//! Passwords: hashed with Argon2id, never stored, never compared in a way that tells who exists.
//!
//! A hash costs 19 MiB and about 20 ms of a core on purpose, so at most `security.auth.password_concurrency` are computed at
//! once, on threads that may block; 64 more wait, and whoever comes then is told to come back. Passwords are taken as
//! they are, byte by byte: an app that wants two spellings of `é` to be one normalises before it calls.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{self, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use forge_core::{Error, Result};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The longest password, in bytes. It protects against a caller who sends megabytes to be hashed.
pub const PASSWORD_LIMIT: usize = 1024;
/// The fewest characters of a new password.
pub const PASSWORD_LEAST: usize = 8;

/// How many calls may wait for their turn.
const WAITERS: usize = 64;

const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Hashes and checks passwords. One per process; cheap to clone.
#[derive(Clone)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    /// A hash of nobody's password, checked when a user does not exist.
    nobody: Arc<str>,
}

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Verdict {
    /// Whether the password is the right one.
    pub matches: bool,
    /// Whether it is, and its hash was made with other parameters than today's: hash it again and store that.
    pub needs_rehash: bool,
}

impl Passwords {
    /// At most so many hashes at once; 0 counts as 1.
    pub fn new(concurrency: u32) -> Self {
        let (salt, hash) =
            (STANDARD_NO_PAD.encode(rand::random::<[u8; 16]>()), STANDARD_NO_PAD.encode(rand::random::<[u8; 32]>()));
        Self {
            turns: Arc::new(Semaphore::new(concurrency.max(1) as usize)),
            waiting: Arc::default(),
            nobody: format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${salt}${hash}").into(),
        }
    }

    /// Hashes a new password under a random salt. The result is text in PHC form (`$argon2id$…`, about 100 characters).
    ///
    /// # Errors
    /// `VALIDATION_ERROR` when it breaks [`check_policy`]'s rules, `RATE_LIMITED` when too many are waiting.
    pub async fn hash(&self, password: &str) -> Result<String> {
        check_policy(password)?;
        let password = password.to_owned();
        self.blocking(move || {
            let hash: PasswordHash = hasher()?.hash_password(password.as_bytes())?;
            Ok(hash.to_string())
        })
        .await
    }

    /// Checks a password against the stored hash of a user; against none when the user does not exist, which takes as
    /// long and never matches. So whoever measures learns nothing about who exists.
    ///
    /// # Errors
    /// `RATE_LIMITED` when too many are waiting, `INTERNAL_ERROR` when the stored hash is not one of Argon2.
    pub async fn verify(&self, password: &str, stored: Option<&str>) -> Result<Verdict> {
        // No password of this length was ever accepted, so this says nothing about the user.
        if password.len() > PASSWORD_LIMIT {
            return Ok(Verdict { matches: false, needs_rehash: false });
        }
        let exists = stored.is_some();
        let (password, stored) = (password.to_owned(), stored.unwrap_or(&self.nobody).to_owned());
        self.blocking(move || {
            let hash = PasswordHash::new(&stored)?;
            match hasher()?.verify_password(password.as_bytes(), &hash) {
                Ok(()) => Ok(Verdict { matches: exists, needs_rehash: exists && !is_current(&hash) }),
                Err(password_hash::Error::PasswordInvalid) => Ok(Verdict { matches: false, needs_rehash: false }),
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, password_hash::Error> + Send + 'static,
    ) -> Result<T> {
        let turn = self.turn().await?;
        let done = tokio::task::spawn_blocking(move || {
            // Held by the work and not by the caller: one who goes away does not make room before it is there.
            let _turn = turn;
            work()
        });
        match done.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                let text = format!(
                    "a password could not be hashed or checked: {error}; is the stored hash one of Argon2 in PHC form?"
                );
                Err(Error::internal(text).with_source(error.to_string()))
            }
            Err(error) => Err(Error::internal("hashing a password was cut short").with_source(error)),
        }
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit> {
        if let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() {
            return Ok(turn);
        }
        let _place = Place::take(&self.waiting)
            .ok_or_else(|| Error::rate_limited("too many people are signing in at once; try again in a moment", 1))?;
        Arc::clone(&self.turns)
            .acquire_owned()
            .await
            .map_err(|error| Error::internal("passwords are no longer checked").with_source(error))
    }
}

/// A place among those who wait, given back when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Option<Self> {
        let place = Self(waiting);
        (waiting.fetch_add(1, Ordering::AcqRel) < WAITERS).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The rules for a new password: 8 characters or more, at most 1024 bytes. No rule about which characters: such rules
/// make people choose worse passwords.
///
/// # Errors
/// `VALIDATION_ERROR` with details for the field `password`.
pub fn check_policy(password: &str) -> Result<()> {
    let problem = if password.chars().count() < PASSWORD_LEAST {
        "must have at least 8 characters"
    } else if password.len() > PASSWORD_LIMIT {
        "must have at most 1024 bytes"
    } else {
        return Ok(());
    };
    Err(Error::validation(json!({ "password": [problem] })))
}

fn hasher() -> Result<Argon2<'static>, password_hash::Error> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// Whether a hash was made the way [`hasher`] makes them.
fn is_current(hash: &PasswordHash) -> bool {
    hash.algorithm.as_str() == Algorithm::Argon2id.as_str()
        && hash.version == Some(Version::V0x13.into())
        && Params::try_from(hash)
            .is_ok_and(|params| (params.m_cost(), params.t_cost(), params.p_cost()) == (MEMORY_KIB, PASSES, LANES))
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").field("free", &self.turns.available_permits()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_right_password_matches_and_no_other() {
        let passwords = Passwords::new(2);
        let hash = passwords.hash("correct horse").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_eq!(
            passwords.verify("correct horse", Some(&hash)).await.unwrap(),
            Verdict { matches: true, needs_rehash: false }
        );
        for wrong in ["correct horsf", "", "correct horse ", &"x".repeat(5000)] {
            assert!(!passwords.verify(wrong, Some(&hash)).await.unwrap().matches);
        }
        assert_ne!(hash, passwords.hash("correct horse").await.unwrap(), "each hash has a salt of its own");
    }

    #[tokio::test]
    async fn nobody_has_no_password() {
        let passwords = Passwords::new(1);
        assert_eq!(passwords.verify("correct horse", None).await.unwrap(), Verdict { matches: false, needs_rehash: false });
        // What stands in for a missing user costs what a real user's hash costs.
        assert!(is_current(&PasswordHash::new(&passwords.nobody).unwrap()));
    }

    #[tokio::test]
    async fn a_weaker_hash_is_to_be_made_anew() {
        let weak = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8192, 1, 1, None).unwrap());
        let hash: PasswordHash = weak.hash_password(b"correct horse").unwrap();
        let passwords = Passwords::new(1);
        assert_eq!(
            passwords.verify("correct horse", Some(&hash.to_string())).await.unwrap(),
            Verdict { matches: true, needs_rehash: true }
        );
        assert!(!passwords.verify("wrong", Some(&hash.to_string())).await.unwrap().needs_rehash);
    }

    #[tokio::test]
    async fn a_stored_hash_of_another_kind_is_a_mistake_and_not_a_wrong_password() {
        for stored in ["", "plain", "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW"] {
            assert_eq!(Passwords::new(1).verify("x", Some(stored)).await.unwrap_err().code(), "INTERNAL_ERROR", "{stored}");
        }
    }

    #[test]
    fn the_policy() {
        for (password, fine) in [("1234567", false), ("12345678", true), ("pässwört", true), ("", false)] {
            assert_eq!(check_policy(password).is_ok(), fine, "{password}");
        }
        assert!(check_policy(&"x".repeat(1024)).is_ok() && check_policy(&"x".repeat(1025)).is_err());
    }

    #[tokio::test]
    async fn the_queue_is_bounded_and_those_who_leave_make_room() {
        let passwords = Passwords::new(1);
        let turn = passwords.turn().await.unwrap();
        let mut waiting: Vec<_> = (0..WAITERS).map(|_| Box::pin(passwords.turn())).collect();
        for turn in &mut waiting {
            assert!(futures_util::poll!(turn).is_pending());
        }
        let refused = passwords.turn().await.unwrap_err();
        assert_eq!((refused.code(), refused.retry_after_s()), ("RATE_LIMITED", Some(1)));
        waiting.pop();
        let mut late = Box::pin(passwords.turn());
        assert!(futures_util::poll!(&mut late).is_pending());
        drop(waiting);
        drop(turn);
        drop(late.await.unwrap());
        assert_eq!(passwords.waiting.load(Ordering::SeqCst), 0);
    }
}
