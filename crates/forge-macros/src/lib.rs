//! The attributes of FORGE: parse, check, expand to calls of plain functions.
//!
//! One module per macro. Each reads what the user wrote into a small model, collects every mistake on the way
//! (`mistakes`), and expands to code whose paths all begin with `::forge::__rt`. When there are mistakes the user's item
//! stays, with everything that other code refers to, so that one mistake is reported once.
//!
//! Apps use these through the crate `forge`, where they are documented with examples that compile.

mod app_error;
mod attrs;
mod cron;
mod durations;
mod forge_enum;
mod from_row;
mod function;
mod handler;
mod input;
mod job;
mod keys;
mod mistakes;
mod model;
mod module;
mod names;
mod planned;
mod rules;
mod spans;
mod sql;
mod test;
mod types;
mod wire_field;
mod wire_type;

use function::Kind;
use proc_macro::TokenStream;

/// Makes a function that reads.
///
/// ```ignore
/// /// The cards of a column, in order.
/// #[forge::query]
/// pub async fn list_cards(ctx: &QueryContext, column_id: Uuid) -> Result<Vec<Card>> {
///     Ok(sql!(Card, "SELECT * FROM cards WHERE column_id = {column_id} ORDER BY position").fetch_all(ctx.db()).await?)
/// }
/// ```
///
/// `list_cards` becomes a value that names the function (`ctx.query(list_cards, ListCards { column_id })`), and
/// `ListCards` the type of its arguments, on the wire `{"columnId": ".."}`. A single parameter whose type is a
/// `#[forge::input]` struct is the arguments' object itself.
///
/// | key | meaning | when left out |
/// |---|---|---|
/// | `public` | anybody may call it | the caller must be signed in |
/// | `role = "editor"`, `role = ["editor", "admin"]` | the caller needs one of these roles | any caller who is signed in |
/// | `timeout = "5s"` | how long it may take (`ms`, `s`, `m`, `h`, `d`) | `function.timeout` of the configuration |
/// | `name = "other_name"` | its name on the wire: `[a-z][a-z0-9_]*` | the function's name |
/// | `snapshot` | all its statements see the data of one moment | each statement sees what was committed before it |
/// | `register = false` | the app has it only when `Forge::function(list_cards)` names it | every program that links it has it |
///
/// Every key may also stand as an attribute of its own below: `#[timeout = "5s"]`, `#[public]`. A parameter may have rules:
/// `#[validate(length(max = 80))] search: String`.
///
/// Inside of the function its own name means the function itself, so that it may call itself. The type of the arguments has
/// the function's name in capitals, so a function cannot be called like a type beside it: name it after what it does
/// (`get_card`), not after what it returns (`card`).
#[proc_macro_attribute]
pub fn query(args: TokenStream, item: TokenStream) -> TokenStream {
    function::expand(Kind::Query, args.into(), item.into()).into()
}

/// Makes a function that writes, in one transaction that commits when it returns `Ok`.
///
/// ```ignore
/// #[forge::mutation(role = "editor")]
/// pub async fn add_card(ctx: &MutationContext, input: NewCard) -> Result<Card> { .. }
/// ```
///
/// The keys are those of [`macro@query`] without `snapshot`, and:
///
/// | key | meaning | when left out |
/// |---|---|---|
/// | `isolation = "read_committed"` | each statement sees what was committed before it; nothing is retried | `"serializable"`: as if mutations ran one after the other, retried on conflict |
#[proc_macro_attribute]
pub fn mutation(args: TokenStream, item: TokenStream) -> TokenStream {
    function::expand(Kind::Mutation, args.into(), item.into()).into()
}

/// Makes a function that talks to the outside world, and to the database only through queries and mutations.
///
/// ```ignore
/// #[forge::action(timeout = "60s")]
/// pub async fn import_from_url(ctx: &ActionContext, url: String) -> Result<u32> { .. }
/// ```
///
/// The keys are those of [`macro@query`] without `snapshot`.
#[proc_macro_attribute]
pub fn action(args: TokenStream, item: TokenStream) -> TokenStream {
    function::expand(Kind::Action, args.into(), item.into()).into()
}

/// Makes a job: a unit of work that is put into a queue, done by a worker, and tried again when it fails.
///
/// ```ignore
/// /// Tells whoever watches a card what became of it.
/// #[forge::job(queue = "mail", priority = "high", retry(max_attempts = 5), idempotent(key = "card_id"))]
/// pub async fn notify_watchers(ctx: &JobContext, input: NotifyWatchers) -> Result<()> { .. }
///
/// ctx.dispatch_job(NotifyWatchers { card_id }).await?;
/// ```
///
/// An input names its job. When the only parameter is a `#[forge::input]` struct of the same crate, that is the input, and belongs to
/// this job alone: a second job with it does not compile (`conflicting implementations of trait JobInput`); give each its own
/// struct. Otherwise `NotifyWatchers`, the function's name in capitals, is made of the parameters.
///
/// | key | meaning | when left out |
/// |---|---|---|
/// | `queue = "mail"` | the queue it waits in | `"default"` |
/// | `priority = "high"`, `priority = 75` | `background` 0, `low` 25, `normal` 50, `high` 75, `critical` 100 | `normal` |
/// | `timeout = "5m"` | how long an attempt may take | an hour |
/// | `capability = "media"` (or `worker_capability`) | only workers that say so run it | `"general"` |
/// | `retry(..)` | see below | three attempts |
/// | `idempotent`, `idempotent(key = "card_id")` | at most one live job for each input, or for each value of these fields; dispatching another gives the first | any number |
/// | `concurrency(limit = 10, key = "board_id")` | at most so many at the same time in the cluster, or for each value of these fields | as many as there is room for |
/// | `rate_limit(count = 100, per = "1m")` | at most so many attempts begun within the time in the cluster; `per` may be `"second"`, `"minute"`, `"hour"`, `"day"`; `requests` is another word for `count` | any number |
/// | `retain = "7d"` | how long it is kept when it is completed or cancelled | a week |
/// | `dead_letter(retain = "7d")` | how long it is kept when it has failed for good | a week |
/// | `role = "admin"`, `role = ["..", ".."]` | who may follow it, besides whoever dispatched it | nobody |
/// | `name = "other_name"` | its name in rows, logs and metrics: `[a-z][a-z0-9_]*` | the function's name |
/// | `register = false` | the app has it only when `Forge::job(notify_watchers)` names it | every program that links it has it |
///
/// | in `retry(..)` | meaning | when left out |
/// |---|---|---|
/// | `max_attempts = 5` | how often it is run in all | 3 |
/// | `backoff = "exponential"` | the waiting time doubles; `"linear"`: grows by the first; `"fixed"`: stays | `"exponential"` |
/// | `initial = "1s"` | the first waiting time | a second |
/// | `max_backoff = "5m"` | the longest | five minutes |
/// | `jitter = false` | not to make each up to a quarter shorter or longer by chance | `true` |
/// | `on = ["TIMEOUT"]` | the codes of the errors that are worth another attempt | all errors |
///
/// Every key may also stand as an attribute of its own below: `#[retry(max_attempts = 5)]`, `#[idempotent]`. A key that is several
/// fields is a list: `key = ["board_id", "user_id"]`.
#[proc_macro_attribute]
pub fn job(args: TokenStream, item: TokenStream) -> TokenStream {
    job::expand(args.into(), item.into()).into()
}

/// Makes a cron: what is done at certain times of the clock, once in the whole cluster.
///
/// ```ignore
/// #[forge::cron("0 9 * * MON-FRI", timezone = "Asia/Colombo", catch_up = true, catch_up_limit = 3)]
/// pub async fn daily_digest(ctx: &CronContext) -> Result<()> { .. }
///
/// #[forge::cron(every = "5m")]
/// pub async fn sweep(ctx: &CronContext) -> Result<()> { .. }
/// ```
///
/// An expression has five parts, `minute hour day-of-month month day-of-week`, or six with the second before them. A part is `*`, a
/// number or a name (`MON`, `JAN`), a range (`9-17`), a step (`*/15`, `9-17/2`) or a list of these; for days there is `L` (the last of
/// the month), `LW` and `15W` (the nearest working day), `FRI#2` and `FRIL` (the second, the last Friday). When both kinds of day are
/// given, either is enough. `@hourly`, `@daily`, `@weekly`, `@monthly` and `@yearly` stand for expressions.
///
/// A local time that does not exist, as clocks are put forward, is left out; one that exists twice is due at the first.
///
/// | key | meaning | when left out |
/// |---|---|---|
/// | `every = "5m"` | instead of an expression: each time so much has passed, counted from midnight in UTC; a part of a minute, of an hour or of a day | |
/// | `daily_at = "09:00"` | instead of an expression: once a day | |
/// | `timezone = "Europe/Berlin"` | where the clock stands | `"UTC"` |
/// | `catch_up = true` | times that passed while no scheduler ran are made up for | they are left out, counted and logged |
/// | `catch_up_limit = 3` | how many at most of those that are more than a minute late, the newest | 10 |
/// | `overlap = "skip"` | when the last run is not finished: `"skip"` leaves the time out, `"queue"` waits, `"allow"` runs both | `"skip"`, with `catch_up` `"queue"` |
///
/// A run is a job, so `timeout`, `retry(..)`, `queue`, `priority`, `capability`, `name` and `register` are those of [`macro@job`].
#[proc_macro_attribute]
pub fn cron(args: TokenStream, item: TokenStream) -> TokenStream {
    cron::expand(args.into(), item.into()).into()
}

/// Not available yet.
#[proc_macro_attribute]
pub fn workflow(_: TokenStream, item: TokenStream) -> TokenStream {
    planned::expand("workflow", item.into()).into()
}

/// Makes a struct or an enum that crosses the wire.
///
/// ```ignore
/// #[forge::input]
/// pub struct NewCard {
///     pub column_id: Uuid,
///     #[validate(length(min = 1, max = 200))]
///     pub title: String,
///     pub due: Option<Timestamp>,
/// }
/// ```
///
/// | written as | on the wire |
/// |---|---|
/// | `struct NewCard { .. }` | an object; unknown fields are refused, an `Option` may be left out |
/// | `struct Email(String)` | what is inside, under a name of its own |
/// | `enum Colour { Red, DarkBlue }` | a string: `"red"`, `"dark_blue"` |
/// | `enum Target { Card { .. }, Board { .. } }` | an object with `type: "card"` |
///
/// | on a field | meaning |
/// |---|---|
/// | `#[validate(length(min = 1, max = 200))]` | characters of a text, items of a list |
/// | `#[validate(range(min = 0, max = 10))]` | a number, bounds included |
/// | `#[validate(email)]`, `#[validate(url)]` | text that looks like one |
/// | `#[validate(pattern = "^[a-z]+$")]` | a regular expression, checked when the app is compiled |
/// | `#[validate(custom = "path::to::rule")]` | `fn(&T) -> Result<(), String>`, for text `fn(&str)`; the sentence goes on from the field's name: "must be .." |
/// | `#[serde(default)]` | may be left out |
/// | `#[serde(rename = "name")]` | another name on the wire |
///
/// Rules on an `Option` apply to what is inside. `Debug`, `Clone` and serde's traits are derived unless they stand in a
/// `#[derive(..)]` below this attribute.
#[proc_macro_attribute]
pub fn input(args: TokenStream, item: TokenStream) -> TokenStream {
    input::expand(args.into(), item.into()).into()
}

/// Makes an enum of the database, whose values are the same words in PostgreSQL, on the wire and in generated clients.
///
/// ```ignore
/// #[forge::forge_enum]
/// pub enum CardState { #[default] Open, InProgress, Done }      // 'open', 'in_progress', 'done'
/// ```
///
/// | key | meaning | when left out |
/// |---|---|---|
/// | `name = "card_state"` | the type's name in the database | the enum's name in snake_case |
///
/// Gives `as_str()`, `ALL`, `Display`, `FromStr` and the usual derives, unless they stand in a `#[derive(..)]` below this
/// attribute; `Default` when a variant is marked `#[default]`.
#[proc_macro_attribute]
pub fn forge_enum(args: TokenStream, item: TokenStream) -> TokenStream {
    forge_enum::expand(args.into(), item.into()).into()
}

/// Makes a struct that is a row of a table.
///
/// ```ignore
/// #[forge::model]
/// #[table(name = "cards")]
/// #[index(fields = ["column_id", "position"])]
/// pub struct Card {
///     #[id] pub id: Uuid,
///     #[indexed] pub column_id: Uuid,
///     #[max_length = 200] pub title: String,
///     pub due: Option<Timestamp>,
///     #[default = "now()"] pub created_at: Timestamp,
///     #[updated_at] pub updated_at: Timestamp,
/// }
/// ```
///
/// | on the struct | meaning | when left out |
/// |---|---|---|
/// | `#[table(name = "cards", schema = "board")]` | the table, and the schema it is in | the plural of the name; the connection's schema |
/// | `#[schema(name = "board")]` | the schema alone | |
/// | `#[index(fields = ["a", "b"], name = "..")]` | an index over these fields; as many as wanted | `idx_<table>_<columns>` |
///
/// | on a field | meaning |
/// |---|---|
/// | `#[id]` | the primary key; exactly one; a `Uuid` is made by FORGE (v7) when it is absent |
/// | `#[indexed]`, `#[unique]` | an index, a unique constraint |
/// | `#[default = "now()"]` | the SQL expression of its default |
/// | `#[updated_at]` | every update sets it to `now()` |
/// | `#[max_length = 200]` | `varchar(200)`, and a rule on the wire |
/// | `#[jsonb]` | says that it is stored as `jsonb`: the type is `Json<T>` or `serde_json::Value` |
/// | `#[column = "name"]` | another name in the database |
/// | `#[nullable]` | says that it is an `Option` |
/// | `#[private]` | clients do not get it: not in answers, not in TypeScript; its type has a `Default` |
///
/// Gives the wire form (camelCase), reading of rows, the table's definition, a token per column (`Card::TITLE`) and, with
/// the trait `Model` of the prelude, `Card::query()`, `find`, `insert`, `upsert`, `update` and `delete`. `Debug`, `Clone` and serde's
/// traits are derived unless they stand in a `#[derive(..)]` below this attribute.
#[proc_macro_attribute]
pub fn model(args: TokenStream, item: TokenStream) -> TokenStream {
    model::expand(args.into(), item.into()).into()
}

/// Makes a test with an app and a database of its own.
///
/// ```ignore
/// #[forge::test]
/// async fn adding_a_card(app: TestApp) -> Result<()> { .. }
/// ```
#[proc_macro_attribute]
pub fn test(args: TokenStream, item: TokenStream) -> TokenStream {
    test::expand(args.into(), item.into()).into()
}

/// A statement whose arguments are captured by name and never spliced into the text.
///
/// ```ignore
/// sql!(Card, "SELECT * FROM cards WHERE column_id = {column_id} AND title = {input.title}").fetch_all(ctx.db()).await?;
/// sql!((i64, String), "SELECT count(*), max(title) FROM cards").fetch_one(ctx.db()).await?;
/// sql!("UPDATE cards SET title = {title: String} WHERE id = {id}").execute(ctx.db()).await?;
/// ```
///
/// An argument is a variable or a field of one, with its type, which is then checked too, if you like: `{id: Uuid}`. A brace
/// that belongs to the statement is written twice; inside of literals, quoted names and comments nothing is captured. Every
/// statement is checked against the database by `forge check` and by the tests, with the file and the line it stands in.
#[proc_macro]
pub fn sql(input: TokenStream) -> TokenStream {
    sql::expand(input.into()).into()
}

/// Stands at the root of an app's library, and makes `module()`: what the crate brings to an app.
///
/// ```ignore
/// forge::module!();
/// ```
///
/// | key | meaning | when left out |
/// |---|---|---|
/// | `migrations = "folder"` | where its migrations are | `migrations` |
/// | `page = "folder"` | where its built page is, embedded into release builds | `frontend/dist` |
#[proc_macro]
pub fn module(input: TokenStream) -> TokenStream {
    module::expand(input.into()).into()
}

/// Reads a struct with named fields from rows of a [`sql!`] statement, by the names of the columns.
///
/// `#[column = "name"]` on a field reads it from a column of another name.
#[proc_macro_derive(FromRow, attributes(column))]
pub fn derive_from_row(item: TokenStream) -> TokenStream {
    from_row::expand(item.into()).into()
}

/// Makes an enum the errors of an app's own.
///
/// ```ignore
/// #[derive(Debug, forge::AppError)]
/// pub enum BoardError {
///     #[error(code = "COLUMN_FULL", status = 409, message = "the column holds {limit} cards")]
///     ColumnFull { limit: u32 },
/// }
/// ```
///
/// | key | meaning | when left out |
/// |---|---|---|
/// | `code` | what clients match on, in capitals | the variant's name |
/// | `status` | the HTTP status, 400 to 599 | 400 |
/// | `message` | the sentence, with fields in braces | the variant's words |
///
/// The fields become the error's details. `Debug` must be derived beside it.
#[proc_macro_derive(AppError, attributes(error))]
pub fn derive_app_error(item: TokenStream) -> TokenStream {
    app_error::expand(item.into()).into()
}
