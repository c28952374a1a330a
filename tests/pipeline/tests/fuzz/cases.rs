//! One request: a function, a door, a body and headers, all of it from one number.

use std::sync::LazyLock;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::bodies;
use crate::support::http::Request;
use crate::support::token;

/// Functions and arguments that are right.
static FUNCTIONS: LazyLock<Vec<(&str, Value)>> = LazyLock::new(|| {
    let id = "0199d1c2-0000-7000-8000-00000000abcd";
    let everything = json!({
        "text": "a text", "small": 3, "wide": "9007199254740993", "float": 0.5, "list": [id, id], "map": {"k": true},
        "shape": {"type": "circle", "radius": 1.5}, "at": "2026-11-22T19:36:46.123456Z", "bytes": "AAEC", "any": {"n": [1, {"x": null}]},
    });
    let keep = json!({
        "text": "a text", "label": "short", "small": 3, "wide": "-5", "float": -1e10, "amount": "12.30", "at": "2026-11-22T19:36:46Z",
        "day": "2026-11-22", "bytes": "AAEC", "any": {"n": [1, {"x": "y"}]}, "list": ["a", "b"],
    });
    vec![
        ("echo", everything),
        ("keep", keep),
        ("find_kept", json!({"text": "a text"})),
        ("bump", json!({"name": "a counter"})),
        ("increment", json!({"name": "another counter"})),
        ("counter", json!({"name": "a counter"})),
        ("add_note", json!({"batch": id, "title": "a title", "extra": {"big": "9007199254740993", "tags": ["a"]}})),
        ("list_notes", json!({"batch": id})),
        ("list_notes_sql", json!({"batch": id, "moods": ["calm", "very_busy"]})),
        ("add_three", json!({"batch": id})),
        ("nest", json!({"name": "a third counter"})),
    ]
});

/// The functions that are called.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|(name, _)| *name)
}

/// A request, ready to be sent.
pub(crate) struct Case {
    pub(crate) seed: u64,
    pub(crate) function: &'static str,
    pub(crate) bytes: Vec<u8>,
    /// Its head may not even be HTTP.
    pub(crate) odd: bool,
}

impl Case {
    /// The request of a number.
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let (function, args) = &FUNCTIONS[rng.random_range(0..FUNCTIONS.len())];
        let mut args = args.clone();
        freshen(function, &mut args, &mut rng);
        let body = bodies::of(&args, &mut rng);
        let (path, body) = match rng.random_range(0..20) {
            0..10 => (format!("/rpc/{function}"), body),
            10..19 => ("/rpc".to_owned(), envelope(function, body, &mut rng)),
            _ => (bodies::odd_path(function, &mut rng), body),
        };
        let mut request = Request::new("POST", &path);
        let mut odd = path.bytes().any(|byte| !byte.is_ascii_graphic());
        if rng.random_bool(0.9) {
            request = request.bearer(&USER);
        }
        for _ in 0..rng.random_range(0..4) {
            let (name, value) = header(&mut rng);
            odd |= value.iter().any(|byte| *byte < b' ' || *byte == 0x7f);
            request = request.header(name, value);
        }
        request = if rng.random_bool(0.1) { chunked(request, &body, &mut rng) } else { request.body(body) };
        Self { seed, function, bytes: request.bytes(), odd }
    }
}

/// Valid for the whole run.
static USER: LazyLock<String> = LazyLock::new(|| token::of("ada", &[]));

/// What must be unique is, mostly, or hardly anything would be written.
fn freshen(function: &str, args: &mut Value, rng: &mut StdRng) {
    if rng.random_bool(0.2) {
        return;
    }
    let fresh = rng.random::<u128>();
    match function {
        "add_note" => {
            args["title"] = json!(format!("{fresh:x}"));
            args["batch"] = json!(forge::Uuid::from_u128(fresh));
        }
        "add_three" => args["batch"] = json!(forge::Uuid::from_u128(fresh)),
        "nest" => args["name"] = json!(format!("{fresh:x}")),
        _ => {}
    }
}

/// The body of `POST /rpc`, mostly around the arguments as they are.
fn envelope(function: &str, args: Vec<u8>, rng: &mut StdRng) -> Vec<u8> {
    let around = |before: &str, after: &str| [before.as_bytes(), &args, after.as_bytes()].concat();
    match rng.random_range(0..12) {
        0 => args,
        1 => around("{\"args\": ", &format!(", \"function\": \"{function}\"}}")),
        2 => around(&format!("{{\"function\": \"{function}\", \"args\": {{}}, \"args\": "), "}"),
        3 => around("{\"function\": null, \"args\": ", "}"),
        4 => bodies::mutated(around(&format!("{{\"function\": \"{function}\", \"args\": "), "}"), rng),
        _ => around(&format!("{{\"function\": \"{function}\", \"args\": "), "}"),
    }
}

/// A header that may be anything.
fn header(rng: &mut StdRng) -> (&'static str, Vec<u8>) {
    const NAMES: [&str; 16] = [
        "authorization",
        "cookie",
        "content-type",
        "accept",
        "accept-encoding",
        "x-request-id",
        "x-correlation-id",
        "x-trace-id",
        "traceparent",
        "x-forge-mutation-id",
        "x-forge-position",
        "x-forge-csrf",
        "x-forwarded-for",
        "origin",
        "user-agent",
        "sec-fetch-site",
    ];
    let name = NAMES[rng.random_range(0..NAMES.len())];
    let value = match rng.random_range(0..8) {
        0 => Vec::new(),
        1 => b"application/json; charset=utf-16".to_vec(),
        2 => format!("Bearer {}", *USER).into_bytes(),
        3 => b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_vec(),
        4 => rng.random_range(0..50_u32).to_string().into_bytes(),
        5 => format!("forge_session={}", "x".repeat(rng.random_range(0..4000))).into_bytes(),
        6 => (0..rng.random_range(1..200)).map(|_| rng.random_range(b' '..=b'~')).collect(),
        // Also bytes that no header may have.
        _ => (0..rng.random_range(1..50)).map(|_| rng.random()).filter(|byte| !matches!(byte, b'\r' | b'\n')).collect(),
    };
    (name, value)
}

/// The same body in chunks.
fn chunked(request: Request, body: &[u8], rng: &mut StdRng) -> Request {
    let mut bytes = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(rng.random_range(1..=rest.len()));
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
        rest = after;
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    request.header("transfer-encoding", "chunked").body(bytes)
}
