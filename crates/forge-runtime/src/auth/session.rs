//! What goes into a session and comes out of it.

use std::fmt;
use std::net::IpAddr;

use forge_core::{Error, Result};
use jiff::Timestamp;
use uuid::Uuid;

/// Where a session begins, for the list that its user sees.
#[derive(Debug, Clone, Default)]
pub struct SessionMeta {
    /// The client's `user-agent`; its first 256 characters are kept.
    pub user_agent: Option<String>,
    /// The client's address.
    pub ip: Option<IpAddr>,
}

/// What a client gets. `Debug` shows no token.
#[derive(Clone)]
pub struct SessionTokens {
    /// The access token, for an `Authorization: Bearer` header or the session's cookie.
    pub access: String,
    /// When the access token expires, in seconds since 1970.
    pub access_expires_at: i64,
    /// The refresh token. It works once.
    pub refresh: String,
    /// The session.
    pub session_id: Uuid,
    /// When the session ends at the latest.
    pub session_expires_at: Timestamp,
}

/// What became of a refresh token.
///
/// This is not an error where it says no, because the transaction must commit either way: the end of a session whose
/// token was copied is written in it, and a mutation that fails would undo that.
#[derive(Debug)]
#[must_use = "commit first, then turn it into a result"]
pub enum Refreshed {
    /// New tokens.
    Tokens(SessionTokens),
    /// An old token was presented, so somebody has a copy; the session was ended just now.
    Reused {
        /// The session.
        session_id: Uuid,
        /// Its user, who may want to know.
        user_id: String,
    },
    /// No token of a living session.
    Invalid,
}

impl Refreshed {
    /// The tokens. To be called once the transaction is committed.
    ///
    /// # Errors
    /// `UNAUTHORIZED` when there are none; the reason is the error's source.
    pub fn into_tokens(self) -> Result<SessionTokens> {
        let refused = |reason: String| Error::unauthorized("the session has ended; sign in again").with_source(reason);
        match self {
            Self::Tokens(tokens) => Ok(tokens),
            Self::Reused { session_id, .. } => {
                Err(refused(format!("an old refresh token of session {session_id} was presented; the session was ended")))
            }
            Self::Invalid => Err(refused("the refresh token is not one of a living session".into())),
        }
    }
}

/// A living session, as its user sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionInfo {
    /// The session.
    pub id: Uuid,
    /// When the user signed in.
    pub created_at: Timestamp,
    /// When it was last refreshed.
    pub last_used_at: Timestamp,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
    /// The client's `user-agent` at sign-in.
    pub user_agent: Option<String>,
    /// The client's address at sign-in.
    pub ip: Option<IpAddr>,
}

impl fmt::Debug for SessionTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionTokens")
            .field("session_id", &self.session_id)
            .field("access_expires_at", &self.access_expires_at)
            .finish_non_exhaustive()
    }
}
