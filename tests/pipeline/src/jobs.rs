//! Jobs that write down that they were begun, and then do as they are told.

use std::time::Duration;

use forge::prelude::*;

use crate::{read_gated, secrets};

/// What a job is to do once it has written down that it was begun.
#[forge::input]
#[derive(PartialEq, Default)]
pub struct Orders {
    /// What it is called in the table of executions.
    #[serde(default)]
    pub label: String,
    /// How many of its attempts fail, from the first.
    pub failures: u32,
    /// How long it takes, in milliseconds; it ends before when it is cancelled.
    pub takes_ms: u64,
    /// It panics.
    pub panics: bool,
    /// It is to be run again after so many milliseconds, twice.
    pub snooze_ms: Option<u64>,
    /// It gives up for this reason.
    pub give_up: Option<String>,
    /// It takes its process down.
    pub dies: bool,
}

/// Does as it is told.
#[forge::job(
    retry(max_attempts = 3, backoff = "exponential", initial = "1m", jitter = false),
    timeout = "20s",
    role = "auditor"
)]
pub async fn obey(ctx: &JobContext, input: Orders) -> Result<String> {
    follow(ctx, input).await
}

async fn follow(ctx: &JobContext, orders: Orders) -> Result<String> {
    let n = ctx.mutate(begin_execution, (orders.label.clone(), ctx.job_id(), ctx.attempt())).await?;
    if orders.dies {
        std::process::abort();
    }
    ctx.progress(50, "half way").await?;
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(orders.takes_ms)) => {}
        () = ctx.cancelled() => return Err(Error::cancelled()),
    }
    if orders.panics {
        panic!("as it was told");
    }
    if ctx.attempt() <= orders.failures {
        return Err(Error::app("AS_TOLD", 409, format!("attempt {} fails", ctx.attempt())));
    }
    if let Some(reason) = orders.give_up {
        return Err(Error::cancel(reason));
    }
    if let Some(ms) = orders.snooze_ms {
        let snoozed: u32 = ctx.saved()?.unwrap_or(0);
        if snoozed < 2 {
            ctx.save(&(snoozed + 1)).await?;
            return Err(Error::retry_in(Duration::from_millis(ms)));
        }
    }
    ctx.mutate(end_execution, n).await?;
    Ok(format!("{} did {}", ctx.auth().user_id().unwrap_or("nobody"), orders.label))
}

/// Writes down that a job was begun, by whom, and whose it was.
#[forge::mutation(public, isolation = "read_committed")]
pub async fn begin_execution(ctx: &MutationContext, label: String, job: Uuid, attempt: u32) -> Result<i64> {
    let (attempt, node) = (i64::from(attempt), ctx.cluster().me());
    sql!(
        (i64,),
        "INSERT INTO executions (label, job, attempt, node, lease, claim)
         SELECT {label}, {job}, {attempt}::int8::int4, {node}, j.worker, j.claims
         FROM (SELECT) AS here LEFT JOIN forge_jobs j ON j.id = {job}
         RETURNING n"
    )
    .fetch_one(ctx.db())
    .await
    .map(|(n,)| n)
}

/// Writes down that it ended.
#[forge::mutation(public, isolation = "read_committed")]
pub async fn end_execution(ctx: &MutationContext, n: i64) -> Result<()> {
    sql!("UPDATE executions SET ended_at = clock_timestamp() WHERE n = {n}").execute(ctx.db()).await.map(drop)
}

/// Dispatches a job, and fails after that when it is told to.
#[forge::mutation(public)]
pub async fn order(ctx: &MutationContext, orders: Orders, delay_ms: u64, fail: bool) -> Result<Uuid> {
    let job = ctx.dispatch_job(orders).delay(Duration::from_millis(delay_ms)).await?;
    if fail { Err(Error::app("AS_TOLD", 409, "it fails after all")) } else { Ok(job.id) }
}

/// Many at once.
#[forge::mutation(public)]
pub async fn order_many(ctx: &MutationContext, label: String, count: u32) -> Result<()> {
    let orders = (0..count).map(|n| Orders { label: format!("{label}{n}"), ..Orders::default() }).collect();
    ctx.dispatch_jobs(orders).await.map(drop)
}

/// Does its work however often the database goes away under it.
#[forge::job(
    queue = "lasting",
    retry(max_attempts = 1000, backoff = "fixed", initial = "100ms", jitter = false),
    timeout = "60s"
)]
pub async fn endure(ctx: &JobContext, label: String, takes_ms: u64) -> Result<()> {
    follow(ctx, Orders { label, takes_ms, ..Orders::default() }).await.map(drop)
}

/// Dispatches some of them.
#[forge::mutation(public)]
pub async fn order_to_endure(ctx: &MutationContext, label: String, count: u32, takes_ms: u64) -> Result<()> {
    ctx.dispatch_jobs((0..count).map(|_| Endure { label: label.clone(), takes_ms }).collect()).await.map(drop)
}

/// At most one is alive for each name.
#[forge::job(idempotent(key = "name"))]
pub async fn once(ctx: &JobContext, name: String, takes_ms: u64) -> Result<()> {
    follow(ctx, Orders { label: name, takes_ms, ..Orders::default() }).await.map(drop)
}

/// Dispatches it, and tells whether that made it.
#[forge::mutation(public)]
pub async fn order_once(ctx: &MutationContext, name: String) -> Result<(Uuid, bool)> {
    let job = ctx.dispatch_job(Once { name, takes_ms: 0 }).await?;
    Ok((job.id, job.new))
}

/// At most two at a time for each key.
#[forge::job(concurrency(limit = 2, key = "key"), retry(max_attempts = 1))]
pub async fn in_pairs(ctx: &JobContext, key: String, takes_ms: u64) -> Result<()> {
    follow(ctx, Orders { label: key, takes_ms, ..Orders::default() }).await.map(drop)
}

/// Dispatches some of them.
#[forge::mutation(public)]
pub async fn order_in_pairs(ctx: &MutationContext, key: String, count: u32, takes_ms: u64) -> Result<()> {
    let orders = (0..count).map(|_| InPairs { key: key.clone(), takes_ms }).collect();
    ctx.dispatch_jobs(orders).await.map(drop)
}

/// At most four are begun in a second.
#[forge::job(rate_limit(count = 4, per = "1s"), dead_letter(retain = "1h"))]
pub async fn slowly(ctx: &JobContext, label: String) -> Result<()> {
    follow(ctx, Orders { label, ..Orders::default() }).await.map(drop)
}

/// Dispatches some of them.
#[forge::mutation(public)]
pub async fn order_slowly(ctx: &MutationContext, label: String, count: u32) -> Result<()> {
    ctx.dispatch_jobs((0..count).map(|_| Slowly { label: label.clone() }).collect()).await.map(drop)
}

/// Has others do the work, and waits for them.
#[forge::job(queue = "families", timeout = "20s")]
pub async fn delegate(ctx: &JobContext, label: String, children: u32) -> Result<u32> {
    let mut dispatched = Vec::new();
    for n in 0..children {
        let orders = Orders { label: format!("{label}/{n}"), ..Orders::default() };
        dispatched.push(ctx.dispatch_child(orders).await?);
    }
    let ended = ctx.wait_for_jobs(&dispatched).await?;
    Ok(ended.iter().filter(|job| job.status == forge::JobStatus::Completed).count() as u32)
}

/// Dispatches children of which nothing is kept, and waits for them an hour later.
#[forge::job(queue = "families", timeout = "20s")]
pub async fn delegate_surveys(ctx: &JobContext, label: String) -> Result<u32> {
    if let Some(dispatched) = ctx.saved::<Vec<forge::JobHandle>>()? {
        let ended = ctx.wait_for_jobs(&dispatched).await?;
        return Ok(ended.iter().filter(|job| job.status == forge::JobStatus::Completed).count() as u32);
    }
    let mut dispatched = Vec::new();
    for n in 0..3 {
        dispatched.push(ctx.dispatch_child(Survey { label: format!("{label}/{n}") }).await?);
    }
    ctx.save(&dispatched).await?;
    Err(Error::retry_in(Duration::from_secs(3600)))
}

/// Dispatches it.
#[forge::mutation(public)]
pub async fn order_delegated_surveys(ctx: &MutationContext, label: String) -> Result<Uuid> {
    ctx.dispatch_job(DelegateSurveys { label }).await.map(|job| job.id)
}

/// Dispatches some of them.
#[forge::action(public)]
pub async fn order_delegates(ctx: &ActionContext, count: u32, children: u32) -> Result<Vec<Uuid>> {
    let orders = (0..count).map(|n| Delegate { label: format!("parent{n}"), children }).collect();
    Ok(ctx.dispatch_jobs(orders).await?.into_iter().map(|job| job.id).collect())
}

/// Writes down on which node it runs, as it sees the cluster itself. Nothing is kept of it.
#[forge::job(queue = "surveys", retain = "0s")]
pub async fn survey(ctx: &JobContext, label: String) -> Result<()> {
    let me = ctx.cluster().me().ok_or_else(|| Error::internal("a job runs on a node that has not joined"))?;
    ctx.mutate(begin_execution, (format!("{label} {me}"), ctx.job_id(), ctx.attempt())).await.map(drop)
}

/// Dispatches some of them.
#[forge::mutation(public)]
pub async fn order_surveys(ctx: &MutationContext, label: String, count: u32) -> Result<()> {
    ctx.dispatch_jobs((0..count).map(|_| Survey { label: label.clone() }).collect()).await.map(drop)
}

/// Waits at a gate, and says nothing meanwhile.
#[forge::job(timeout = "60s")]
pub async fn wait_silently(ctx: &JobContext, gate: i64) -> Result<()> {
    ctx.query(read_gated, gate).await
}

/// Dispatches it.
#[forge::mutation(public)]
pub async fn order_to_wait(ctx: &MutationContext, gate: i64) -> Result<Uuid> {
    ctx.dispatch_job(WaitSilently { gate }).await.map(|job| job.id)
}

/// Every hour; what was missed is made up for.
#[forge::cron("0 * * * *", catch_up = true, catch_up_limit = 3)]
pub async fn hourly(ctx: &CronContext) -> Result<()> {
    note_run(ctx).await
}

/// Every day at nine in Colombo, which is half past three in UTC.
#[forge::cron("0 9 * * *", timezone = "Asia/Colombo")]
pub async fn in_the_morning(ctx: &CronContext) -> Result<()> {
    note_run(ctx).await
}

async fn note_run(ctx: &CronContext) -> Result<()> {
    let label = format!("{} {} {}", ctx.cron_name(), ctx.scheduled_time(), ctx.is_catch_up());
    // A cron knows its node as well.
    ctx.cluster().me().ok_or_else(|| Error::internal("a cron runs on a node that has not joined"))?;
    // A function that asks for a role is open to the app itself.
    ctx.query(secrets, ()).await?;
    ctx.mutate(begin_execution, (label, ctx.job_id(), ctx.attempt())).await.map(drop)
}

/// How a job stands.
#[forge::query(public)]
pub async fn job_status(ctx: &QueryContext, id: Uuid) -> Result<String> {
    ctx.job(id).await.map(|job| job.status.to_string())
}
