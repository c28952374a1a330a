//! What the check of `sql!` statements finds, and what it leaves alone.

use forge::__rt::db::{CheckedSql, FromRow, Param, Statement, check_these};
use forge::__rt::pg::ToSql;
use forge::prelude::*;
use forge::testing::TestApp;

/// A statement that is checked by hand, as it does not fit.
fn statement(text: &'static str, params: &'static [Param]) -> &'static Statement {
    Box::leak(Box::new(Statement::new(text, "src/events.rs", 7, params)))
}

/// What is found in the statement, without the place and the text that every finding has.
async fn problems<R: FromRow>(app: &TestApp, text: &'static str) -> Vec<String> {
    found(app, &CheckedSql::of::<R>(statement(text, &[]))).await
}

async fn found(app: &TestApp, sql: &CheckedSql) -> Vec<String> {
    let (checked, problems) = check_these(&app.parts().database, [sql]).await.unwrap();
    assert_eq!(checked, 1);
    let text = format!("\n    {}", sql.statement.text());
    problems
        .iter()
        .map(|problem| problem.strip_prefix("src/events.rs:7: ").unwrap().strip_suffix(&text).unwrap().to_owned())
        .collect()
}

/// An event, read by somebody who thinks that all of them are due.
#[derive(forge::FromRow)]
#[allow(dead_code)]
struct Due {
    id: i64,
    #[column = "due"]
    when: Timestamp,
}

#[forge::test]
async fn a_column_that_may_be_null_needs_an_option(app: TestApp) {
    for text in [
        "SELECT id, due FROM events",
        "SELECT * FROM events WHERE id > 3 ORDER BY title",
        "SELECT e.id, e.due FROM events e JOIN events p ON p.id = e.parent",
        "SELECT id, due FROM (SELECT * FROM events) e WHERE title <> ''",
    ] {
        assert_eq!(
            problems::<Due>(&app, text).await,
            [
                "column `due` may be NULL (`events.due` is not NOT NULL), but is read as `Timestamp` into the field `when` of `Due`: \
              write `when: Option<Timestamp>`, make the column NOT NULL in a migration, or leave such rows out with \
              `WHERE due IS NOT NULL`"
            ],
            "{text}"
        );
    }
    let found = problems::<(i64, String)>(&app, "SELECT e.id, s.note AS remark FROM settings s, events e").await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("column `remark` may be NULL (`settings.note`"), "{found:?}");
    assert!(found[0].contains("into the row `(i64, String)`: write `Option<String>` there"), "{found:?}");
}

#[forge::test]
async fn right_code_is_left_alone(app: TestApp) {
    for text in [
        // A condition leaves the NULLs out, or may do so.
        "SELECT id, due FROM events WHERE due IS NOT NULL",
        "SELECT * FROM events WHERE due < now()",
        "SELECT e.* FROM events e WHERE \"due\" > now()",
        "WITH dated AS (SELECT * FROM events WHERE due > now()) SELECT * FROM dated",
        "SELECT * FROM events NATURAL JOIN (SELECT now() AS due) n",
        "SELECT id, due FROM events WHERE title = 'a' INTERSECT SELECT 1, now()",
        // An expression and a view: nobody knows.
        "SELECT id, coalesce(due, now()) AS due FROM events",
        "SELECT * FROM upcoming",
    ] {
        assert_eq!(problems::<Due>(&app, text).await, [""; 0], "{text}");
    }
    // A CHECK, a domain and a computed column are never NULL either.
    assert_eq!(problems::<(i64, String, String, i64)>(&app, "SELECT id, place, shade, twice FROM events").await, [""; 0]);
    // A NOT NULL column on the outer side of a join can be NULL, and need not.
    let outer = "SELECT e.id, p.title FROM events e LEFT JOIN events p ON p.id = e.parent";
    assert_eq!(problems::<(i64, String)>(&app, outer).await, [""; 0]);
    assert_eq!(problems::<(i64, Option<String>)>(&app, outer).await, [""; 0]);
    assert_eq!(problems::<(i64, Option<Timestamp>)>(&app, "SELECT id, due FROM events").await, [""; 0]);
    // What is written was just given.
    assert_eq!(problems::<Timestamp>(&app, "UPDATE events SET due = now() RETURNING due").await, [""; 0]);
    assert_eq!(
        problems::<(i64, Timestamp)>(&app, "INSERT INTO events VALUES (1, 'a', now()) RETURNING id, due").await,
        [""; 0]
    );
}

#[forge::test]
async fn an_argument_of_another_type_is_found_by_name(app: TestApp) {
    const PARAMS: &[Param] = &[
        Param { name: "id", ty: Some("i64"), accepts: Some(<i64 as ToSql>::accepts) },
        Param { name: "event.number", ty: Some("i32"), accepts: Some(<i32 as ToSql>::accepts) },
        Param { name: "unknown", ty: None, accepts: None },
    ];
    let text = "UPDATE events SET title = $2 WHERE id = $1 AND title <> $3";
    assert_eq!(
        found(&app, &CheckedSql::execute(statement(text, PARAMS))).await,
        [
            "the argument `{event.number: i32}` is a `i32`, but the statement takes text there: give it another type, or cast in the \
          statement, as in `{event.number: i32}::bigint`"
        ]
    );
    let text = "SELECT $2 + 1, id FROM events WHERE id = $1 AND title <> $3";
    assert_eq!(found(&app, &CheckedSql::of::<(i32, i64)>(statement(text, PARAMS))).await, [""; 0]);
}

#[forge::query(public)]
pub async fn number_for_a_text(ctx: &QueryContext) -> Result<Option<i64>> {
    let (visits, wanted) = (1_i64, 5_i32);
    sql!(i64, "SELECT visits FROM settings WHERE visits = {visits} AND owner = {wanted}").fetch_optional(ctx.db()).await
}

#[forge::query(public)]
pub async fn the_same_with_another_name(ctx: &QueryContext) -> Result<Option<i64>> {
    let (visits, other) = (1_i64, 5_i32);
    sql!(i64, "SELECT visits FROM settings WHERE visits = {visits} AND owner = {other}").fetch(ctx.db()).try_next().await
}

#[forge::mutation(public)]
pub async fn number_for_a_text_when_written(ctx: &MutationContext) -> Result<u64> {
    let number = 5_i32;
    sql!("UPDATE settings SET theme = {number}").execute(ctx.db()).await
}

#[forge::query(public)]
pub async fn at_run_time(ctx: &QueryContext) -> Result<i64> {
    Ok(i64::try_from(ctx.db().query_dyn("SELECT * FROM settings WHERE visits > $1", &[&"many"]).await?.len())?)
}

#[forge::test]
async fn an_argument_that_cannot_be_sent_is_named(app: TestApp) {
    let caller = app.anonymous();
    let why = caller.call(number_for_a_text, ()).await.unwrap_err();
    assert_eq!(why.code(), "DATABASE_ERROR");
    assert_eq!(
        why.message(),
        "the argument `{wanted}` cannot be sent: cannot convert between the Rust type `i32` and the Postgres type `text`; give it the \
         type that the statement takes there, or cast in the statement, as in `{wanted}::bigint`: \
         SELECT visits FROM settings WHERE visits = $1 AND owner = $2"
    );
    let why = caller.call(the_same_with_another_name, ()).await.unwrap_err();
    assert!(why.message().starts_with("the argument `{other}` cannot be sent"), "{why}");
    let why = caller.call(number_for_a_text_when_written, ()).await.unwrap_err();
    assert!(why.message().starts_with("the argument `{number}` cannot be sent"), "{why}");
    let why = caller.call(at_run_time, ()).await.unwrap_err();
    assert!(why.message().starts_with("the argument `$1` cannot be sent"), "{why}");
    assert!(why.message().ends_with(": SELECT * FROM settings WHERE visits > $1"), "{why}");
}
