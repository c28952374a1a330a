//! What the attributes make, in a running app: arguments arrive where they belong, rows become models, errors reach the
//! caller.

// Items are `pub` as in an app, where others could reach them.
#![allow(unreachable_pub, missing_docs)]
// A panic in a test is its report.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use forge::ErrorKind;
use forge::prelude::*;
use forge::testing::TestApp;
use serde_json::json;

forge::module!(migrations = "tests/calls/migrations");

#[forge::forge_enum]
#[derive(PartialOrd)]
pub enum NoteState {
    Open,
    InProgress,
    Done,
}

#[forge::model]
#[derive(PartialEq)]
pub struct Note {
    #[id]
    pub id: Uuid,
    #[max_length = 20]
    pub title: String,
    pub state: NoteState,
    #[column = "order"]
    pub place: i64,
    #[jsonb]
    pub extra: Option<Json<BTreeMap<String, i64>>>,
    #[updated_at]
    pub changed: Timestamp,
}

#[forge::input]
pub struct NewNote {
    #[validate(length(min = 1, max = 20))]
    pub title: String,
    pub place: i64,
    pub extra: Option<BTreeMap<String, i64>>,
}

#[derive(Debug, forge::AppError)]
pub enum NoteError {
    #[error(code = "NOTES_FULL", status = 409, message = "there are {count} notes already")]
    Full { count: i64 },
}

impl From<forge::Error> for NoteFailure {
    fn from(error: forge::Error) -> Self {
        Self(error)
    }
}

impl From<NoteError> for NoteFailure {
    fn from(error: NoteError) -> Self {
        Self(error.into())
    }
}

impl From<NoteFailure> for forge::Error {
    fn from(failure: NoteFailure) -> Self {
        failure.0
    }
}

/// An error of one's own that is neither FORGE's nor derived.
#[derive(Debug)]
pub struct NoteFailure(forge::Error);

type NoteResult<T> = std::result::Result<T, NoteFailure>;

#[forge::mutation(role = "writer")]
pub async fn add_note(ctx: &MutationContext, input: NewNote) -> NoteResult<Note> {
    let (count,) = sql!((i64,), "SELECT count(*) FROM notes").fetch_one(ctx.db()).await?;
    if count >= 2 {
        return Err(NoteError::Full { count }.into());
    }
    let extra = input.extra.clone().map(Json);
    let values = [
        Note::TITLE.set(input.title.as_str()),
        Note::PLACE.set(input.place),
        Note::EXTRA.set(extra),
        Note::STATE.set(NoteState::InProgress),
    ];
    Ok(Note::insert(values).fetch_one(ctx.db()).await?)
}

#[derive(forge::FromRow)]
struct Total {
    #[column = "how_many"]
    count: i64,
    highest: Option<i64>,
}

#[forge::query]
pub async fn notes_like(
    ctx: &QueryContext,
    prefix: String,
    states: Vec<NoteState>,
    least: Option<i64>,
) -> Result<Vec<Note>> {
    let pattern = format!("{prefix}%");
    sql!(
        Note,
        r#"SELECT changed, * FROM notes WHERE title LIKE {pattern} AND state = ANY({states}) AND "order" >= coalesce({least}::bigint, 0)
           ORDER BY "order" -- {not_an_argument}"#
    )
    .fetch_all(ctx.db())
    .await
}

#[forge::query(public, snapshot)]
pub async fn totals(ctx: &QueryContext) -> Result<(i64, Option<i64>)> {
    let total =
        sql!(Total, r#"SELECT count(*) AS how_many, max("order") AS highest FROM notes"#).fetch_one(ctx.db()).await?;
    Ok((total.count, total.highest))
}

/// The sum of the numbers up to this one, by calling itself.
#[forge::query(public)]
pub async fn triangle(ctx: &QueryContext, n: u32) -> Result<u32> {
    if n == 0 {
        return Ok(0);
    }
    Ok(n + Box::pin(triangle(ctx, n - 1)).await?)
}

#[forge::query(public)]
pub async fn join(_ctx: &QueryContext, #[validate(length(min = 1))] first: String, second: String) -> Result<String> {
    Ok(format!("{first}-{second}"))
}

/// Only there when it is named.
#[forge::query(public, register = false)]
pub async fn hidden(_ctx: &QueryContext, word: String) -> Result<String> {
    Ok(format!("hidden {word}"))
}

/// Calls it.
#[forge::action(public)]
pub async fn seek(ctx: &ActionContext) -> Result<String> {
    ctx.query(hidden, "here".to_owned()).await
}

fn note(title: &str, place: i64) -> NewNote {
    NewNote { title: title.into(), place, extra: Some(BTreeMap::from([("n".into(), i64::MAX)])) }
}

#[forge::test]
async fn models_go_in_and_come_out(app: TestApp) -> Result<()> {
    let ada = app.user("ada").role("writer");
    let milk = ada.call(add_note, note("Milk", 3)).await?;
    assert_eq!((milk.title.as_str(), milk.state, milk.place), ("Milk", NoteState::InProgress, 3));
    assert_eq!(milk.extra.as_ref().map(|extra| extra["n"]), Some(i64::MAX));

    let args = |states| NotesLike { prefix: "Mi".into(), states, least: None };
    assert_eq!(ada.call(notes_like, args(vec![NoteState::InProgress, NoteState::Done])).await?, [milk]);
    assert_eq!(ada.call(notes_like, args(vec![NoteState::Open])).await?, []);
    assert_eq!(ada.call(notes_like, ("Mi".to_owned(), NoteState::ALL.to_vec(), Some(4))).await?, []);
    assert_eq!(app.anonymous().call(totals, ()).await?, (1, Some(3)));
    Ok(())
}

#[forge::test]
async fn errors_of_the_app_reach_the_caller(app: TestApp) -> Result<()> {
    let ada = app.user("ada").role("writer");
    ada.call(add_note, note("a", 1)).await?;
    ada.call(add_note, note("b", 2)).await?;
    let error = ada.call(add_note, note("c", 3)).await.unwrap_err();
    assert_eq!((error.code(), error.http_status()), ("NOTES_FULL", 409));
    assert_eq!(error.message(), "there are 2 notes already");
    assert_eq!(error.details(), Some(&json!({ "count": "2" })));

    let error = ada.call(add_note, note("", 3)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Validation);
    assert_eq!(error.details(), Some(&json!({ "title": ["must have a length of 1 to 20"] })));
    Ok(())
}

#[forge::test]
async fn arguments_arrive_in_their_places(app: TestApp) -> Result<()> {
    let anybody = app.anonymous();
    let args = Join { first: "a".into(), second: "b".into() };
    assert_eq!(anybody.call(join, args).await?, "a-b");
    let error = anybody.call(join, (String::new(), "b".to_owned())).await.unwrap_err();
    assert_eq!(error.details(), Some(&json!({ "first": ["must not be empty"] })));
    assert_eq!(anybody.call(triangle, 4).await?, 10);
    Ok(())
}

#[forge::test]
async fn who_may_call_is_as_the_attribute_says(app: TestApp) -> Result<()> {
    let kind = async |user: forge::testing::TestUser| user.call(add_note, note("a", 1)).await.unwrap_err().kind();
    assert_eq!(kind(app.anonymous()).await, ErrorKind::Unauthorized);
    assert_eq!(kind(app.user("eve").role("reader")).await, ErrorKind::Forbidden);
    Ok(())
}

#[forge::test]
async fn a_function_that_is_not_registered_is_not_there(app: TestApp) -> Result<()> {
    let anybody = app.anonymous();
    assert_eq!(anybody.call(hidden, "word".to_owned()).await.unwrap_err().kind(), ErrorKind::NotFound);
    let error = anybody.call(seek, ()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.message().contains("`.function(hidden)`"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_function_that_is_named_is_there() -> Result<()> {
    let app = TestApp::start_app(Forge::new().function(hidden).app()?, |_| {}).await?;
    assert_eq!(app.anonymous().call(hidden, "word".to_owned()).await?, "hidden word");
    assert_eq!(app.anonymous().call(seek, ()).await?, "hidden here");
    app.stop().await;
    Ok(())
}

#[test]
fn a_function_is_registered_once() {
    let names = |app: forge::App| app.functions().infos().map(|info| info.name).collect::<Vec<_>>();
    let linked = names(Forge::new().app().unwrap());
    assert!(linked.contains(&"seek") && !linked.contains(&"hidden"), "{linked:?}");
    let named = names(Forge::new().function(hidden).app().unwrap());
    assert_eq!(named.len(), linked.len() + 1);

    // Its attribute has registered it; it was named twice; another one has its name.
    for (forge, name) in [
        (Forge::new().function(seek), "seek"),
        (Forge::new().function(hidden).function(hidden), "hidden"),
        (Forge::new().function(hidden).function(same_name::hidden), "hidden"),
    ] {
        let error = forge.app().unwrap_err();
        assert_eq!(error.code(), "FUNCTION_TWICE");
        assert!(error.message().contains(&format!("`{name}`")), "{error}");
    }
    let error = Forge::new().function(hidden).function(same_name::hidden).app().unwrap_err();
    assert!(error.message().starts_with("two functions are called `hidden`"), "{error}");
    let error = Forge::new().function(seek).app().unwrap_err();
    assert!(error.message().contains("registered twice"), "{error}");
}

mod same_name {
    use forge::prelude::*;

    #[forge::mutation(register = false)]
    pub async fn hidden(_ctx: &MutationContext) -> Result<i32> {
        Ok(1)
    }
}

#[forge::test]
#[should_panic = "on purpose"]
async fn a_test_without_an_app_fails_like_any_other() {
    panic!("on purpose");
}
