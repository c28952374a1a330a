use forge::prelude::*;

#[forge::model]
struct Card {
    #[id]
    id: Uuid,
    size: u64,
}

fn main() {}
