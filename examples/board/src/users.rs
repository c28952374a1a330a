//! Accounts and sessions.

use forge::prelude::*;

use crate::access;
use crate::errors::BoardError;
use crate::welcome;

/// A person with an account. The password's hash is in a table of its own, and never leaves this module.
#[forge::model]
#[table(name = "users")]
pub struct User {
    /// The account.
    #[id]
    pub id: Uuid,
    /// In lower case.
    #[max_length = 254]
    #[unique]
    pub email: String,
    /// What others see.
    #[max_length = 80]
    pub name: String,
    /// When they signed up.
    #[default = "now()"]
    pub created_at: Timestamp,
}

/// What it takes to have an account.
#[forge::input]
pub struct SignUp {
    /// What others see.
    #[validate(length(max = 80), custom = "crate::text::one_line")]
    pub name: String,
    /// Where to reach the person; also what they sign in with.
    #[validate(length(max = 254), email)]
    pub email: String,
    /// Anything goes: blanks, accents, whole sentences.
    #[validate(length(min = 8, max = 1024))]
    pub password: Secret,
}

/// Who signs in.
#[forge::input]
pub struct SignIn {
    /// The account's address; capitals do not matter.
    #[validate(length(max = 254))]
    pub email: String,
    /// The account's password.
    pub password: Secret,
}

/// A place where somebody is signed in.
#[forge::input]
pub struct SignedIn {
    /// The session.
    pub id: Uuid,
    /// When they signed in there.
    pub since: Timestamp,
    /// When the session was last renewed.
    pub last_used_at: Timestamp,
    /// What the browser said about itself.
    pub browser: Option<String>,
    /// The address they signed in from.
    pub address: Option<String>,
    /// Whether it is the session that asks.
    pub current: bool,
}

/// Opens an account, with a board that explains itself, and signs in.
#[forge::mutation(public)]
pub async fn sign_up(ctx: &MutationContext, input: SignUp) -> Result<User> {
    let hash = ctx.passwords().hash(input.password.expose()).await?;
    let email = input.email.trim().to_lowercase();
    if User::query().filter(User::EMAIL.eq(email.as_str())).exists(ctx.db()).await? {
        return Err(BoardError::EmailTaken.into());
    }
    // Two at once: one of them waits here, and is told by the unique key.
    let user = User::insert([User::EMAIL.set(email), User::NAME.set(input.name.trim())]).fetch_one(ctx.db()).await;
    let user = user.map_err(|why| if why.kind() == ErrorKind::Conflict { BoardError::EmailTaken.into() } else { why })?;
    sql!("INSERT INTO credentials (user_id, password_hash) VALUES ({user.id}, {hash})").execute(ctx.db()).await?;
    welcome::board_for(ctx.db(), &user).await?;
    ctx.sessions().start(user.id, &[]).await?;
    Ok(user)
}

/// Signs in.
#[forge::mutation(public)]
pub async fn sign_in(ctx: &MutationContext, input: SignIn) -> Result<User> {
    let email = input.email.trim().to_lowercase();
    ctx.passwords().attempt(&email).await?;
    let user = User::query().filter(User::EMAIL.eq(email)).fetch_optional(ctx.db()).await?;
    let hash = match &user {
        Some(user) => {
            sql!(String, "SELECT password_hash FROM credentials WHERE user_id = {user.id}").fetch_optional(ctx.db()).await?
        }
        None => None,
    };
    // Checked even when there is no such account, so that the time it takes tells nothing.
    let right = ctx.passwords().verify(input.password.expose(), hash.as_deref()).await?;
    match user {
        Some(user) if right => {
            ctx.passwords().succeeded(&user.email).await?;
            ctx.sessions().start(user.id, &[]).await?;
            Ok(user)
        }
        _ => Err(BoardError::WrongCredentials.into()),
    }
}

/// Signs out here; other places stay signed in.
#[forge::mutation]
pub async fn sign_out(ctx: &MutationContext) -> Result<()> {
    ctx.sessions().end().await
}

/// Who I am; null when nobody is signed in.
#[forge::query(public)]
pub async fn me(ctx: &QueryContext) -> Result<Option<User>> {
    if ctx.auth().user().is_none() {
        return Ok(None);
    }
    User::find(access::me(ctx.auth())?).fetch_optional(ctx.db()).await
}

/// Where I am signed in, the place used last first. A mutation that changes nothing: only mutations have sessions.
#[forge::mutation]
pub async fn list_sessions(ctx: &MutationContext) -> Result<Vec<SignedIn>> {
    let current = ctx.sessions().current();
    let sessions = ctx.sessions().list().await?;
    let signed_in = sessions.into_iter().map(|session| SignedIn {
        current: current == Some(session.id),
        id: session.id,
        since: session.created_at,
        last_used_at: session.last_used_at,
        browser: session.user_agent,
        address: session.ip.map(|ip| ip.to_string()),
    });
    Ok(signed_in.collect())
}

/// Signs me out at one place.
#[forge::mutation]
pub async fn revoke_session(ctx: &MutationContext, session_id: Uuid) -> Result<()> {
    ctx.sessions().revoke(session_id).await
}

/// Signs me out everywhere, here too.
#[forge::mutation]
pub async fn revoke_all_sessions(ctx: &MutationContext) -> Result<()> {
    ctx.sessions().revoke_all().await?;
    Ok(())
}
