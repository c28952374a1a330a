//! A client of the live wire.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Request as ClientRequest;

use super::PATIENCE;

/// A connection.
pub(crate) struct Live {
    socket: WebSocketStream<TcpStream>,
}

impl Live {
    /// Connects, with a bearer token or as nobody, and has been told so.
    pub(crate) async fn open(url: &str, token: Option<&str>) -> Self {
        Self::try_open(url, token).await.unwrap_or_else(|status| panic!("refused with {status}"))
    }

    /// The same, or the status of the refusal.
    pub(crate) async fn try_open(url: &str, token: Option<&str>) -> Result<Self, u16> {
        let (request, authority) = request(url, token);
        let stream = TcpStream::connect(authority).await.unwrap();
        let socket = match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, _)) => socket,
            Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => return Err(answer.status().as_u16()),
            Err(why) => panic!("{why}"),
        };
        let mut live = Self { socket };
        assert_eq!(live.next().await["type"], "connected");
        Ok(live)
    }

    /// Connects where connections may be cut at any moment; None when this one is, or nobody takes it.
    pub(crate) async fn attempt(url: &str, token: Option<&str>) -> Option<Self> {
        let (request, authority) = request(url, token);
        let stream = TcpStream::connect(authority).await.ok()?;
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await.ok()?;
        let mut live = Self { socket };
        live.next_or_close().await.ok().map(|_| live)
    }

    /// Sends a message, if the connection still stands.
    pub(crate) async fn try_send(&mut self, message: Value) -> bool {
        self.socket.send(Message::Text(message.to_string().into())).await.is_ok()
    }

    /// Sends a message.
    pub(crate) async fn send(&mut self, message: Value) {
        self.socket.send(Message::Text(message.to_string().into())).await.unwrap();
    }

    /// Subscribes.
    pub(crate) async fn subscribe(&mut self, id: u64, function: &str, args: Value) {
        self.send(json!({"type": "subscribe", "id": id, "function": function, "args": args})).await;
    }

    /// Subscribes, and waits for the first result.
    pub(crate) async fn subscribed(&mut self, id: u64, function: &str, args: Value) -> Value {
        self.subscribe(id, function, args).await;
        let frame = self.next().await;
        assert_eq!(frame["results"][0]["id"], id, "{frame}");
        frame["results"][0]["data"].clone()
    }

    /// Connects as nobody, and follows the counter `a` under the number 1, which shows this.
    pub(crate) async fn counting(url: &str, shown: &str) -> Self {
        let mut live = Self::open(url, None).await;
        assert_eq!(live.subscribed(1, "counter", json!({"name": "a"})).await, shown);
        live
    }

    /// Counts `a` up in a call of this number, and waits for its answer and for the frame that acknowledges it. Returns both.
    pub(crate) async fn bump(&mut self, id: i64, mutation_id: &str) -> (Value, Value) {
        self.send(json!({"type": "call", "id": id, "function": "bump", "args": {"name": "a"}, "mutationId": mutation_id}))
            .await;
        let (first, second) = (self.next().await, self.next().await);
        let (reply, frame) = if first["type"] == "reply" { (first, second) } else { (second, first) };
        assert_eq!((&reply["type"], &reply["id"]), (&json!("reply"), &json!(id)), "{reply}");
        assert_eq!(frame["acks"], json!([mutation_id]), "{frame}");
        (reply, frame)
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Value {
        match self.next_or_close().await {
            Ok(message) => message,
            Err(code) => panic!("the connection was closed with {code}"),
        }
    }

    /// The next message, or the code that the connection is closed with.
    pub(crate) async fn next_or_close(&mut self) -> Result<Value, u16> {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("a message in time");
            match message {
                Some(Ok(Message::Text(text))) => return Ok(read(&text)),
                Some(Ok(Message::Close(frame))) => return Err(frame.map_or(1005, |frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(1006),
            }
        }
    }

    /// Has the system take as little as it can, when nobody reads.
    pub(crate) fn takes_little(&self) {
        rustix::net::sockopt::set_socket_recv_buffer_size(self.socket.get_ref(), 4096).unwrap();
    }

    /// Cuts the connection without a word.
    pub(crate) fn cut(self) {
        let stream = self.socket.into_inner().into_std().unwrap();
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        drop(stream);
    }

    /// Whether nothing comes for a while.
    pub(crate) async fn is_silent_for(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.socket.next()).await.is_err()
    }
}

/// Results by the number of their subscription, as the frames have it so far.
#[derive(Clone, Default)]
pub(crate) struct Shown(pub(crate) BTreeMap<u64, Value>);

impl Shown {
    /// Takes in what the next frame shows.
    pub(crate) async fn next(&mut self, live: &mut Live) {
        let frame = live.next().await;
        assert_eq!(frame["type"], "frame", "{frame}");
        for result in frame["results"].as_array().unwrap() {
            let known = self.0.entry(result["id"].as_u64().unwrap()).or_default();
            *known = applied(known, result);
        }
    }
}

/// What a connection begins with, and where it goes.
fn request<'a>(url: &'a str, token: Option<&str>) -> (ClientRequest, &'a str) {
    let authority = url.strip_prefix("http://").unwrap();
    let mut request = format!("ws://{authority}/ws").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "forge.v1".parse().unwrap());
    if let Some(token) = token {
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    (request, authority)
}

/// Reads a message as clients do: changes come as lists without names, which are put back.
pub(crate) fn read(text: &str) -> Value {
    let mut message: Value = serde_json::from_str(text).unwrap();
    for result in message.get_mut("results").and_then(Value::as_array_mut).into_iter().flatten() {
        if let [id, version, delta @ ..] = result.as_array().map(Vec::as_slice).unwrap_or_default() {
            *result = json!({"id": id, "version": version, "delta": delta});
        }
    }
    message
}

/// What a client does with a change: the way to what changes, and a patch of that.
pub(crate) fn changed(value: &Value, change: &[Value]) -> Value {
    let (step, rest) = change.split_first().unwrap();
    if rest.is_empty() {
        return patched(value, step);
    }
    let mut next = value.clone();
    let inner = match step {
        Value::String(field) => next.get_mut(field),
        place => next.get_mut(index(place)),
    };
    let inner = inner.unwrap_or_else(|| panic!("{change:?} is no change of {value}"));
    *inner = changed(inner, rest);
    next
}

/// What a client does with a patch.
fn patched(value: &Value, patch: &Value) -> Value {
    match patch {
        Value::Array(one) if one.len() == 1 => one[0].clone(),
        Value::Array(steps) => {
            let mut rows = value.as_array().unwrap().clone();
            let mut steps = steps.iter();
            while let Some(step) = steps.next() {
                let mut next = || steps.next().unwrap();
                match step.as_str() {
                    None => rows[index(step)] = patched(&rows[index(step)], next()),
                    Some("i") => rows.insert(index(next()), next().clone()),
                    Some("d") => drop(rows.remove(index(next()))),
                    Some("m") => {
                        let row = rows.remove(index(next()));
                        rows.insert(index(next()), row);
                    }
                    Some(other) => panic!("{other}"),
                }
            }
            Value::Array(rows)
        }
        Value::Object(patches) => {
            let mut object = value.as_object().unwrap().clone();
            for (name, patch) in patches {
                let field = object.get_mut(name).unwrap();
                *field = patched(field, patch);
            }
            Value::Object(object)
        }
        value => value.clone(),
    }
}

fn index(place: &Value) -> usize {
    usize::try_from(place.as_u64().unwrap()).unwrap()
}

/// A whole number, which is text on the wire.
pub(crate) fn number(value: &Value) -> i64 {
    value.as_str().unwrap().parse().unwrap()
}

/// What a result of a frame makes of what was there.
pub(crate) fn applied(before: &Value, result: &Value) -> Value {
    match (result.get("data"), result.get("delta")) {
        (Some(data), _) => data.clone(),
        (None, Some(delta)) => changed(before, delta.as_array().unwrap()),
        (None, None) => before.clone(),
    }
}
