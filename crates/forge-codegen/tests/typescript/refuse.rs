//! What cannot be written is refused, with everything that is wrong in one error.

use forge_codegen::typescript;
use forge_core::function::FunctionKind::{Mutation, Query};
use forge_core::manifest::Manifest;
use forge_core::wire::{TypeRef, TypeShape};

use crate::manifest::{alias, field, function, list, manifest, map, named, object, option, ty, variant};

fn refusal(manifest: &Manifest) -> String {
    let error = typescript(manifest).expect_err("it is refused");
    assert_eq!(error.code(), "CODEGEN_REFUSED");
    error.message().to_owned()
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let union = TypeShape::Union { tag: "type".into(), variants: vec![variant("a", vec![field("type", TypeRef::Bool)])] };
    let mut manifest = manifest(
        vec![
            function(Query, "step_1", named("not-a-name"), named("string")),
            function(Query, "step1", named("string_"), named("Missing")),
            function(Mutation, "again", TypeRef::Null, named("Twice")),
            function(Mutation, "again", TypeRef::Null, list(named("Event"))),
        ],
        vec![
            object("not-a-name", vec![]),
            object("string", vec![]),
            object("string_", vec![field("a", named("Gone")), field("a", TypeRef::Null)]),
            object("Twice", vec![]),
            object("Twice", vec![]),
            ty("Event", "", union),
        ],
    );
    manifest.manifest_version = 9;
    insta::assert_snapshot!(refusal(&manifest));
}

#[test]
fn an_alias_of_itself_is_refused_and_one_through_a_container_is_not() {
    let of = |types: Vec<_>| manifest(vec![function(Query, "get", TypeRef::Null, named("A"))], types);
    for types in [
        vec![alias("A", named("A"))],
        vec![alias("A", option(named("A")))],
        vec![alias("A", option(named("B"))), alias("B", named("A"))],
    ] {
        assert!(refusal(&of(types)).contains("consists of nothing but itself"));
    }
    for types in [
        vec![alias("A", list(named("A")))],
        vec![alias("A", option(map(named("A"))))],
        vec![alias("A", named("B")), object("B", vec![field("a", named("A"))])],
    ] {
        typescript(&of(types)).unwrap();
    }
}

#[test]
fn a_mistake_in_a_type_that_nobody_uses_is_nobodys_business() {
    let unused = vec![object("not-a-name", vec![field("x", named("Missing"))])];
    typescript(&manifest(vec![], unused)).unwrap();
}
