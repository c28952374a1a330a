use forge::prelude::*;

#[forge::job]
fn not_async(_ctx: &JobContext) -> Result<()> {
    Ok(())
}

#[forge::job]
async fn no_context(card_id: Uuid) -> Result<Uuid> {
    Ok(card_id)
}

#[forge::job]
async fn other_context(_ctx: &MutationContext) -> Result<()> {
    Ok(())
}

#[forge::mutation]
async fn job_context(_ctx: &JobContext) -> Result<()> {
    Ok(())
}

#[forge::job]
async fn no_result(_ctx: &JobContext) {}

#[forge::job]
async fn borrowed(_ctx: &JobContext, title: &str) -> Result<usize> {
    Ok(title.len())
}

#[forge::cron("@daily")]
async fn arguments(_ctx: &CronContext, card_id: Uuid, title: String) -> Result<()> {
    let _ = (card_id, title);
    Ok(())
}

#[forge::cron("@daily")]
async fn output(_ctx: &CronContext) -> Result<i32> {
    Ok(1)
}

#[forge::cron("@daily")]
async fn as_a_job(_ctx: &JobContext) -> Result<()> {
    Ok(())
}

fn main() {}
