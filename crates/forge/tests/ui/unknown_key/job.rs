use forge::prelude::*;

#[forge::job(public, retries = 3, idempotent(keys = "a"), concurrency(max = 1), rate_limit(requests = 5, every = "1m"))]
async fn a(_ctx: &JobContext) -> Result<()> {
    Ok(())
}

#[forge::job]
#[retry(attempts = 3)]
#[priorty = "high"]
#[dead_letter(keep = "7d")]
async fn b(_ctx: &JobContext) -> Result<()> {
    Ok(())
}

#[forge::cron("@daily", time_zone = "UTC", catchup = true)]
async fn c(_ctx: &CronContext) -> Result<()> {
    Ok(())
}

// The job exists nevertheless.
fn caller() -> A {
    A
}

fn main() {}
