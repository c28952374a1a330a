//! Calls through the whole pipeline, on a real database.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use forge::Uuid;
use forge::prelude::*;
use forge::testing::TestApp;
use pipeline::*;

fn everything() -> Everything {
    Everything {
        text: "é✓".into(),
        small: -5,
        wide: i64::MAX,
        float: 0.1,
        list: Some(vec![Uuid::nil()]),
        map: HashMap::from([("k".into(), true)]),
        shape: Shape::Box { size: (1, i64::MIN) },
        at: "2026-11-22T19:36:46.123456Z".parse().unwrap(),
        bytes: vec![0, 255],
        any: serde_json::json!({"n": 9007199254740993_i64, "deep": [[null]]}),
    }
}

#[forge::test]
async fn every_type_survives_the_way_there_and_back(app: TestApp) -> Result<()> {
    assert_eq!(app.anonymous().call(echo, everything()).await?, everything());
    Ok(())
}

#[forge::test]
async fn broken_rules_are_told_all_at_once(app: TestApp) {
    let input = Everything { text: String::new(), small: 6, shape: Shape::Circle { radius: 11.0 }, ..everything() };
    let error = app.anonymous().call(echo, input).await.unwrap_err();
    assert_eq!(error.code(), "VALIDATION_ERROR");
    let fields: Vec<&String> = error.details().unwrap().as_object().unwrap().keys().collect();
    assert_eq!(fields, ["shape.radius", "small", "text"]);
}

#[forge::test]
async fn functions_are_private_unless_they_say_otherwise(app: TestApp) -> Result<()> {
    assert_eq!(app.anonymous().call(hello, ()).await?, "hello");
    assert_eq!(app.anonymous().call(whoami, ()).await.unwrap_err().code(), "UNAUTHORIZED");
    assert_eq!(app.user("ada").call(whoami, ()).await?, "ada");
    assert_eq!(app.anonymous().call(secrets, ()).await.unwrap_err().code(), "UNAUTHORIZED");
    assert_eq!(app.user("ada").role("editor").call(secrets, ()).await.unwrap_err().code(), "FORBIDDEN");
    assert_eq!(app.user("ada").role("auditor").call(secrets, ()).await?, "42");
    // An action does not lend its caller any rights.
    assert_eq!(app.anonymous().call(overreach, ()).await.unwrap_err().code(), "UNAUTHORIZED");
    Ok(())
}

#[forge::test]
async fn models_are_written_and_read(app: TestApp) -> Result<()> {
    let ada = app.user("ada");
    let batch = forge::new_uuid();
    let extra = Extra { big: i64::MAX, tags: vec!["a".into()] };
    let first = ada.call(add_note, AddNote { batch, title: "first".into(), extra: Some(extra.clone()) }).await?;
    assert_eq!(first.extra, Some(Json(extra)));
    assert_eq!((first.mood, first.position, first.due), (Mood::Calm, 0, None));
    let second = ada.call(add_note, AddNote { batch, title: "second".into(), extra: None }).await?;
    // Ids made later sort later.
    assert!(second.id > first.id);
    let renamed = ada.call(rename_note, RenameNote { id: first.id, title: "renamed".into() }).await?;
    assert!(renamed.updated_at > first.updated_at);
    let titles = |notes: Vec<Note>| notes.into_iter().map(|note| note.title).collect::<Vec<_>>();
    assert_eq!(titles(ada.call(list_notes, batch).await?), ["renamed", "second"]);
    let moods = vec![Mood::Calm, Mood::VeryBusy];
    assert_eq!(titles(ada.call(list_notes_sql, ListNotesSql { batch, moods }).await?), ["renamed", "second"]);
    assert_eq!(ada.call(count_notes, ()).await?, (2, Some("second".into())));
    Ok(())
}

#[forge::test]
async fn what_the_data_forbids_is_a_conflict_with_a_name(app: TestApp) -> Result<()> {
    let ada = app.user("ada");
    let batch = forge::new_uuid();
    ada.call(add_note, AddNote { batch, title: "one".into(), extra: None }).await?;
    let taken = ada.call(add_note, AddNote { batch, title: "one".into(), extra: None }).await.unwrap_err();
    assert_eq!((taken.code(), taken.http_status()), ("CONFLICT", 409));
    assert!(taken.message().contains("notes_title_key"), "{taken}");
    let missing = ada.call(rename_note, RenameNote { id: Uuid::nil(), title: "x".into() }).await.unwrap_err();
    assert_eq!(missing.code(), "NOT_FOUND");
    let long = ada.call(rename_note, RenameNote { id: Uuid::nil(), title: "x".repeat(51) }).await;
    assert!(long.is_err());
    for n in 1..5 {
        ada.call(add_note, AddNote { batch, title: format!("n{n}"), extra: None }).await?;
    }
    let full = ada.call(add_note, AddNote { batch, title: "too many".into(), extra: None }).await.unwrap_err();
    assert_eq!((full.code(), full.http_status()), ("BATCH_FULL", 409));
    assert_eq!(full.details().unwrap(), &serde_json::json!({"limit": 5}));
    Ok(())
}

#[forge::test]
async fn a_mutation_is_all_or_nothing(app: TestApp) -> Result<()> {
    let somebody = app.anonymous();
    assert_eq!(somebody.call(write_and_fail, "fails".to_owned()).await.unwrap_err().message(), "on purpose");
    assert_eq!(somebody.call(write_and_panic, "panics".to_owned()).await.unwrap_err().code(), "INTERNAL_ERROR");
    // A dropped error of a statement would otherwise turn COMMIT into ROLLBACK without a word.
    assert_eq!(somebody.call(swallow, "swallows".to_owned()).await.unwrap_err().code(), "INTERNAL_ERROR");
    assert_eq!(somebody.call(nest, "nests".to_owned()).await?, "hello");
    let rows = app.sql().await?.query("SELECT name FROM counters ORDER BY name", &[]).await.unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(names, ["nests", "nests a", "nests b"]);
    Ok(())
}

#[forge::test]
async fn a_stream_that_ends_with_what_it_began_in_lets_nobody_be_told_of_what_is_undone(app: TestApp) -> Result<()> {
    let sql = app.sql().await?;
    for n in 0..20 {
        let name = format!("c{n}");
        let answer = app.anonymous().call(lose_a_stream, name.clone()).await;
        let there = sql.query("SELECT FROM counters WHERE name = $1", &[&name]).await.unwrap().len();
        assert_eq!(there, usize::from(answer.is_ok()), "{answer:?}");
    }
    Ok(())
}

#[forge::test]
async fn what_is_not_waited_for_is_not_taken_for_written(app: TestApp) -> Result<()> {
    let (sql, other) = (app.sql().await?, app.sql().await?);
    // Somebody else is about to write the same.
    sql.batch_execute("BEGIN; INSERT INTO counters (name) VALUES ('slow')").await.unwrap();
    for first in [Some("first".to_owned()), None] {
        let refused = app.anonymous().call(hasten, (first.clone(), "slow".to_owned())).await.unwrap_err();
        assert!(refused.message().contains("not waited for"), "{first:?}: {refused:?}");
    }
    sql.batch_execute("COMMIT").await.unwrap();
    let names: Vec<String> =
        other.query("SELECT name FROM counters", &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(names, ["slow"]);
    Ok(())
}

#[forge::test]
async fn a_query_cannot_write(app: TestApp) -> Result<()> {
    let somebody = app.anonymous();
    assert_eq!(somebody.call(write_in_query, "x".to_owned()).await.unwrap_err().code(), "DATABASE_ERROR");
    // Even settings that would allow it do not outlive their statement.
    for _ in 0..20 {
        somebody.call(write_by_setting, ()).await?;
    }
    assert_eq!(somebody.call(write_in_query, "x".to_owned()).await.unwrap_err().code(), "DATABASE_ERROR");
    let count = app.sql().await?.query_one("SELECT count(*) FROM counters", &[]).await.unwrap();
    assert_eq!(count.get::<_, i64>(0), 0);
    Ok(())
}

#[forge::test]
async fn a_mutation_carries_its_audit_context(app: TestApp) -> Result<()> {
    let (user, function, trace) = app.user("ada; DROP TABLE notes --'").call(audit, ()).await?;
    assert_eq!((user.as_str(), function.as_str()), ("ada; DROP TABLE notes --'", "audit"));
    assert_eq!(trace.len(), 32);
    assert_eq!(app.anonymous().call(isolation_of, ()).await?, "read committed");
    Ok(())
}

#[forge::test]
async fn a_snapshot_does_not_move(app: TestApp) -> Result<()> {
    let somebody = app.anonymous();
    let counting = tokio::spawn({
        let somebody = somebody.clone();
        async move { somebody.call(count_twice, 0.5).await }
    });
    // The first count has been taken once its second statement sleeps.
    let sql = app.sql().await?;
    wait_for(&sql, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'SELECT pg_sleep%' AND state = 'active'", 1).await;
    somebody.call(add_three, forge::new_uuid()).await?;
    assert_eq!(counting.await.unwrap()?, (0, 0));
    assert_eq!(somebody.call(count_twice, 0.0).await?, (3, 3));
    Ok(())
}

#[forge::test]
async fn an_action_reaches_the_database_through_functions(app: TestApp) -> Result<()> {
    let somebody = app.anonymous();
    assert_eq!(somebody.call(count_in_action, "a".to_owned()).await?, (1, "hello".into()));
    assert_eq!(somebody.call(count_in_action, "a".to_owned()).await?, (2, "hello".into()));
    Ok(())
}

#[forge::test]
async fn what_is_too_large_is_refused(app: TestApp) -> Result<()> {
    let somebody = app.anonymous();
    assert_eq!(somebody.call(too_much, 1000_u32).await?.len(), 1000);
    assert_eq!(somebody.call(too_much, 1_100_000_u32).await.unwrap_err().code(), "PAYLOAD_TOO_LARGE");
    let mut deep = serde_json::json!(null);
    for _ in 0..100 {
        deep = serde_json::json!([deep]);
    }
    let error = somebody.call(echo, Everything { any: deep, ..everything() }).await.unwrap_err();
    assert_eq!(error.code(), "PAYLOAD_TOO_LARGE");
    Ok(())
}

#[forge::test]
async fn too_slow_calls_end_and_leave_nothing_running(app: TestApp) -> Result<()> {
    let somebody = app.anonymous();
    let sql = app.sql().await?;
    let running = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'";
    assert_eq!(somebody.call(sleep_long, 20.0).await.unwrap_err().code(), "TIMEOUT");
    wait_for(&sql, running, 0).await;
    let late = WriteLong { name: "late".into(), seconds: 20.0 };
    assert_eq!(somebody.call(write_long, late).await.unwrap_err().code(), "TIMEOUT");
    wait_for(&sql, running, 0).await;
    // An abandoned call: its future is dropped while the database works.
    let abandoned = tokio::spawn({
        let somebody = somebody.clone();
        async move { somebody.call(write_patiently, WritePatiently { name: "left".into(), seconds: 20.0 }).await }
    });
    wait_for(&sql, running, 1).await;
    abandoned.abort();
    wait_for(&sql, running, 0).await;
    let count = sql.query_one("SELECT count(*) FROM counters", &[]).await.unwrap();
    assert_eq!(count.get::<_, i64>(0), 0);
    // And the pool is none the worse.
    assert_eq!(somebody.call(increment, "after".to_owned()).await?, 1);
    Ok(())
}

#[forge::test]
async fn conflicts_are_retried_until_everybody_is_through(app: TestApp) -> Result<()> {
    let somebody = app.anonymous();
    let callers = (0..16).map(|_| {
        let somebody = somebody.clone();
        tokio::spawn(async move {
            for _ in 0..10 {
                somebody.call(increment, "hot".to_owned()).await?;
            }
            Ok::<_, Error>(())
        })
    });
    for caller in futures_util::future::join_all(callers).await {
        caller.unwrap()?;
    }
    assert_eq!(somebody.call(increment, "hot".to_owned()).await?, 161);
    Ok(())
}

#[forge::test]
async fn a_changed_table_disturbs_nobody(app: TestApp) -> Result<()> {
    let ada = app.user("ada");
    let batch = forge::new_uuid();
    ada.call(add_note, AddNote { batch, title: "one".into(), extra: None }).await?;
    let sql = app.sql().await?;
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let callers: Vec<_> = (0..4)
        .map(|n| {
            let (ada, stop) = (ada.clone(), stop.clone());
            tokio::spawn(async move {
                let mut calls = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let moods = vec![Mood::Calm];
                    ada.call(list_notes_sql, ListNotesSql { batch, moods }).await?;
                    ada.call(list_notes, batch).await?;
                    ada.call(increment, format!("c{n}")).await?;
                    calls += 1;
                }
                Ok::<_, Error>(calls)
            })
        })
        .collect();
    for n in 0..10 {
        sql.batch_execute(&format!("ALTER TABLE notes ADD COLUMN extra_{n} int DEFAULT {n}")).await.unwrap();
        sql.batch_execute(
            "ALTER TABLE notes ALTER COLUMN position TYPE bigint; ALTER TABLE notes ALTER COLUMN position TYPE integer",
        )
        .await
        .unwrap();
        sql.batch_execute(&format!("ALTER TABLE counters ADD COLUMN extra_{n} int")).await.unwrap();
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for caller in callers {
        assert!(caller.await.unwrap()? > 0);
    }
    Ok(())
}

/// Waits until a counting statement gives a number.
async fn wait_for(sql: &tokio_postgres::Client, statement: &str, wanted: i64) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let count: i64 = sql.query_one(statement, &[]).await.unwrap().get(0);
        if count == wanted {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{count} instead of {wanted}: {statement}");
        tokio::task::yield_now().await;
    }
}
