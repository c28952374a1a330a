//! The rooms of the house see each other only along the edges that ARCHITECTURE.md draws.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Which of our crates each one may depend on.
const EDGES: &[(&str, &[&str])] = &[
    ("forge-core", &[]),
    ("forge-macros", &[]),
    ("forge-codegen", &["forge-core"]),
    ("forge-pg", &["forge-core"]),
    ("forge-runtime", &["forge-core"]),
    ("forge", &["forge-core", "forge-macros", "forge-pg", "forge-runtime"]),
    ("forge-cli", &["forge-codegen", "forge-core", "forge-pg", "forge-runtime"]),
];

/// What a crate must never have among its dependencies, however far down.
const ABSENT: &[(&str, &[&str])] = &[
    ("forge-core", &["tokio", "tokio-postgres", "hyper", "axum", "reqwest"]),
    ("forge-macros", &["tokio", "forge-runtime"]),
    ("forge-codegen", &["tokio", "tokio-postgres"]),
    ("forge-runtime", &["sqlx", "openssl-sys", "aws-lc-sys", "chrono", "forge-pg", "forge-codegen"]),
];

fn metadata() -> Value {
    // For this platform only: the packages of others may not be on this machine.
    let host = Command::new("rustc").arg("-vV").output().unwrap();
    let host = String::from_utf8(host.stdout).unwrap();
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--filter-platform", host])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The normal dependencies (not those of tests and builds) of each package, by package id.
fn graph(metadata: &Value) -> BTreeMap<String, Vec<String>> {
    let normal = |dep: &&Value| dep["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"].is_null());
    let node = |node: &Value| {
        let deps = node["deps"].as_array().unwrap().iter().filter(normal);
        (node["id"].as_str().unwrap().to_owned(), deps.map(|dep| dep["pkg"].as_str().unwrap().to_owned()).collect())
    };
    metadata["resolve"]["nodes"].as_array().unwrap().iter().map(node).collect()
}

fn names(metadata: &Value) -> BTreeMap<String, String> {
    let packages = metadata["packages"].as_array().unwrap();
    packages.iter().map(|p| (p["id"].as_str().unwrap().to_owned(), p["name"].as_str().unwrap().to_owned())).collect()
}

#[test]
fn rooms_see_each_other_only_along_the_edges() {
    let metadata = metadata();
    let (graph, names) = (graph(&metadata), names(&metadata));
    let ours: BTreeSet<&str> = EDGES.iter().map(|(name, _)| *name).collect();
    for (room, allowed) in EDGES {
        let (id, _) = names.iter().find(|(_, name)| name == room).unwrap();
        for dep in &graph[id] {
            let dep = names[dep].as_str();
            assert!(
                !ours.contains(dep) || allowed.contains(&dep),
                "{room} depends on {dep}, which ARCHITECTURE.md does not allow"
            );
        }
    }
}

#[test]
fn what_is_absent_stays_absent() {
    let metadata = metadata();
    let (graph, names) = (graph(&metadata), names(&metadata));
    for (room, absent) in ABSENT {
        let (id, _) = names.iter().find(|(_, name)| name == room).unwrap();
        let (mut seen, mut next) = (BTreeSet::new(), vec![id.clone()]);
        while let Some(id) = next.pop() {
            if seen.insert(id.clone()) {
                next.extend(graph[&id].iter().cloned());
            }
        }
        let found: Vec<&str> = seen.iter().map(|id| names[id].as_str()).filter(|name| absent.contains(name)).collect();
        assert!(found.is_empty(), "{room} depends on {found:?}");
    }
}
