//! Whether somebody may still be shown anything in a session, and do anything.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forge_core::{Error, Result};

use crate::auth::{Principal, RevocationCache};

/// For how long a token is good still. Far times are cut: the caller asks again.
pub(super) fn good_for(principal: &Principal) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let end = Duration::from_secs(u64::try_from(principal.expires_at).unwrap_or(0));
    end.saturating_sub(now).min(Duration::from_secs(86_400 * 365))
}

/// Checks that a token is good still, and that whom it signed in was not signed out.
///
/// # Errors
/// `UNAUTHORIZED` when it is not so; those of the database, when that cannot be told: perhaps ended is not alive.
pub(super) async fn check(principal: &Principal, revocations: &RevocationCache) -> Result<()> {
    let ended = match principal.session {
        _ if good_for(principal).is_zero() => true,
        Some(session) => revocations.is_revoked(session).await?,
        None => false,
    };
    if ended { Err(has_ended()) } else { Ok(()) }
}

/// What a client is told whose token is good no more.
pub(super) fn has_ended() -> Error {
    Error::unauthorized("the token has ended; renew it and connect again")
}
