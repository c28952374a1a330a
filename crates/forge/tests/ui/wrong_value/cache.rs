use forge::prelude::*;

#[forge::query(cache = "soon")]
async fn a(_ctx: &QueryContext) -> Result<i32> {
    Ok(1)
}

#[forge::query(cache = "0s")]
async fn b(_ctx: &QueryContext) -> Result<i32> {
    Ok(1)
}

#[forge::query]
#[cache = "25h"]
async fn c(_ctx: &QueryContext) -> Result<i32> {
    Ok(1)
}

#[forge::query(cache = 30)]
async fn d(_ctx: &QueryContext) -> Result<i32> {
    Ok(1)
}

#[forge::query(cache)]
async fn e(_ctx: &QueryContext) -> Result<i32> {
    Ok(1)
}

#[forge::query(cache(follow = false))]
async fn f(_ctx: &QueryContext) -> Result<i32> {
    Ok(1)
}

#[forge::query(cache(ttl = 30, folow = false))]
async fn g(_ctx: &QueryContext) -> Result<i32> {
    Ok(1)
}

#[forge::query(cache(ttl = "30s", follow = "no"))]
async fn h(_ctx: &QueryContext) -> Result<i32> {
    Ok(1)
}

#[forge::mutation(cache = "30s")]
async fn i(_ctx: &MutationContext) -> Result<i32> {
    Ok(1)
}

#[forge::action(cache = "30s")]
async fn j(_ctx: &ActionContext) -> Result<i32> {
    Ok(1)
}

fn main() {}
