//! What is different between two results.
//!
//! A patch is JSON, as short as it can be and still be read:
//!
//! - text, a number, `true`, `false` or `null`: that is the value now; `[value]`: any value, alone in a list;
//! - `{field: patch, ..}`: these fields of an object are changed;
//! - a list of more than that: steps on a list, one after the other: `at, patch` changes, `"i", at, value` inserts, `"d", at` removes,
//!   `"m", from, to` moves.
//!
//! What changes one place only says which and how: fields and places on the way there, and the patch of what is there
//! (`"cards",12,"title","x"`).
//!
//! Rows are recognised by their `id` where they have one, else by being equal. Made once per result, however many are told.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

/// Above this many rows a list is compared by its ends only: finding the least number of moves is not worth more.
const ROWS_MAX: usize = 5_000;

/// Above this many moves as well: each looks through the list twice, and everybody's frames wait meanwhile.
const MOVES_MAX: usize = 256;

/// What makes `new` of `old`: the way to what changes and its patch, as JSON without brackets around it. `None` when that would not be
/// smaller than `new` itself.
pub(super) fn between(old: &[u8], new: &[u8]) -> Option<String> {
    let old: Value = serde_json::from_slice(old).ok()?;
    let parsed: Value = serde_json::from_slice(new).ok()?;
    let change = way_to(diff(&old, &parsed)?);
    let json = change.iter().map(Value::to_string).collect::<Vec<_>>().join(",");
    // A patch costs the client a little more than a value does.
    (json.len() * 10 < new.len() * 6).then_some(json)
}

/// The fields and places that lead to what a patch changes, and then the patch of that.
fn way_to(mut patch: Value) -> Vec<Value> {
    let mut way = Vec::new();
    loop {
        let (step, inner) = match patch {
            Value::Object(fields) if fields.len() == 1 => match fields.into_iter().next() {
                Some((name, inner)) => (Value::String(name), inner),
                None => return way,
            },
            Value::Array(mut steps) if steps.len() == 2 && steps[0].is_number() => match (steps.pop(), steps.pop()) {
                (Some(inner), Some(at)) => (at, inner),
                _ => return way,
            },
            patch => {
                way.push(patch);
                return way;
            }
        };
        way.push(step);
        patch = inner;
    }
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
            Some(Value::Object(changed.collect::<Map<String, Value>>()))
        }
        (Value::Array(old), Value::Array(new)) => Some(Value::Array(rows(old, new))),
        (_, Value::Object(_) | Value::Array(_)) => Some(json!([new])),
        _ => Some(new.clone()),
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
            None => ops.extend([json!("d"), json!(n)]),
            Some(target) => now.push(*target),
        }
    }
    now.reverse();
    // `now` holds, in their order of now, the places where rows are to be. Those that are in order already stay; the others move.
    let staying = longest_rising(&now);
    let mut in_place: Vec<usize> = staying.iter().map(|at| now[*at]).collect();
    let mut moving: Vec<usize> = (0..now.len()).filter(|at| staying.binary_search(at).is_err()).map(|at| now[at]).collect();
    if moving.len() > MOVES_MAX {
        return replace_middle(old, new);
    }
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
            ops.extend([json!("m"), json!(from), json!(to)]);
        }
    }
    let mut before: HashMap<&Identity, &Value> = was.iter().zip(old).collect();
    for (n, (id, row)) in is.iter().zip(new).enumerate() {
        match before.remove(id) {
            None => ops.extend([json!("i"), json!(n), row.clone()]),
            Some(old) => ops.extend(diff(old, row).into_iter().flat_map(|patch| [json!(n), patch])),
        }
    }
    ops
}

/// What lies between the rows that are the same at the beginning and at the end goes, and comes anew.
fn replace_middle(old: &[Value], new: &[Value]) -> Vec<Value> {
    let same = |(one, other): &(&Value, &Value)| one == other;
    let first = old.iter().zip(new).take_while(same).count();
    let last = old[first..].iter().rev().zip(new[first..].iter().rev()).take_while(same).count();
    let gone = (first..old.len() - last).rev().flat_map(|n| [json!("d"), json!(n)]);
    let come = (first..new.len() - last).flat_map(|n| [json!("i"), json!(n), new[n].clone()]);
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
        match patch {
            Value::Object(patches) => {
                let mut object = value.as_object().unwrap().clone();
                for (name, patch) in patches {
                    let changed = apply(&object[name], patch);
                    object.insert(name.clone(), changed);
                }
                Value::Object(object)
            }
            Value::Array(one) if one.len() == 1 => one[0].clone(),
            Value::Array(steps) => {
                let mut rows = value.as_array().unwrap().clone();
                let mut steps = steps.iter();
                while let Some(step) = steps.next() {
                    let place = |value: &Value| value.as_u64().unwrap() as usize;
                    let mut next = || steps.next().unwrap();
                    match step.as_str() {
                        None => rows[place(step)] = apply(&rows[place(step)], next()),
                        Some("i") => rows.insert(place(next()), next().clone()),
                        Some("d") => drop(rows.remove(place(next()))),
                        Some("m") => {
                            let row = rows.remove(place(next()));
                            rows.insert(place(next()), row);
                        }
                        Some(other) => panic!("{other}"),
                    }
                }
                Value::Array(rows)
            }
            value => value.clone(),
        }
    }

    /// What a client does with a patch at the end of a way.
    fn apply_at(value: &Value, way: &[Value]) -> Value {
        let (step, rest) = way.split_first().unwrap();
        let mut changed = value.clone();
        match step {
            patch if rest.is_empty() => return apply(value, patch),
            Value::String(name) => changed[name] = apply_at(&value[name], rest),
            at => {
                let at = at.as_u64().unwrap() as usize;
                changed[at] = apply_at(&value[at], rest);
            }
        }
        changed
    }

    fn list(ids: &[u32]) -> Value {
        ids.iter().map(|id| json!({"id": id, "title": format!("a card with a title {id}"), "done": id % 2 == 0})).collect()
    }

    #[test]
    fn one_moved_row_is_one_op() {
        let (old, new) = (list(&[1, 2, 3, 4, 5]), list(&[1, 5, 2, 3, 4]));
        assert_eq!(diff(&old, &new).unwrap(), json!(["m", 4, 1]));
        let (old, new) = (list(&[1, 2, 3, 4, 5]), list(&[2, 3, 4, 1, 5]));
        assert_eq!(diff(&old, &new).unwrap(), json!(["m", 0, 3]));
    }

    #[test]
    fn one_changed_value_costs_little_more_than_itself() {
        let old = json!({"name": "board", "cards": list(&[1, 2, 3])});
        let mut new = old.clone();
        new["cards"][1]["title"] = json!("x");
        let change = |new: &Value| between(old.to_string().as_bytes(), new.to_string().as_bytes()).unwrap();
        assert_eq!(change(&new), r#""cards",1,"title","x""#);
        new["cards"][1]["done"] = json!([]);
        assert_eq!(change(&new), r#""cards",1,{"done":[[]],"title":"x"}"#);
        new["cards"][2]["title"] = json!(null);
        assert_eq!(change(&new), r#""cards",[1,{"done":[[]],"title":"x"},2,{"title":null}]"#);
        new = old.clone();
        new["cards"].as_array_mut().unwrap().remove(1);
        assert_eq!(change(&new), r#""cards",["d",1]"#);
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
                Some(patch) => {
                    prop_assert_eq!(&apply(&old, &patch), &new);
                    prop_assert_eq!(apply_at(&old, &way_to(patch)), new);
                }
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
