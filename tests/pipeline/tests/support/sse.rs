//! A client of the live wire that has HTTP only: an event stream, and requests beside it.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::PATIENCE;
use super::http::{Answer, Request};

/// A stream.
pub(crate) struct Sse {
    stream: BufReader<TcpStream>,
    text: String,
    /// What requests are sent with beside the stream.
    token: Option<String>,
    url: String,
    pub(crate) session: String,
}

/// What comes on a stream: a message, or the code that it is closed with.
type Event = Result<Value, u16>;

impl Sse {
    /// Opens a stream, with a bearer token or as nobody, and has been told that it is open.
    pub(crate) async fn open(url: &str, token: Option<&str>) -> Self {
        let request = Request::get("/events");
        let request = match token {
            Some(token) => request.bearer(token),
            None => request,
        };
        let mut sse = Self::request(url, &request).await.unwrap_or_else(|status| panic!("refused with {status}"));
        sse.token = token.map(str::to_owned);
        let connected = sse.next().await;
        assert_eq!(connected["type"], "connected", "{connected}");
        sse.session = connected["sessionId"].as_str().unwrap().to_owned();
        sse
    }

    /// Sends a request for a stream, or tells the status of the refusal.
    pub(crate) async fn request(url: &str, request: &Request) -> Result<Self, u16> {
        let mut socket = TcpStream::connect(url.trim_start_matches("http://")).await.unwrap();
        socket.write_all(&request.bytes()).await.unwrap();
        let mut stream = BufReader::new(socket);
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            if line.trim_end().is_empty() {
                break;
            }
            head.push(line.trim_end().to_ascii_lowercase());
        }
        let status: u16 = head[0].split(' ').nth(1).unwrap().parse().unwrap();
        if status != 200 {
            return Err(status);
        }
        assert!(head.iter().any(|line| line == "content-type: text/event-stream"), "{head:?}");
        assert!(head.iter().any(|line| line == "cache-control: no-store"), "{head:?}");
        Ok(Self { stream, text: String::new(), token: None, url: url.to_owned(), session: String::new() })
    }

    /// Sends a message, or a list of them, where the stream was opened.
    pub(crate) async fn send(&self, message: Value) {
        let answer = self.post(&self.url, &message).await;
        assert_eq!(answer.status, 204, "{}", answer.text());
    }

    /// Sends to a node.
    pub(crate) async fn post(&self, url: &str, message: &Value) -> Answer {
        let request = Request::post(&format!("/events/{}", self.session), message);
        let request = match &self.token {
            Some(token) => request.bearer(token),
            None => request,
        };
        request.send(url).await
    }

    /// Subscribes, and waits for the first result.
    pub(crate) async fn subscribed(&mut self, id: u64, function: &str, args: Value) -> Value {
        self.send(json!({"type": "subscribe", "id": id, "function": function, "args": args})).await;
        let frame = self.next().await;
        assert_eq!(frame["results"][0]["id"], id, "{frame}");
        frame["results"][0]["data"].clone()
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Value {
        self.next_or_close().await.unwrap_or_else(|code| panic!("the stream was closed with {code}"))
    }

    /// The next message, or the code that the stream is closed with.
    pub(crate) async fn next_or_close(&mut self) -> Event {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                if let Some(event) = read(&event) {
                    return event;
                }
                continue;
            }
            let chunk = tokio::time::timeout(PATIENCE, self.chunk()).await.expect("an event in time");
            match chunk {
                Some(chunk) => self.text.push_str(&chunk),
                None => return Err(1006),
            }
        }
    }

    /// `None` at the end.
    async fn chunk(&mut self) -> Option<String> {
        let mut size = String::new();
        self.stream.read_line(&mut size).await.ok()?;
        let size = usize::from_str_radix(size.trim_end(), 16).ok().filter(|size| *size > 0)?;
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk).await.ok()?;
        chunk.truncate(size);
        Some(String::from_utf8(chunk).unwrap())
    }
}

/// `None` for a comment.
fn read(event: &str) -> Option<Event> {
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let data = super::live::read(field("data")?);
    match field("event") {
        Some("close") => Some(Err(u16::try_from(data["code"].as_u64().unwrap()).unwrap())),
        Some(other) => panic!("{other}"),
        None => Some(Ok(data)),
    }
}
