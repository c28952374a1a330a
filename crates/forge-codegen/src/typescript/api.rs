//! `api.ts`: one typed constant per function, and one per job.

use std::collections::BTreeSet;

use forge_core::function::FunctionKind;
use forge_core::manifest::{FunctionDef, JobDef, Manifest};
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
    let mut jobs: Vec<&JobDef> = manifest.jobs.iter().collect();
    jobs.sort_by(|a, b| a.name.cmp(&b.name));
    if !jobs.is_empty() {
        makers.insert("job");
    }
    let jobs: Vec<String> = jobs.into_iter().map(|job| job_entry(job, names, &mut printer)).collect();
    let mut file = String::new();
    if !makers.is_empty() {
        file += &names_from("import", makers, "./runtime/client.js");
    }
    if !printer.used.is_empty() {
        file += &names_from("import type", printer.used.iter().map(String::as_str), "./types.js");
    }
    let object = |name: &str, entries: &[String]| match entries {
        [] => format!("export const {name} = {{}} as const;\n"),
        entries => format!("export const {name} = {{\n{}}} as const;\n", entries.join("\n")),
    };
    if !file.is_empty() {
        file.push('\n');
    }
    file += &object("api", &groups);
    if !jobs.is_empty() {
        file.push('\n');
        file += &object("jobs", &jobs);
    }
    file
}

/// A job, for those who follow one: what it gives back is known.
fn job_entry(job: &JobDef, names: &Names<'_>, printer: &mut Printer<'_>) -> String {
    let output = printer.ty(&job.output);
    let head = format!("  {}: job<{output}>(", property(names.of_job(&job.name)));
    let wire = text_literal(&job.name);
    let line = format!("{head}{wire}),");
    let code = if fits(&line) { line } else { format!("{head}\n    {wire},\n  ),") };
    let who = match &job.roles[..] {
        [] => String::new(),
        roles => format!("May be followed by whoever dispatched it, and with {}.", one_of(roles)),
    };
    format!("{}{code}\n", comment("  ", &[job.doc.clone(), who]))
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
        roles => format!("Needs {}.", one_of(roles)),
    }
}

fn one_of(roles: &[String]) -> String {
    let list: Vec<String> = roles.iter().map(|role| format!("`{role}`")).collect();
    match &list[..] {
        [role] => format!("the role {role}"),
        roles => format!("one of the roles {}", roles.join(", ")),
    }
}
