use forge::prelude::*;

#[forge::query(public = true, timeout = 5)]
async fn a(_ctx: &QueryContext) -> Result<i32> {
    Ok(1)
}

#[forge::query(timeout = "5 parsecs", role("admin"))]
async fn b(_ctx: &QueryContext) -> Result<i32> {
    Ok(1)
}

#[forge::query(timeout = "0s", name = "List Cards", role = [])]
async fn c(_ctx: &QueryContext) -> Result<i32> {
    Ok(1)
}

#[forge::mutation(isolation = "snapshot")]
async fn d(_ctx: &MutationContext) -> Result<i32> {
    Ok(1)
}

#[forge::query(timeout: "5s")]
async fn e(_ctx: &QueryContext) -> Result<i32> {
    Ok(1)
}

#[forge::query("5s")]
async fn f(_ctx: &QueryContext) -> Result<i32> {
    Ok(1)
}

#[forge::query]
async fn listCards(_ctx: &QueryContext) -> Result<i32> {
    Ok(1)
}

#[forge::query(register)]
async fn g(_ctx: &QueryContext) -> Result<i32> {
    Ok(1)
}

#[forge::query(refresh_every = "5ms", tracking = "rows")]
async fn h(_ctx: &QueryContext) -> Result<i32> {
    Ok(1)
}

#[forge::query(tracking = "none")]
async fn i(_ctx: &QueryContext) -> Result<i32> {
    Ok(1)
}

fn main() {}
