//! A new app does everything that its README promises. One test, since it compiles an app and installs its page's packages.

// A panic in a test is its report.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::path::Path;
use std::process::Command;

use forge_pg::{Options, PrivateServer, Templates};
use support::{Said, app, edit, folder, forge, target};

fn succeeds(mut command: Command) -> Said {
    let said: Said = command.output().expect("it starts").into();
    assert_eq!(said.code, Some(0), "{command:?}\n{}{}", said.out, said.err);
    said
}

#[test]
fn a_new_app_works() {
    let place = folder();
    let app = app(place.path(), "my-shop");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let server = runtime.block_on(PrivateServer::ensure(Options::test(workspace))).unwrap();
    let command = |words: &[&str]| {
        let mut command = forge(&app);
        command.args(words).env("FORGE_TEST_DATABASE_URL", server.url("postgres"));
        command
    };

    // The client: written, current, and current no longer.
    succeeds(command(&["generate"]));
    let api = app.join("frontend/src/lib/forge/api.ts");
    assert!(std::fs::read_to_string(&api).unwrap().contains("listItems: query<void, Item[]>('list_items')"));
    assert!(succeeds(command(&["generate", "--check"])).err.contains("the client is current"));
    edit(&app.join("src/lib.rs"), "pub async fn add_item", "pub async fn put_item");
    let outdated: Said = command(&["generate", "--check"]).output().unwrap().into();
    assert_eq!(outdated.code, Some(1));
    assert!(outdated.err.contains("error[GENERATED_OUTDATED]") && outdated.err.contains("api.ts"), "{}", outdated.err);
    edit(&app.join("src/lib.rs"), "pub async fn put_item", "pub async fn add_item");

    // The page: built from it, and without a complaint of the type checker.
    let npm = |words: &[&str]| {
        let mut npm = Command::new("npm");
        npm.args(words).current_dir(app.join("frontend"));
        npm
    };
    succeeds(npm(&["ci"]));
    succeeds(npm(&["run", "build"]));
    assert!(app.join("frontend/dist/index.html").is_file());
    let checked = succeeds(npm(&["run", "check"]));
    assert!(
        checked.out.contains("0 errors and 0 warnings") || checked.out.contains("0 ERRORS 0 WARNINGS"),
        "{}",
        checked.out
    );

    // The back end: its own tests, its SQL on an empty database, its migrations on one that stays.
    let mut tests = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    tests
        .arg("test")
        .current_dir(&app)
        .env("CARGO_TARGET_DIR", target())
        .env("FORGE_TEST_DATABASE_URL", server.url("postgres"));
    let tested = succeeds(tests);
    assert!(tested.out.contains("3 passed"), "{}", tested.out);
    assert!(succeeds(command(&["check"])).err.contains("`my-shop` is fine"));
    let empty = runtime.block_on(Templates::new(&server).database("forge_cli_new", async |_| Ok(()))).unwrap();
    let on = |words: &[&str]| {
        let mut command = command(words);
        command.env("DATABASE_URL", empty.url());
        command
    };
    // Whether live queries will work there: not before it is migrated, and not when what is demanded cannot be had.
    let doctor = |settings: &[(&str, &str)]| -> Said {
        let mut command = on(&["doctor"]);
        command.envs(settings.iter().copied()).output().unwrap().into()
    };
    let early = doctor(&[]);
    assert_eq!(early.code, Some(1), "{}{}", early.out, early.err);
    assert!(early.out.contains("changes are written to  nothing yet"), "{}", early.out);
    assert!(early.err.contains("DOCTOR_FOUND") && early.err.contains("not migrated"), "{}", early.err);
    let applied = succeeds(on(&["migrate"]));
    assert!(applied.err.contains("applying app 0001_items"), "{}", applied.err);
    let status = succeeds(on(&["migrate", "status"])).out;
    assert!(status.lines().any(|line| line.starts_with("applied") && line.contains("0001_items")), "{status}");

    let looked = doctor(&[]);
    assert_eq!(looked.code, Some(0), "{}{}", looked.out, looked.err);
    for words in ["changes are written to  changelog", "this node would use     wal", "ok      wal_level"] {
        assert!(looked.out.contains(words), "{words} in\n{}", looked.out);
    }
    let chosen = doctor(&[("FORGE_REACTIVITY_CAPTURE", "changelog")]);
    assert_eq!(chosen.code, Some(0), "{}", chosen.err);
    assert!(chosen.out.contains("this node would use     changelog: reactivity.capture says so"), "{}", chosen.out);
    let nowhere = doctor(&[("DATABASE_URL", "postgresql:///x?host=/nowhere&user=nobody")]);
    assert_eq!((nowhere.code, &*nowhere.out), (Some(1), ""), "{}", nowhere.err);
    assert!(nowhere.err.contains("DATABASE_UNAVAILABLE"), "{}", nowhere.err);
    // Without a configured one, it is the private server that is looked at.
    let private = succeeds(command(&["db", "url"]));
    assert!(private.out.contains("postgresql:///my_shop?host="), "{}", private.out);
    let looked: Said = command(&["doctor"]).output().unwrap().into();
    succeeds(command(&["db", "stop"]));
    assert_eq!(looked.code, Some(1), "{}", looked.err);
    assert!(looked.out.contains("ok      replication"), "{}", looked.out);
    assert!(looked.err.contains("not migrated"), "{}", looked.err);

    // A statement that does not fit is found, with its place.
    edit(&app.join("src/lib.rs"), "INSERT INTO items (title)", "INSERT INTO items (name)");
    let unfit: Said = command(&["check"]).output().unwrap().into();
    assert_eq!(unfit.code, Some(1));
    assert!(unfit.err.contains("src/lib.rs:") && unfit.err.contains("error[APP_COMMAND_FAILED]"), "{}", unfit.err);
}
