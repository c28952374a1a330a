//! As much of the WebSocket protocol as the load client needs: opening, texts both ways, pings.
//!
//! By hand, as ten thousand of these share a core with PostgreSQL: no buffers of their own, no second copy, and a mask of zeros.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::time::Duration;

use crate::Result;

/// How long opening a connection may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where and how a server takes connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    pub(crate) path: &'static str,
    pub(crate) protocol: &'static str,
}

impl Door {
    /// Opens a connection. Returns it with what has come in behind the server's agreement.
    pub(crate) fn open(&self) -> Result<(TcpStream, Vec<u8>)> {
        let Self { address, path, protocol } = self;
        let mut stream = TcpStream::connect(address).map_err(|why| format!("cannot connect to {address}: {why}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: {protocol}\r\n\r\n"
        );
        stream.write_all(request.as_bytes())?;
        let mut buffer = Vec::new();
        let mut chunk = [0; 2048];
        loop {
            let read = stream.read(&mut chunk).map_err(|why| format!("no answer from {address}: {why}"))?;
            buffer.extend_from_slice(&chunk[..read]);
            if let Some(head) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                if !buffer.starts_with(b"HTTP/1.1 101 ") {
                    return Err(format!("{address} refused: {}", String::from_utf8_lossy(&buffer)).into());
                }
                buffer.drain(..head + 4);
                return Ok((stream, buffer));
            }
            if read == 0 {
                return Err(format!("{address} closed a connection instead of opening it").into());
            }
        }
    }
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Ping,
    Close,
    Other,
}

/// Appends a text, as a client frames it.
pub(crate) fn write_text(buffer: &mut Vec<u8>, text: &[u8]) {
    write_frame(buffer, 1, text);
}

/// Appends the answer to a ping.
pub(crate) fn write_pong(buffer: &mut Vec<u8>, echoed: &[u8]) {
    write_frame(buffer, 10, echoed);
}

fn write_frame(buffer: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    buffer.push(0x80 | opcode);
    match payload.len() {
        // Of one byte, and this small.
        length @ ..126 => buffer.push(0x80 | length as u8),
        length => {
            let length = u16::try_from(length).unwrap_or(u16::MAX);
            buffer.push(0x80 | 126);
            buffer.extend_from_slice(&length.to_be_bytes());
        }
    }
    buffer.extend_from_slice(&[0; 4]);
    buffer.extend_from_slice(payload);
}

/// The frame at the beginning of a buffer, once all of it is there: what it is, where its payload lies, and where it ends.
pub(crate) fn frame(buffer: &[u8]) -> Option<(Kind, Range<usize>)> {
    let (first, second) = (*buffer.first()?, *buffer.get(1)?);
    // Frames of a server are not masked.
    let (from, length) = match second & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(buffer.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(buffer.get(2..10)?.try_into().ok()?)).ok()?),
        length => (2, usize::from(length)),
    };
    let end = length.checked_add(from)?;
    if buffer.len() < end {
        return None;
    }
    let kind = match first & 0x0f {
        1 => Kind::Text,
        8 => Kind::Close,
        9 => Kind::Ping,
        _ => Kind::Other,
    };
    Some((kind, from..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_every_length() {
        for length in [0, 125, 126, 65_535, 65_536_usize] {
            let mut sent = vec![0x81];
            match length {
                0..126 => sent.push(length as u8),
                126..65_536 => {
                    sent.push(126);
                    sent.extend_from_slice(&(length as u16).to_be_bytes());
                }
                _ => {
                    sent.push(127);
                    sent.extend_from_slice(&(length as u64).to_be_bytes());
                }
            }
            let head = sent.len();
            sent.resize(head + length, b'x');
            if length > 0 {
                assert_eq!(frame(&sent[..sent.len() - 1]), None);
            }
            sent.extend_from_slice(b"the next one");
            assert_eq!(frame(&sent), Some((Kind::Text, head..head + length)));
        }
    }

    #[test]
    fn what_a_client_sends_is_masked_with_zeros() {
        let mut buffer = Vec::new();
        write_text(&mut buffer, b"{}");
        assert_eq!(buffer, [0x81, 0x82, 0, 0, 0, 0, b'{', b'}']);
        buffer.clear();
        write_text(&mut buffer, &[b'x'; 300]);
        assert_eq!(buffer[..8], [0x81, 0xfe, 1, 44, 0, 0, 0, 0]);
    }
}
