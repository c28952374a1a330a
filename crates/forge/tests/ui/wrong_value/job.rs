use forge::prelude::*;

#[forge::job(priority = 51, timeout = "0s", queue = "Mail Room", capability = "", name = "Send Mail", register)]
async fn a(_ctx: &JobContext) -> Result<()> {
    Ok(())
}

#[forge::job(priority = high, retain = "4000d", dead_letter = "7d", role = [])]
async fn b(_ctx: &JobContext) -> Result<()> {
    Ok(())
}

#[forge::job(retry = 3, idempotent = "card_id", concurrency = 10, rate_limit(count = 5))]
async fn c(_ctx: &JobContext) -> Result<()> {
    Ok(())
}

#[forge::job(retry(max_attempts = 0, backoff = "expo", initial = "10m", jitter = 1, on = ["not found"]))]
async fn d(_ctx: &JobContext) -> Result<()> {
    Ok(())
}

#[forge::job(retry(max_attempts = 9999999999, max_retries = 3, max_backoff = "99999d"))]
async fn e(_ctx: &JobContext) -> Result<()> {
    Ok(())
}

#[forge::job(concurrency(key = "card"), rate_limit(count = 5, per = "fortnight"), idempotent())]
async fn f(_ctx: &JobContext, card_id: Uuid, word: String) -> Result<()> {
    let _ = (card_id, word);
    Ok(())
}

#[forge::job(idempotent(key = "card id"), concurrency(limit = 0, key = "anything"))]
async fn g(_ctx: &JobContext) -> Result<()> {
    Ok(())
}

fn main() {}
