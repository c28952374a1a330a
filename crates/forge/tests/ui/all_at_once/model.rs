use forge::prelude::*;

#[forge::model(name = "x")]
#[table(nam = "x")]
#[soft_delete]
#[index(fields = ["titel"])]
struct Card {
    #[nullable]
    id: Uuid,
    #[max_length = 5]
    #[encrypted]
    #[serde(flatten)]
    title: i32,
}

fn main() {}
