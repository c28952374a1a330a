//! A token taken apart: the three parts, the header, the claims. No key is needed for this, and nothing is believed yet.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use forge_core::Error;
use forge_core::auth::{AuthContext, AuthUser};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::config::Algorithm;

use super::claims::{ROLES_LIMIT, check_subject};

/// The longest token that is looked at, in bytes.
pub const TOKEN_LIMIT: usize = 8 * 1024;

/// Why a token is refused. The caller learns one of two sentences; the log learns the reason.
#[derive(Debug)]
pub(super) enum Rejection {
    /// Genuine and for us, but its time is over. Only said of a token that passed everything else.
    Expired,
    /// Genuine, for us and in time, but the session that it belongs to has ended.
    SessionEnded(Uuid),
    /// Anything else.
    Invalid(String),
}

impl Rejection {
    pub(super) fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid(reason.into())
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("the token has expired"),
            Self::SessionEnded(session) => write!(f, "the token was refused: its session {session} has ended"),
            Self::Invalid(reason) => write!(f, "the token was refused: {reason}"),
        }
    }
}

impl std::error::Error for Rejection {}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        let public = match rejection {
            Rejection::Expired => "the token has expired; sign in again or refresh it",
            Rejection::SessionEnded(_) | Rejection::Invalid(_) => "the token is not valid; sign in again",
        };
        Self::unauthorized(public).with_source(rejection)
    }
}

/// What of a header counts. `jwk`, `jku` and `x5u` are not here on purpose: a token does not bring its own key.
#[derive(Deserialize)]
struct RawHeader {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<IgnoredAny>,
}

/// A token's parts.
pub(super) struct Token<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    /// What is signed: header and payload as they were sent.
    pub(super) signed: &'a str,
    pub(super) signature: &'a str,
    payload: &'a str,
}

impl<'a> Token<'a> {
    /// Takes a token apart and looks at its header; `allowed` decides about the algorithm before anything else does.
    pub(super) fn parse(text: &'a str, allowed: &[Algorithm]) -> Result<Self, Rejection> {
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Rejection::invalid("it does not have three parts"));
        };
        if signature.is_empty() {
            return Err(Rejection::invalid("it has no signature"));
        }
        let signed = &text[..header.len() + 1 + payload.len()];
        let header = decode(header).ok_or_else(|| Rejection::invalid("its header is not base64url"))?;
        let header: RawHeader = serde_json::from_slice(&header)
            .map_err(|error| Rejection::invalid(format!("its header is not understood (column {})", error.column())))?;
        let algorithm =
            allowed.iter().copied().find(|algorithm| format!("{algorithm:?}") == header.alg).ok_or_else(|| {
                Rejection::invalid(format!("its algorithm `{}` is not in security.auth.algorithms", shown(&header.alg)))
            })?;
        if header.crit.is_some() {
            return Err(Rejection::invalid("its header demands extensions (`crit`)"));
        }
        // Other kinds of signed objects (a logout notice, a proof of possession) are no proof of who calls.
        if let Some(typ) = &header.typ {
            let short = typ.strip_prefix("application/").unwrap_or(typ);
            if !short.eq_ignore_ascii_case("jwt") && !short.eq_ignore_ascii_case("at+jwt") {
                return Err(Rejection::invalid(format!("its type is `{}`, not JWT or at+jwt", shown(typ))));
            }
        }
        Ok(Self { algorithm, kid: header.kid, signed, signature, payload })
    }

    /// The claims. To be read only after the signature was found right.
    pub(super) fn claims(&self) -> Result<Map<String, Value>, Rejection> {
        let payload = decode(self.payload).ok_or_else(|| Rejection::invalid("its payload is not base64url"))?;
        serde_json::from_slice(&payload)
            .map_err(|error| Rejection::invalid(format!("its payload is not a JSON object (column {})", error.column())))
    }
}

fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

/// A text of a stranger, made safe for the log.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

/// Who a token speaks for. Made by [`TokenVerifier::verify`](super::TokenVerifier::verify) only from a token that is valid.
#[derive(Debug, Clone, PartialEq)]
pub struct Principal {
    /// The caller as functions see them.
    pub auth: AuthContext,
    /// When the token ends (its `exp`), in seconds since 1970. What outlives a call, such as a subscription, ends then.
    pub expires_at: i64,
    /// The session that the token belongs to, if this app issued it for one.
    pub session: Option<Uuid>,
}

/// What the claims of a genuine token say.
pub(super) struct Statement {
    pub(super) principal: Arc<Principal>,
    pub(super) not_before: i64,
}

/// What the claims must say.
pub(super) struct Demands<'a> {
    pub(super) issuer: Option<&'a str>,
    pub(super) audience: Option<&'a str>,
    /// Whether the token was signed with a secret of this app: only then `sid` is a session of this app.
    pub(super) own: bool,
}

impl Statement {
    /// Reads claims; their times are judged by [`check_times`](Self::check_times).
    pub(super) fn read(mut claims: Map<String, Value>, demands: &Demands<'_>) -> Result<Self, Rejection> {
        let expires_at = date(&mut claims, "exp")?.ok_or_else(|| Rejection::invalid("it has no `exp`"))?;
        let not_before = date(&mut claims, "nbf")?.unwrap_or(i64::MIN);
        // These change with every token; an app that told its users' scopes apart by them would share nothing.
        claims.remove("iat");
        claims.remove("jti");
        issuer(&claims, demands.issuer)?;
        audience(&claims, demands.audience)?;
        let Some(Value::String(id)) = claims.remove("sub") else {
            return Err(Rejection::invalid("it has no `sub`, or one that is not text"));
        };
        check_subject(&id).map_err(|problem| Rejection::invalid(format!("its `sub` {problem}")))?;
        let roles = roles(&mut claims)?;
        let session =
            claims.get("sid").and_then(Value::as_str).filter(|_| demands.own).and_then(|sid| Uuid::parse_str(sid).ok());
        if session.is_some() {
            claims.remove("sid");
        }
        let auth = AuthContext::of(AuthUser { id, roles, claims });
        Ok(Self { principal: Arc::new(Principal { auth, expires_at, session }), not_before })
    }

    /// Whether the token is valid at a time, clocks being apart by at most `leeway` seconds.
    pub(super) fn check_times(&self, now: i64, leeway: i64) -> Result<(), Rejection> {
        if self.not_before > now.saturating_add(leeway) {
            return Err(Rejection::invalid("it is not valid yet (`nbf`)"));
        }
        if self.principal.expires_at.saturating_add(leeway) <= now {
            return Err(Rejection::Expired);
        }
        Ok(())
    }
}

/// A date claim, in whole seconds.
fn date(claims: &mut Map<String, Value>, name: &str) -> Result<Option<i64>, Rejection> {
    match claims.remove(name) {
        None => Ok(None),
        Some(Value::Number(number)) => {
            // Fractions are allowed by the standard; numbers beyond 64 bits saturate, which is later than anything.
            let seconds = number.as_i64().or_else(|| number.as_f64().filter(|f| f.is_finite()).map(|f| f.floor() as i64));
            seconds.map(Some).ok_or_else(|| Rejection::invalid(format!("its `{name}` is not a time")))
        }
        Some(_) => Err(Rejection::invalid(format!("its `{name}` is not a number"))),
    }
}

fn issuer(claims: &Map<String, Value>, expected: Option<&str>) -> Result<(), Rejection> {
    match (expected, claims.get("iss").and_then(Value::as_str)) {
        (None, _) => Ok(()),
        (Some(expected), Some(found)) if expected == found => Ok(()),
        (Some(_), Some(found)) => {
            Err(Rejection::invalid(format!("its issuer `{}` is not security.auth.issuer", shown(found))))
        }
        (Some(_), None) => Err(Rejection::invalid("it has no `iss`, and security.auth.issuer demands one")),
    }
}

fn audience(claims: &Map<String, Value>, expected: Option<&str>) -> Result<(), Rejection> {
    match (expected, claims.get("aud")) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(Rejection::invalid("it names an audience (`aud`), and security.auth.audience is not set")),
        (Some(expected), Some(Value::String(found))) if expected == found => Ok(()),
        (Some(expected), Some(Value::Array(found))) if found.iter().any(|item| item.as_str() == Some(expected)) => Ok(()),
        (Some(_), Some(_)) => Err(Rejection::invalid("its audience (`aud`) is not security.auth.audience")),
        (Some(_), None) => Err(Rejection::invalid("it has no `aud`, and security.auth.audience demands one")),
    }
}

/// `roles` (a list) and `role` (one). Anything else is refused rather than read as "no roles".
fn roles(claims: &mut Map<String, Value>) -> Result<Vec<String>, Rejection> {
    let wrong = || Rejection::invalid("its `roles` is not a list of texts, or its `role` is not a text");
    let mut roles = match claims.remove("roles") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(items)) => items
            .into_iter()
            .map(|item| match item {
                Value::String(role) => Ok(role),
                _ => Err(wrong()),
            })
            .collect::<Result<Vec<_>, _>>()?,
        Some(_) => return Err(wrong()),
    };
    match claims.remove("role") {
        None | Some(Value::Null) => {}
        Some(Value::String(role)) if roles.contains(&role) => {}
        Some(Value::String(role)) => roles.push(role),
        Some(_) => return Err(wrong()),
    }
    if roles.len() > ROLES_LIMIT {
        return Err(Rejection::invalid(format!("it has more than {ROLES_LIMIT} roles")));
    }
    Ok(roles)
}
