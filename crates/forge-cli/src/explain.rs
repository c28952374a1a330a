//! `forge explain`: the page of an error code. The pages are part of this program.

use forge_core::{Error, Result};

use crate::voice;

/// Code and page, by code.
const PAGES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// Prints a page, or the list of them.
pub(crate) fn run(code: Option<&str>) -> Result<()> {
    let Some(code) = code else {
        let titles: Vec<&str> =
            PAGES.iter().map(|(_, page)| page.lines().next().unwrap_or_default().trim_start_matches("# ")).collect();
        return voice::data(&titles.join("\n"));
    };
    voice::data(page(code)?.trim_end())
}

/// The page of a code, however it is written.
fn page(code: &str) -> Result<&'static str> {
    let code = code.trim().to_ascii_uppercase().replace('-', "_");
    if let Some((_, page)) = PAGES.iter().find(|(known, _)| *known == code) {
        return Ok(page);
    }
    let near: Vec<&str> = nearest(&code).into_iter().take(3).collect();
    let hint = if near.is_empty() { String::new() } else { format!("did you mean {}? ", near.join(" or ")) };
    let text = format!(
        "there is no page for `{code}`; {hint}`forge explain` lists all codes. An app's own errors are described by the app"
    );
    Err(Error::config("EXPLAIN_UNKNOWN", text))
}

/// The codes that look like a word, nearest first.
fn nearest(word: &str) -> Vec<&'static str> {
    let mut near: Vec<(usize, &str)> = PAGES
        .iter()
        .map(|(code, _)| {
            if code.contains(word) || word.contains(code) {
                (0, *code)
            } else {
                (strsim::damerau_levenshtein(word, code), *code)
            }
        })
        .filter(|(distance, code)| *distance <= code.len().max(word.len()).div_ceil(3))
        .collect();
    near.sort();
    near.into_iter().map(|(_, code)| code).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_however_it_is_written() {
        assert!(page("port-in-use").unwrap().starts_with("# PORT_IN_USE"));
        assert_eq!(page("PORT_IN_USE").unwrap(), page(" Port_In_Use ").unwrap());
    }

    #[test]
    fn an_unknown_code_is_answered_with_the_nearest() {
        let error = page("PORTINUSE").unwrap_err();
        assert_eq!(error.code(), "EXPLAIN_UNKNOWN");
        assert!(error.message().contains("did you mean PORT_IN_USE"), "{error}");
        assert!(!page("QWERTZUIOPASDF").unwrap_err().message().contains("did you mean"));
    }

    #[test]
    fn every_page_has_the_same_shape() {
        for (code, page) in PAGES {
            assert!(page.starts_with(&format!("# {code}: ")), "{code}: begins with its code and a title");
            let headings: Vec<&str> = page.lines().filter(|line| line.starts_with("## ")).collect();
            assert_eq!(headings, ["## What happened", "## Why", "## Fix"], "{code}");
        }
    }
}
