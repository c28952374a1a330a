use forge::prelude::*;

#[forge::job(queue = "a", capability = "media", worker_capability = "media", rate_limit(count = 1, requests = 1, per = "1s"))]
#[queue = "b"]
async fn a(_ctx: &JobContext, card_id: Uuid) -> Result<Uuid> {
    Ok(card_id)
}

#[forge::job(idempotent(key = ["card_id", "card_id"]), role = ["x", "x"])]
async fn b(_ctx: &JobContext, card_id: Uuid) -> Result<Uuid> {
    Ok(card_id)
}

#[forge::cron("@daily", every = "5m")]
#[daily_at = "09:00"]
async fn c(_ctx: &CronContext) -> Result<()> {
    Ok(())
}

fn main() {}
