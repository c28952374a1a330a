//! What the output plugin `pgoutput` says, as far as it concerns us: transactions, and the messages in them.

use bytes::{Buf as _, Bytes};

/// One message of the plugin.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// A transaction begins. All of it follows, as it has been committed.
    Begin { xid: u32 },
    /// A logical message with our prefix.
    Message(Bytes),
    /// The transaction ends: when it was committed, in microseconds since 2000, and where the log goes on behind it.
    Commit { end: u64, at: i64 },
    /// Somebody else's, or nothing that concerns us.
    Other,
}

/// What our messages begin with, so that those of others can be told apart.
pub(crate) const PREFIX: &str = "forge";

/// Reads one message. None when it is cut off.
pub(super) fn decode(mut data: Bytes) -> Option<Decoded> {
    Some(match data.try_get_u8().ok()? {
        b'B' => {
            // Where its commit is, and when.
            data.try_get_u64().ok()?;
            data.try_get_u64().ok()?;
            Decoded::Begin { xid: data.try_get_u32().ok()? }
        }
        b'C' => {
            data.try_get_u8().ok()?;
            data.try_get_u64().ok()?;
            Decoded::Commit { end: data.try_get_u64().ok()?, at: data.try_get_i64().ok()? }
        }
        b'M' => {
            let transactional = data.try_get_u8().ok()? & 1 == 1;
            data.try_get_u64().ok()?;
            let zero = data.iter().position(|byte| *byte == 0)?;
            let ours = data.split_to(zero) == PREFIX.as_bytes();
            data.advance(1);
            let length = data.try_get_u32().ok()? as usize;
            if length > data.len() {
                return None;
            }
            if ours && transactional { Decoded::Message(data.split_to(length)) } else { Decoded::Other }
        }
        _ => Decoded::Other,
    })
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut as _, BytesMut};

    use super::*;

    fn message(flags: u8, prefix: &str, content: &[u8]) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u8(b'M');
        bytes.put_u8(flags);
        bytes.put_u64(1);
        bytes.put_slice(prefix.as_bytes());
        bytes.put_u8(0);
        bytes.put_u32(u32::try_from(content.len()).unwrap());
        bytes.put_slice(content);
        bytes.freeze()
    }

    #[test]
    fn transactions_and_their_messages_are_read() {
        let mut begin = BytesMut::from(&b"B"[..]);
        begin.put_u64(5);
        begin.put_u64(6);
        begin.put_u32(7);
        assert_eq!(decode(begin.freeze()), Some(Decoded::Begin { xid: 7 }));
        let mut commit = BytesMut::from(&b"C\0"[..]);
        commit.put_u64(5);
        commit.put_u64(6);
        commit.put_i64(7);
        assert_eq!(decode(commit.clone().freeze()), Some(Decoded::Commit { end: 6, at: 7 }));
        assert_eq!(decode(commit.freeze().slice(..10)), None, "cut off");
        assert_eq!(decode(message(1, "forge", b"{}")), Some(Decoded::Message(Bytes::from_static(b"{}"))));
        assert_eq!(decode(message(1, "forgery", b"{}")), Some(Decoded::Other), "somebody else's");
        assert_eq!(decode(message(0, "forge", b"{}")), Some(Decoded::Other), "not part of a transaction");
        assert_eq!(decode(message(1, "forge", b"{}").slice(..18)), None, "cut off");
        assert_eq!(decode(Bytes::from_static(b"R whatever")), Some(Decoded::Other));
    }
}
