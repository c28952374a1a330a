//! Refresh tokens: 16 random bytes that name a session's family, then 32 that are new with every rotation.
//!
//! The family part lets an old token be told from a made-up one without keeping all old ones: whoever presents it held a
//! token of that session once. It is in no access token, so knowing a session's id gives no power over it.
//!
//! A token's successor follows from it by a key that only the server has. So a client whose answer was lost asks again
//! and gets the same successor, although the database holds nothing but hashes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

const FAMILY: usize = 16;
const WHOLE: usize = 48;

#[derive(Clone, PartialEq)]
pub(super) struct RefreshToken([u8; WHOLE]);

impl RefreshToken {
    pub(super) fn random() -> Self {
        let mut bytes = [0; WHOLE];
        rand::fill(&mut bytes);
        Self(bytes)
    }

    /// Reads what a client sent; nothing when it cannot be a refresh token.
    pub(super) fn decode(text: &str) -> Option<Self> {
        // Checked first, so that a stranger's megabyte is not even decoded.
        if text.len() != WHOLE / 3 * 4 {
            return None;
        }
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }

    pub(super) fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    pub(super) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }

    pub(super) fn family_hash(&self) -> [u8; 32] {
        Sha256::digest(&self.0[..FAMILY]).into()
    }

    /// The token that takes this one's place.
    pub(super) fn successor(&self, key: &SuccessorKey) -> Self {
        let mut mac = key.0.clone();
        mac.update(&self.0);
        let mut next = self.0;
        next[FAMILY..].copy_from_slice(&mac.finalize().into_bytes());
        Self(next)
    }
}

/// The key that successors follow by.
#[derive(Clone)]
pub(super) struct SuccessorKey(Hmac<Sha256>);

impl SuccessorKey {
    /// A key of its own kind, made from a signing secret.
    pub(super) fn of(secret: &[u8]) -> Self {
        // A key shorter than the hash's block of 64 bytes is filled up with zeros; that is how HMAC defines it.
        let mut block = [0; 64];
        block[..32]
            .copy_from_slice(&Sha256::new().chain_update(b"forge refresh successor\0").chain_update(secret).finalize());
        Self(Hmac::new(&block.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_is_the_same_each_time_and_hangs_on_token_and_key() {
        let (a, b) = (SuccessorKey::of(b"a"), SuccessorKey::of(b"b"));
        let token = RefreshToken::random();
        let next = token.successor(&a);
        assert!(next == token.successor(&a) && next != token && next != token.successor(&b));
        assert!(next.successor(&a) != next);
        assert_eq!(next.family_hash(), token.family_hash());
        assert_ne!(next.hash(), token.hash());
    }

    #[test]
    fn only_what_was_encoded_is_decoded() {
        let token = RefreshToken::random();
        let text = token.encode();
        assert_eq!(text.len(), 64);
        assert!(RefreshToken::decode(&text) == Some(token));
        for text in ["", "x", &"!".repeat(64), &"a".repeat(65), &"é".repeat(32)] {
            assert!(RefreshToken::decode(text).is_none(), "{text}");
        }
    }
}
