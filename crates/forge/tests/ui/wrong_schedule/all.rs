use forge::prelude::*;

#[forge::cron]
async fn never(_ctx: &CronContext) -> Result<()> {
    Ok(())
}

#[forge::cron("60 9 * * *")]
async fn minute(_ctx: &CronContext) -> Result<()> {
    Ok(())
}

#[forge::cron("0 9 * * Monday")]
async fn day(_ctx: &CronContext) -> Result<()> {
    Ok(())
}

#[forge::cron("0 22-4 * * *")]
async fn backwards(_ctx: &CronContext) -> Result<()> {
    Ok(())
}

#[forge::cron("5/10 * * * *")]
async fn step(_ctx: &CronContext) -> Result<()> {
    Ok(())
}

#[forge::cron("0 0 30 2 *")]
async fn february(_ctx: &CronContext) -> Result<()> {
    Ok(())
}

#[forge::cron("9:00")]
async fn one_part(_ctx: &CronContext) -> Result<()> {
    Ok(())
}

#[forge::cron("0 9 * * *" timezone = "UTC")]
async fn no_comma(_ctx: &CronContext) -> Result<()> {
    Ok(())
}

#[forge::cron(expression = "0 9 * * *")]
async fn named(_ctx: &CronContext) -> Result<()> {
    Ok(())
}

#[forge::cron(every = "7m")]
async fn uneven(_ctx: &CronContext) -> Result<()> {
    Ok(())
}

#[forge::cron(every = "5m", timezone = "Europe/Berlin")]
async fn zoned(_ctx: &CronContext) -> Result<()> {
    Ok(())
}

#[forge::cron(daily_at = "9:00", timezone = "+02:00")]
async fn time(_ctx: &CronContext) -> Result<()> {
    Ok(())
}

#[forge::cron("@daily", catch_up = "yes", catch_up_limit = 3, overlap = "que")]
async fn missed(_ctx: &CronContext) -> Result<()> {
    Ok(())
}

fn main() {}
