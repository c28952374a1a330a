//! What callers send is stored and given back, whatever it is; and every error that there is, on request.

use forge::prelude::*;

/// One value of each kind that a column can hold.
#[forge::input]
#[derive(PartialEq)]
pub struct Keep {
    /// Any text.
    pub text: String,
    /// A column with a limit, without a rule here that would stop what is too long.
    pub label: Option<String>,
    /// 32 bits.
    pub small: i32,
    /// 64 bits.
    pub wide: i64,
    /// A float.
    pub float: f64,
    /// A number with two places.
    pub amount: Decimal,
    /// A moment.
    pub at: Timestamp,
    /// A day.
    pub day: Date,
    /// Bytes.
    pub bytes: Vec<u8>,
    /// Any JSON.
    pub any: serde_json::Value,
    /// Texts.
    pub list: Vec<String>,
}

/// Stores what it gets. Returns its id.
#[forge::mutation(public)]
pub async fn keep(ctx: &MutationContext, input: Keep) -> Result<Uuid> {
    let id = forge::new_uuid();
    let Keep { text, label, small, wide, float, amount, at, day, bytes, any, list } = input;
    sql!(
        "INSERT INTO kept (id, text, label, small, wide, float, amount, at, day, bytes, any_json, list)
         VALUES ({id}, {text}, {label}, {small}, {wide}, {float}, {amount}, {at}, {day}, {bytes}, {any}, {list})"
    )
    .execute(ctx.db())
    .await?;
    Ok(id)
}

/// How often a text was stored.
#[forge::query(public)]
pub async fn find_kept(ctx: &QueryContext, text: String) -> Result<i64> {
    sql!(i64, "SELECT count(*) FROM kept WHERE text = {text}").fetch_one(ctx.db()).await
}

/// Fails in the way that is asked for.
#[forge::query(public)]
pub async fn fail_with(_ctx: &QueryContext, kind: String) -> Result<()> {
    Err(match kind.as_str() {
        "not found" => Error::not_found("there is no such card"),
        "unauthorized" => Error::unauthorized("sign in first"),
        "forbidden" => Error::forbidden("this needs another role"),
        "validation" => Error::validation(serde_json::json!({"title": ["is too long"]})),
        "invalid argument" => Error::invalid_argument("this is not a card"),
        "conflict" => Error::conflict("somebody was faster"),
        "timeout" => Error::timeout("it took too long"),
        "rate limited" => Error::rate_limited("too often", 7),
        "database unavailable" => Error::database_unavailable("it is away"),
        "internal" => Error::internal("the secret reason"),
        "config" => Error::config("SOME_CONFIG", "the secret setting"),
        "payload" => Error::payload_too_large("too much"),
        "app" => Error::app("OUT_OF_COFFEE", 418, "no coffee").with_details(serde_json::json!({"cups": 0})),
        other => Error::invalid_argument(format!("`{other}` is no kind of failure")),
    })
}
