use forge::prelude::*;

#[forge::query(timeout = "5s", public)]
#[timeout = "6s"]
#[public]
async fn a(_ctx: &QueryContext) -> Result<i32> {
    Ok(1)
}

#[forge::mutation(public, role = "admin")]
async fn b(_ctx: &MutationContext) -> Result<i32> {
    Ok(1)
}

#[forge::mutation(role = ["admin", "admin"])]
async fn c(_ctx: &MutationContext) -> Result<i32> {
    Ok(1)
}

#[forge::model]
#[table(schema = "a")]
#[schema(name = "b")]
struct Card {
    #[id]
    #[id]
    id: Uuid,
    #[id]
    #[indexed]
    other: Uuid,
    #[unique]
    #[indexed]
    title: String,
    #[column = "title"]
    name: String,
}

#[forge::input]
struct New {
    #[validate(email, email)]
    mail: String,
    a_b: i32,
    a__b: i32,
}

#[forge::forge_enum]
enum State {
    InProgress,
    In_progress,
}

fn main() {}
