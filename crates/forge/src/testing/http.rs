//! As much of HTTP/1.1 as it takes to ask a node something.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Sends a request on a connection of its own. Returns the status and the body.
pub(super) async fn send(url: &str, head: &str, token: Option<&str>, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
    let asking = async {
        let mut stream = TcpStream::connect(url.trim_start_matches("http://")).await?;
        let authorization = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        let head = format!(
            "{head} HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\n{authorization}content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {ANSWER_MAX:?}"));
    let answer = tokio::time::timeout(ANSWER_MAX, asking).await.map_err(|_| late())??;
    parse(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "the answer is none, or not a whole one"))
}

/// Status and body of an answer that says how long it is.
fn parse(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, body) = (std::str::from_utf8(&answer[..end]).ok()?, &answer[end + 4..]);
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let length =
        lines.filter_map(|line| line.split_once(':')).find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = length?.1.trim().parse().ok()?;
    (body.len() == length).then(|| (status, body.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn an_answer_that_was_cut_off_is_none() {
        let whole = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nnot y";
        assert_eq!(parse(whole), Some((503, b"not y".to_vec())));
        assert_eq!(parse(&whole[..whole.len() - 1]), None);
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\n\r\n"), None);
    }
}
