//! Every error code has a page, and every page is about a code.

// A panic in a test is its report.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use regex_lite::Regex;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The sources of all crates, without their tests.
fn sources() -> Vec<PathBuf> {
    let walk = ignore::WalkBuilder::new(root().join("crates")).build().flatten();
    let mut files: Vec<PathBuf> = walk
        .map(|entry| entry.path().to_owned())
        .filter(|path| path.extension().is_some_and(|kind| kind == "rs"))
        .collect();
    files.retain(|path| {
        let below = path.strip_prefix(root().join("crates")).expect("below");
        let parts: Vec<&str> = below.iter().filter_map(|part| part.to_str()).collect();
        parts.get(1) == Some(&"src") && !parts.iter().any(|part| ["tests", "tests.rs"].contains(part))
    });
    files
}

/// The codes that the sources give to errors, each with a file that does.
fn codes() -> BTreeMap<String, PathBuf> {
    let given = Regex::new(r#"(?:Error::config|Error::app|with_code)\(\s*"([A-Z][A-Z0-9_]+)""#).unwrap();
    let named = Regex::new(r#"const [A-Z_]+: &str = "((?:PG|CONFIG|JOB)_[A-Z_]+)""#).unwrap();
    let config = Regex::new(r#""(CONFIG_[A-Z_]+)""#).unwrap();
    let kinds = Regex::new(r#"Self::[A-Za-z]+ => "([A-Z_]+)""#).unwrap();
    let mut codes = BTreeMap::new();
    for file in sources() {
        let text = std::fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        // Examples in comments use codes that apps would have.
        let text: String =
            text.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect();
        let patterns =
            [Some(&given), Some(&named), Some(&config), file.ends_with("forge-core/src/error.rs").then_some(&kinds)];
        for pattern in patterns.into_iter().flatten() {
            codes.extend(pattern.captures_iter(&text).map(|found| (found[1].to_owned(), file.clone())));
        }
    }
    codes
}

fn pages() -> BTreeSet<String> {
    let entries = std::fs::read_dir(root().join("docs/errors")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.strip_suffix(".md").map(str::to_owned)).collect()
}

#[test]
fn every_code_has_a_page() {
    let (codes, pages) = (codes(), pages());
    // If the scan finds little, it is the scan that is wrong.
    assert!(codes.len() > 60 && codes.contains_key("NOT_FOUND") && codes.contains_key("PG_NOT_FOUND"), "{codes:?}");
    let missing: Vec<String> = codes
        .iter()
        .filter(|(code, _)| !pages.contains(*code))
        .map(|(code, file)| format!("{code} ({})", file.display()))
        .collect();
    assert!(missing.is_empty(), "these codes have no page in docs/errors: {missing:#?}");
}

#[test]
fn every_page_is_about_a_code() {
    let codes = codes();
    let superfluous: Vec<String> = pages().into_iter().filter(|page| !codes.contains_key(page)).collect();
    assert!(superfluous.is_empty(), "no error has these codes any more: {superfluous:#?}");
}
