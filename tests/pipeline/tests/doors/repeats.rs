//! A mutation that is repeated with the same id takes effect once.

use std::collections::HashSet;

use forge::prelude::*;
use forge::testing::TestApp;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::http::Request;
use crate::support::{Gate, count, token};

fn with_id(function: &str, args: &Value, id: &str) -> Request {
    Request::call(function, args).header("x-forge-mutation-id", id)
}

fn add_note(batch: Uuid, title: &str, id: &str) -> Request {
    with_id("add_note", &json!({"batch": batch, "title": title, "extra": null}), id).bearer(&token::of("ada", &[]))
}

#[forge::test]
async fn a_repeat_gets_the_same_answer_and_does_nothing(app: TestApp) -> Result<()> {
    let (url, batch) = (app.url(), forge::new_uuid());
    let first = add_note(batch, "once", "m-1").send(&url).await.data();
    let again = add_note(batch, "once", "m-1").send(&url).await.data();
    assert_eq!(first, again, "made-up values such as the id and the time included");
    // The same at the other door.
    let args = json!({"batch": batch, "title": "once", "extra": null});
    let counted = with_id("bump", &json!({"name": "a"}), "m-2").send(&url).await.data();
    assert_eq!(counted, "1");
    assert_eq!(with_id("bump", &json!({"name": "a"}), "m-2").send(&url).await.data(), "1");
    assert_eq!(with_id("bump", &json!({"name": "a"}), "m-3").send(&url).await.data(), "2");
    let sql = app.sql().await?;
    assert_eq!(count(&sql, "SELECT count(*) FROM notes").await, 1);
    let other_door = Request::post("/rpc", &json!({"function": "add_note", "args": args}));
    let other_door = other_door.header("x-forge-mutation-id", "m-4").bearer(&token::of("ada", &[]));
    assert_eq!(
        other_door.send(&url).await.failure(),
        (409, "CONFLICT".into()),
        "another id is another call: the title is taken"
    );
    Ok(())
}

#[forge::test]
async fn many_at_once_are_one(app: TestApp) -> Result<()> {
    let url = app.url();
    let sql = app.sql().await?;
    // One that counts (they meet at the row), and one that would trip over what the first of them wrote: its title is unique.
    for round in 0..5 {
        let (name, id) = (format!("c{round}"), format!("bump-{round}"));
        let one = with_id("bump", &json!({"name": name}), &id);
        let answers = join_all((0..16).map(|_| one.send(&url))).await;
        assert!(
            answers.iter().all(|answer| answer.data() == "1"),
            "{:?}",
            answers.iter().map(|a| a.text()).collect::<Vec<_>>()
        );
        let (batch, id) = (forge::new_uuid(), format!("note-{round}"));
        let one = add_note(batch, &format!("note {round}"), &id);
        let answers = join_all((0..16).map(|_| one.send(&url))).await;
        let distinct: HashSet<String> = answers.iter().map(|answer| answer.data().to_string()).collect();
        assert_eq!(distinct.len(), 1, "{distinct:?}");
    }
    assert_eq!(count(&sql, "SELECT count(*) FROM notes").await, 5);
    assert_eq!(count(&sql, "SELECT sum(value)::bigint FROM counters").await, 5);
    Ok(())
}

/// The second one starts while the first is between its write and its commit, and ends after it.
#[forge::test]
async fn a_repeat_beside_the_first_waits_for_its_answer(app: TestApp) -> Result<()> {
    let url = app.url();
    let gate = Gate::shut(app.sql().await?, 5).await;
    let call = || {
        let (request, url) = (with_id("write_gated", &json!({"name": "w", "gate": "5"}), "w-1"), url.clone());
        tokio::spawn(async move { request.send(&url).await })
    };
    let first = call();
    gate.until_waiting(1).await;
    let second = call();
    let sql = app.sql().await?;
    let blocked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event <> 'advisory'";
    crate::support::until("the second waits for the first one's row", async || count(&sql, blocked).await == 1).await;
    gate.open().await;
    assert_eq!((first.await.unwrap().status, second.await.unwrap().status), (200, 200));
    assert_eq!(count(&sql, "SELECT value FROM counters WHERE name = 'w'").await, 1);
    Ok(())
}

#[forge::test]
async fn an_id_belongs_to_one_call_of_one_caller(app: TestApp) -> Result<()> {
    let url = app.url();
    assert_eq!(with_id("bump", &json!({"name": "a"}), "same").send(&url).await.data(), "1");
    let other_args = with_id("bump", &json!({"name": "b"}), "same").send(&url).await;
    assert_eq!(other_args.failure(), (409, "CONFLICT".into()));
    let other_function = with_id("increment", &json!({"name": "a"}), "same").send(&url).await;
    assert_eq!(other_function.failure(), (409, "CONFLICT".into()));
    for user in ["ada", "eve"] {
        let theirs = with_id("bump", &json!({"name": user}), "same").bearer(&token::of(user, &[]));
        assert_eq!(theirs.send(&url).await.data(), "1", "{user}");
        assert_eq!(theirs.send(&url).await.data(), "1", "{user}");
    }
    Ok(())
}

#[forge::test]
async fn a_failed_mutation_is_not_kept(app: TestApp) -> Result<()> {
    let (url, batch) = (app.url(), forge::new_uuid());
    let sql = app.sql().await?;
    sql.execute("INSERT INTO notes (id, batch, title) VALUES ($1, $2, 'taken')", &[&forge::new_uuid(), &batch])
        .await
        .unwrap();
    assert_eq!(add_note(batch, "taken", "f-1").send(&url).await.failure(), (409, "CONFLICT".into()));
    assert_eq!(count(&sql, "SELECT count(*) FROM forge_mutations").await, 0);
    sql.execute("DELETE FROM notes", &[]).await.unwrap();
    assert_eq!(add_note(batch, "taken", "f-1").send(&url).await.data()["title"], "taken");
    for id in ["", "a b", "\u{e9}", &"x".repeat(129)] {
        let answer = with_id("bump", &json!({"name": "a"}), id).send(&url).await;
        assert_eq!(answer.failure(), (400, "INVALID_ARGUMENT".into()), "{id:?}");
    }
    Ok(())
}

/// Tokens do not lie in a table: a repeated sign-in signs in once more.
#[forge::test]
async fn answers_with_tokens_are_not_kept(app: TestApp) -> Result<()> {
    let one = with_id("sign_in_as", &json!({"name": "ada"}), "s-1");
    let (first, second) = (one.send(&app.url()).await.data(), one.send(&app.url()).await.data());
    assert_ne!(first["session"], second["session"]);
    assert_eq!(count(&app.sql().await?, "SELECT count(*) FROM forge_mutations").await, 0);
    Ok(())
}
