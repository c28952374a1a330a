//! Bearer tokens, made by hand: also those that no issuer would make.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

/// The secret of `TestApp`.
pub(crate) const SECRET: &str = "a secret for tests, and for nothing else";

/// Now, in seconds since 1970.
pub(crate) fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// A token with this header and these claims, signed with HMAC-SHA-256.
pub(crate) fn signed(secret: &str, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(header), part(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

/// A token that is valid.
pub(crate) fn of(user: &str, roles: &[&str]) -> String {
    of_secret(SECRET, user, roles)
}

/// A token that is valid where this secret is.
pub(crate) fn of_secret(secret: &str, user: &str, roles: &[&str]) -> String {
    signed(secret, &json!({"alg": "HS256", "typ": "JWT"}), &claims(user, roles))
}

/// What a token says.
pub(crate) fn claims_of(token: &str) -> Value {
    let body = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap()
}

fn claims(user: &str, roles: &[&str]) -> Value {
    json!({"sub": user, "roles": roles, "iat": now(), "exp": now() + 3600})
}

/// Tokens that nobody may come in with: each differs from a valid one in a single thing.
pub(crate) fn refused() -> Vec<(&'static str, String)> {
    let header = json!({"alg": "HS256", "typ": "JWT"});
    let valid = claims("eve", &["admin"]);
    let with = |name: &str, value: Value| {
        let mut claims = valid.clone();
        claims[name] = value;
        signed(SECRET, &header, &claims)
    };
    let mut without_end = valid.clone();
    without_end.as_object_mut().unwrap().remove("exp");
    let genuine = signed(SECRET, &header, &valid);
    let (body, signature) = genuine.rsplit_once('.').unwrap();
    let other_payload = URL_SAFE_NO_PAD.encode(json!({"sub": "root", "exp": now() + 600}).to_string());
    vec![
        ("forged with another key", signed("another secret that is long enough, too", &header, &valid)),
        ("expired", with("exp", json!(now() - 3600))),
        ("not valid yet", with("nbf", json!(now() + 3600))),
        ("for another audience", with("aud", json!("somebody else"))),
        ("without a subject", with("sub", Value::Null)),
        ("without an end", signed(SECRET, &header, &without_end)),
        ("alg none, unsigned", {
            let none = URL_SAFE_NO_PAD.encode(json!({"alg": "none"}).to_string());
            format!("{none}.{}.", URL_SAFE_NO_PAD.encode(valid.to_string()))
        }),
        ("alg none, signed", signed(SECRET, &json!({"alg": "none"}), &valid)),
        ("alg HS512 with the signature of HS256", signed(SECRET, &json!({"alg": "HS512"}), &valid)),
        ("its signature taken off", format!("{body}.")),
        ("its signature and dot taken off", body.to_owned()),
        ("its payload exchanged", format!("{}.{other_payload}.{signature}", genuine.split('.').next().unwrap())),
        ("garbage", "garbage".to_owned()),
        ("too long", "a".repeat(9_000)),
    ]
}
