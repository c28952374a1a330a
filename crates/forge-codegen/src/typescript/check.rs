//! Mistakes in a manifest for which no file can make up.

use std::collections::BTreeSet;

use forge_core::manifest::{MANIFEST_VERSION, Manifest};
use forge_core::wire::{FieldDef, TypeDef, TypeRef, TypeShape};

use super::usage::Usage;

/// Everything that is wrong besides the names, as sentences.
pub(super) fn problems(manifest: &Manifest, usage: &Usage<'_>) -> Vec<String> {
    let mut problems = Vec::new();
    if manifest.manifest_version != MANIFEST_VERSION {
        problems.push(format!(
            "the manifest has version {}, and this forge reads version {MANIFEST_VERSION}: use the forge command of the version that the app depends on",
            manifest.manifest_version
        ));
    }
    for name in twice(manifest.types.iter().map(|def| def.name.as_str())) {
        problems.push(format!("two types are called `{name}`: rename one of them"));
    }
    for (name, user) in &usage.undefined {
        problems.push(format!("{user} uses the type `{name}`, which the manifest does not define"));
    }
    for def in usage.used() {
        check_fields(def, &mut problems);
        if is_alias_of_itself(def, usage) {
            problems.push(format!(
                "the type `{}` consists of nothing but itself, which TypeScript cannot say: give it a named field",
                def.name
            ));
        }
    }
    problems
}

fn check_fields(def: &TypeDef, problems: &mut Vec<String>) {
    let mut check = |place: &str, tag: Option<&str>, fields: &[FieldDef]| {
        for name in twice(tag.into_iter().chain(fields.iter().map(|field| field.name.as_str()))) {
            problems.push(format!("{place} has the field `{name}` twice: rename one of them"));
        }
    };
    match &def.shape {
        TypeShape::Struct { fields } => check(&format!("the type `{}`", def.name), None, fields),
        TypeShape::Union { tag, variants } => {
            for variant in variants {
                let place = format!("the variant `{}` of the type `{}`", variant.name, def.name);
                check(&place, Some(tag), &variant.fields);
            }
        }
        TypeShape::Enum { .. } | TypeShape::Alias { .. } => {}
    }
}

/// Whether the definition leads back to itself through other names and `null` alone. Arrays and objects in between are
/// fine: TypeScript looks into those only when it has to.
fn is_alias_of_itself(def: &TypeDef, usage: &Usage<'_>) -> bool {
    let mut seen = BTreeSet::new();
    let mut current = def;
    while let TypeShape::Alias { of, .. } = &current.shape {
        let mut of = of;
        while let TypeRef::Option { of: inner } = of {
            of = inner;
        }
        let TypeRef::Named { name } = of else {
            return false;
        };
        if *name == def.name {
            return true;
        }
        let Some(next) = usage.defs.get(name.as_str()).filter(|_| seen.insert(name)) else {
            return false;
        };
        current = next;
    }
    false
}

/// The names that occur more than once.
fn twice<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    names.filter(|name| !seen.insert(*name)).collect()
}
