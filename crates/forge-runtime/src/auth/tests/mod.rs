//! The room as a whole: tokens against the verifier, key sets over HTTP, sessions against a real PostgreSQL.

mod database;
mod jwks;
mod sessions;
mod tokens;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm as Library, EncodingKey};
use serde_json::{Value, json};

use crate::config::{AuthConfig, Config, Mode};

use super::*;

pub(super) const SECRET: &str = "p7Vt0mZ4qYx1Lw8Rk3Nd6Hs9Jc2Bf5Gu";

pub(super) const RSA_A: &str = include_str!("keys/rsa_a.pem");
pub(super) const RSA_A_PUBLIC: &str = include_str!("keys/rsa_a.pub.pem");
pub(super) const RSA_B: &str = include_str!("keys/rsa_b.pem");
pub(super) const RSA_B_PUBLIC: &str = include_str!("keys/rsa_b.pub.pem");
pub(super) const RSA_SMALL: &str = include_str!("keys/rsa_small.pem");
pub(super) const RSA_SMALL_PUBLIC: &str = include_str!("keys/rsa_small.pub.pem");
pub(super) const P256: &str = include_str!("keys/p256.pem");
pub(super) const P256_PUBLIC: &str = include_str!("keys/p256.pub.pem");
pub(super) const P384: &str = include_str!("keys/p384.pem");
pub(super) const P384_PUBLIC: &str = include_str!("keys/p384.pub.pem");
pub(super) const ED: &str = include_str!("keys/ed.pem");
pub(super) const ED_PUBLIC: &str = include_str!("keys/ed.pub.pem");

/// A moment to stand on: what happens at `NOW` happens now.
pub(super) const NOW: i64 = 1_800_000_000;

/// A clock that moves only when told to.
#[derive(Clone)]
pub(super) struct Hands(Arc<AtomicI64>);

impl Hands {
    pub(super) fn at_now() -> Self {
        Self(Arc::new(AtomicI64::new(NOW)))
    }

    pub(super) fn forward(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(super) fn clock(&self) -> Clock {
        let hands = Arc::clone(&self.0);
        Clock::of(move || hands.load(Ordering::SeqCst))
    }
}

pub(super) fn config() -> AuthConfig {
    AuthConfig { secret: Some(SECRET.into()), ..Config::defaults(Mode::Test).security.auth }
}

/// A verifier whose clock stands at `NOW`.
pub(super) fn verifier(config: &AuthConfig) -> TokenVerifier {
    TokenVerifier::new(config).unwrap().with_clock(Hands::at_now().clock())
}

pub(super) fn issuer(config: &AuthConfig) -> TokenIssuer {
    TokenIssuer::new(config).unwrap().with_clock(Hands::at_now().clock())
}

/// Claims that nothing is wrong with.
pub(super) fn claims() -> Value {
    json!({ "sub": "ada", "exp": NOW + 60, "roles": ["editor"], "tenant": "acme" })
}

pub(super) fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A token with any header and claims, signed for real.
pub(super) fn signed(header: &Value, claims: &Value, key: &EncodingKey, algorithm: Library) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

/// An HS256 token as somebody with the secret would make it.
pub(super) fn hs256(claims: &Value) -> String {
    signed(&json!({ "alg": "HS256", "typ": "JWT" }), claims, &EncodingKey::from_secret(SECRET.as_bytes()), Library::HS256)
}

/// An RS256 token of a key.
pub(super) fn rs256(pem: &str, kid: Option<&str>, claims: &Value) -> String {
    let mut header = json!({ "alg": "RS256", "typ": "JWT" });
    if let Some(kid) = kid {
        header["kid"] = kid.into();
    }
    signed(&header, claims, &EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap(), Library::RS256)
}

/// The reason that the log gets for a refusal.
pub(super) fn reason(error: &forge_core::Error) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}

#[test]
fn every_code_has_a_page() {
    for code in ["AUTH_KEYS_UNAVAILABLE", "CONFIG_AUTH_ISSUER", "CONFIG_AUTH_KEY", "CSRF_REFUSED"] {
        let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/errors/{code}.md"));
        let text = std::fs::read_to_string(page).unwrap();
        assert!(text.starts_with(&format!("# {code}: ")), "{code}");
    }
}
