//! Whatever names a manifest has, it is refused in words or gives files that TypeScript reads.

use std::fs;

use forge_codegen::{Edits, Flavour, check_edits, typescript, typescript_for};
use forge_core::function::FunctionKind;
use forge_core::manifest::Manifest;
use forge_core::validate::Rule;
use forge_core::wire::{FieldDef, TypeDef, TypeRef, TypeShape, VariantDef};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::compile::{check, write};
use crate::manifest::{field, function, list, manifest, map, named, option, ty, variant};

/// Texts that are a trap somewhere.
#[rustfmt::skip]
const TRAPS: &[&str] = &[
    "", " ", "*/", "/**", "`", "${x}", "\\", "'", "\"", "'\"", "\n", "\r\n", "\u{2028}", "\u{2029}", "\u{0}",
    "\u{7f}", "\u{feff}", "__proto__", "constructor", "class", "delete", "string", "undefined", "0", "1e9", "-1",
    "1st", "a-b", "größe", "字段", "𝒳", "x\u{200d}y", "//", "</script>", "a.b", "[key]", "?", "readonly", "get",
    "async", "\u{202e}", "\u{1f600}",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => prop::sample::select(TRAPS).prop_map(str::to_owned),
        2 => "[a-z][a-zA-Z0-9_]{0,12}",
        1 => "\\PC{0,12}",
        1 => any::<String>(),
    ]
}

/// Names as Rust allows them, and a few that it does not.
fn type_name() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "[A-Z][a-zA-Z0-9]{0,6}",
        2 => "[a-zA-Z_][a-zA-Z0-9_]{0,5}",
        2 => prop::sample::select(vec!["Record", "Date", "Promise", "Array", "string", "Query", "Uuid", "ForgeError", "keyof", "Größe", "字段"]).prop_map(str::to_owned),
    ]
}

fn type_ref(names: Vec<String>) -> impl Strategy<Value = TypeRef> {
    let leaf = prop_oneof![
        Just(TypeRef::String),
        Just(TypeRef::Bool),
        Just(TypeRef::Int32),
        Just(TypeRef::Int64),
        Just(TypeRef::Float),
        Just(TypeRef::Decimal),
        Just(TypeRef::Uuid),
        Just(TypeRef::Timestamp),
        Just(TypeRef::Date),
        Just(TypeRef::Time),
        Just(TypeRef::Bytes),
        Just(TypeRef::Json),
        Just(TypeRef::Null),
        prop::sample::select(names).prop_map(|name| named(&name)),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(option),
            inner.clone().prop_map(list),
            inner.clone().prop_map(map),
            vec(inner, 0..3).prop_map(|of| TypeRef::Tuple { of }),
        ]
    })
}

fn fields(names: Vec<String>) -> impl Strategy<Value = Vec<FieldDef>> {
    let rules = vec(text().prop_map(|regex| Rule::Pattern { regex }), 0..2);
    let one = (text(), type_ref(names), text(), any::<bool>(), rules)
        .prop_map(|(name, ty, doc, optional, rules)| FieldDef { doc, optional, rules, ..field(&name, ty) });
    vec(one, 0..4)
}

fn variants(names: Vec<String>) -> impl Strategy<Value = Vec<VariantDef>> {
    vec((text(), text(), fields(names)).prop_map(|(name, doc, fields)| VariantDef { doc, ..variant(&name, fields) }), 0..4)
}

fn shape(names: Vec<String>) -> impl Strategy<Value = TypeShape> {
    prop_oneof![
        fields(names.clone()).prop_map(|fields| TypeShape::Struct { fields }),
        vec(text(), 0..12)
            .prop_map(|list| TypeShape::Enum { variants: list.iter().map(|name| variant(name, vec![])).collect() }),
        (text(), variants(names.clone())).prop_map(|(tag, variants)| TypeShape::Union { tag, variants }),
        type_ref(names).prop_map(|of| TypeShape::Alias { of, rules: vec![] }),
    ]
}

fn any_manifest() -> impl Strategy<Value = Manifest> {
    prop::collection::btree_set(type_name(), 1..7).prop_flat_map(|names| {
        let names: Vec<String> = names.into_iter().collect();
        let types: Vec<BoxedStrategy<TypeDef>> = names
            .iter()
            .cloned()
            .map(|name| (text(), shape(names.clone())).prop_map(move |(doc, shape)| ty(&name, &doc, shape)).boxed())
            .collect();
        let kind = prop::sample::select(vec![FunctionKind::Query, FunctionKind::Mutation, FunctionKind::Action]);
        let one = (kind, text(), text(), type_ref(names.clone()), type_ref(names), vec(text(), 0..2)).prop_map(
            |(kind, name, doc, args, output, roles)| {
                let mut function = function(kind, &name, args, output);
                (function.doc, function.roles) = (doc, roles);
                function
            },
        );
        (vec(one, 1..8), types).prop_map(|(functions, types)| manifest(functions, types))
    })
}

proptest! {
    #[test]
    fn a_manifest_is_written_or_refused_and_never_a_panic(manifest in any_manifest()) {
        match typescript(&manifest) {
            Ok(files) => for file in files {
                prop_assert_eq!(check_edits(&file.content), Edits::Untouched);
            },
            Err(error) => prop_assert!(error.message().contains("\n  - "), "{}", error),
        }
    }
}

#[test]
fn what_is_written_compiles() {
    let mut runner = TestRunner::deterministic();
    let folder = tempfile::tempdir().unwrap();
    let strategy = any_manifest();
    let mut written = 0;
    for _ in 0..4000 {
        let manifest = strategy.new_tree(&mut runner).unwrap().current();
        let Ok(mut files) = typescript_for(&manifest, Flavour::Plain) else {
            continue;
        };
        // One runtime for all of them: only what differs is compiled many times.
        if written > 0 {
            files.retain(|file| !file.path.starts_with("runtime/"));
        }
        for file in files.iter_mut().filter(|file| !file.path.starts_with("runtime/")) {
            file.content = file.content.replace("'./runtime/", "'../case_0/runtime/");
        }
        let case = folder.path().join(format!("case_{written}"));
        write(&case, &files);
        fs::write(case.join("manifest.txt"), format!("{manifest:#?}")).unwrap();
        written += 1;
        if written == 150 {
            break;
        }
    }
    assert_eq!(written, 150, "most manifests should be good enough to be written");
    if let Err(said) = check(folder.path()) {
        let case = said.split(['/', '(']).next().unwrap_or_default();
        let manifest = fs::read_to_string(folder.path().join(case).join("manifest.txt")).unwrap_or_default();
        panic!("{said}\nthe first of them is made from {manifest}");
    }
}
