use std::rc::Rc;

use forge::prelude::*;

#[forge::query]
async fn waits(_ctx: &QueryContext) -> Result<i32> {
    let shared = Rc::new(1);
    std::future::ready(()).await;
    Ok(*shared)
}

fn main() {}
