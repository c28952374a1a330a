//! What results are recognised by.
//!
//! A version is a hash of the result with the app's secret, so all nodes of an app recognise what one of them has told, and nobody else can
//! look for two results with the same version. A client is told 48 bits of it, in eight characters. They count once: when it comes back
//! and says what it holds. Were its result another one by then, it would be taken for the same in one of 2⁴⁸ cases. On a connection the
//! node knows what it has sent, by 128 bits.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::config::Secret;

/// What a result is recognised by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version([u8; 16]);

impl Version {
    /// What clients are told.
    pub(super) fn brief(self) -> Brief {
        let mut text = [b'A'; 8];
        // Six bytes are exactly eight characters.
        let _ = URL_SAFE_NO_PAD.encode_slice(&self.0[..6], &mut text);
        Brief(text)
    }
}

/// The part of a version that clients are told, in base64url.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Brief([u8; 8]);

impl fmt::Display for Brief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).map_err(|_| fmt::Error)?)
    }
}

/// Makes the versions of an app's results.
#[derive(Debug, Clone)]
pub(crate) struct Versions(Sha256);

impl Versions {
    /// Without a secret, whoever can write two results with the same version can have a client that comes back keep the older one.
    pub(crate) fn new(secret: Option<&Secret>) -> Self {
        let secret = secret.map_or("", Secret::expose);
        // Of a length of its own, so that what follows is the result and nothing else.
        let key = Sha256::new_with_prefix("versions of results\0").chain_update(secret).finalize();
        Self(Sha256::new_with_prefix(key))
    }

    pub(super) fn of(&self, json: &[u8]) -> Version {
        let hash = self.0.clone().chain_update(json).finalize();
        let mut version = [0; 16];
        version.copy_from_slice(&hash[..16]);
        Version(version)
    }
}

/// What a client has of a subscription.
#[derive(Debug, Clone, Copy)]
pub(super) enum Held {
    /// It was sent this.
    Sent(Version),
    /// It says so, of an earlier connection.
    Claimed(Brief),
}

impl Held {
    /// What a client says that it holds. `None` when that cannot be a version.
    pub(super) fn claimed(text: &str) -> Option<Self> {
        text.as_bytes().try_into().ok().map(|text| Self::Claimed(Brief(text)))
    }

    pub(super) fn is(self, version: Version) -> bool {
        match self {
            Self::Sent(sent) => sent == version,
            Self::Claimed(brief) => brief == version.brief(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_knows_the_secret_makes_the_same_versions() {
        let [one, same, other] = ["a", "a", "b"].map(|secret| Versions::new(Some(&Secret::new(secret))));
        assert_eq!(one.of(b"[1]"), same.of(b"[1]"));
        assert_ne!(one.of(b"[1]"), one.of(b"[2]"));
        assert_ne!(one.of(b"[1]"), other.of(b"[1]"));
        assert_ne!(one.of(b"[1]"), Versions::new(None).of(b"[1]"));
    }

    #[test]
    fn a_client_names_what_it_was_told() {
        let (one, other) = (Versions::new(None).of(b"[1]"), Versions::new(None).of(b"[2]"));
        let brief = one.brief().to_string();
        assert!(brief.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'), "{brief}");
        let claimed = Held::claimed(&brief).unwrap();
        assert!(claimed.is(one) && !claimed.is(other));
        assert!(Held::Sent(one).is(one) && !Held::Sent(one).is(other));
        assert!(Held::claimed("").is_none() && Held::claimed(&format!("{brief}A")).is_none());
    }
}
