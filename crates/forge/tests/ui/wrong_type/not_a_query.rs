use forge::prelude::*;

#[forge::mutation]
async fn write(_ctx: &MutationContext) -> Result<i32> {
    Ok(1)
}

#[forge::action]
async fn caller(ctx: &ActionContext) -> Result<i32> {
    ctx.query(write, ()).await
}

fn main() {}
