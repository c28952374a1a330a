//! What an app's functions may do with passwords and sessions: `ctx.passwords()` and `ctx.sessions()`.

use std::fmt::{self, Display};
use std::sync::{Arc, Mutex, PoisonError};

use forge_core::auth::AuthContext;
use forge_core::request::RequestMetadata;
use forge_core::{Error, Result};
use uuid::Uuid;

use super::{
    Claims, IssuedToken, Passwords, RevocationCache, SessionInfo, SessionMeta, SessionTokens, Sessions, Throttle,
    TokenIssuer, Verdict,
};
use crate::config::AuthConfig;
use crate::db::{Database, Db};

/// Passwords and sessions of a node. One per process.
pub struct Accounts {
    /// Or why there are none: without a key to sign with, the app checks the tokens of others only.
    sessions: Result<Sessions, String>,
    pub(crate) revocations: Arc<RevocationCache>,
    pub(crate) throttle: Throttle,
    passwords: Passwords,
    database: Database,
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Accounts")
    }
}

impl Accounts {
    /// By the configuration.
    pub fn new(config: &AuthConfig, database: &Database) -> Self {
        let asked = database.clone();
        let revocations = RevocationCache::new(move |sessions| {
            let database = asked.clone();
            async move {
                let lease = database.side().get().await?;
                lease.busy();
                let alive = Sessions::alive(lease.client(), &sessions).await?;
                lease.clean();
                Ok(alive)
            }
        });
        let sessions = TokenIssuer::new(config).and_then(|issuer| Sessions::new(config, issuer));
        Self {
            sessions: sessions.map_err(|why| why.message().to_owned()),
            revocations: Arc::new(revocations),
            throttle: Throttle::new(config),
            passwords: Passwords::new(config.password_concurrency),
            database: database.clone(),
        }
    }

    /// The sessions of this app.
    ///
    /// # Errors
    /// `CONFIG_AUTH_ISSUER` when it has no key to sign tokens with.
    pub(crate) fn sessions(&self) -> Result<&Sessions> {
        self.sessions.as_ref().map_err(|why| Error::config("CONFIG_AUTH_ISSUER", why.clone()))
    }

    /// Issues a token.
    pub(crate) fn issue(&self, claims: &Claims) -> Result<IssuedToken> {
        self.sessions()?.issuer().issue(claims)
    }

    /// Deletes what is over: ended sessions and old counts of attempts. Returns whether there may be more.
    pub(crate) async fn sweep(&self) -> Result<bool> {
        let lease = self.database.primary().get().await?;
        lease.busy();
        let sessions = Sessions::sweep(lease.client()).await?;
        let attempts = self.throttle.sweep(lease.client()).await?;
        lease.clean();
        Ok(sessions >= 1000 || attempts >= 1000)
    }
}

/// What a mutation did to its caller's session; the gateway tells the browser.
#[derive(Debug, Clone)]
pub(crate) enum SessionChange {
    /// It began: the browser gets the tokens as cookies.
    Started(Box<SessionTokens>),
    /// It ended: the cookies go.
    Ended,
}

/// Where a mutation leaves the change of its caller's session.
pub(crate) type SessionSlot = Arc<Mutex<Option<SessionChange>>>;

/// Passwords. From `ctx.passwords()` of a mutation.
#[derive(Debug)]
pub struct PasswordAccess<'a> {
    pub(crate) accounts: &'a Accounts,
    pub(crate) request: &'a RequestMetadata,
}

impl PasswordAccess<'_> {
    /// Hashes a password with argon2id, for storing. It takes some 20 ms of a core; `security.auth.password_concurrency` at a time.
    ///
    /// # Errors
    /// `VALIDATION_ERROR` when it is shorter than 8 characters or longer than 1,024 bytes, `RATE_LIMITED` when too many wait.
    pub async fn hash(&self, password: &str) -> Result<String> {
        super::password::check_policy(password)?;
        self.accounts.passwords.hash(password).await
    }

    /// Whether a password fits a stored hash. Without a hash (there is no such user) it takes as long and says no, so that
    /// nobody can find out who has an account.
    ///
    /// # Errors
    /// `RATE_LIMITED` when too many wait, `INTERNAL_ERROR` when the stored hash is not one.
    pub async fn verify(&self, password: &str, hash: Option<&str>) -> Result<bool> {
        Ok(self.check(password, hash).await?.matches)
    }

    /// As [`verify`](Self::verify), and says as well whether the hash was made with older parameters than today's: then hash the
    /// password again and store that.
    ///
    /// # Errors
    /// As there.
    pub async fn check(&self, password: &str, hash: Option<&str>) -> Result<Verdict> {
        self.accounts.passwords.verify(password, hash).await
    }

    /// Forgets the attempts of an account from the caller's address: call it when the password was right.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn succeeded(&self, account: &str) -> Result<()> {
        let lease = self.accounts.database.side().get().await?;
        lease.busy();
        let forgotten = self.accounts.throttle.succeeded(lease.client(), account, self.request.client_ip).await;
        lease.clean();
        forgotten
    }

    /// Counts an attempt to sign in to an account from the caller's address: call it before the password is looked at. It is
    /// counted outside of the mutation's transaction, so that a wrong password does not undo it.
    ///
    /// # Errors
    /// `RATE_LIMITED` when there were more than `security.auth.login_attempts`, or from the address and for whatever accounts more than
    /// `security.auth.login_attempts_per_address`, within `security.auth.login_window`.
    pub async fn attempt(&self, account: &str) -> Result<()> {
        let lease = self.accounts.database.side().get().await?;
        lease.busy();
        let counted = self.accounts.throttle.attempt(lease.client(), account, self.request.client_ip).await;
        lease.clean();
        counted
    }
}

/// The caller's sessions, to look at. From `ctx.sessions()` of a query.
#[derive(Debug)]
pub struct SessionView<'a> {
    pub(crate) auth: &'a AuthContext,
    pub(crate) session: Option<Uuid>,
    pub(crate) db: &'a Db,
}

impl SessionView<'_> {
    /// The caller's living sessions, the one used last first.
    ///
    /// # Errors
    /// `UNAUTHORIZED` when nobody is signed in, else those of the database.
    pub async fn list(&self) -> Result<Vec<SessionInfo>> {
        SessionInfo::of_user(self.db, &self.auth.require_user()?.id).await
    }

    /// The session that the call was made with; none when the token belongs to no session of this app.
    pub fn current(&self) -> Option<Uuid> {
        self.session
    }
}

/// Sessions. From `ctx.sessions()` of a mutation.
#[derive(Debug)]
pub struct SessionAccess<'a> {
    pub(crate) accounts: &'a Accounts,
    pub(crate) view: SessionView<'a>,
    pub(crate) request: &'a RequestMetadata,
    pub(crate) slot: &'a SessionSlot,
}

impl SessionAccess<'_> {
    /// Signs a user in, as part of the mutation's transaction. A browser gets the tokens as cookies with the answer; other
    /// clients need them in the function's result.
    ///
    /// # Errors
    /// `INTERNAL_ERROR` when the id or a role cannot be put into a token, `CONFIG_AUTH_ISSUER` when the app has no key to sign it with, else
    /// those of the database.
    pub async fn start(&self, user_id: impl Display, roles: &[String]) -> Result<SessionTokens> {
        self.start_with(Claims::builder(user_id.to_string()).roles(roles.iter().cloned()).build()).await
    }

    /// As [`start`](Self::start), with claims of the app's own in the tokens.
    ///
    /// # Errors
    /// As there.
    pub async fn start_with(&self, claims: Claims) -> Result<SessionTokens> {
        let meta = SessionMeta { user_agent: self.request.user_agent.clone(), ip: self.request.client_ip };
        let client = self.view.db.client().await?;
        let tokens = self.view.db.watch(self.accounts.sessions()?.create(client, &claims, &meta)).await?;
        self.leave(SessionChange::Started(Box::new(tokens.clone())));
        Ok(tokens)
    }

    /// Signs the caller out: ends the session that the call was made with, if it was made with one.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn end(&self) -> Result<()> {
        if let Some(session) = self.view.session {
            self.end_one(session).await?;
        }
        self.leave(SessionChange::Ended);
        Ok(())
    }

    /// The caller's living sessions, the one used last first.
    ///
    /// # Errors
    /// `UNAUTHORIZED` when nobody is signed in, else those of the database.
    pub async fn list(&self) -> Result<Vec<SessionInfo>> {
        self.view.list().await
    }

    /// The session that the call was made with; none when the token belongs to no session of this app.
    pub fn current(&self) -> Option<Uuid> {
        self.view.current()
    }

    /// Ends one of the caller's sessions.
    ///
    /// # Errors
    /// `NOT_FOUND` when the caller has no such session, `UNAUTHORIZED` when nobody is signed in.
    pub async fn revoke(&self, session: Uuid) -> Result<()> {
        if !self.list().await?.iter().any(|known| known.id == session) {
            return Err(Error::not_found("you have no such session"));
        }
        self.end_one(session).await
    }

    /// Ends all of the caller's sessions, this one included. Returns how many.
    ///
    /// # Errors
    /// `UNAUTHORIZED` when nobody is signed in.
    pub async fn revoke_all(&self) -> Result<u64> {
        let alive = self.list().await?;
        let client = self.view.db.client().await?;
        let user = &self.view.auth.require_user()?.id;
        let ended = self.view.db.watch(self.accounts.sessions()?.revoke_all(client, user)).await?;
        for session in alive {
            self.accounts.revocations.forget(session.id);
        }
        self.leave(SessionChange::Ended);
        Ok(ended)
    }

    async fn end_one(&self, session: Uuid) -> Result<()> {
        let client = self.view.db.client().await?;
        self.view.db.watch(self.accounts.sessions()?.revoke(client, session)).await?;
        // This node asks the database again at the session's next request; others do so within seconds.
        self.accounts.revocations.forget(session);
        Ok(())
    }

    fn leave(&self, change: SessionChange) {
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(change);
    }
}
