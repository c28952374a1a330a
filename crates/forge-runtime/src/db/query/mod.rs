//! The typed query builder.
//!
//! It builds ordinary statements with ordinary parameters and runs them where `sql!` runs its own; there is nothing it can do
//! that SQL cannot. Joins, aggregates and anything unusual are better written as SQL.
//!
//! ```ignore
//! Card::query().filter(Card::COLUMN_ID.eq(id)).order_by(Card::POSITION.asc()).fetch_all(ctx.db()).await?;
//! Card::insert([Card::TITLE.set("Milk"), Card::COLUMN_ID.set(id)]).fetch_one(ctx.db()).await?;
//! Card::update(card_id).set(Card::TITLE.set("Oat milk")).fetch_one(ctx.db()).await?;
//! ```

mod assignment;
mod condition;
mod delete;
mod insert;
mod page;
mod select;
mod text;
mod update;
mod upsert;

pub use assignment::Assignment;
pub(super) use assignment::IntoAssignments;
pub use condition::Condition;
pub(super) use condition::Operator;
pub use delete::Delete;
pub use insert::Insert;
pub use page::{Page, Paginated};
pub use select::{Order, Query};
pub use update::Update;
pub use upsert::Upsert;
