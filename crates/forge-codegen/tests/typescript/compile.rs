//! TypeScript's own compiler accepts the files, and refuses wrong uses of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use forge_codegen::{Flavour, GeneratedFile, typescript, typescript_for};
use forge_core::function::FunctionKind::Query;
use forge_core::wire::TypeRef;

use crate::manifest::{alias, board, function, manifest, named, object};

/// The package of the runtime, with TypeScript and Svelte installed.
fn package() -> &'static Path {
    static PACKAGE: OnceLock<PathBuf> = OnceLock::new();
    PACKAGE.get_or_init(|| {
        let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../clients/typescript").canonicalize().unwrap();
        if !package.join("node_modules/typescript").exists() {
            let status = Command::new("npm").arg("ci").current_dir(&package).status().expect("npm is installed");
            assert!(status.success(), "npm ci failed in {}", package.display());
        }
        package
    })
}

/// Checks everything in a folder under the settings of the runtime's own package; gives what the compiler says.
pub(crate) fn check(folder: &Path) -> Result<(), String> {
    let package = package();
    // Packages are looked for beside and above the files that import them.
    let packages = folder.join("node_modules");
    if !packages.exists() {
        std::os::unix::fs::symlink(package.join("node_modules"), packages).unwrap();
    }
    let settings = format!(r#"{{ "extends": "{}/tsconfig.json", "include": ["**/*.ts"] }}"#, package.display());
    fs::write(folder.join("tsconfig.json"), settings).unwrap();
    let tsc = package.join("node_modules/typescript/bin/tsc");
    let output = Command::new("node").arg(tsc).args(["--noEmit", "--pretty", "false"]).current_dir(folder).output();
    let output = output.expect("node is installed");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(said) }
}

pub(crate) fn write(folder: &Path, files: &[GeneratedFile]) {
    for file in files {
        let path = folder.join(&file.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &file.content).unwrap();
    }
}

#[test]
fn the_board_compiles_and_wrong_uses_do_not() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &typescript(&board()).unwrap());
    fs::write(folder.path().join("uses.ts"), include_str!("uses/board.ts")).unwrap();
    check(folder.path()).unwrap_or_else(|said| panic!("{said}"));
}

#[test]
fn jobs_compile_with_their_types() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &typescript(&crate::text::with_jobs()).unwrap());
    let right = "import { jobs, type Job } from './index.js';\nimport type { Export } from './types.js';\n\
                 export const x: Job<Export> = jobs.exportBoard;\nexport const y: Job<null> = jobs.cleanup;\n";
    fs::write(folder.path().join("uses.ts"), right).unwrap();
    check(folder.path()).unwrap_or_else(|said| panic!("{said}"));
    fs::write(folder.path().join("uses.ts"), right.replace("jobs.cleanup", "jobs.exportBoard")).unwrap();
    let said = check(folder.path()).expect_err("a wrong use");
    assert!(said.contains("uses.ts(4,14): error TS") && said.contains("Job<null>"), "{said}");
}

#[test]
fn the_compiler_is_really_asked() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &typescript(&board()).unwrap());
    let wrong = "import { api } from './index.js';\nexport const x: number = api.listCards;\n";
    fs::write(folder.path().join("uses.ts"), wrong).unwrap();
    let said = check(folder.path()).expect_err("a wrong use");
    assert!(said.contains("uses.ts(2,14): error TS2322"), "{said}");
}

#[test]
fn an_app_without_functions_compiles_in_both_flavours() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("svelte"), &typescript(&manifest(vec![], vec![])).unwrap());
    write(&folder.path().join("plain"), &typescript_for(&manifest(vec![], vec![]), Flavour::Plain).unwrap());
    check(folder.path()).unwrap_or_else(|said| panic!("{said}"));
}

#[test]
fn types_may_be_called_like_what_typescript_and_the_runtime_have() {
    // Globals, the runtime's types, its values, texts, reserved words, other alphabets.
    #[rustfmt::skip]
    let names = [
        "Array", "Date", "Error", "Map", "Object", "Partial", "Promise", "Readonly", "Record", "String",
        "Symbol", "Call", "CallOptions", "ForgeClient", "Loaded", "LiveQuery", "Snapshot", "Subscription", "Optimistic", "Query", "Mutation", "Action", "UseOptions",
        "Job", "ForgeError", "api", "job", "jobs", "query", "mutation", "action", "call", "live", "load", "createForgeClient", "Uuid",
        "connection", "createOutbox", "newId", "present", "Outbox", "Presence", "PresenceMember", "Transport",
        "Timestamp", "Decimal", "Int64", "Base64", "PlainDate", "PlainTime", "any", "async", "await", "class",
        "delete", "enum", "infer", "interface", "keyof", "null", "number", "of", "readonly", "string", "type",
        "undefined", "unique", "void", "yield", "Größe", "カード", "Ширина", "R2D2", "_Private", "x",
    ];
    let texts =
        [TypeRef::Int64, TypeRef::Decimal, TypeRef::Uuid, TypeRef::Timestamp, TypeRef::Date, TypeRef::Time, TypeRef::Bytes];
    let mut types = Vec::new();
    let mut functions = Vec::new();
    for (index, name) in names.into_iter().enumerate() {
        types.push(object(name, vec![crate::manifest::field("value", texts[index % texts.len()].clone())]));
        functions.push(function(Query, &format!("get_{index}"), named(name), crate::manifest::list(named(name))));
    }
    types.push(alias("Everything", TypeRef::Tuple { of: names.map(named).into() }));
    functions.push(function(Query, "everything", TypeRef::Null, named("Everything")));

    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &typescript(&manifest(functions, types)).unwrap());
    check(folder.path()).unwrap_or_else(|said| panic!("{said}"));
}
