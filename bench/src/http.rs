//! As much of HTTP/1.1 as the load client needs: requests of one kind, answers with a `content-length`.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Result;

/// Writes a call's request into a buffer, the same for every server. Without a token nobody makes it.
pub(crate) fn write_request(buffer: &mut Vec<u8>, function: &str, token: Option<&str>, body: &str) {
    buffer.clear();
    // Writing into a Vec cannot fail.
    let _ = write!(buffer, "POST /rpc/{function} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n");
    if let Some(token) = token {
        let _ = write!(buffer, "authorization: Bearer {token}\r\n");
    }
    let _ = write!(buffer, "content-length: {}\r\n\r\n{body}", body.len());
}

/// How long the answer at the beginning of a buffer is, once all of it is there.
///
/// Anything but a 200 is an error: a benchmark of failures says nothing.
pub(crate) fn answer_length(buffer: &[u8]) -> Result<Option<usize>> {
    let Some(head) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return Ok(None) };
    let total = head + 4 + content_length(&buffer[..head])?;
    if buffer.len() < total {
        return Ok(None);
    }
    if !buffer.starts_with(b"HTTP/1.1 200 ") {
        return Err(format!("a call was not answered with 200:\n{}", String::from_utf8_lossy(&buffer[..total])).into());
    }
    Ok(Some(total))
}

fn content_length(head: &[u8]) -> Result<usize> {
    let missing = || "an answer has no content-length";
    head.split(|byte| *byte == b'\n')
        .find_map(|line| {
            const NAME: &[u8] = b"content-length:";
            let (name, value) = line.split_at_checked(NAME.len())?;
            name.eq_ignore_ascii_case(NAME).then_some(value)
        })
        .and_then(|value| std::str::from_utf8(value).ok()?.trim().parse().ok())
        .ok_or_else(|| missing().into())
}

/// Makes one call on a connection of its own, and returns the answer's body.
pub(crate) fn ask(address: SocketAddr, request: &[u8]) -> Result<String> {
    ask_within(Duration::from_secs(10), address, request)
}

/// The same with more patience.
pub(crate) fn ask_within(patience: Duration, address: SocketAddr, request: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(request)?;
    let mut buffer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Err("the connection was closed before the answer was complete".into());
        }
        buffer.extend_from_slice(&chunk[..read]);
        if let Some(length) = answer_length(&buffer)? {
            let text = String::from_utf8_lossy(&buffer[..length]);
            return Ok(text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_when_its_body_is() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(answer_length(text).unwrap(), Some(text.len()));
        assert_eq!(answer_length(&text[..text.len() - 1]).unwrap(), None);
        assert_eq!(answer_length(b"HTTP/1.1 200 OK\r\nContent-Le").unwrap(), None);
        let more = [&text[..], b"HTTP"].concat();
        assert_eq!(answer_length(&more).unwrap(), Some(text.len()));
    }

    #[test]
    fn a_failure_is_not_counted() {
        let failed = b"HTTP/1.1 500 Oh\r\ncontent-length: 4\r\n\r\nlate";
        assert!(answer_length(failed).unwrap_err().to_string().ends_with("late"));
        assert!(answer_length(b"HTTP/1.1 200 OK\r\n\r\n").unwrap_err().to_string().contains("content-length"));
    }
}
