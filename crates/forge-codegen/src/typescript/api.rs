//! `api.ts`: one typed constant per function.

use std::collections::BTreeSet;

use forge_core::function::FunctionKind;
use forge_core::manifest::{FunctionDef, Manifest};
use forge_core::wire::TypeRef;

use super::names::{Names, property, text_literal};
use super::print::{Printer, comment, fits, names_from};

/// Writes the file.
pub(super) fn write(manifest: &Manifest, names: &Names<'_>) -> String {
    let mut printer = Printer::new(names);
    let mut makers = BTreeSet::new();
    let mut groups = Vec::new();
    for (kind, title) in
        [(FunctionKind::Query, "Queries"), (FunctionKind::Mutation, "Mutations"), (FunctionKind::Action, "Actions")]
    {
        let mut functions: Vec<&FunctionDef> = manifest.functions.iter().filter(|f| f.kind == kind).collect();
        if functions.is_empty() {
            continue;
        }
        functions.sort_by(|a, b| a.name.cmp(&b.name));
        makers.insert(kind.as_str());
        groups.push(format!("  // {title}\n"));
        groups.extend(functions.into_iter().map(|function| entry(function, names, &mut printer)));
    }
    if groups.is_empty() {
        return "export const api = {} as const;\n".into();
    }
    let mut file = names_from("import", makers, "./runtime/client.js");
    if !printer.used.is_empty() {
        file += &names_from("import type", printer.used.iter().map(String::as_str), "./types.js");
    }
    format!("{file}\nexport const api = {{\n{}}} as const;\n", groups.join("\n"))
}

fn entry(function: &FunctionDef, names: &Names<'_>, printer: &mut Printer<'_>) -> String {
    let args = match &function.args {
        TypeRef::Null => "void".into(),
        args => printer.ty(args),
    };
    let output = printer.ty(&function.output);
    let key = property(names.of_function(&function.name));
    let maker = function.kind.as_str();
    let wire = text_literal(&function.name);
    let head = format!("  {key}: {maker}<{args}, {output}>(");
    let line = format!("{head}{wire}),");
    let code = if fits(&line) {
        line
    } else if fits(&head) {
        format!("{head}\n    {wire},\n  ),")
    } else {
        format!("  {key}: {maker}<\n    {args},\n    {output}\n  >({wire}),")
    };
    format!("{}{code}\n", comment("  ", &[function.doc.clone(), access(function)]))
}

/// Who may call it, when that is not simply whoever is signed in.
fn access(function: &FunctionDef) -> String {
    match &function.roles[..] {
        _ if function.public => "Public: may be called without signing in.".into(),
        [] => String::new(),
        [role] => format!("Needs the role `{role}`."),
        roles => {
            let roles: Vec<String> = roles.iter().map(|role| format!("`{role}`")).collect();
            format!("Needs one of the roles {}.", roles.join(", "))
        }
    }
}
