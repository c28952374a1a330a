//! Is this token genuine, for us, and valid now?
//!
//! ```text
//! size ─▶ cache ─▶ parts, algorithm allowed? ─▶ key ─▶ signature ─▶ issuer, audience, subject ─▶ times ─▶ session
//! ```
//!
//! The caller learns only "expired" (of a genuine token) or "not valid"; the reason is in the error's source, for the log.

use std::sync::Arc;

use forge_core::{Error, Result};

use crate::config::{Algorithm, AuthConfig};

use super::clock::Clock;
use super::jwks::{Found, Jwks};
use super::keys::{Key, configured, library};
use super::revocation::RevocationCache;
use super::token::{Demands, Principal, Rejection, Statement, TOKEN_LIMIT, Token, shown};
use super::token_cache::{Entry, TokenCache, fingerprint};

/// Checks bearer tokens. One per process; cheap to share behind an `Arc`.
pub struct TokenVerifier {
    algorithms: Vec<Algorithm>,
    issuer: Option<String>,
    audience: Option<String>,
    leeway: i64,
    keys: Vec<Arc<Key>>,
    jwks: Option<Arc<Jwks>>,
    revocations: Option<Arc<RevocationCache>>,
    cache: TokenCache,
    clock: Clock,
}

impl TokenVerifier {
    /// A verifier by the configuration. Without `secret` no HMAC token is accepted.
    ///
    /// # Errors
    /// `CONFIG_AUTH_KEY` when a public key cannot be used, or when no HTTP client can be had for `jwks_url`.
    pub fn new(config: &AuthConfig) -> Result<Self> {
        let clock = Clock::system();
        let allowed: Vec<_> = config.algorithms.iter().copied().filter(|algorithm| !algorithm.is_hmac()).collect();
        Ok(Self {
            algorithms: config.algorithms.clone(),
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            leeway: i64::try_from(config.leeway.as_secs()).unwrap_or(i64::MAX),
            keys: configured(config)?.into_iter().map(Arc::new).collect(),
            jwks: config
                .jwks_url
                .as_deref()
                .map(|url| Jwks::new(url, config.jwks_cache, allowed, clock.clone()))
                .transpose()?
                .map(Arc::new),
            revocations: None,
            cache: TokenCache::new(),
            clock,
        })
    }

    /// The same verifier with another clock, for tests. Comes before the first [`verify`](Self::verify).
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.jwks = self.jwks.map(|jwks| Arc::new(jwks.restarted(clock.clone())));
        self.clock = clock;
        self
    }

    /// The same verifier, which also asks whether a token's session has been ended. Without this, a token lives until it
    /// expires, whatever happens to its session.
    pub fn with_revocations(mut self, revocations: Arc<RevocationCache>) -> Self {
        self.revocations = Some(revocations);
        self
    }

    /// Fetches the keys of `jwks_url` now instead of with the first token; without such a URL, nothing happens. For
    /// start-up, where a failure is worth a warning and no more: the fetch is repeated when a token needs it.
    ///
    /// # Errors
    /// `AUTH_KEYS_UNAVAILABLE` when they cannot be had.
    pub async fn preload(&self) -> Result<()> {
        match &self.jwks {
            Some(jwks) if !jwks.preload().await => Err(unavailable()),
            _ => Ok(()),
        }
    }

    /// Checks a token.
    ///
    /// # Errors
    /// `UNAUTHORIZED` when it is not valid; the precise reason is the error's source. `AUTH_KEYS_UNAVAILABLE` (503) when
    /// its key would have to come from `jwks_url` and cannot be had: that is no verdict about the token. What the
    /// look-up of a revoked session returns (`DATABASE_UNAVAILABLE`, say) is passed on.
    pub async fn verify(&self, token: &str) -> Result<Arc<Principal>> {
        let statement = self.genuine(token).await?;
        let session = statement.principal.session;
        if let (Some(session), Some(revocations)) = (session, &self.revocations)
            && revocations.is_revoked(session).await?
        {
            return Err(Rejection::SessionEnded(session).into());
        }
        Ok(Arc::clone(&statement.principal))
    }

    /// Whether [`verify`](Self::verify) refused a token that was good once: its time is over, or its session has ended.
    pub(crate) fn was_good_once(refusal: &Error) -> bool {
        let rejection = refusal.source().and_then(|source| source.downcast_ref::<Rejection>());
        matches!(rejection, Some(Rejection::Expired | Rejection::SessionEnded(_)))
    }

    /// What a token says that is genuine and valid now.
    async fn genuine(&self, text: &str) -> Result<Arc<Statement>> {
        if text.len() > TOKEN_LIMIT {
            return Err(
                Rejection::invalid(format!("it has {} bytes; at most {TOKEN_LIMIT} are looked at", text.len())).into()
            );
        }
        let now = self.clock.now();
        let fingerprint = fingerprint(text);
        if let Some(entry) = self.cache.get(&fingerprint) {
            let fresh = !entry.fetched_key || self.jwks.as_ref().is_some_and(|jwks| jwks.still_vouches(entry.generation));
            if fresh && now < entry.key_until {
                if let Err(rejection) = entry.statement.check_times(now, self.leeway) {
                    self.cache.remove(&fingerprint);
                    return Err(rejection.into());
                }
                return Ok(entry.statement);
            }
            self.cache.remove(&fingerprint);
        }
        let token = Token::parse(text, &self.algorithms)?;
        // Read before the keys are: a change in between makes the entry worthless instead of wrong.
        let generation = self.jwks.as_ref().map_or(0, |jwks| jwks.generation());
        let (key, fetched_key) = self.key_of(&token, now).await?;
        let demands = Demands { issuer: self.issuer.as_deref(), audience: self.audience.as_deref(), own: key.own };
        let statement = Arc::new(Statement::read(token.claims()?, &demands)?);
        statement.check_times(self.clock.now(), self.leeway)?;
        self.cache.put(
            fingerprint,
            Entry { statement: Arc::clone(&statement), key_until: key.valid_until, fetched_key, generation },
        );
        Ok(statement)
    }

    /// The key that the token's signature is right for, and whether it was fetched.
    async fn key_of(&self, token: &Token<'_>, now: i64) -> Result<(Arc<Key>, bool)> {
        let fit = || self.keys.iter().filter(|key| key.fits(token.algorithm, now));
        let named: Vec<_> = match &token.kid {
            Some(kid) => fit().filter(|key| key.kid.as_ref() == Some(kid)).collect(),
            None => fit().collect(),
        };
        let mut candidates: Vec<_> = named.into_iter().map(|key| (Arc::clone(key), false)).collect();
        let mut missing = false;
        if candidates.is_empty() || token.kid.is_none() {
            if let Some(jwks) = self.jwks.as_ref().filter(|_| !token.algorithm.is_hmac()) {
                match jwks.find(token.kid.as_deref(), token.algorithm).await {
                    Found::Keys(keys) => candidates.extend(keys.into_iter().map(|key| (key, true))),
                    Found::Unknown => {}
                    Found::Unavailable => missing = true,
                }
            }
            // A configured key without an id is tried for tokens with any.
            if candidates.is_empty() {
                candidates.extend(fit().filter(|key| key.kid.is_none()).map(|key| (Arc::clone(key), false)));
            }
        }
        let tried = candidates.len();
        for (key, fetched) in candidates {
            // An error means that the signature is not even base64, or that the key is broken: no match either way.
            let right = jsonwebtoken::crypto::verify(
                token.signature,
                token.signed.as_bytes(),
                &key.decoding,
                library(token.algorithm),
            );
            if right.unwrap_or(false) {
                return Ok((key, fetched));
            }
        }
        if missing {
            return Err(unavailable());
        }
        let kid = token
            .kid
            .as_deref()
            .map_or_else(|| "without a key id".into(), |kid| format!("with the key id `{}`", shown(kid)));
        let reason = match tried {
            0 => format!("there is no {:?} key for a token {kid}", token.algorithm),
            _ => format!("its signature is wrong ({:?}, {kid})", token.algorithm),
        };
        Err(Rejection::Invalid(reason).into())
    }

    #[cfg(test)]
    pub(super) fn cached(&self) -> usize {
        self.cache.len()
    }
}

fn unavailable() -> Error {
    Error::app("AUTH_KEYS_UNAVAILABLE", 503, "tokens cannot be checked at the moment; try again shortly")
}

impl std::fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenVerifier")
            .field("algorithms", &self.algorithms)
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}
