//! `types.ts`: what crosses the wire.

use forge_core::manifest::Manifest;
use forge_core::validate::Rule;
use forge_core::wire::{FieldDef, TypeDef, TypeShape, VariantDef};

use super::names::{Names, property, text_literal};
use super::print::{Printer, TEXTS, comment, fits, rule};
use super::usage::Usage;

/// Writes the file.
pub(super) fn write(manifest: &Manifest, usage: &Usage<'_>, names: &Names<'_>) -> String {
    let mut writer = Writer { usage, names, printer: Printer::new(names) };
    let definitions: Vec<String> = usage.used().map(|def| writer.definition(def)).collect();
    // Functions may use such a text directly, where no type of the app does.
    for function in &manifest.functions {
        writer.printer.ty(&function.args);
        writer.printer.ty(&function.output);
    }
    let used = writer.printer.used;
    let texts = TEXTS
        .iter()
        .filter(|(name, _)| used.contains(*name) && !names.is_taken(name))
        .map(|(name, doc)| format!("/** {doc} */\nexport type {name} = string;\n"));
    let parts: Vec<String> = texts.chain(definitions).collect();
    // Without an export, the file would not be a module.
    if parts.is_empty() { "export {};\n".into() } else { parts.join("\n") }
}

struct Writer<'a> {
    usage: &'a Usage<'a>,
    names: &'a Names<'a>,
    printer: Printer<'a>,
}

impl Writer<'_> {
    fn definition(&mut self, def: &TypeDef) -> String {
        let name = self.names.of_type(&def.name).to_owned();
        let optional = self.usage.only_sent(&def.name);
        let mut doc = vec![def.doc.clone()];
        let body = match &def.shape {
            TypeShape::Struct { fields } if fields.is_empty() => {
                format!("export type {name} = {{ [key: string]: never }};\n")
            }
            TypeShape::Struct { fields } => {
                format!("export interface {name} {{\n{}}}\n", self.fields(fields, optional, "  "))
            }
            TypeShape::Enum { variants } => {
                doc.extend(variant_docs(variants));
                let members = variants.iter().map(|variant| text_literal(&variant.name)).collect();
                alternatives(&name, members)
            }
            TypeShape::Union { tag, variants } => {
                doc.extend(variant_docs(variants));
                let alone = variants.len() == 1;
                let members = variants.iter().map(|variant| self.variant(&name, tag, variant, optional, alone)).collect();
                alternatives(&name, members)
            }
            TypeShape::Alias { of, rules } => {
                doc.extend(rule_docs(rules));
                format!("export type {name} = {};\n", self.printer.ty(of))
            }
        };
        comment("", &doc) + &body
    }

    fn fields(&mut self, fields: &[FieldDef], optional: bool, indent: &str) -> String {
        let line = |field: &FieldDef| {
            let mut doc = vec![field.doc.clone()];
            doc.extend(rule_docs(&field.rules));
            format!("{}{indent}{};\n", comment(indent, &doc), self.field(field, optional))
        };
        fields.iter().map(line).collect()
    }

    fn field(&mut self, field: &FieldDef, optional: bool) -> String {
        let mark = if optional && field.optional { "?" } else { "" };
        format!("{}{mark}: {}", property(&field.name), self.printer.ty(&field.ty))
    }

    /// The object of one variant: on one line when it fits and has nothing to explain.
    fn variant(&mut self, name: &str, tag: &str, variant: &VariantDef, optional: bool, alone: bool) -> String {
        let tag = format!("{}: {}", property(tag), text_literal(&variant.name));
        let explained =
            variant.fields.iter().any(|field| !field.doc.trim().is_empty() || !rule_docs(&field.rules).is_empty());
        if !explained {
            let mut members = vec![tag.clone()];
            members.extend(variant.fields.iter().map(|field| self.field(field, optional)));
            let object = format!("{{ {} }}", members.join("; "));
            let line = if alone { format!("export type {name} = {object};") } else { format!("  | {object};") };
            if fits(&line) {
                return object;
            }
        }
        let outer = if alone { "" } else { "    " };
        let inner = format!("{outer}  ");
        format!("{{\n{inner}{tag};\n{}{outer}}}", self.fields(&variant.fields, optional, &inner))
    }
}

/// A type that is one of several: on one line, or one line each.
fn alternatives(name: &str, members: Vec<String>) -> String {
    match &members[..] {
        [] => format!("export type {name} = never;\n"),
        [only] => format!("export type {name} = {only};\n"),
        several => {
            let line = format!("export type {name} = {};", several.join(" | "));
            if fits(&line) && !line.contains('\n') {
                return line + "\n";
            }
            let list: String = several.iter().map(|member| format!("\n  | {member}")).collect();
            format!("export type {name} ={list};\n")
        }
    }
}

/// What the variants mean, as a list for the comment of their type: editors show that one, and none of a member.
fn variant_docs(variants: &[VariantDef]) -> Vec<String> {
    let mut lines: Vec<String> = variants
        .iter()
        .filter(|variant| !variant.doc.trim().is_empty())
        .map(|variant| format!("- `{}`: {}", variant.name, variant.doc.trim().replace('\n', "\n  ")))
        .collect();
    if !lines.is_empty() {
        lines.insert(0, "\n".into());
    }
    lines
}

fn rule_docs(rules: &[Rule]) -> Vec<String> {
    rules.iter().filter_map(rule).collect()
}
