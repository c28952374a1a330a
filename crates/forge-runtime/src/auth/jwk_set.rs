//! A JWK set as an identity provider sends it, read into the keys that tokens can be checked with.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::config::Algorithm;

use super::keys::{Key, RSA_LEAST_BYTES, library};

/// The most keys in a set.
const KEYS_LIMIT: usize = 100;

/// The usable keys of a set, and a hash that changes when they do.
///
/// Keys for something else than signatures, of other algorithms or of unknown kinds are left out, and so are secrets
/// (`oct`). A set with none left is an error: it is far more often a fault at the other end than the wish to lock
/// everybody out.
pub(super) fn read(body: &[u8], allowed: &[Algorithm]) -> Result<(Vec<Key>, [u8; 32]), String> {
    #[derive(Deserialize)]
    struct Document {
        keys: Vec<Value>,
    }
    let document: Document =
        serde_json::from_slice(body).map_err(|error| format!("the answer is not a JWK set: {error}"))?;
    if document.keys.len() > KEYS_LIMIT {
        return Err(format!("the answer has {} keys; at most {KEYS_LIMIT} are accepted", document.keys.len()));
    }
    let mut hash = Sha256::new();
    let mut keys = Vec::new();
    // A key that is not understood must not take the others with it: sets often hold several kinds.
    for value in document.keys {
        let text = value.to_string();
        if let Some(key) = serde_json::from_value(value).ok().and_then(|jwk| usable(&jwk, allowed)) {
            hash.update(text.len().to_le_bytes());
            hash.update(text);
            keys.push(key);
        }
    }
    if keys.is_empty() {
        return Err("the answer has no key that can check a signature of an algorithm in security.auth.algorithms".into());
    }
    Ok((keys, hash.finalize().into()))
}

/// A published key as one that tokens can be checked with; nothing when it is not for that.
fn usable(jwk: &Jwk, allowed: &[Algorithm]) -> Option<Key> {
    let for_signatures = jwk.common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature)
        && jwk.common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    if !for_signatures {
        return None;
    }
    let by_type: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) if rsa_bytes(&rsa.n) >= RSA_LEAST_BYTES => {
            &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512]
        }
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => &[Algorithm::ES256],
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P384 => &[Algorithm::ES384],
        AlgorithmParameters::OctetKeyPair(okp) if okp.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
        // Secrets above all: one that anyone can fetch must never check an HMAC.
        _ => return None,
    };
    let stated = jwk.common.key_algorithm;
    let matches_stated = |algorithm: Algorithm| {
        stated
            .is_none_or(|stated| jsonwebtoken::Algorithm::try_from(stated).is_ok_and(|stated| stated == library(algorithm)))
    };
    let algorithms: Vec<_> = by_type.iter().copied().filter(|a| allowed.contains(a) && matches_stated(*a)).collect();
    if algorithms.is_empty() {
        return None;
    }
    let decoding = DecodingKey::from_jwk(jwk).ok()?;
    Some(Key { kid: jwk.common.key_id.clone(), algorithms, decoding, valid_until: i64::MAX, own: false })
}

/// The size of an RSA modulus given as base64url.
fn rsa_bytes(modulus: &str) -> usize {
    let bytes = URL_SAFE_NO_PAD.decode(modulus).unwrap_or_default();
    bytes.iter().skip_while(|byte| **byte == 0).count()
}
