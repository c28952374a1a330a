use forge::prelude::*;

#[derive(Debug, Clone)]
struct Foreign;

#[forge::query]
async fn argument(_ctx: &QueryContext, value: Foreign) -> Result<i32> {
    drop(value);
    Ok(1)
}

#[forge::query]
async fn result(_ctx: &QueryContext) -> Result<Foreign> {
    Ok(Foreign)
}

fn main() {}
