//! The tokens of this app: short-lived access tokens, signed; refresh tokens, random.

use std::fmt;
use std::time::Duration;

use forge_core::{Error, Result};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Map, Value};

use crate::config::{Algorithm, AuthConfig};

use super::claims::Claims;
use super::clock::Clock;
use super::keys::secret_id;
use super::refresh::RefreshToken;
use super::token::TOKEN_LIMIT;

/// Signs tokens with HS256 under the current secret; each carries the id of that secret (`kid`).
pub struct TokenIssuer {
    key: EncodingKey,
    kid: String,
    issuer: Option<String>,
    audience: Option<String>,
    lifetime: Duration,
    refresh_lifetime: Duration,
    clock: Clock,
}

/// A signed token.
#[derive(Clone)]
pub struct IssuedToken {
    /// The token, for an `Authorization: Bearer` header.
    pub token: String,
    /// When it expires, in seconds since 1970.
    pub expires_at: i64,
}

/// An access token and the token that fetches the next one.
#[derive(Clone)]
pub struct TokenPair {
    /// The access token.
    pub access: IssuedToken,
    /// The refresh token: 64 characters, random, said to the client and never stored.
    pub refresh: String,
    /// What to store of it: its SHA-256.
    pub refresh_hash: [u8; 32],
    /// When it expires, in seconds since 1970, if nothing else ends it earlier.
    pub refresh_expires_at: i64,
}

impl TokenIssuer {
    /// An issuer by the configuration.
    ///
    /// # Errors
    /// `CONFIG_AUTH_ISSUER` when there is no secret, or HS256 is not among `algorithms`, so that nobody could check its
    /// tokens.
    pub fn new(config: &AuthConfig) -> Result<Self> {
        let cannot =
            |problem: &str| Error::config("CONFIG_AUTH_ISSUER", format!("this app cannot issue tokens: {problem}"));
        let secret =
            config.secret.as_ref().ok_or_else(|| cannot("security.auth.secret is not set; pass it as FORGE_SECRET"))?;
        if !config.algorithms.contains(&Algorithm::HS256) {
            return Err(cannot("it signs with HS256, which security.auth.algorithms does not list"));
        }
        let secret = secret.expose().as_bytes();
        Ok(Self {
            key: EncodingKey::from_secret(secret),
            kid: secret_id(secret),
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            lifetime: config.access_token_ttl,
            refresh_lifetime: config.refresh_token_ttl,
            clock: Clock::system(),
        })
    }

    /// The same issuer with another clock, for tests.
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Issues a token.
    ///
    /// # Errors
    /// `INTERNAL_ERROR` when the claims are ones that no verifier would accept: an empty subject, a custom claim with a
    /// reserved name, too many roles, or more than fits into a token of 8 KiB.
    pub fn issue(&self, claims: &Claims) -> Result<IssuedToken> {
        claims.check()?;
        let now = self.clock.now();
        let expires_at = after(now, claims.expires_in.unwrap_or(self.lifetime));
        let mut body: Map<String, Value> = claims.custom.clone();
        body.insert("sub".into(), claims.subject.as_str().into());
        body.insert("iat".into(), now.into());
        body.insert("exp".into(), expires_at.into());
        if !claims.roles.is_empty() {
            body.insert("roles".into(), claims.roles.clone().into());
        }
        let optional = [
            ("nbf", claims.not_before.map(Value::from)),
            ("sid", claims.session.map(|session| session.to_string().into())),
            ("iss", self.issuer.clone().map(Value::from)),
            ("aud", self.audience.clone().map(Value::from)),
        ];
        body.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(jsonwebtoken::Algorithm::HS256) };
        let token = jsonwebtoken::encode(&header, &body, &self.key)
            .map_err(|error| Error::internal(format!("a token could not be signed: {error}")).with_source(error))?;
        if token.len() > TOKEN_LIMIT {
            return Err(Error::internal(format!(
                "a token of {} bytes is longer than the {TOKEN_LIMIT} that are accepted; put less into its claims",
                token.len()
            )));
        }
        Ok(IssuedToken { token, expires_at })
    }

    /// Issues a token with a refresh token. The caller keeps `refresh_hash` and what it stands for;
    /// [`Sessions`](super::Sessions) does all of that.
    ///
    /// # Errors
    /// As [`issue`](Self::issue).
    pub fn issue_pair(&self, claims: &Claims) -> Result<TokenPair> {
        let refresh = RefreshToken::random();
        Ok(TokenPair {
            access: self.issue(claims)?,
            refresh: refresh.encode(),
            refresh_hash: refresh.hash(),
            refresh_expires_at: after(self.clock.now(), self.refresh_lifetime),
        })
    }

    pub(super) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    pub(super) fn now(&self) -> i64 {
        self.clock.now()
    }
}

fn after(now: i64, duration: Duration) -> i64 {
    now.saturating_add(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX))
}

impl fmt::Debug for TokenIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenIssuer").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedToken").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

impl fmt::Debug for TokenPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenPair").field("access", &self.access).finish_non_exhaustive()
    }
}
