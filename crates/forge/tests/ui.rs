//! Mistakes in the use of attributes and macros, foldered by their kind, and what the compiler says about each.
//!
//! `TRYBUILD=overwrite cargo test -p forge --test ui` writes the expected messages anew.

#[test]
fn mistakes_are_explained_where_they_are() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*/*.rs");
}
