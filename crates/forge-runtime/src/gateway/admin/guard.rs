//! Who may come in at the admin doors.
//!
//! | what the request shows | |
//! |---|---|
//! | `Authorization: Bearer` with an admin token (no dot in it) | comes in, as `token:NAME` |
//! | the same with another text without a dot | 401, and counts as a wrong attempt; after ten in a minute 429 |
//! | a token of one of the app's users, as a bearer or in a cookie | with the role `admin.role` comes in, as `user:ID`; else 403 |
//! | a cookie on a request that changes something, without what shows that the app's own page has sent it | 403 |
//! | nothing | 401 |
//!
//! As long as neither a role nor a token is configured there are no doors at all: 404.

use std::sync::Arc;
use std::time::Instant;

use forge_core::request::RequestMetadata;
use forge_core::{Error, Result};
use http::{HeaderMap, Method, header};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::super::authenticator::{Authenticator, CookieFindings};
use super::attempts::Attempts;
use crate::admin::Actor;
use crate::config::AdminConfig;

/// Knows who may come in.
#[derive(Debug)]
pub(super) struct Guard {
    /// What the audit calls whoever shows it, and the token's hash: all hashes are as long as each other.
    tokens: Vec<(String, [u8; 32])>,
    role: Option<String>,
    authenticator: Arc<Authenticator>,
    attempts: Attempts,
}

impl Guard {
    pub(super) fn new(config: &AdminConfig, authenticator: Arc<Authenticator>) -> Self {
        let tokens = config.all_tokens().map(|(name, secret)| (name.to_owned(), hash(secret.expose())));
        Self { tokens: tokens.collect(), role: config.role.clone(), authenticator, attempts: Attempts::default() }
    }

    /// Who it is that may come in.
    ///
    /// # Errors
    /// See the module.
    pub(super) async fn admit(&self, method: &Method, headers: &HeaderMap, metadata: &RequestMetadata) -> Result<Actor> {
        let actor = |who| Actor {
            who,
            request_id: Some(metadata.request_id.clone()),
            address: metadata.client_ip,
            trace_id: format!("{:032x}", metadata.trace.trace_id),
        };
        if let Some(token) = admin_token(headers) {
            self.attempts.check(metadata.client_ip, Instant::now())?;
            if let Some(name) = self.name_of(token) {
                return Ok(actor(if name == "token" { name.to_owned() } else { format!("token:{name}") }));
            }
            self.attempts.wrong(metadata.client_ip, Instant::now());
            tracing::warn!(address = ?metadata.client_ip, "a wrong admin token was shown");
            return Err(Error::unauthorized("the admin token is not valid"));
        }
        let mut findings = CookieFindings::default();
        let identity = self.authenticator.authenticate(method, headers, &mut findings).await?;
        if let Some(lapsed) = identity.lapsed {
            return Err(lapsed);
        }
        let Some(user) = identity.principal.auth.user_id() else {
            return Err(Error::unauthorized(match &self.role {
                Some(role) => format!("show an admin token (FORGE_ADMIN_TOKEN), or sign in with the role `{role}`"),
                None => "show an admin token (FORGE_ADMIN_TOKEN)".to_owned(),
            }));
        };
        let role = self.role.as_deref().ok_or_else(|| {
            Error::forbidden("no user may do this, as admin.role is not set; show an admin token (FORGE_ADMIN_TOKEN)")
        })?;
        identity.principal.auth.require_role(role)?;
        Ok(actor(format!("user:{user}")))
    }

    /// Whose token it is. Takes as long for any.
    fn name_of(&self, token: &str) -> Option<&str> {
        let shown = hash(token);
        // All are looked at: which one it was is not to be told by the time it took.
        self.tokens.iter().fold(
            None,
            |found, (name, own)| {
                if bool::from(own.ct_eq(&shown)) { Some(name.as_str()) } else { found }
            },
        )
    }
}

/// What is shown as an admin token: a bearer token without a dot. Tokens of users have two.
fn admin_token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?.to_str().ok()?, values.next()) else { return None };
    let (scheme, token) = value.split_once(' ')?;
    Some(token.trim()).filter(|token| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && !token.contains('.'))
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}
