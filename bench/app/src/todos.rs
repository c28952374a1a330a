//! Lists that are subscribed to.

use forge::prelude::*;

/// A thing to do.
#[forge::model]
#[table(name = "todo")]
pub(crate) struct Todo {
    /// Its number.
    #[id]
    pub(crate) id: i64,
    /// The list that it is in.
    pub(crate) list_id: i64,
    /// What is to be done.
    pub(crate) title: String,
    /// Whether it has been.
    pub(crate) done: bool,
    /// Greater with each change.
    pub(crate) revision: i64,
}

/// A list in its order.
#[forge::query(public)]
pub(crate) async fn list_todos(ctx: &QueryContext, list_id: i64) -> Result<Vec<Todo>> {
    Todo::query().filter(Todo::LIST_ID.eq(list_id)).order_by(Todo::ID.asc()).fetch_all(ctx.db()).await
}

/// One thing to do.
#[forge::query(public)]
pub(crate) async fn get_todo(ctx: &QueryContext, id: i64) -> Result<Todo> {
    Todo::find(id).fetch_one(ctx.db()).await
}
