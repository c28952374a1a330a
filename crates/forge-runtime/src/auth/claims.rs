//! What a token of this app says.

use std::time::Duration;

use forge_core::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

/// Claims that FORGE itself writes or reads; custom claims have other names.
pub(super) const RESERVED: &[&str] = &["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "sid", "roles", "role"];

/// The longest subject that is issued or accepted, in bytes.
pub(super) const SUBJECT_LIMIT: usize = 512;

/// The most roles that a token is issued or accepted with.
pub(super) const ROLES_LIMIT: usize = 100;

/// What a new token says about a user. The issuer adds when, by whom and for whom it is issued.
///
/// ```
/// use std::time::Duration;
/// use forge_runtime::auth::Claims;
///
/// let claims = Claims::builder("ada").role("editor").claim("tenant", "acme").expires_in(Duration::from_secs(60)).build();
/// assert_eq!(claims.roles, ["editor"]);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    /// The user's id (`sub`): not empty, no control characters, at most 512 bytes.
    pub subject: String,
    /// The user's roles, at most 100.
    pub roles: Vec<String>,
    /// Everything else, for the app; no name may be one that FORGE uses (`iss`, `sub`, `aud`, `exp`, `nbf`, `iat`, `jti`,
    /// `sid`, `roles`, `role`).
    pub custom: Map<String, Value>,
    /// From when the token is valid, in seconds since 1970. Default: from now.
    pub not_before: Option<i64>,
    /// How long the token is valid. Default: `security.auth.access_token_ttl`.
    pub expires_in: Option<Duration>,
    /// The session that the token belongs to and ends with.
    pub session: Option<Uuid>,
}

impl Claims {
    /// Begins with a user's id.
    pub fn builder(subject: impl Into<String>) -> ClaimsBuilder {
        ClaimsBuilder(Self {
            subject: subject.into(),
            roles: Vec::new(),
            custom: Map::new(),
            not_before: None,
            expires_in: None,
            session: None,
        })
    }

    /// Refuses claims that no verifier would accept, or that would be read as something else.
    pub(super) fn check(&self) -> Result<()> {
        check_subject(&self.subject)
            .map_err(|problem| Error::internal(format!("a token cannot be issued: its subject {problem}")))?;
        if self.roles.len() > ROLES_LIMIT {
            return Err(Error::internal(format!("a token cannot be issued: it has more than {ROLES_LIMIT} roles")));
        }
        match self.custom.keys().find(|name| RESERVED.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => Err(Error::internal(format!(
                "a token cannot be issued: the custom claim `{name}` has a name that FORGE uses itself; choose another"
            ))),
        }
    }
}

/// Collects [`Claims`].
#[derive(Debug, Clone)]
pub struct ClaimsBuilder(Claims);

impl ClaimsBuilder {
    /// Adds a role.
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.0.roles.push(role.into());
        self
    }

    /// Adds roles.
    pub fn roles(mut self, roles: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.0.roles.extend(roles.into_iter().map(Into::into));
        self
    }

    /// Adds a claim of the app's own.
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.0.custom.insert(name.into(), value.into());
        self
    }

    /// Sets from when the token is valid, in seconds since 1970.
    pub fn not_before(mut self, seconds: i64) -> Self {
        self.0.not_before = Some(seconds);
        self
    }

    /// Sets how long the token is valid.
    pub fn expires_in(mut self, duration: Duration) -> Self {
        self.0.expires_in = Some(duration);
        self
    }

    /// Binds the token to a session.
    pub fn session(mut self, session: Uuid) -> Self {
        self.0.session = Some(session);
        self
    }

    /// The claims.
    pub fn build(self) -> Claims {
        self.0
    }
}

/// What is wrong with a subject, if anything.
pub(super) fn check_subject(subject: &str) -> Result<(), &'static str> {
    if subject.trim().is_empty() {
        return Err("is empty");
    }
    if subject.len() > SUBJECT_LIMIT {
        return Err("is longer than 512 bytes");
    }
    // No user id needs them, and in a log or a database they do harm.
    if subject.chars().any(char::is_control) {
        return Err("has control characters");
    }
    Ok(())
}
