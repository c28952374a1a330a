//! Sessions: sign in once, stay signed in, be signed out.
//!
//! ```text
//! create ──▶ alive ──refresh──▶ alive (next token) ── ... ──▶ expired: unused for `session_ttl`, or `refresh_token_ttl` old
//!              └────────── revoke, revoke_all, displaced, an old token presented ──────────▶ ended
//! ```
//!
//! A session's access token lives for minutes and is checked without the database. Its refresh token works once; it is
//! replaced by its successor with every use. What is presented decides:
//!
//! | presented | answer |
//! |---|---|
//! | the current refresh token | its successor and a new access token |
//! | the one before, within 10 s of its use | the same successor again: an answer was lost, or two tabs asked at once |
//! | any older one, or the one before later on | someone has a copy: the whole session ends |
//! | anything else | refused |
//!
//! A thief who uses a copied token within those 10 s gets the same successor as its owner; whichever of them comes second
//! with the next rotation ends the session. Only hashes of refresh tokens are stored.
//!
//! All calls take a client, so that they can be part of a mutation's transaction. The names of the tables are not
//! qualified: the client's search path must begin with the system schema.

use std::collections::HashSet;
use std::fmt;

use forge_core::{Error, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio_postgres::types::Type;
use tokio_postgres::{GenericClient, Row};
use uuid::Uuid;

use crate::config::AuthConfig;
use crate::db::error::from_driver;

use super::claims::Claims;
use super::issuer::TokenIssuer;
use super::refresh::{RefreshToken, SuccessorKey};
use super::session::{Refreshed, SessionMeta, SessionTokens};

/// How long after its use a refresh token is answered once more, in seconds.
const GRACE: f64 = 10.0;
/// How many sessions of a user live at once; the one unused longest ends when another begins.
const PER_USER: i64 = 100;
/// How much of a user agent is kept, in characters.
const AGENT_LIMIT: usize = 256;

/// Keeps sessions in the table `forge_sessions`. One per process.
pub struct Sessions {
    issuer: TokenIssuer,
    /// Made from the current secret and then from the earlier ones: a successor that was made just before a change of
    /// secrets can still be made again.
    keys: Vec<SuccessorKey>,
    ends_after: f64,
    ends_unused_after: f64,
}

/// The part of claims that a session keeps.
#[derive(Serialize, Deserialize)]
struct Kept {
    roles: Vec<String>,
    custom: Map<String, Value>,
}

impl Kept {
    fn of(claims: &Claims) -> Result<Value> {
        claims.check()?;
        Ok(serde_json::to_value(Self { roles: claims.roles.clone(), custom: claims.custom.clone() })?)
    }
}

impl Sessions {
    /// Sessions by the configuration, with tokens by an issuer.
    ///
    /// # Errors
    /// `CONFIG_AUTH_ISSUER` when `security.auth.secret` is not set.
    pub fn new(config: &AuthConfig, issuer: TokenIssuer) -> Result<Self> {
        let secrets = config.secret.iter().chain(config.previous_secrets.iter().map(|previous| &previous.secret));
        let keys: Vec<_> = secrets.map(|secret| SuccessorKey::of(secret.expose().as_bytes())).collect();
        if config.secret.is_none() {
            return Err(Error::config("CONFIG_AUTH_ISSUER", "sessions need security.auth.secret; pass it as FORGE_SECRET"));
        }
        Ok(Self {
            issuer,
            keys,
            ends_after: config.refresh_token_ttl.as_secs_f64(),
            ends_unused_after: config.session_ttl.as_secs_f64(),
        })
    }

    /// What signs its tokens.
    pub fn issuer(&self) -> &TokenIssuer {
        &self.issuer
    }

    /// Signs a user in: `claims` are what the session's access tokens will say (their times are the issuer's). A user has
    /// at most 100 living sessions; beyond that, the one unused longest ends.
    ///
    /// # Errors
    /// `INTERNAL_ERROR` for claims that no verifier would accept; those of the database.
    pub async fn create<C: GenericClient>(&self, client: &C, claims: &Claims, meta: &SessionMeta) -> Result<SessionTokens> {
        let (id, token) = (Uuid::now_v7(), RefreshToken::random());
        let kept = Kept::of(claims)?;
        // PostgreSQL stores no NUL, and a header may hold none anyway.
        let agent: Option<String> =
            meta.user_agent.as_ref().map(|agent| agent.chars().filter(|c| *c != '\0').take(AGENT_LIMIT).collect());
        let ip = meta.ip.map(|ip| ip.to_canonical().to_string());
        let row = client
            .query_typed_one(
                include_str!("sql/create_session.sql"),
                &[
                    (&id, Type::UUID),
                    (&claims.subject, Type::TEXT),
                    (&kept, Type::JSONB),
                    (&token.family_hash().as_slice(), Type::BYTEA),
                    (&token.hash().as_slice(), Type::BYTEA),
                    (&agent, Type::TEXT),
                    (&ip, Type::TEXT),
                    (&self.ends_after, Type::FLOAT8),
                    (&self.ends_unused_after, Type::FLOAT8),
                ],
            )
            .await
            .map_err(from_driver)?;
        execute(client, include_str!("sql/limit_sessions.sql"), &[(&claims.subject, Type::TEXT), (&PER_USER, Type::INT8)])
            .await?;
        self.tokens(id, claims.clone(), column(&row, "expires_at")?, &token)
    }

    /// Exchanges a refresh token, as the table above says. Commit whatever it answers.
    ///
    /// # Errors
    /// Those of the database. A token that is refused is an `Ok`, see [`Refreshed`].
    pub async fn refresh<C: GenericClient>(&self, client: &C, refresh_token: &str) -> Result<Refreshed> {
        let Some(token) = RefreshToken::decode(refresh_token) else {
            return Ok(Refreshed::Invalid);
        };
        let Some(key) = self.keys.first() else {
            return Ok(Refreshed::Invalid);
        };
        let (family, hash, next) = (token.family_hash(), token.hash(), token.successor(key));
        let (family, hash) = (family.as_slice(), hash.as_slice());
        let rotated = client
            .query_typed_opt(
                include_str!("sql/rotate_session.sql"),
                &[
                    (&family, Type::BYTEA),
                    (&hash, Type::BYTEA),
                    (&next.hash().as_slice(), Type::BYTEA),
                    (&self.ends_unused_after, Type::FLOAT8),
                ],
            )
            .await
            .map_err(from_driver)?;
        if let Some(row) = rotated {
            return self.renewed(&row, &next);
        }
        let found = client
            .query_typed_opt(
                include_str!("sql/find_family.sql"),
                &[(&family, Type::BYTEA), (&hash, Type::BYTEA), (&GRACE, Type::FLOAT8)],
            )
            .await
            .map_err(from_driver)?;
        let Some(row) = found.filter(|row| row.try_get("alive").unwrap_or(false)) else {
            return Ok(Refreshed::Invalid);
        };
        if column::<bool>(&row, "just_rotated")? {
            let current: Vec<u8> = column(&row, "refresh_hash")?;
            let again = self.keys.iter().map(|key| token.successor(key)).find(|next| next.hash().as_slice() == current);
            // With a secret that is known no more, the successor cannot be made again; that is no sign of a copy.
            return again.map_or(Ok(Refreshed::Invalid), |next| self.renewed(&row, &next));
        }
        let session_id = column(&row, "id")?;
        self.end(client, session_id, "reused").await?;
        Ok(Refreshed::Reused { session_id, user_id: column(&row, "user_id")? })
    }

    /// Ends a session; whether it was alive. Its access token is refused within five seconds where a
    /// [`RevocationCache`](super::RevocationCache) is in place, else when it expires.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn revoke<C: GenericClient>(&self, client: &C, session_id: Uuid) -> Result<bool> {
        self.end(client, session_id, "revoked").await
    }

    /// Ends all sessions of a user; how many. For a changed password, a deleted user, a lost device.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn revoke_all<C: GenericClient>(&self, client: &C, user_id: &str) -> Result<u64> {
        execute(client, include_str!("sql/revoke_user.sql"), &[(&user_id, Type::TEXT)]).await
    }

    /// Changes what the tokens of all a user's sessions will say from their next refresh on; how many sessions. The
    /// tokens that are out keep what they say until they expire.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub async fn set_claims<C: GenericClient>(&self, client: &C, claims: &Claims) -> Result<u64> {
        let kept = Kept::of(claims)?;
        execute(client, include_str!("sql/set_claims.sql"), &[(&claims.subject, Type::TEXT), (&kept, Type::JSONB)]).await
    }

    /// Which of these sessions are alive: the question of a [`RevocationCache`](super::RevocationCache).
    ///
    /// # Errors
    /// Those of the database.
    pub async fn alive<C: GenericClient>(client: &C, sessions: &[Uuid]) -> Result<HashSet<Uuid>> {
        let rows = client.query_typed(include_str!("sql/alive.sql"), &[(&sessions, Type::UUID_ARRAY)]).await;
        rows.map_err(from_driver)?.iter().map(|row| column(row, "id")).collect()
    }

    /// Whether a session has ended.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn is_revoked<C: GenericClient>(client: &C, session_id: Uuid) -> Result<bool> {
        Ok(Self::alive(client, &[session_id]).await?.is_empty())
    }

    /// Deletes up to 1,000 sessions that ended more than 30 days ago; how many. Call it again while it returns 1,000.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn sweep<C: GenericClient>(client: &C) -> Result<u64> {
        execute(client, include_str!("sql/sweep_sessions.sql"), &[]).await
    }

    async fn end<C: GenericClient>(&self, client: &C, session_id: Uuid, why: &str) -> Result<bool> {
        let ended =
            execute(client, include_str!("sql/revoke_session.sql"), &[(&session_id, Type::UUID), (&why, Type::TEXT)])
                .await?;
        Ok(ended > 0)
    }

    fn renewed(&self, row: &Row, next: &RefreshToken) -> Result<Refreshed> {
        let kept: Kept = serde_json::from_value(column(row, "claims")?)?;
        let mut claims = Claims::builder(column::<String>(row, "user_id")?).roles(kept.roles).build();
        claims.custom = kept.custom;
        self.tokens(column(row, "id")?, claims, column(row, "expires_at")?, next).map(Refreshed::Tokens)
    }

    fn tokens(
        &self,
        session_id: Uuid,
        mut claims: Claims,
        session_expires_at: Timestamp,
        refresh: &RefreshToken,
    ) -> Result<SessionTokens> {
        // An access token does not outlive its session.
        let left = u64::try_from(session_expires_at.as_second().saturating_sub(self.issuer.now())).unwrap_or(0);
        claims.expires_in =
            Some(claims.expires_in.unwrap_or(self.issuer.lifetime()).min(std::time::Duration::from_secs(left)));
        claims.session = Some(session_id);
        let access = self.issuer.issue(&claims)?;
        Ok(SessionTokens {
            access: access.token,
            access_expires_at: access.expires_at,
            refresh: refresh.encode(),
            session_id,
            session_expires_at,
        })
    }
}

/// Runs a statement that returns nothing.
pub(super) async fn execute<C: GenericClient>(
    client: &C,
    sql: &str,
    params: &[(&(dyn tokio_postgres::types::ToSql + Sync), Type)],
) -> Result<u64> {
    client.execute_typed(sql, params).await.map_err(from_driver)
}

pub(super) fn column<T: for<'a> tokio_postgres::types::FromSql<'a>>(row: &Row, name: &str) -> Result<T> {
    row.try_get(name).map_err(from_driver)
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}
