//! Migrations beside each other and beside writers.

use std::sync::Arc;
use std::time::Duration;

use forge::Config;
use forge::prelude::*;
use forge_runtime::config::{Mode, Secret};
use forge_runtime::migrate::{Migration, Migrator, Progress};
use tokio::sync::Notify;

use crate::support::server::{connect, empty_database};
use crate::support::{PATIENCE, count, until};

fn migrator(url: &str, files: &[(&str, &str)]) -> Result<Migrator> {
    let mut config = Config::defaults(Mode::Test);
    config.database.url = Some(Secret::new(url));
    config.migrations.deadline = Duration::from_secs(60);
    config.migrations.lock_timeout = Duration::from_secs(30);
    let files = files.iter().map(|(file, sql)| Migration::parse("app", file, sql)).collect::<Result<_>>()?;
    Migrator::new(&config.database, &config.migrations, files)
}

const TABLE: (&str, &str) = ("0001_cards.sql", "CREATE TABLE cards (id int PRIMARY KEY, title text, state text);");

/// One file with two statements that no transaction may hold. A migrator that waited for another one inside the server would hold a
/// snapshot, for which the index would wait: neither would ever end.
#[tokio::test]
async fn indexes_are_built_concurrently_while_another_migrator_waits() -> Result<()> {
    let database = empty_database().await?;
    let url = database.url().to_owned();
    migrator(&url, &[TABLE])?.run(|_| {}).await?;
    let concurrently = (
        "0002_indexes.sql",
        "-- @transactional false\nCREATE INDEX CONCURRENTLY cards_title ON cards (title);\n\
         -- A comment; with a semicolon.\nCREATE INDEX CONCURRENTLY cards_state ON cards (state);\n",
    );
    // A writer whose transaction is open holds the first of them up.
    let (writer, sql) = (connect(&url).await, connect(&url).await);
    writer.batch_execute("BEGIN; INSERT INTO cards VALUES (1, 'a', 'b')").await.unwrap();
    let run = |waits: Arc<Notify>| {
        let migrator = migrator(&url, &[TABLE, concurrently]);
        tokio::spawn(async move {
            migrator?
                .run(|progress| {
                    if matches!(progress, Progress::Waiting(_)) {
                        waits.notify_one();
                    }
                })
                .await
        })
    };
    let first = run(Arc::default());
    let building = "SELECT count(*) FROM pg_stat_progress_create_index WHERE datname = current_database() AND phase LIKE 'waiting for writers%'";
    until("the index waits for the writer", async || count(&sql, building).await == 1).await;
    let waits: Arc<Notify> = Arc::default();
    let second = run(waits.clone());
    tokio::time::timeout(PATIENCE, waits.notified()).await.expect("the second one did not notice the first");
    assert!(!first.is_finished() && !second.is_finished());
    writer.batch_execute("COMMIT").await.unwrap();
    let (first, second) =
        tokio::time::timeout(PATIENCE, async { (first.await, second.await) }).await.expect("they hold each other up");
    assert_eq!((first.unwrap()?, second.unwrap()?), (1, 0));
    let valid = "SELECT count(*) FROM pg_index WHERE indrelid = 'cards'::regclass AND indisvalid";
    assert_eq!(count(&sql, valid).await, 3, "the key and both of them");
    database.remove().await
}

#[tokio::test]
async fn a_failed_migration_leaves_nothing_and_can_be_mended() -> Result<()> {
    let database = empty_database().await?;
    let sql = connect(database.url()).await;
    let broken =
        ("0002_more.sql", "CREATE TABLE more (id int);\nINSERT INTO more VALUES (1);\n\nINSERT INTO mroe VALUES (2);");
    let error = migrator(database.url(), &[TABLE, broken])?.run(|_| {}).await.unwrap_err();
    assert_eq!(error.code(), "MIGRATION_FAILED");
    assert!(
        error.message().contains("0002_more") && error.message().contains("line 4") && error.message().contains("mroe"),
        "{error}"
    );
    assert_eq!(count(&sql, "SELECT count(*) FROM forge_migrations WHERE set = 'app'").await, 1, "those before it stay");
    assert_eq!(count(&sql, "SELECT count(*) FROM pg_class WHERE relname = 'more'").await, 0, "nothing of it stays");
    let mended = ("0002_more.sql", "CREATE TABLE more (id int);");
    assert_eq!(migrator(database.url(), &[TABLE, mended])?.run(|_| {}).await?, 1);
    // Once applied, it is not edited any more: not even what would come after it is applied.
    let edited = ("0002_more.sql", "CREATE TABLE more (id bigint);");
    let new = ("0003_new.sql", "CREATE TABLE new (id int);");
    let error = migrator(database.url(), &[TABLE, edited, new])?.run(|_| {}).await.unwrap_err();
    assert_eq!(error.code(), "MIGRATION_CHANGED");
    assert_eq!(count(&sql, "SELECT count(*) FROM pg_class WHERE relname = 'new'").await, 0);
    database.remove().await
}

#[tokio::test]
async fn what_a_migration_sets_is_not_set_for_what_follows() -> Result<()> {
    let database = empty_database().await?;
    let sql = connect(database.url()).await;
    // As a dump begins.
    let settings = "SELECT set_config('search_path', '', false); SET lock_timeout = '1ms'; SET ROLE pg_monitor;";
    let dump = format!("CREATE TABLE public.dumped (id int); {settings}");
    let apart = format!("-- @transactional false\nCREATE TABLE apart (id int); {settings}");
    let files =
        [("0001_dump.sql", dump.as_str()), ("0002_apart.sql", &apart), ("0003_after.sql", "CREATE TABLE after (id int);")];
    assert!(migrator(database.url(), &files)?.run(|_| {}).await? > 2);
    let theirs = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tableowner = current_user
                  AND tablename IN ('dumped', 'apart', 'after')";
    assert_eq!(count(&sql, theirs).await, 3);
    database.remove().await
}
