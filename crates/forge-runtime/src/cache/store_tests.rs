//! Tests of what is kept, without a database.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::feed::Change;
use crate::read_set::{Columns, Table};

fn dependency(key: &str) -> Dependency {
    let table = Table::new(1, "t".into(), Vec::new(), 0, Vec::new());
    let keys = vec![("a".to_owned(), Values::Among(BTreeSet::from([Some(key.to_owned())])))];
    Dependency { table: Arc::new(table), columns: Columns::All, keys }
}

/// The batch of a snapshot that sees all before `xmax`, with a change of each of these keys.
fn batch(xmax: u64, keys: &[&str]) -> Batch {
    let change = |key: &&str| Change {
        table: 1,
        shape: Table::new(1, "t".into(), Vec::new(), 0, Vec::new()).shape,
        columns: None,
        keys: vec!["a".into()],
        rows: Some(vec![vec![Some((*key).to_owned())]]),
    };
    Batch {
        snapshot: snapshot(xmax),
        changes: keys.iter().map(change).collect(),
        notes: Vec::new(),
        unheard: false,
        gap: false,
    }
}

fn snapshot(xmax: u64) -> Snapshot {
    format!("{xmax}:{xmax}:").parse().unwrap()
}

fn key(name: &str) -> Key {
    Key::of_anybody(name, b"{}")
}

fn result(size: usize, footing: Option<(u64, &str)>) -> Result {
    let ends = Instant::now() + Duration::from_secs(60);
    let footprint = footing.map(|(xmax, key)| Footing { snapshot: snapshot(xmax), dependencies: vec![dependency(key)] });
    Result { json: vec![b'x'; size].into(), ends, footprint }
}

/// Runs from begin to end without anything happening meanwhile.
fn run(store: &mut Store, name: &str, size: usize, footing: Option<(u64, &str)>) -> bool {
    let number = store.begin(footing.is_some());
    let kept = store.keep(key(name), number, result(size, footing));
    store.end(&key(name), number);
    kept
}

#[test]
fn a_change_ends_what_it_concerns() {
    let mut store = Store::new(1 << 20);
    for name in ["x", "y"] {
        assert!(run(&mut store, name, 10, Some((10, name))));
    }
    assert!(run(&mut store, "aged", 10, None));
    store.apply(batch(11, &["x"]));
    assert_eq!(["x", "y", "aged"].map(|name| store.get(&key(name)).is_some()), [false, true, true]);
    store.apply(Batch { gap: true, ..batch(12, &[]) });
    assert_eq!(["y", "aged"].map(|name| store.get(&key(name)).is_some()), [false, true], "nobody knows what was missed");
    assert!(!store.follows());
}

#[test]
fn a_change_between_the_run_and_its_end_is_not_missed() {
    let mut store = Store::new(1 << 20);
    let runs = ["x", "y", "z"].map(|name| (name, store.begin(true)));
    // Committed after the runs' snapshots; what they have read is known only later.
    store.apply(batch(11, &["x"]));
    store.apply(batch(12, &["w"]));
    let kept = runs.map(|(name, number)| {
        // The third one has begun late, and has seen it.
        let seen = if name == "z" { 12 } else { 10 };
        let kept = store.keep(key(name), number, result(10, Some((seen, if name == "z" { "x" } else { name }))));
        store.end(&key(name), number);
        kept
    });
    assert_eq!(kept, [false, true, true]);
    assert_eq!((store.recent.len(), store.recent_changes, store.floor), (0, 0, 2), "nobody needs it any more");
}

#[test]
fn who_has_missed_something_is_not_kept() {
    let mut store = Store::new(1 << 20);
    let (number, late) = (store.begin(true), store.begin(true));
    store.apply(Batch { gap: true, ..batch(11, &[]) });
    assert!(!store.keep(key("x"), number, result(10, Some((10, "x")))), "a gap");
    store.end(&key("x"), number);
    let many: Vec<&str> = vec!["w"; RECENT_MAX + 1];
    let number = store.begin(true);
    store.apply(batch(12, &many));
    assert!(!store.keep(key("x"), number, result(10, Some((10, "x")))), "more changes than are remembered");
    assert!(!store.keep(key("x"), late, result(10, Some((10, "x")))));
    assert!(store.keep(key("x"), late, result(10, None)), "age alone ends it");
}

#[test]
fn there_is_a_limit_and_the_least_recently_used_go_first() {
    let mut store = Store::new(500 * 1024);
    assert!(!run(&mut store, "large", 5 * 1024, None), "more than a hundredth");
    for n in 0..200 {
        assert!(run(&mut store, &n.to_string(), 3 * 1024, Some((10, "x"))));
        assert!(store.get(&key("0")).is_some(), "it is asked for all the time");
        assert!(store.weight <= 500 * 1024);
    }
    assert!(store.get(&key("1")).is_none() && store.get(&key("199")).is_some());
    assert!(store.kept.len() > 100 && store.followed == store.kept.len());
    store.apply(batch(11, &["x"]));
    assert_eq!((store.kept.len(), store.weight, store.followed, store.by_id.len()), (0, 0, 0, 0));
}

#[test]
fn what_is_gone_leaves_the_index() {
    let mut store = Store::new(100 << 20);
    assert!(run(&mut store, "stays", 10, Some((10, "y"))));
    for n in 0..10_000 {
        assert!(run(&mut store, &(n % 10).to_string(), 10, Some((10, "x"))));
        assert!(store.gone <= GONE_MAX + 1 + store.followed);
    }
    store.apply(batch(11, &["y"]));
    assert!(store.get(&key("stays")).is_none());
}

#[test]
fn what_is_too_old_is_not_found() {
    let mut store = Store::new(1 << 20);
    let number = store.begin(true);
    let old = Result { ends: Instant::now(), ..result(10, None) };
    assert!(store.keep(key("x"), number, old));
    store.sweep();
    assert_eq!(store.kept.len(), 0);
    let old = Result { ends: Instant::now(), ..result(10, None) };
    assert!(store.keep(key("x"), number, old));
    assert!(store.get(&key("x")).is_none());
}

#[test]
fn keys_differ_by_function_arguments_and_caller() {
    use forge_core::auth::AuthUser;
    let ada = AuthContext::of(AuthUser::new("ada"));
    let keys = [
        Key::of_anybody("a", b"{}"),
        Key::of_anybody("a{", b"}"),
        Key::of_anybody("b", b"{}"),
        Key::of_anybody("a", b"{}").like(&ada),
        Key::of_anybody("a", b"{}").like(&AuthContext::anonymous()),
    ];
    assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
}
