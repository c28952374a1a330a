//! Accounts with passwords, and the sessions of those who signed in.

use forge::Claims;
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
    ctx.passwords().succeeded(&name).await?;
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

/// Signs somebody in, and then does not.
#[forge::mutation(public)]
pub async fn sign_in_and_fail(ctx: &MutationContext, name: String) -> Result<SignedIn> {
    start(ctx, &name).await?;
    Err(Error::conflict("on purpose"))
}

/// Has others sign in: as somebody or not at all, and then not.
#[forge::mutation(public)]
pub async fn have_sign_in(ctx: &MutationContext, name: Option<String>) -> Result<()> {
    if let Some(name) = name {
        ctx.mutate(sign_in_as, name).await?;
    }
    let refused = ctx.mutate(sign_in_and_fail, "nobody".to_owned()).await;
    assert!(refused.is_err());
    Ok(())
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

/// The session that the call is made with, and all of the caller's.
#[forge::query]
pub async fn see_sessions(ctx: &QueryContext) -> Result<(Option<Uuid>, Vec<Uuid>)> {
    let all = ctx.sessions().list().await?;
    Ok((ctx.sessions().current(), all.into_iter().map(|session| session.id).collect()))
}

/// What a token is to say.
#[forge::input]
pub struct Wanted {
    /// For whom.
    pub name: String,
    /// With which role.
    pub role: String,
    /// For how long, in seconds.
    pub seconds: u32,
}

impl Wanted {
    fn claims(&self) -> Claims {
        let lifetime = std::time::Duration::from_secs(self.seconds.into());
        Claims::builder(&self.name).role(&self.role).claim("tenant", "acme").expires_in(lifetime).build()
    }
}

/// Issues a token in a query.
#[forge::query(public)]
pub async fn pass_by_query(ctx: &QueryContext, input: Wanted) -> Result<String> {
    Ok(ctx.issue_token(&input.claims())?.token)
}

/// Issues a token in a mutation.
#[forge::mutation(public)]
pub async fn pass_by_mutation(ctx: &MutationContext, input: Wanted) -> Result<String> {
    Ok(ctx.issue_token(&input.claims())?.token)
}

/// Issues a token in an action.
#[forge::action(public)]
pub async fn pass_by_action(ctx: &ActionContext, input: Wanted) -> Result<String> {
    Ok(ctx.issue_token(&input.claims())?.token)
}

/// What the caller's token says of its tenant.
#[forge::query]
pub async fn tenant(ctx: &QueryContext) -> Result<Option<String>> {
    Ok(ctx.require_user()?.claims.get("tenant").and_then(|value| value.as_str()).map(str::to_owned))
}
