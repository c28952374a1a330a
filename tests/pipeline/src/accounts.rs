//! Accounts with passwords, and the sessions of those who signed in.

use forge::prelude::*;

/// The tokens of a session, for clients that keep no cookies.
#[forge::input]
pub struct SignedIn {
    /// For the `Authorization` header.
    pub access: String,
    /// For `/auth/refresh`.
    pub refresh: String,
    /// The session.
    pub session: Uuid,
}

/// Makes an account.
#[forge::mutation(public)]
pub async fn sign_up(ctx: &MutationContext, name: String, password: String) -> Result<()> {
    let hash = ctx.passwords().hash(&password).await?;
    sql!("INSERT INTO accounts (name, password_hash) VALUES ({name}, {hash})").execute(ctx.db()).await?;
    Ok(())
}

/// Signs in with a password.
#[forge::mutation(public)]
pub async fn sign_in(ctx: &MutationContext, name: String, password: String) -> Result<SignedIn> {
    let hash = sql!(String, "SELECT password_hash FROM accounts WHERE name = {name}").fetch_optional(ctx.db()).await?;
    ctx.passwords().attempt(&name).await?;
    if !ctx.passwords().verify(&password, hash.as_deref()).await? {
        return Err(Error::unauthorized("the name or the password is wrong"));
    }
    start(ctx, &name).await
}

/// Signs anybody in, for tests that are not about passwords.
#[forge::mutation(public)]
pub async fn sign_in_as(ctx: &MutationContext, name: String) -> Result<SignedIn> {
    start(ctx, &name).await
}

async fn start(ctx: &MutationContext, name: &str) -> Result<SignedIn> {
    let tokens = ctx.sessions().start(name, &[]).await?;
    Ok(SignedIn { access: tokens.access, refresh: tokens.refresh, session: tokens.session_id })
}

/// Signs the caller out.
#[forge::mutation]
pub async fn sign_out(ctx: &MutationContext) -> Result<()> {
    ctx.sessions().end().await
}

/// The caller's sessions.
#[forge::mutation]
pub async fn my_sessions(ctx: &MutationContext) -> Result<Vec<Uuid>> {
    Ok(ctx.sessions().list().await?.into_iter().map(|session| session.id).collect())
}

/// Ends one of the caller's sessions.
#[forge::mutation]
pub async fn end_session(ctx: &MutationContext, session: Uuid) -> Result<()> {
    ctx.sessions().revoke(session).await
}
