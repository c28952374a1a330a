//! HTTP/1.1 by hand, so that a test sends exactly the bytes it means and sees exactly the bytes that come back.

use std::io;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// How long an answer may take before the test gives up on it.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// A request.
#[derive(Clone)]
pub(crate) struct Request {
    method: String,
    path: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        write!(f, "{} {} {}", self.method, self.path, body.chars().take(200).collect::<String>())
    }
}

impl Request {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        Self { method: method.into(), path: path.into(), headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// A POST with a body of JSON.
    pub(crate) fn post(path: &str, body: &Value) -> Self {
        Self::new("POST", path).body(serde_json::to_vec(body).unwrap())
    }

    /// A call of a function at the door that has its name in the path.
    pub(crate) fn call(function: &str, args: &Value) -> Self {
        Self::post(&format!("/rpc/{function}"), args)
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// As the app's own page would send it, signed in by cookies.
    pub(crate) fn cookies(self, cookies: &str) -> Self {
        self.header("cookie", cookies).header("x-forge-csrf", "1").header("sec-fetch-site", "same-origin")
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.path).into_bytes();
        let has = |name: &str| self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        if !has("host") {
            bytes.extend_from_slice(b"host: app.test\r\n");
        }
        if !has("content-length") && !has("transfer-encoding") && (!self.body.is_empty() || self.method == "POST") {
            bytes.extend_from_slice(format!("content-length: {}\r\n", self.body.len()).as_bytes());
        }
        for (name, value) in &self.headers {
            bytes.extend_from_slice(format!("{name}: ").as_bytes());
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Sends it on a connection of its own.
    pub(crate) async fn send(&self, url: &str) -> Answer {
        self.try_send(url).await.unwrap_or_else(|why| panic!("no answer to {} {}: {why}", self.method, self.path))
    }

    /// The same, where the server may not answer.
    pub(crate) async fn try_send(&self, url: &str) -> io::Result<Answer> {
        Connection::open(url).await?.send(self).await
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|why| panic!("{why}: {} {}", self.status, self.text()))
    }

    /// The result of a call that succeeded.
    #[track_caller]
    pub(crate) fn data(&self) -> Value {
        let json = self.json();
        assert_eq!((self.status, &json["success"]), (200, &Value::Bool(true)), "{json}");
        json["data"].clone()
    }

    /// Status and code of a failure; checks its shape.
    #[track_caller]
    pub(crate) fn failure(&self) -> (u16, String) {
        let json = self.json();
        assert_eq!(json["success"], false, "{} {json}", self.status);
        assert_eq!(json["requestId"].as_str(), self.header("x-request-id"), "{json}");
        assert!(json["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{json}");
        (self.status, json["error"]["code"].as_str().unwrap_or_default().to_owned())
    }

    /// The cookies that it sets, as `name=value; name=value`.
    pub(crate) fn cookies(&self) -> String {
        let set = self.headers.iter().filter(|(name, _)| name == "set-cookie");
        set.filter_map(|(_, value)| value.split(';').next()).collect::<Vec<_>>().join("; ")
    }

    /// The `Set-Cookie` header of a cookie.
    pub(crate) fn set_cookie(&self, name: &str) -> Option<&str> {
        let prefix = format!("{name}=");
        self.headers.iter().find(|(n, v)| n == "set-cookie" && v.starts_with(&prefix)).map(|(_, value)| value.as_str())
    }
}

/// A connection that is kept open between requests.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub(crate) async fn open(url: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(url.trim_start_matches("http://")).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    pub(crate) async fn send(&mut self, request: &Request) -> io::Result<Answer> {
        // The server may answer before it has read everything, and then not read on.
        let written = self.write(&request.bytes()).await;
        match self.read(request.method == "HEAD").await {
            Ok(answer) => Ok(answer),
            Err(why) => written.and(Err(why)),
        }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes).await
    }

    /// Waits until the server waits for the body of a request with `expect: 100-continue`.
    pub(crate) async fn is_waited_for(&mut self) {
        let told = async { (self.line().await, self.line().await) };
        let (status, end) = tokio::time::timeout(ANSWER_MAX, told).await.expect("it waits for the body");
        assert_eq!((status.unwrap().as_str(), end.unwrap().as_str()), ("HTTP/1.1 100 Continue", ""));
    }

    /// Reads an answer; an error of the kind `UnexpectedEof` when the server ends the connection first.
    pub(crate) async fn read(&mut self, head_only: bool) -> io::Result<Answer> {
        let reading = self.read_answer(head_only);
        tokio::time::timeout(ANSWER_MAX, reading).await.unwrap_or_else(|_| panic!("no answer within {ANSWER_MAX:?}"))
    }

    async fn read_answer(&mut self, head_only: bool) -> io::Result<Answer> {
        loop {
            let line = self.line().await?;
            let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
            let status: u16 = status.ok_or_else(|| io::Error::other(format!("not a status line: {line:?}")))?;
            let mut headers = Vec::new();
            loop {
                let line = self.line().await?;
                if line.is_empty() {
                    break;
                }
                let (name, value) =
                    line.split_once(':').ok_or_else(|| io::Error::other(format!("not a header: {line:?}")))?;
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            if status == 100 {
                continue;
            }
            let mut answer = Answer { status, headers, body: Vec::new() };
            if !head_only && status != 204 && status != 304 {
                answer.body = self.body(&answer).await?;
            }
            return Ok(answer);
        }
    }

    async fn body(&mut self, answer: &Answer) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if let Some(length) = answer.header("content-length").and_then(|text| text.parse::<usize>().ok()) {
            body.resize(length, 0);
            self.stream.read_exact(&mut body).await?;
            return Ok(body);
        }
        if answer.header("transfer-encoding") != Some("chunked") {
            self.stream.read_to_end(&mut body).await?;
            return Ok(body);
        }
        loop {
            let size = usize::from_str_radix(&self.line().await?, 16).map_err(io::Error::other)?;
            let mut chunk = vec![0; size];
            self.stream.read_exact(&mut chunk).await?;
            self.line().await?;
            if size == 0 {
                return Ok(body);
            }
            body.extend_from_slice(&chunk);
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        if self.stream.read_until(b'\n', &mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// Waits until the server ends the connection; whatever it still sends is dropped.
    pub(crate) async fn closed(&mut self) {
        let mut rest = Vec::new();
        let reading = self.stream.read_to_end(&mut rest);
        // A reset is an end as well.
        let _ =
            tokio::time::timeout(ANSWER_MAX, reading).await.unwrap_or_else(|_| panic!("still open after {ANSWER_MAX:?}"));
    }
}
