//! What the files say.

use forge_codegen::{Edits, Flavour, GeneratedFile, check_edits, typescript, typescript_for};
use forge_core::job::JobStatus;
use forge_core::manifest::Manifest;
use forge_core::wire::TypeRef;

use crate::manifest::{board, function, job, manifest, named, object};

fn file<'a>(files: &'a [GeneratedFile], path: &str) -> &'a str {
    &files.iter().find(|file| file.path == path).unwrap_or_else(|| panic!("no {path}")).content
}

#[test]
fn a_board() {
    let files = typescript(&board()).unwrap();
    insta::assert_snapshot!("types", file(&files, "types.ts"));
    insta::assert_snapshot!("api", file(&files, "api.ts"));
    insta::assert_snapshot!("index", file(&files, "index.ts"));
}

#[test]
fn without_svelte_nothing_names_it() {
    let files = typescript_for(&board(), Flavour::Plain).unwrap();
    assert!(files.iter().all(|file| !file.content.contains("from 'svelte'") && !file.path.contains("svelte")));
    insta::assert_snapshot!("index_plain", file(&files, "index.ts"));
}

#[test]
fn an_app_without_functions_has_files_too() {
    let files = typescript(&manifest(vec![], vec![])).unwrap();
    assert!(file(&files, "api.ts").ends_with("\nexport const api = {} as const;\n"));
    assert!(file(&files, "types.ts").ends_with("\nexport {};\n"));
}

#[test]
fn a_job_stands_in_the_same_words_here_and_there() {
    let text = include_str!("../../../../clients/typescript/src/jobs.ts");
    let (_, words) = text.split_once("export type JobStatus =").unwrap();
    let mut words: Vec<&str> =
        words.split(';').next().unwrap().split('|').map(|word| word.trim().trim_matches('\'')).collect();
    words.retain(|word| !word.is_empty());
    let mut all = JobStatus::ALL.map(JobStatus::as_str);
    words.sort_unstable();
    all.sort_unstable();
    assert_eq!(words, all);
    let living: Vec<String> =
        JobStatus::ALL.into_iter().filter(|status| !status.has_ended()).map(|status| format!("'{status}'")).collect();
    assert!(text.contains(&format!("const done = ![{}].includes", living.join(", "))));
}

#[test]
fn every_file_is_stamped_and_every_edit_noticed() {
    for generated in typescript(&board()).unwrap() {
        assert_eq!(check_edits(&generated.content), Edits::Untouched, "{}", generated.path);
        assert_eq!(check_edits(&generated.content.replacen("export", "export ", 1)), Edits::Edited);
    }
}

#[test]
fn the_same_manifest_gives_the_same_files() {
    let board = board();
    let mut turned = board.clone();
    turned.functions.reverse();
    turned.types.reverse();
    turned.tables.reverse();
    assert_eq!(typescript(&board).unwrap(), typescript(&turned).unwrap());
}

#[test]
fn the_runtime_comes_along_whole() {
    let files = typescript(&board()).unwrap();
    let imported = files.iter().flat_map(|file| {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let imports = file.content.lines().filter_map(|line| line.rsplit_once("from './"));
        imports.map(move |(_, path)| format!("{folder}/{}", path.trim_end_matches("';").replace(".js", ".ts")))
    });
    let mut count = 0;
    for path in imported {
        let path = path.trim_start_matches('/');
        assert!(files.iter().any(|file| file.path == path), "{path} is imported and not generated");
        count += 1;
    }
    assert!(count > 10);
}

#[test]
fn a_type_that_is_only_sent_may_lack_what_is_optional() {
    let files = typescript(&board()).unwrap();
    let types = file(&files, "types.ts");
    assert!(types.contains("  size?: Int64 | null;"), "only sent");
    assert!(types.contains("  due: Timestamp | null;"), "only received");

    // The same type, also received: now the field is always there.
    let mut both: Manifest = board();
    let new_card = crate::manifest::named("NewCard");
    both.functions.push(function(
        forge_core::function::FunctionKind::Query,
        "last_draft",
        forge_core::wire::TypeRef::Null,
        new_card,
    ));
    let files = typescript(&both).unwrap();
    assert!(file(&files, "types.ts").contains("  size: Int64 | null;"));
}

/// The board, with a few jobs.
pub(crate) fn with_jobs() -> Manifest {
    let mut board = board();
    board.types.push(object("Export", vec![crate::manifest::field("url", TypeRef::String)]));
    board.types.push(object("ExportBoard", vec![crate::manifest::field("boardId", TypeRef::Uuid)]));
    let mut export = job("export_board", named("ExportBoard"), named("Export"));
    export.doc = "Everything on a board, as one file.".into();
    export.roles = vec!["admin".into()];
    let long = "tell_everybody_who_has_ever_watched_this_card_what_has_become_of_it_since_last_week";
    board.jobs = vec![export, job("cleanup", TypeRef::Null, TypeRef::Null), job(long, TypeRef::Null, TypeRef::Int64)];
    board
}

#[test]
fn jobs_have_the_type_of_what_they_give_back() {
    let files = typescript(&with_jobs()).unwrap();
    insta::assert_snapshot!("api_with_jobs", file(&files, "api.ts"));
    assert!(file(&files, "index.ts").contains("export { api, jobs } from './api.js';"));
    let types = file(&files, "types.ts");
    assert!(types.contains("Export {"), "what is given back");
    assert!(!types.contains("ExportBoard"), "what only the server gives");
    assert!(!file(&typescript(&board()).unwrap(), "index.ts").contains("jobs"));
}

#[test]
fn an_app_may_have_jobs_alone() {
    let mut alone = manifest(vec![], vec![]);
    alone.jobs = vec![job("cleanup", TypeRef::Null, TypeRef::Null)];
    let files = typescript(&alone).unwrap();
    let api = file(&files, "api.ts");
    assert!(
        api.contains(
            "import { job } from './runtime/client.js';\n\nexport const api = {} as const;\n\nexport const jobs = {"
        ),
        "{api}"
    );
}

#[test]
fn two_jobs_that_would_be_one_are_refused() {
    let mut two = manifest(vec![], vec![]);
    two.jobs = vec![job("send_mail", TypeRef::Null, TypeRef::Null), job("send__mail", TypeRef::Null, TypeRef::Null)];
    let refused = typescript(&two).unwrap_err();
    assert!(refused.message().contains("the jobs `send_mail` and `send__mail` would both be `sendMail`"), "{refused}");
}
