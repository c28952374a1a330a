//! Statements that change many rows each, as fast as they come: how many row changes a second pass through one feed.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::figures::Figures;
use super::fleet::Fleet;
use super::node::{Node, Sink};
use super::writers::{self, Hammer};
use super::{LISTS, ROWS};
use crate::report::{Aim, Spread};
use crate::{Result, say};

/// Lists that a statement writes to: a hundred rows, whose keys are still written down one by one.
const LISTS_EACH: usize = 5;

/// How long the last change may take to be seen.
const SETTLED: Duration = Duration::from_secs(20);

/// One client watches all lists while four writers write to them.
pub(super) fn measure(sink: Sink, node: &Node, figures: &mut Figures) -> Result<()> {
    let mut fleet = Fleet::open(node.door(), 1)?;
    for list in 0..LISTS {
        let args = format!(r#"{{"listId":"{list}"}}"#);
        fleet.send(0, &format!(r#"{{"type":"subscribe","id":{list},"function":"list_todos","args":{args}}}"#))?;
    }
    let mut newest = vec![i64::MIN; LISTS];
    let all = fleet.hear(SETTLED, |_, text, _| {
        note(text, &mut newest)?;
        Ok(newest.iter().all(|revision| *revision > i64::MIN))
    })?;
    if !all {
        return Err("not all lists came".into());
    }
    let hammer =
        Hammer { writers: 4, lists_each: LISTS_EACH, warm_up: Duration::from_millis(500), lasting: Duration::from_secs(3) };
    let at_work = hammer.begin(node.url());
    while !at_work.is_over() {
        fleet.hear(Duration::from_millis(20), |_, text, _| note(text, &mut newest).map(|()| false))?;
    }
    let ended = Instant::now();
    let changes = at_work.done()? * (LISTS_EACH * ROWS) as f64;
    let after: Vec<i64> = writers::lists(node.url())?.iter().map(|list| list.iter().copied().max().unwrap_or(0)).collect();
    if newest != after && !fleet.hear(SETTLED, |_, text, _| note(text, &mut newest).map(|()| newest == after))? {
        return Err("what a client was told in the end is not what there is".into());
    }
    say(&format!("  the last of them was seen {:.0} ms after the end", ended.elapsed().as_secs_f64() * 1000.0))?;
    figures.add(sink, "row_changes_s", Spread::of(std::iter::once(changes)), Aim::AtLeast(100_000.0))
}

/// Notes the newest revision of each list that a frame speaks of. Every statement gives all rows of a list the same one.
fn note(text: &[u8], newest: &mut [i64]) -> Result<()> {
    if text.starts_with(b"{\"type\":\"error\"") {
        return Err(format!("a client was told {}", String::from_utf8_lossy(text)).into());
    }
    let frame: Value = serde_json::from_slice(text)?;
    for result in frame["results"].as_array().into_iter().flatten() {
        let id = if result.is_array() { &result[0] } else { &result["id"] };
        let list = id.as_u64().and_then(|id| usize::try_from(id).ok()).filter(|list| *list < newest.len());
        let list = list.ok_or_else(|| format!("no subscription: {result}"))?;
        newest[list] = newest[list].max(greatest(result));
    }
    Ok(())
}

/// The greatest revision in what is told of a list: its rows, or a change of some or of one.
fn greatest(told: &Value) -> i64 {
    let number = |value: &Value| value.as_str().and_then(|text| text.parse().ok());
    let (within, named) = match told {
        Value::Array(parts) => {
            let way = parts.windows(2).find(|pair| pair[0] == "revision");
            (parts.iter().map(greatest).max(), way.and_then(|pair| number(&pair[1])))
        }
        Value::Object(fields) => (fields.values().map(greatest).max(), fields.get("revision").and_then(number)),
        _ => (None, None),
    };
    within.max(named).unwrap_or(i64::MIN)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn revisions_are_found_however_they_are_told() {
        for (told, newest) in [
            (json!({"id": 1, "version": "a", "data": [{"id": "7", "revision": "4"}, {"id": "9", "revision": "5"}]}), 5),
            (json!([1, "b", [0, {"revision": "6"}, 1, {"revision": "8"}]]), 8),
            (json!([1, "c", 1, "revision", "9"]), 9),
            (json!({"id": 1, "version": "c", "current": true}), i64::MIN),
        ] {
            assert_eq!(greatest(&told), newest, "{told}");
        }
    }
}
