//! The app: a list of items that anybody can read and add to.

use forge::prelude::*;

forge::module!();

/// A line of the list.
#[forge::model]
pub struct Item {
    #[id]
    pub id: Uuid,
    #[max_length = 200]
    pub title: String,
    #[default = "now()"]
    pub created_at: Timestamp,
}

/// What is needed to add an item.
#[forge::input]
pub struct NewItem {
    #[validate(length(min = 1, max = 200))]
    pub title: String,
}

/// The newest items, newest first. `public`: without it, only callers who are signed in may ask.
#[forge::query(public)]
pub async fn list_items(ctx: &QueryContext) -> Result<Vec<Item>> {
    Item::query().order_by(Item::CREATED_AT.desc()).limit(100).fetch_all(ctx.db()).await
}

/// Adds an item.
#[forge::mutation(public)]
pub async fn add_item(ctx: &MutationContext, input: NewItem) -> Result<Item> {
    let title = input.title;
    sql!(Item, "INSERT INTO items (title) VALUES ({title}) RETURNING *").fetch_one(ctx.db()).await
}
