//! A small app that exists to be called, killed and cut off.

use std::collections::HashMap;
use std::time::Duration;

use forge::prelude::*;

mod accounts;
mod cached;
mod dispatching;
mod gates;
mod jobs;
mod kept;
mod live;
mod stars;

pub use accounts::*;
pub use cached::*;
pub use dispatching::*;
pub use gates::*;
pub use jobs::*;
pub use kept::*;
pub use live::*;
pub use stars::*;

forge::module!();

/// How it is going.
#[forge::forge_enum]
pub enum Mood {
    /// All is quiet.
    Calm,
    /// Two words, to see how they are written.
    VeryBusy,
}

/// What else is known of a note.
#[forge::input]
#[derive(PartialEq)]
pub struct Extra {
    /// Wider than a number of JavaScript.
    pub big: i64,
    /// Tags.
    pub tags: Vec<String>,
}

/// A note.
#[forge::model]
#[table(name = "notes")]
#[index(fields = ["batch", "position"], name = "notes_batch")]
pub struct Note {
    /// Made when absent.
    #[id]
    pub id: Uuid,
    /// Notes that were written together.
    pub batch: Uuid,
    /// Unique.
    #[unique]
    #[max_length = 50]
    pub title: String,
    /// In the batch.
    pub position: i32,
    /// How it is going.
    pub mood: Mood,
    /// Anything else.
    pub extra: Option<Json<Extra>>,
    /// When it is due.
    pub due: Option<Timestamp>,
    /// When it was made.
    #[default = "now()"]
    pub created_at: Timestamp,
    /// When it was changed.
    #[updated_at]
    pub updated_at: Timestamp,
}

/// Everything that can cross the wire.
#[forge::input]
#[derive(PartialEq)]
pub struct Everything {
    /// Text with rules.
    #[validate(length(min = 1, max = 20))]
    pub text: String,
    /// A small number with rules.
    #[validate(range(min = -5, max = 5))]
    pub small: i32,
    /// A wide number.
    pub wide: i64,
    /// A float.
    pub float: f64,
    /// Maybe a list.
    pub list: Option<Vec<Uuid>>,
    /// A map.
    pub map: HashMap<String, bool>,
    /// A variant.
    pub shape: Shape,
    /// A moment.
    pub at: Timestamp,
    /// Bytes.
    pub bytes: Vec<u8>,
    /// Any JSON.
    pub any: serde_json::Value,
}

/// A variant.
#[forge::input]
#[derive(PartialEq)]
pub enum Shape {
    /// Round.
    Circle {
        /// The radius.
        #[validate(range(min = 0.0, max = 10.0))]
        radius: f64,
    },
    /// With corners.
    Box {
        /// Width and height.
        size: (i32, i64),
    },
}

/// What can go wrong with notes.
#[derive(Debug, forge::AppError)]
pub enum NoteError {
    /// There is no room.
    #[error(code = "BATCH_FULL", status = 409, message = "a batch holds {limit} notes")]
    BatchFull {
        /// How many it holds.
        limit: u32,
    },
}

/// Says hello to anybody.
#[forge::query(public)]
pub async fn hello(_ctx: &QueryContext) -> Result<String> {
    Ok("hello".into())
}

/// Gives back what it gets.
#[forge::query(public)]
pub async fn echo(_ctx: &QueryContext, input: Everything) -> Result<Everything> {
    Ok(input)
}

/// Who is calling.
#[forge::query]
pub async fn whoami(ctx: &QueryContext) -> Result<String> {
    Ok(ctx.require_user()?.id.clone())
}

/// Who is calling, if anybody is signed in.
#[forge::query(public)]
pub async fn guest(ctx: &QueryContext) -> Result<Option<String>> {
    Ok(ctx.auth().user_id().map(str::to_owned))
}

/// Asks who is calling, of a function that is not as public as this one.
#[forge::action(public)]
pub async fn ask_whoami(ctx: &ActionContext) -> Result<String> {
    ctx.query(whoami, ()).await
}

/// For administrators and auditors.
#[forge::query(role = ["admin", "auditor"])]
pub async fn secrets(_ctx: &QueryContext) -> Result<String> {
    Ok("42".into())
}

/// The notes of a batch.
#[forge::query]
pub async fn list_notes(ctx: &QueryContext, batch: Uuid) -> Result<Vec<Note>> {
    Note::query().filter(Note::BATCH.eq(batch)).order_by(Note::POSITION.asc()).fetch_all(ctx.db()).await
}

/// The notes of a batch, by SQL.
#[forge::query]
pub async fn list_notes_sql(ctx: &QueryContext, batch: Uuid, moods: Vec<Mood>) -> Result<Vec<Note>> {
    sql!(Note, "SELECT * FROM notes WHERE batch = {batch} AND mood = ANY({moods}) ORDER BY position")
        .fetch_all(ctx.db())
        .await
}

/// How many notes there are, and the last title.
#[forge::query(public)]
pub async fn count_notes(ctx: &QueryContext) -> Result<(i64, Option<String>)> {
    sql!((i64, Option<String>), "SELECT count(*), max(title) FROM notes").fetch_one(ctx.db()).await
}

/// Two counts in one snapshot, with a pause between them.
#[forge::query(public, snapshot)]
pub async fn count_twice(ctx: &QueryContext, pause_s: f64) -> Result<(i64, i64)> {
    let first = sql!(i64, "SELECT count(*) FROM notes").fetch_one(ctx.db()).await?;
    sql!((), "SELECT pg_sleep({pause_s})").execute(ctx.db()).await?;
    let second = sql!(i64, "SELECT count(*) FROM notes").fetch_one(ctx.db()).await?;
    Ok((first, second))
}

/// Adds a note.
#[forge::mutation]
pub async fn add_note(ctx: &MutationContext, batch: Uuid, title: String, extra: Option<Extra>) -> Result<Note> {
    let position = Note::query().filter(Note::BATCH.eq(batch)).count(ctx.db()).await?;
    if position >= 5 {
        return Err(NoteError::BatchFull { limit: 5 }.into());
    }
    Note::insert([
        Note::BATCH.set(batch),
        Note::TITLE.set(title),
        Note::POSITION.set(position as i32),
        Note::EXTRA.set(extra.map(Json)),
    ])
    .fetch_one(ctx.db())
    .await
}

/// Renames a note.
#[forge::mutation]
pub async fn rename_note(ctx: &MutationContext, id: Uuid, title: String) -> Result<Note> {
    Note::update(id).set(Note::TITLE.set(title)).fetch_one(ctx.db()).await
}

/// Three writes that belong together.
#[forge::mutation(public)]
pub async fn add_three(ctx: &MutationContext, batch: Uuid) -> Result<()> {
    for n in 0..3 {
        let title = format!("{batch} {n}");
        Note::insert([Note::BATCH.set(batch), Note::TITLE.set(title), Note::POSITION.set(n)]).execute(ctx.db()).await?;
    }
    Ok(())
}

/// Counts, by reading and writing: the textbook conflict.
#[forge::mutation(public)]
pub async fn increment(ctx: &MutationContext, name: String) -> Result<i64> {
    count_up(ctx.db(), &name).await
}

/// What [`increment`] does, for whoever does more beside it.
async fn count_up(db: &forge::WriteDb, name: &str) -> Result<i64> {
    let value = sql!(i64, "SELECT value FROM counters WHERE name = {name}").fetch_optional(db).await?;
    let next = value.unwrap_or(0) + 1;
    sql!("INSERT INTO counters (name, value) VALUES ({name}, {next}) ON CONFLICT (name) DO UPDATE SET value = {next}")
        .execute(db)
        .await?;
    Ok(next)
}

/// Takes its time on the database.
#[forge::query(public, timeout = "300ms")]
pub async fn sleep_long(ctx: &QueryContext, seconds: f64) -> Result<()> {
    sql!((), "SELECT pg_sleep({seconds})").fetch_one(ctx.db()).await
}

/// Takes its time inside a transaction, holding a lock.
#[forge::mutation(public, timeout = "300ms")]
pub async fn write_long(ctx: &MutationContext, name: String, seconds: f64) -> Result<()> {
    sql!("INSERT INTO counters (name) VALUES ({name})").execute(ctx.db()).await?;
    sql!((), "SELECT pg_sleep({seconds})").fetch_one(ctx.db()).await
}

/// The same with plenty of time.
#[forge::mutation(public, timeout = "60s")]
pub async fn write_patiently(ctx: &MutationContext, name: String, seconds: f64) -> Result<()> {
    sql!("INSERT INTO counters (name) VALUES ({name})").execute(ctx.db()).await?;
    sql!((), "SELECT pg_sleep({seconds})").fetch_one(ctx.db()).await
}

/// Panics after it wrote.
#[forge::mutation(public)]
#[allow(clippy::panic)]
pub async fn write_and_panic(ctx: &MutationContext, name: String) -> Result<()> {
    sql!("INSERT INTO counters (name) VALUES ({name})").execute(ctx.db()).await?;
    panic!("on purpose");
}

/// Writes, then fails.
#[forge::mutation(public)]
pub async fn write_and_fail(ctx: &MutationContext, name: String) -> Result<()> {
    sql!("INSERT INTO counters (name) VALUES ({name})").execute(ctx.db()).await?;
    Err(Error::conflict("on purpose"))
}

/// Drops the error of a statement.
#[forge::mutation(public)]
pub async fn swallow(ctx: &MutationContext, name: String) -> Result<()> {
    sql!("INSERT INTO counters (name) VALUES ({name})").execute(ctx.db()).await?;
    let failed = sql!("INSERT INTO counters (name) VALUES ({name})").execute(ctx.db()).await;
    assert!(failed.is_err());
    Ok(())
}

/// Leaves a statement alone that takes too long, and says that all is well.
#[forge::mutation(public)]
pub async fn hasten(ctx: &MutationContext, first: Option<String>, slow: String) -> Result<()> {
    if let Some(name) = first {
        sql!("INSERT INTO counters (name) VALUES ({name})").execute(ctx.db()).await?;
    }
    let slow = sql!("INSERT INTO counters (name) VALUES ({slow})");
    let waited = tokio::time::timeout(Duration::from_millis(100), slow.execute(ctx.db())).await;
    assert!(waited.is_err());
    Ok(())
}

/// Writes, and reads a stream that begins in a mutation which is undone.
#[forge::mutation(public)]
pub async fn lose_a_stream(ctx: &MutationContext, name: String) -> Result<()> {
    sql!("INSERT INTO counters (name) VALUES ({name})").execute(ctx.db()).await?;
    let mut rows = sql!(i64, "SELECT generate_series(1, 1000)::int8").fetch(ctx.db());
    let (first, failed) = tokio::join!(rows.try_next(), ctx.mutate(write_and_fail, format!("{name} inner")));
    assert!(first.is_ok() && failed.is_err());
    Ok(())
}

/// Calls a mutation that fails, and goes on.
#[forge::mutation(public)]
pub async fn nest(ctx: &MutationContext, name: String) -> Result<String> {
    sql!("INSERT INTO counters (name) VALUES ({name})").execute(ctx.db()).await?;
    let inner = format!("{name} inner");
    let failed = ctx.mutate(write_and_fail, inner.clone()).await;
    assert!(failed.is_err());
    // Two at the same time take turns; each calls one more.
    let (a, b) = tokio::join!(ctx.mutate(nest_deeper, format!("{name} a")), ctx.mutate(nest_deeper, format!("{name} b")));
    assert_eq!((a?, b?), (1, 1));
    ctx.query(hello, ()).await
}

/// Calls a mutation from a mutation that was called from one.
#[forge::mutation(public)]
pub async fn nest_deeper(ctx: &MutationContext, name: String) -> Result<i64> {
    assert!(ctx.mutate(write_and_fail, format!("{name} fails")).await.is_err());
    ctx.mutate(increment, name).await
}

/// Tries to write although it is a query.
#[forge::query(public)]
pub async fn write_in_query(ctx: &QueryContext, name: String) -> Result<u64> {
    sql!("INSERT INTO counters (name) VALUES ({name})").execute(ctx.db()).await
}

/// Tries to write through a data-modifying function call.
#[forge::query(public)]
pub async fn write_by_setting(ctx: &QueryContext) -> Result<i64> {
    ctx.db().query_dyn("SELECT set_config('default_transaction_read_only', 'off', false)", &[]).await?;
    Ok(0)
}

/// What the audit context of a mutation looks like from SQL.
#[forge::mutation]
pub async fn audit(ctx: &MutationContext) -> Result<(String, String, String)> {
    sql!(
        (String, String, String),
        "SELECT current_setting('forge.user_id'), current_setting('forge.function_name'), current_setting('forge.trace_id')"
    )
    .fetch_one(ctx.db())
    .await
}

/// Counts in PostgreSQL's own isolation.
#[forge::mutation(public, isolation = "read_committed")]
pub async fn isolation_of(ctx: &MutationContext) -> Result<String> {
    sql!(String, "SELECT current_setting('transaction_isolation')").fetch_one(ctx.db()).await
}

/// An action that reaches the database through functions.
#[forge::action(public)]
pub async fn count_in_action(ctx: &ActionContext, name: String) -> Result<(i64, String)> {
    let value = ctx.mutate(increment, name).await?;
    let greeting = ctx.query(hello, ()).await?;
    Ok((value, greeting))
}

/// An action that calls what its caller may not.
#[forge::action(public)]
pub async fn overreach(ctx: &ActionContext) -> Result<String> {
    ctx.query(secrets, ()).await
}

/// Fetches a URL.
#[forge::action(public)]
pub async fn fetch(ctx: &ActionContext, url: String) -> Result<(i32, String)> {
    let answer = ctx.http().get(&url).send().await?;
    Ok((i32::from(answer.status()), answer.text().await?))
}

/// Returns more than is allowed.
#[forge::query(public)]
pub async fn too_much(_ctx: &QueryContext, bytes: u32) -> Result<String> {
    Ok("x".repeat(bytes as usize))
}

/// The cluster as this node sees it: its own id, and each node's with its status; then who leads, and in which term.
#[forge::query(public)]
pub async fn cluster(ctx: &QueryContext) -> Result<String> {
    let info = ctx.cluster();
    let id = |id: Option<Uuid>| id.map_or_else(|| "nobody".to_owned(), |id| id.to_string());
    let nodes: Vec<String> = info.nodes().iter().map(|node| format!("{}={}", node.id, node.status.as_str())).collect();
    let leader = info.scheduler_leader();
    let term = leader.map_or(0, |leader| leader.term);
    Ok(format!("{} {} {} {term}", id(info.me()), nodes.join(","), id(leader.map(|leader| leader.node))))
}
