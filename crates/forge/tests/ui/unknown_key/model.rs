use forge::prelude::*;

#[forge::model(table = "cards")]
#[table(nam = "cards")]
#[index(columns = ["id"])]
struct Card {
    #[id]
    id: Uuid,
    #[indxed]
    title: String,
}

#[forge::forge_enum(schema = "x")]
enum State {
    Open,
}

#[forge::input(strict)]
struct New {
    #[validate(lenght(min = 1), min = 1)]
    title: String,
    #[serde(skip)]
    hidden: bool,
}

fn main() {}
