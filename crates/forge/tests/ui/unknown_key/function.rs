use forge::prelude::*;

#[forge::query(publik, colour = "red", isolation = "serializable")]
async fn a(_ctx: &QueryContext) -> Result<i32> {
    Ok(1)
}

#[forge::mutation]
#[timout = "5s"]
async fn b(_ctx: &MutationContext) -> Result<i32> {
    Ok(1)
}

// The functions exist nevertheless.
#[forge::action]
async fn c(ctx: &ActionContext) -> Result<i32> {
    ctx.query(a, ()).await
}

fn main() {}
