//! What is different between two results.
//!
//! A patch is recursive JSON: `{"=": value}` replaces, `{"~": {field: patch}}` changes fields of an object, `{"[]": [op, ..]}` changes an
//! array, one op after the other: `["u", index, patch]`, `["i", index, value]`, `["d", index]`, `["m", from, to]`.
//!
//! Rows are recognised by their `id` where they have one, else by being equal. Made once per result, however many are told.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

/// Above this many rows a list is compared by its ends only: finding the least number of moves is not worth more.
const ROWS_MAX: usize = 5_000;

/// The patch that makes `new` of `old`, as JSON; `None` when it would not be smaller than `new` itself.
pub(super) fn between(old: &[u8], new: &[u8]) -> Option<Vec<u8>> {
    let old: Value = serde_json::from_slice(old).ok()?;
    let parsed: Value = serde_json::from_slice(new).ok()?;
    let patch = serde_json::to_vec(&diff(&old, &parsed)?).ok()?;
    // A patch costs the client a little more than a value does.
    (patch.len() * 10 < new.len() * 6).then_some(patch)
}

/// `None` when they are equal.
fn diff(old: &Value, new: &Value) -> Option<Value> {
    if old == new {
        return None;
    }
    match (old, new) {
        (Value::Object(old), Value::Object(new))
            if old.len() == new.len() && new.keys().all(|name| old.contains_key(name)) =>
        {
            let changed = new.iter().filter_map(|(name, value)| Some((name.clone(), diff(&old[name], value)?)));
            Some(json!({ "~": changed.collect::<Map<String, Value>>() }))
        }
        (Value::Array(old), Value::Array(new)) => Some(json!({ "[]": rows(old, new) })),
        _ => Some(json!({ "=": new })),
    }
}

/// What a row is recognised by.
#[derive(PartialEq, Eq, Hash, Clone)]
enum Identity {
    Id(String),
    Whole(String),
}

fn identity(row: &Value) -> Identity {
    match row.get("id") {
        Some(Value::String(id)) => Identity::Id(id.clone()),
        Some(Value::Number(id)) => Identity::Id(id.to_string()),
        _ => Identity::Whole(row.to_string()),
    }
}

fn rows(old: &[Value], new: &[Value]) -> Vec<Value> {
    let (was, is): (Vec<Identity>, Vec<Identity>) =
        (old.iter().map(identity).collect(), new.iter().map(identity).collect());
    let mut ops = Vec::new();
    let wanted: HashMap<&Identity, usize> = is.iter().enumerate().map(|(n, id)| (id, n)).collect();
    let unique = wanted.len() == is.len() && was.iter().collect::<std::collections::HashSet<_>>().len() == was.len();
    if !unique || old.len().max(new.len()) > ROWS_MAX {
        return replace_middle(old, new);
    }
    // From the end, so that what goes does not shift what is still to go.
    let mut now: Vec<usize> = Vec::with_capacity(new.len());
    for (n, id) in was.iter().enumerate().rev() {
        match wanted.get(id) {
            None => ops.push(json!(["d", n])),
            Some(target) => now.push(*target),
        }
    }
    now.reverse();
    // `now` holds, in their order of now, the places where rows are to be. Those that are in order already stay; the others move.
    let staying = longest_rising(&now);
    let mut in_place: Vec<usize> = staying.iter().map(|at| now[*at]).collect();
    let mut moving: Vec<usize> = (0..now.len()).filter(|at| staying.binary_search(at).is_err()).map(|at| now[at]).collect();
    moving.sort_unstable();
    for target in moving {
        let from = now.iter().position(|place| *place == target).unwrap_or_default();
        now.remove(from);
        // Behind the nearest one that stays, or has moved already, and belongs before it.
        let before = in_place.partition_point(|place| *place < target);
        let to = match before.checked_sub(1).map(|n| in_place[n]) {
            Some(neighbour) => now.iter().position(|place| *place == neighbour).map_or(0, |at| at + 1),
            None => 0,
        };
        now.insert(to, target);
        in_place.insert(before, target);
        if from != to {
            ops.push(json!(["m", from, to]));
        }
    }
    let mut before: HashMap<&Identity, &Value> = was.iter().zip(old).collect();
    for (n, (id, row)) in is.iter().zip(new).enumerate() {
        match before.remove(id) {
            None => ops.push(json!(["i", n, row])),
            Some(old) => ops.extend(diff(old, row).map(|patch| json!(["u", n, patch]))),
        }
    }
    ops
}

/// What lies between the rows that are the same at the beginning and at the end goes, and comes anew.
fn replace_middle(old: &[Value], new: &[Value]) -> Vec<Value> {
    let same = |(one, other): &(&Value, &Value)| one == other;
    let first = old.iter().zip(new).take_while(same).count();
    let last = old[first..].iter().rev().zip(new[first..].iter().rev()).take_while(same).count();
    let gone = (first..old.len() - last).rev().map(|n| json!(["d", n]));
    let come = (first..new.len() - last).map(|n| json!(["i", n, new[n]]));
    gone.chain(come).collect()
}

/// The places of a longest rising part of a list of distinct numbers.
fn longest_rising(list: &[usize]) -> Vec<usize> {
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = vec![None; list.len()];
    for (n, value) in list.iter().enumerate() {
        let length = ends.partition_point(|end| list[*end] < *value);
        before[n] = length.checked_sub(1).map(|at| ends[at]);
        match ends.get_mut(length) {
            Some(end) => *end = n,
            None => ends.push(n),
        }
    }
    let mut rising: Vec<usize> = std::iter::successors(ends.last().copied(), |n| before[*n]).collect();
    rising.reverse();
    rising
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a client does with a patch.
    fn apply(value: &Value, patch: &Value) -> Value {
        if let Some(new) = patch.get("=") {
            return new.clone();
        }
        if let Some(fields) = patch.get("~") {
            let mut object = value.as_object().unwrap().clone();
            for (name, patch) in fields.as_object().unwrap() {
                let changed = apply(&object[name], patch);
                object.insert(name.clone(), changed);
            }
            return Value::Object(object);
        }
        let mut rows = value.as_array().unwrap().clone();
        for op in patch["[]"].as_array().unwrap() {
            let at = |n: usize| op[n].as_u64().unwrap() as usize;
            match op[0].as_str().unwrap() {
                "u" => rows[at(1)] = apply(&rows[at(1)], &op[2]),
                "i" => rows.insert(at(1), op[2].clone()),
                "d" => drop(rows.remove(at(1))),
                "m" => {
                    let row = rows.remove(at(1));
                    rows.insert(at(2), row);
                }
                other => panic!("{other}"),
            }
        }
        Value::Array(rows)
    }

    fn list(ids: &[u32]) -> Value {
        ids.iter().map(|id| json!({"id": id, "title": format!("a card with a title {id}"), "done": id % 2 == 0})).collect()
    }

    #[test]
    fn one_moved_row_is_one_op() {
        let (old, new) = (list(&[1, 2, 3, 4, 5]), list(&[1, 5, 2, 3, 4]));
        assert_eq!(diff(&old, &new).unwrap(), json!({"[]": [["m", 4, 1]]}));
        let (old, new) = (list(&[1, 2, 3, 4, 5]), list(&[2, 3, 4, 1, 5]));
        assert_eq!(diff(&old, &new).unwrap(), json!({"[]": [["m", 0, 3]]}));
    }

    #[test]
    fn one_changed_value_costs_little_more_than_itself() {
        let old = json!({"name": "board", "cards": list(&[1, 2, 3])});
        let mut new = old.clone();
        new["cards"][1]["title"] = json!("x");
        let patch = diff(&old, &new).unwrap();
        assert_eq!(patch, json!({"~": {"cards": {"[]": [["u", 1, {"~": {"title": {"=": "x"}}}]]}}}));
        assert!(between(old.to_string().as_bytes(), new.to_string().as_bytes()).is_some());
        assert!(between(b"[1]", b"[2]").is_none(), "the value itself is smaller");
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(json!(null)), any::<bool>().prop_map(Value::from), (0..4).prop_map(Value::from)];
        leaf.prop_recursive(4, 40, 8, |inner| {
            let row = (0..6_i32, inner.clone()).prop_map(|(id, value)| json!({"id": id, "value": value}));
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::Array),
                prop::collection::vec(row, 0..8).prop_map(Value::Array),
                prop::collection::hash_map("[a-c]", inner, 0..3).prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_patch_makes_the_new_of_the_old(old in value(), new in value()) {
            match diff(&old, &new) {
                None => prop_assert_eq!(old, new),
                Some(patch) => prop_assert_eq!(apply(&old, &patch), new),
            }
        }

        #[test]
        fn lists_in_any_order(old in prop::collection::hash_set(0..30_u32, 0..20), new in prop::collection::hash_set(0..30_u32, 0..20)) {
            let (old, new): (Vec<u32>, Vec<u32>) = (old.into_iter().collect(), new.into_iter().collect());
            if let Some(patch) = diff(&list(&old), &list(&new)) {
                prop_assert_eq!(apply(&list(&old), &patch), list(&new));
            }
        }
    }
}
