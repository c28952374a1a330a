//! Who is calling.
//!
//! ```text
//! request ─▶ bearer token or cookie ─▶ TokenVerifier ─▶ Principal ─▶ the call
//!                                          │
//! sign-in ─▶ Throttle ─▶ Passwords ─▶ Sessions ─▶ access token (minutes) + refresh token (days)
//! ```
//!
//! Promises: a token that is not valid is refused and never becomes "nobody"; which check it failed is for the log alone;
//! nothing that can be used to sign in is stored as it is; every cache and queue has a limit; an ended session is refused
//! everywhere within five seconds. How each is kept is said in its file.
//!
//! Deliberately not here: sign-in pages, OAuth, API keys, and what a role may do, which is the app's to say.

mod accounts;
mod claims;
pub mod client_ip;
mod clock;
pub mod cookie;
pub mod csrf;
mod issuer;
mod jwk_set;
mod jwks;
mod jwt;
mod keys;
pub mod password;
mod refresh;
mod revocation;
mod session;
mod sessions;
#[cfg(test)]
mod tests;
mod throttle;
mod token;
mod token_cache;

pub use accounts::{Accounts, PasswordAccess, SessionAccess, SessionView};
pub(crate) use accounts::{SessionChange, SessionSlot};
pub use claims::{Claims, ClaimsBuilder};
pub use client_ip::ClientIp;
pub use clock::Clock;
pub use cookie::SessionCookie;
pub use issuer::{IssuedToken, TokenIssuer, TokenPair};
pub use jwt::TokenVerifier;
pub use password::{Passwords, Verdict};
pub use revocation::RevocationCache;
pub use session::{Refreshed, SessionInfo, SessionMeta, SessionTokens};
pub use sessions::Sessions;
pub use throttle::Throttle;
pub use token::{Principal, TOKEN_LIMIT};
