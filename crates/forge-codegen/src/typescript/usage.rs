//! Which types are sent, which are received, and which are written at all.

use std::collections::{BTreeMap, BTreeSet};

use forge_core::manifest::Manifest;
use forge_core::wire::{TypeDef, TypeRef, TypeShape};

/// The types that the client has a use for.
pub(super) struct Usage<'a> {
    /// The definitions, by name; of two with one name, the later.
    pub(super) defs: BTreeMap<&'a str, &'a TypeDef>,
    /// What arguments consist of.
    sent: BTreeSet<&'a str>,
    /// What results and models consist of.
    received: BTreeSet<&'a str>,
    /// Names without a definition, each with one place that uses it.
    pub(super) undefined: BTreeMap<&'a str, String>,
}

impl<'a> Usage<'a> {
    pub(super) fn of(manifest: &'a Manifest) -> Self {
        let defs = manifest.types.iter().map(|def| (def.name.as_str(), def)).collect();
        let mut usage = Self { defs, sent: BTreeSet::new(), received: BTreeSet::new(), undefined: BTreeMap::new() };
        for function in &manifest.functions {
            let user = format!("the function `{}`", function.name);
            usage.reach(&function.args, true, &user);
            usage.reach(&function.output, false, &user);
        }
        // What a job is given comes from the server; a client only sees what it gives back.
        for job in &manifest.jobs {
            usage.reach(&job.output, false, &format!("the job `{}`", job.name));
        }
        for table in &manifest.tables {
            if usage.defs.contains_key(table.model.as_str()) {
                usage.reach_named(&table.model, false, "");
            }
        }
        usage
    }

    /// The definitions to write, by name.
    pub(super) fn used(&self) -> impl Iterator<Item = &'a TypeDef> {
        self.defs.values().copied().filter(|def| {
            let name = def.name.as_str();
            self.sent.contains(name) || self.received.contains(name)
        })
    }

    /// Whether the type is only ever sent, so that what may be missing there is optional.
    pub(super) fn only_sent(&self, name: &str) -> bool {
        self.sent.contains(name) && !self.received.contains(name)
    }

    fn reach(&mut self, ty: &'a TypeRef, sent: bool, user: &str) {
        each_name(ty, &mut |name| self.reach_named(name, sent, user));
    }

    fn reach_named(&mut self, name: &'a str, sent: bool, user: &str) {
        let Some(def) = self.defs.get(name).copied() else {
            self.undefined.entry(name).or_insert_with(|| user.to_owned());
            return;
        };
        let reached = if sent { &mut self.sent } else { &mut self.received };
        if !reached.insert(name) {
            return;
        }
        let user = format!("the type `{name}`");
        each_part(&def.shape, &mut |part| self.reach(part, sent, &user));
    }
}

/// Visits the types that a shape is made of.
fn each_part<'a>(shape: &'a TypeShape, visit: &mut dyn FnMut(&'a TypeRef)) {
    match shape {
        TypeShape::Struct { fields } => fields.iter().for_each(|field| visit(&field.ty)),
        TypeShape::Enum { .. } => {}
        TypeShape::Union { variants, .. } => {
            variants.iter().flat_map(|variant| &variant.fields).for_each(|field| visit(&field.ty));
        }
        TypeShape::Alias { of, .. } => visit(of),
    }
}

/// Visits the named types in a type.
fn each_name<'a>(ty: &'a TypeRef, visit: &mut dyn FnMut(&'a str)) {
    match ty {
        TypeRef::Named { name } => visit(name),
        ty => ty.parts().iter().for_each(|part| each_name(part, visit)),
    }
}
