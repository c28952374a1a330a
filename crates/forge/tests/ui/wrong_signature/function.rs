use forge::prelude::*;

#[forge::query]
fn not_async(_ctx: &QueryContext) -> Result<i32> {
    Ok(1)
}

#[forge::query]
async fn no_context() -> Result<i32> {
    Ok(1)
}

#[forge::query]
async fn late_context(id: Uuid, _ctx: &QueryContext) -> Result<Uuid> {
    Ok(id)
}

#[forge::query]
async fn other_context(_ctx: &MutationContext) -> Result<i32> {
    Ok(1)
}

#[forge::mutation]
async fn changed_context(_ctx: &mut MutationContext) -> Result<i32> {
    Ok(1)
}

#[forge::action]
async fn owned_context(_ctx: ActionContext) -> Result<i32> {
    Ok(1)
}

#[forge::query]
async fn no_result(_ctx: &QueryContext) {}

#[forge::query]
async fn generic<T: Send>(_ctx: &QueryContext, value: T) -> Result<i32>
where
    T: Sync,
{
    drop(value);
    Ok(1)
}

#[forge::query]
async fn borrowed(_ctx: &QueryContext, title: &str, ids: &[Uuid]) -> Result<usize> {
    Ok(title.len() + ids.len())
}

#[forge::query]
async fn pattern(_ctx: &QueryContext, (a, b): (i32, i32)) -> Result<i32> {
    Ok(a + b)
}

#[forge::query]
async unsafe fn dangerous(_ctx: &QueryContext) -> Result<i32> {
    Ok(1)
}

// What takes borrowed arguments exists with owned ones, so nothing more is reported.
#[forge::action]
async fn caller(ctx: &ActionContext) -> Result<usize> {
    ctx.query(borrowed, Borrowed { title: "a".into(), ids: vec![] }).await
}

fn main() {}
