use forge::prelude::*;

#[forge::model]
struct NoId {
    title: String,
}

#[forge::model]
struct Card {
    #[id]
    #[unique]
    id: Option<Uuid>,
    #[nullable]
    title: String,
    #[jsonb]
    extra: Vec<String>,
    #[max_length = 5]
    count: i32,
    #[validate(length(min = 1))]
    text: String,
}

fn main() {}
