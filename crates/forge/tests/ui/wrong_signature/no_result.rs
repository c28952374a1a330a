use forge::prelude::*;

#[forge::query]
async fn a(_ctx: &QueryContext) -> i32 {
    1
}

fn main() {}
