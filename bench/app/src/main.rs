//! The app that the benchmarks measure. Its tables come with their rows from `bench/floors/schema.sql` and `live.sql` there, as the bare
//! handlers and readers that it is held against use them too.

mod todos;

use forge::prelude::*;

/// A thing for sale.
#[forge::model]
pub struct Item {
    /// Its number.
    #[id]
    pub id: i64,
    /// What it is called.
    pub name: String,
    /// How many there are.
    pub qty: i32,
    /// What it costs.
    pub price: f64,
    /// What else there is to say.
    pub note: String,
}

/// A line about something that was done with an item.
#[forge::input]
#[derive(forge::FromRow)]
pub struct Entry {
    /// Its number.
    pub id: i64,
    /// The item.
    pub item_id: i64,
    /// What was done.
    pub note: Option<String>,
}

/// An item by its number, with the typed builder.
#[forge::query]
pub async fn get_item(ctx: &QueryContext, id: i64) -> Result<Item> {
    Item::find(id).fetch_one(ctx.db()).await
}

/// The same in SQL.
#[forge::query]
pub async fn get_item_sql(ctx: &QueryContext, id: i64) -> Result<Item> {
    sql!(Item, "SELECT id, name, qty, price, note FROM items WHERE id = {id}").fetch_one(ctx.db()).await
}

/// Notes what was done with an item.
#[forge::mutation]
pub async fn add_audit(ctx: &MutationContext, item_id: i64, note: String) -> Result<Entry> {
    sql!(Entry, "INSERT INTO audit (item_id, note) VALUES ({item_id}, {note}) RETURNING id, item_id, note")
        .fetch_one(ctx.db())
        .await
}

// One thread, as the bare handlers have one.
#[tokio::main(flavor = "current_thread")]
async fn main() -> forge::Result<()> {
    Forge::new().run().await
}
