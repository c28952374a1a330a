//! `explain-query` says what a query reads, and why something narrows nothing.

use forge::prelude::*;
use forge::testing::TestApp;
use tokio::process::Command;

/// What the program prints, or what it complains of.
async fn explain(app: &TestApp, words: &[&str]) -> (bool, String) {
    // Not in a folder with a forge.toml of somebody's.
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_pipeline"))
        .current_dir(dir.path())
        .arg("explain-query")
        .args(words)
        .env("DATABASE_URL", app.database_url())
        .env("FORGE_ENV", "test")
        .env("FORGE_SECRET", crate::support::token::SECRET)
        .output()
        .await
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

async fn explained(app: &TestApp, words: &[&str]) -> String {
    let (done, text) = explain(app, words).await;
    assert!(done, "{text}");
    text
}

#[forge::test]
async fn written_statements_are_explained_without_running(app: TestApp) -> Result<()> {
    let text = explained(&app, &["counters_above"]).await;
    for part in [
        "public.counters: rows with value > $1; reads name, value",
        "$1 is value",
        "lower(name) <> 'x': ",
        "explain-query counters_above --args",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(explained(&app, &["clock"]).await.contains("cannot be followed: it calls now()"));
    let ticking = explained(&app, &["ticking"]).await;
    assert!(ticking.contains("runs again every 150ms") && ticking.contains("now()"), "{ticking}");
    assert!(explained(&app, &["counter_by_table"]).await.contains("tracking = \"table\""));
    assert!(explained(&app, &["list_notes"]).await.contains("No `sql!` statement is written in it"));
    Ok(())
}

#[forge::test]
async fn a_run_shows_what_it_asked_for(app: TestApp) -> Result<()> {
    let batch = forge::new_uuid();
    let args = format!("{{\"batch\": \"{batch}\"}}");
    let text = explained(&app, &["list_notes", "--args", &args, "--user", "ada"]).await;
    assert!(text.contains(&format!("public.notes: rows with batch = '{batch}'")), "{text}");
    let text = explained(&app, &["counters_above", "--args", "{\"value\": \"7\"}"]).await;
    assert!(text.contains("public.counters: rows with value > 7; reads"), "{text}");
    for (words, why) in [
        (&["lst_notes"][..], "did you mean `list_notes`?"),
        (&["bump"][..], "only queries can be live"),
        (&["counter", "--args", "{\"nam\": 1}"][..], "INVALID_ARGUMENT"),
        (&[][..], "usage: explain-query NAME"),
        (&["counter", "--what"][..], "`--what` is not understood"),
    ] {
        let (done, text) = explain(&app, words).await;
        assert!(!done && text.contains(why), "{words:?}: {text}");
    }
    Ok(())
}
