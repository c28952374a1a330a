//! Which key may check which token.
//!
//! Every key states the algorithms it is used with. An HMAC secret states HMAC algorithms only and a public key the
//! others only, so neither can stand in for the other, whatever a token's header says.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use forge_core::{Error, Result};
use jsonwebtoken::DecodingKey;
use sha2::{Digest as _, Sha256};

use crate::config::{Algorithm, AuthConfig, PublicKey};

/// The fewest bytes of an RSA modulus: 2048 bits.
pub(super) const RSA_LEAST_BYTES: usize = 256;

/// A key that tokens are checked with.
pub(super) struct Key {
    pub(super) kid: Option<String>,
    /// What it may be used with.
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) decoding: DecodingKey,
    /// Until when it is accepted, in seconds since 1970.
    pub(super) valid_until: i64,
    /// Whether it is a secret of this app, so that the token was issued by this app.
    pub(super) own: bool,
}

impl Key {
    /// Whether the key may check a token of this algorithm now.
    pub(super) fn fits(&self, algorithm: Algorithm, now: i64) -> bool {
        self.algorithms.contains(&algorithm) && now < self.valid_until
    }
}

/// The id that own tokens carry for a secret: so many bytes of a hash that nobody can turn back.
pub(super) fn secret_id(secret: &[u8]) -> String {
    let hash = Sha256::new().chain_update(b"forge signing key id\0").chain_update(secret).finalize();
    URL_SAFE_NO_PAD.encode(&hash[..9])
}

/// The keys that the configuration names.
///
/// # Errors
/// `CONFIG_AUTH_KEY` when a public key cannot be read or is not one of its algorithm.
pub(super) fn configured(config: &AuthConfig) -> Result<Vec<Key>> {
    let mut keys = Vec::new();
    let hmac: Vec<_> = config.algorithms.iter().copied().filter(|algorithm| algorithm.is_hmac()).collect();
    let current = config.secret.iter().map(|secret| (secret, i64::MAX));
    let previous = config.previous_secrets.iter().map(|p| (&p.secret, p.valid_until.as_second()));
    for (secret, valid_until) in current.chain(previous).filter(|_| !hmac.is_empty()) {
        let bytes = secret.expose().as_bytes();
        keys.push(Key {
            kid: Some(secret_id(bytes)),
            algorithms: hmac.clone(),
            decoding: DecodingKey::from_secret(bytes),
            valid_until,
            own: true,
        });
    }
    for key in config.public_keys.iter().filter(|key| config.algorithms.contains(&key.algorithm)) {
        keys.push(public(key)?);
    }
    Ok(keys)
}

fn public(key: &PublicKey) -> Result<Key> {
    let name = match (&key.kid, &key.file) {
        (Some(kid), _) => format!("the public key `{}`", kid.escape_debug()),
        (None, Some(file)) => format!("the public key in {}", file.display()),
        (None, None) => "a public key".into(),
    };
    let wrong = |problem: String| {
        Error::config(
            "CONFIG_AUTH_KEY",
            format!(
                "{name} of security.auth.public_keys {problem}; it must be a public key for {:?} in PEM form",
                key.algorithm
            ),
        )
    };
    let pem = match (&key.pem, &key.file) {
        (Some(pem), None) => pem.clone(),
        (None, Some(file)) => {
            std::fs::read_to_string(file).map_err(|error| wrong(format!("cannot be read: {error}")).with_source(error))?
        }
        _ => return Err(wrong("needs either `pem` or `file`".into())),
    };
    if pem.contains("PRIVATE KEY") {
        return Err(wrong("is a private key, which belongs to the issuer alone".into()));
    }
    let decoding = match key.algorithm {
        Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512 | Algorithm::PS256 | Algorithm::PS384 | Algorithm::PS512 => {
            DecodingKey::from_rsa_pem(pem.as_bytes())
        }
        Algorithm::ES256 | Algorithm::ES384 => DecodingKey::from_ec_pem(pem.as_bytes()),
        Algorithm::EdDSA => DecodingKey::from_ed_pem(pem.as_bytes()),
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
            return Err(wrong("has an HMAC algorithm, which has no public key".into()));
        }
    };
    let decoding = decoding.map_err(|error| wrong(format!("cannot be understood ({error})")).with_source(error))?;
    // Building a verifier finds a key of another curve now and not with the first token.
    jsonwebtoken::crypto::verify("", b"", &decoding, library(key.algorithm))
        .map_err(|error| wrong(format!("does not fit ({error})")).with_source(error))?;
    // The encoded key is a few bytes longer than its modulus.
    if decoding
        .try_get_as_bytes()
        .is_ok_and(|der| decoding.family() == jsonwebtoken::AlgorithmFamily::Rsa && der.len() < RSA_LEAST_BYTES)
    {
        return Err(wrong("has fewer than 2048 bits".into()));
    }
    Ok(Key { kid: key.kid.clone(), algorithms: vec![key.algorithm], decoding, valid_until: i64::MAX, own: false })
}

/// The algorithm as the JWT library names it.
pub(super) fn library(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    use jsonwebtoken::Algorithm as Library;
    match algorithm {
        Algorithm::HS256 => Library::HS256,
        Algorithm::HS384 => Library::HS384,
        Algorithm::HS512 => Library::HS512,
        Algorithm::RS256 => Library::RS256,
        Algorithm::RS384 => Library::RS384,
        Algorithm::RS512 => Library::RS512,
        Algorithm::PS256 => Library::PS256,
        Algorithm::PS384 => Library::PS384,
        Algorithm::PS512 => Library::PS512,
        Algorithm::ES256 => Library::ES256,
        Algorithm::ES384 => Library::ES384,
        Algorithm::EdDSA => Library::EdDSA,
    }
}
