//! The page's client is generated and committed: it is the one of the functions as they are.

use std::fs;
use std::path::Path;

use forge::{App, Result};

#[test]
fn the_committed_client_is_that_of_the_functions() -> Result<()> {
    let manifest = App::linked(&[board::module()])?.manifest()?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("frontend/src/lib/forge");
    for file in forge_codegen::typescript(&manifest)? {
        let there = fs::read_to_string(folder.join(&file.path)).unwrap_or_default();
        assert!(there == file.content, "{} is outdated: run `cargo forge generate examples/board`", file.path);
    }
    Ok(())
}
