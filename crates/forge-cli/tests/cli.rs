//! The command as a shell sees it: exit codes, what goes where, and what the quick commands do.

// A panic in a test is its report.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::path::Path;

use forge_pg::{Options, PrivateServer};
use support::{fine, folder, forge, run};

#[test]
fn a_wrong_command_line_is_told_apart_from_a_failure() {
    let place = folder();
    for (words, code) in [
        (&["explain", "PORT_IN_USE"][..], 0),
        (&["explain", "NO_SUCH_CODE"], 1),
        (&["explian"], 2),
        (&["dev", "--port", "x"], 2),
        (&[], 2),
    ] {
        assert_eq!(run(place.path(), words).code, Some(code), "{words:?}");
    }
}

#[test]
fn data_goes_to_stdout_and_everything_else_to_stderr() {
    let place = folder();
    let page = fine(place.path(), &["explain", "port-in-use"]);
    assert!(page.out.starts_with("# PORT_IN_USE: ") && page.err.is_empty(), "{}", page.err);
    let failed = run(place.path(), &["generate"]);
    assert_eq!(failed.out, "");
    assert!(failed.err.starts_with("error[APP_NOT_FOUND]: there is no app in .: it has no Cargo.toml"), "{}", failed.err);
    assert!(failed.err.contains("\n  more: forge explain APP_NOT_FOUND"), "{}", failed.err);
    let list = fine(place.path(), &["explain"]).out;
    assert!(list.lines().count() > 60 && list.lines().all(|line| line.contains(": ")), "{list}");
}

#[test]
fn colours_are_for_terminals() {
    let place = folder();
    let mut command = forge(place.path());
    let output = command.args(["explain", "NO_SUCH_CODE"]).env_remove("NO_COLOR").output().unwrap();
    assert!(!output.stderr.contains(&0x1b));
}

#[test]
fn new_refuses_what_it_cannot_make() {
    let place = folder();
    std::fs::create_dir(place.path().join("full")).unwrap();
    std::fs::write(place.path().join("full/file"), "x").unwrap();
    for (name, code) in [("full", "NEW_FOLDER_TAKEN"), ("Shop", "NEW_NAME_INVALID"), ("crate", "NEW_NAME_INVALID")] {
        let refused = run(place.path(), &["new", name]);
        assert_eq!(refused.code, Some(1));
        assert!(refused.err.contains(&format!("error[{code}]")), "{}", refused.err);
    }
    let entries = std::fs::read_dir(place.path()).unwrap().count();
    assert_eq!(entries, 1, "nothing was made");
}

#[test]
fn what_is_configured_is_shown_with_its_source_and_without_secrets() {
    let place = folder();
    std::fs::write(place.path().join("forge.toml"), "[gateway]\nport = 9001\n").unwrap();
    let mut command = forge(place.path());
    command
        .args(["config", "show"])
        .envs([("FORGE_SECRET", "a secret that must never be shown"), ("FORGE_DATABASE_POOL_SIZE", "7")]);
    let said: support::Said = command.output().unwrap().into();
    let line = |key: &str| {
        said.out
            .lines()
            .find(|line| line.starts_with(key))
            .unwrap_or_default()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(line("gateway.port"), "gateway.port 9001 forge.toml, line 2");
    assert_eq!(line("database.pool_size"), "database.pool_size 7 environment, FORGE_DATABASE_POOL_SIZE");
    assert!(line("database.pool_timeout").ends_with("default"));
    assert!(!said.out.contains("never be shown"));

    let json = fine(place.path(), &["config", "show", "--json"]).out;
    let keys: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
    assert!(keys.contains(&serde_json::json!({"key": "gateway.port", "value": "9001", "source": "file", "line": 2})));

    std::fs::write(place.path().join("forge.toml"), "[gateway]\nprot = 9001\n").unwrap();
    let wrong = run(place.path(), &["config", "show"]);
    assert!(
        wrong.err.contains("error[CONFIG_UNKNOWN_KEY]")
            && wrong.err.contains("forge.toml:2:1")
            && wrong.err.contains("`port`"),
        "{}",
        wrong.err
    );
}

#[test]
fn the_reference_is_the_page_in_the_docs() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let place = folder();
    assert_eq!(fine(place.path(), &["config", "reference"]).out, std::fs::read_to_string(docs).unwrap());
}

#[test]
fn a_private_database_is_started_found_and_stopped() {
    let place = folder();
    std::fs::write(place.path().join("Cargo.toml"), "[package]\nname = \"my-shop\"\n[dependencies]\nforge = \"0\"\n")
        .unwrap();
    let none = fine(place.path(), &["db", "stop"]);
    assert!(none.err.contains("no private server"), "{}", none.err);
    assert!(!place.path().join(".forge").exists(), "asking makes nothing");

    let url = fine(place.path(), &["db", "url"]).out;
    assert!(url.starts_with("postgresql:///my_shop?host="), "{url}");
    assert_eq!(fine(place.path(), &["db", "url"]).out, url, "the same server");
    let stopped = fine(place.path(), &["db", "stop"]);
    assert!(stopped.err.contains("stopped; the data stays in"), "{}", stopped.err);
    let log = place.path().join(".forge/pg/server.log");
    let before = std::fs::read_to_string(&log).unwrap();
    let again = fine(place.path(), &["db", "stop"]);
    assert!(again.err.contains("no private server of this app is running"), "{}", again.err);
    assert_eq!(std::fs::read_to_string(&log).unwrap(), before, "it is not started to be stopped");

    let configured =
        forge(place.path()).args(["db", "url"]).env("DATABASE_URL", "postgres://elsewhere/x").output().unwrap();
    assert_eq!(
        String::from_utf8(configured.stdout).unwrap(),
        "postgres://elsewhere/x\n",
        "a configured database goes first"
    );

    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { PrivateServer::ensure(Options::dev(place.path())).await?.remove().await }).unwrap();
}

#[test]
fn a_port_that_is_taken_is_told_before_anything_is_started() {
    let place = folder();
    std::fs::write(place.path().join("Cargo.toml"), "[package]\nname = \"shop\"\n[dependencies]\nforge = \"0\"\n").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let refused = run(place.path(), &["dev", "--port", &port.to_string()]);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.err.contains("error[PORT_IN_USE]") && refused.err.contains(&format!("forge dev --port {}", port + 1)),
        "{}",
        refused.err
    );
    assert!(!place.path().join(".forge").exists());
}
