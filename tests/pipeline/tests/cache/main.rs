//! The query cache: what is kept, for whom, and for how long.

#[path = "../support/mod.rs"]
mod support;

// A crate that nothing names is not linked, and would bring no functions.
use pipeline as _;

mod keeping;
mod nodes;
mod races;
mod sharing;

use serde_json::{Value, json};
use support::http::{Answer, Request};

/// Calls as nobody.
async fn ask(url: &str, function: &str, args: Value) -> (Value, String) {
    told(&Request::call(function, &args).send(url).await)
}

/// Calls as somebody.
async fn ask_as(token: &str, url: &str, function: &str, args: Value) -> (Value, String) {
    told(&Request::call(function, &args).bearer(token).send(url).await)
}

/// A result, and what the cache had to do with it.
#[track_caller]
fn told(answer: &Answer) -> (Value, String) {
    (answer.data(), answer.header("x-forge-cache").unwrap_or("none").to_owned())
}

fn named(name: &str) -> Value {
    json!({ "name": name })
}

/// Asks until the result is kept: the first runs find out which tables they read.
async fn kept(url: &str, function: &str, args: Value) -> Value {
    let mut data = Value::Null;
    support::until(&format!("{function} is kept"), async || {
        let (now, used) = ask(url, function, args.clone()).await;
        data = now;
        used == "hit"
    })
    .await;
    data
}

/// Asks until the result has been kept over some looks at the feed: once that is being read, everything counts as changed one more time.
async fn steady(url: &str, function: &str, args: Value) {
    let looks = async || metric(url, "query_cache_looks_total").await;
    let mut since = None;
    support::until(&format!("{function} stays kept"), async || {
        if ask(url, function, args.clone()).await.1 != "hit" {
            since = None;
            return false;
        }
        let now = looks().await;
        now >= *since.get_or_insert(now) + 5
    })
    .await;
}

/// The feed is being read, so that no call comes before anything is known of it.
async fn awake(url: &str) {
    steady(url, "kept_text", json!({"n": 0, "bytes": 1})).await;
}

/// The sum of all lines of a metric that begin like this.
async fn metric(url: &str, begin: &str) -> u64 {
    let text = Request::get("/metrics").send(url).await.text();
    let lines = text.lines().filter(|line| line.starts_with(begin));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}
