use forge::prelude::*;

#[forge::input]
struct Shared {
    card_id: Uuid,
}

#[forge::job]
async fn first(_ctx: &JobContext, input: Shared) -> Result<Uuid> {
    Ok(input.card_id)
}

// An input names one job.
#[forge::job]
async fn second(_ctx: &JobContext, input: Shared) -> Result<Uuid> {
    Ok(input.card_id)
}

// An input is of the app's own crate.
#[forge::job]
async fn of_another_crate(_ctx: &JobContext, input: forge::HttpClient) -> Result<()> {
    drop(input);
    Ok(())
}

#[forge::input]
struct Tag(String);

// An input is an object.
#[forge::job]
async fn no_object(_ctx: &JobContext, tag: Tag) -> Result<String> {
    Ok(tag.0)
}

#[forge::input]
struct Move {
    card_id: Uuid,
}

// A key is a field of the input.
#[forge::job(idempotent(key = "cardId"))]
async fn no_such_field(_ctx: &JobContext, input: Move) -> Result<Uuid> {
    Ok(input.card_id)
}

fn main() {}
