use forge::prelude::*;

#[forge::query]
#[cfg(unix)]
async fn a(_ctx: &QueryContext) -> Result<i32> {
    Ok(1)
}

#[forge::model]
struct Card {
    #[id]
    id: Uuid,
    #[cfg(unix)]
    title: String,
}

#[forge::input]
enum Kind {
    #[cfg(unix)]
    One,
}

fn main() {}
