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

#[forge::query(min_interval = "0s")]
async fn j(_ctx: &QueryContext) -> Result<i32> {
    Ok(1)
}

#[forge::query]
#[min_interval = "1001ms"]
async fn k(_ctx: &QueryContext) -> Result<i32> {
    Ok(1)
}

#[forge::query(min_interval = "1s", refresh_every = "500ms")]
async fn l(_ctx: &QueryContext) -> Result<i32> {
    Ok(1)
}

#[forge::query(min_interval = "1s", refresh_every = "10s", tracking = "none")]
async fn m(_ctx: &QueryContext) -> Result<i32> {
    Ok(1)
}

#[forge::query(min_interval = 200)]
async fn n(_ctx: &QueryContext) -> Result<i32> {
    Ok(1)
}

#[forge::mutation(min_interval = "soon")]
async fn o(_ctx: &MutationContext) -> Result<i32> {
    Ok(1)
}

fn main() {}
