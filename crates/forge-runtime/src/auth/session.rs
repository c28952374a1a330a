//! What goes into a session and comes out of it.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use forge_core::{Error, Result};
use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::db::error::from_driver;
use crate::db::{Db, Shape};

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

impl SessionInfo {
    /// The living sessions of a user, the one used last first.
    pub(super) async fn of_user(db: &Db, user_id: &str) -> Result<Vec<Self>> {
        static LIST: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(include_str!("sql/list_sessions.sql")));
        db.run(&LIST, &[&user_id]).await?.rows.iter().map(Self::from_row).collect()
    }

    /// From a row of `list_sessions.sql`.
    pub(super) fn from_row(row: &Row) -> Result<Self> {
        let read = || {
            Ok(Self {
                id: row.try_get("id")?,
                created_at: row.try_get("created_at")?,
                last_used_at: row.try_get("last_used_at")?,
                expires_at: row.try_get("expires_at")?,
                user_agent: row.try_get("user_agent")?,
                ip: row.try_get::<_, Option<String>>("ip")?.and_then(|ip| ip.parse().ok()),
            })
        };
        read().map_err(from_driver)
    }
}

impl fmt::Debug for SessionTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionTokens")
            .field("session_id", &self.session_id)
            .field("access_expires_at", &self.access_expires_at)
            .finish_non_exhaustive()
    }
}
