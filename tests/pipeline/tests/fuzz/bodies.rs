//! Bodies: right ones, ones with one thing wrong, torn ones, and noise.

use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::Value;

/// Values that have surprised somebody before, as JSON text.
const EVIL: &[&str] = &[
    "null",
    "true",
    "0",
    "-0",
    "-1",
    "1.5",
    "1e2",
    "2147483647",
    "2147483648",
    "-2147483649",
    "9007199254740993",
    "9223372036854775808",
    "18446744073709551616",
    "1e308",
    "1e400",
    "-1e400",
    "1e-400",
    "123456789012345678901234567890",
    "0.1000000000000000055511151231257827",
    "\"\"",
    "\" \"",
    "\"\\u0000\"",
    "\"a\\u0000b\"",
    "\"\\ud800\"",
    "\"\\udc00\\ud800\"",
    "\"\\ud83c\\udf6a\"",
    "\"\\uffff\"",
    "\"\\u202e\"",
    "\"\\\\\"",
    "\"9223372036854775807\"",
    "\"-9223372036854775808\"",
    "\"9223372036854775808\"",
    "\"0x10\"",
    "\"1_000\"",
    "\"١٢\"",
    "\" 5\"",
    "\"+5\"",
    "\"1e3\"",
    "\"NaN\"",
    "\"Infinity\"",
    "\"99999999999.99\"",
    "\"0.001\"",
    "\"0.000000000000000000000000000001\"",
    "\"79228162514264337593543950335\"",
    "\"0199d1c2-0000-7000-8000-00000000abcd\"",
    "\"{0199D1C2-0000-7000-8000-00000000ABCD}\"",
    "\"urn:uuid:0199d1c2-0000-7000-8000-00000000abcd\"",
    "\"00000000-0000-0000-0000-000000000000\"",
    "\"-009999-01-02T00:00:00Z\"",
    "\"-004714-01-01T00:00:00Z\"",
    "\"0000-01-01T00:00:00Z\"",
    "\"9999-12-30T22:00:00Z\"",
    "\"2026-02-30T00:00:00Z\"",
    "\"2026-11-22T23:59:60Z\"",
    "\"2026-11-22T24:00:00Z\"",
    "\"2026-11-22T19:36:46.123456789Z\"",
    "\"2026-11-22T19:36:46+14:00\"",
    "\"2026-11-22T19:36:46\"",
    "\"2026-11-22\"",
    "\"-009999-01-01\"",
    "\"-004714-11-23\"",
    "\"9999-12-31\"",
    "\"2026-13-01\"",
    "\"AAEC\"",
    "\"A\"",
    "\"====\"",
    "\"!!!!\"",
    "[]",
    "[null]",
    "{}",
    "[[]]",
    "{\"\": \"\"}",
    "{\"type\": \"circle\"}",
    "{\"type\": \"box\", \"size\": [1, \"2\"]}",
    "{\"type\": 1}",
    "{\"type\": \"box\", \"size\": [1]}",
    "\"calm\"",
    "\"Calm\"",
    "\"' OR 1=1 --\"",
    "\"$1\"",
    "\"${jndi}\"",
    "\"%s%n\"",
    "\"../../etc/passwd\"",
    "\"<script>\"",
];

/// A body for arguments that are right.
pub(crate) fn of(args: &Value, rng: &mut StdRng) -> Vec<u8> {
    let right = args.to_string().into_bytes();
    match rng.random_range(0..20) {
        0..3 => right,
        3..11 => one_wrong(args, rng),
        11..15 => mutated(right, rng),
        15 => EVIL[rng.random_range(0..EVIL.len())].into(),
        16 => deep(rng),
        17 => keys(args, rng),
        18 => (0..rng.random_range(0..600)).map(|_| rng.random()).collect(),
        _ => Vec::new(),
    }
}

/// One value somewhere in it is another one.
fn one_wrong(args: &Value, rng: &mut StdRng) -> Vec<u8> {
    const MARK: &str = "the place of the wrong value";
    let mut args = args.clone();
    let mut place = &mut args;
    // Down to some depth, then there.
    loop {
        let leaf = match place {
            Value::Object(object) => object.is_empty(),
            Value::Array(array) => array.is_empty(),
            _ => true,
        };
        if leaf || rng.random_bool(0.05) {
            *place = MARK.into();
            break;
        }
        place = match place {
            Value::Object(object) => {
                let n = rng.random_range(0..object.len());
                object.values_mut().nth(n).unwrap()
            }
            Value::Array(array) => {
                let n = rng.random_range(0..array.len());
                &mut array[n]
            }
            _ => unreachable!("a leaf is left above"),
        };
    }
    args.to_string().replace(&format!("\"{MARK}\""), &wrong(rng)).into_bytes()
}

/// A value that does not belong where it is.
fn wrong(rng: &mut StdRng) -> String {
    match rng.random_range(0..10) {
        0 => format!("\"{}\"", "x".repeat(rng.random_range(0..20_000))),
        // Hard to compress, so that it is as long in an index as it is here.
        1 => format!(
            "\"{}\"",
            (0..rng.random_range(0..9_000)).map(|_| char::from(rng.random_range(b'a'..=b'z'))).collect::<String>()
        ),
        2 => format!(
            "\"{}\"",
            (0..rng.random_range(0..50)).map(|_| format!("\\u{:04x}", rng.random::<u16>())).collect::<String>()
        ),
        3 => format!("[{}]", vec!["1"; rng.random_range(0..3_000)].join(",")),
        4 => rng.random::<i64>().to_string(),
        5 => format!("\"{}\"", rng.random::<i128>()),
        _ => EVIL[rng.random_range(0..EVIL.len())].to_owned(),
    }
}

/// Torn: bytes flipped, taken out, put in, repeated.
pub(crate) fn mutated(mut bytes: Vec<u8>, rng: &mut StdRng) -> Vec<u8> {
    for _ in 0..rng.random_range(1..6) {
        let at = rng.random_range(0..=bytes.len());
        let end = (at + rng.random_range(0..12)).min(bytes.len());
        match rng.random_range(0..6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.insert(at, rng.random()),
            3 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            4 => bytes.truncate(at),
            _ => {
                const TOKENS: [&[u8]; 12] =
                    [b"{", b"}", b"[", b"]", b",", b":", b"\"", b"\\", b"\0", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf"];
                bytes.splice(at..at, TOKENS[rng.random_range(0..TOKENS.len())].iter().copied());
            }
        }
    }
    bytes
}

/// Nested far too deep, or just deep enough.
fn deep(rng: &mut StdRng) -> Vec<u8> {
    let depth = [10, 60, 64, 65, 127, 128, 129, 1_000, 50_000][rng.random_range(0..9)];
    let (open, close) = [("[", "]"), ("{\"a\":", "}"), ("{\"any\":[", "]}")][rng.random_range(0..3)];
    let closed = if rng.random_bool(0.7) { depth } else { rng.random_range(0..depth) };
    format!("{{\"any\": {}1{}}}", open.repeat(depth), close.repeat(closed)).into_bytes()
}

/// Keys twice, keys too many, keys missing.
fn keys(args: &Value, rng: &mut StdRng) -> Vec<u8> {
    let mut pairs: Vec<String> =
        args.as_object().unwrap().iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
    let at = rng.random_range(0..pairs.len());
    match rng.random_range(0..5) {
        0 => pairs.push(pairs[at].clone()),
        1 => drop(pairs.remove(at)),
        2 => pairs.push(format!("\"{}\": 1", "k".repeat(rng.random_range(0..2_000)))),
        3 => pairs.push("\"__proto__\": {\"admin\": true}".into()),
        _ => pairs.extend((0..rng.random_range(0..2_000)).map(|n| format!("\"k{n}\": {n}"))),
    }
    format!("{{{}}}", pairs.join(", ")).into_bytes()
}

/// A path that is not quite the function's.
pub(crate) fn odd_path(function: &str, rng: &mut StdRng) -> String {
    let escaped: String = function.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let paths = [
        format!("/rpc/{escaped}"),
        format!("/rpc//{function}"),
        format!("/rpc/{function}/"),
        format!("/rpc/{function}?args={{}}"),
        format!("/rpc/{function}%00"),
        format!("/rpc/{function}%ff"),
        "/rpc/%".to_owned(),
        format!("/rpc/{function}\u{e9}"),
        format!("/RPC/{function}"),
        format!("/rpc/{}", "a".repeat(rng.random_range(0..5_000))),
        "/auth/refresh".to_owned(),
        "/rpc/..%2fhealth".to_owned(),
    ];
    paths[rng.random_range(0..paths.len())].clone()
}
