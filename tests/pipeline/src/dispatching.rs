//! Mutations that dispatch jobs and do other things beside.

use std::time::Duration;

use forge::prelude::*;
use tokio::sync::Notify;

use crate::{Note, Order, Orders, bump, count_up, increment, order};

fn orders(label: &str, what: &str) -> Orders {
    Orders { label: format!("{label} {what}"), ..Orders::default() }
}

/// Counts, by reading and writing, and dispatches a job: both, or neither.
#[forge::mutation(public)]
pub async fn count_and_order(ctx: &MutationContext, name: String) -> Result<i64> {
    ctx.dispatch_job(orders(&name, "job")).delay(Duration::from_secs(86_400)).await?;
    count_up(ctx.db(), &name).await
}

/// Adds a note, and dispatches a job.
#[forge::mutation(public)]
pub async fn note_and_order(ctx: &MutationContext, batch: Uuid) -> Result<()> {
    ctx.dispatch_job(orders(&batch.to_string(), "job")).delay(Duration::from_secs(86_400)).await?;
    let title = batch.to_string();
    Note::insert([Note::BATCH.set(batch), Note::TITLE.set(title), Note::POSITION.set(0)]).execute(ctx.db()).await.map(drop)
}

/// Does nothing but dispatch a job, for a day later.
#[forge::mutation(public)]
pub async fn only_order(ctx: &MutationContext, label: String) -> Result<Uuid> {
    Ok(ctx.dispatch_job(orders(&label, "job")).delay(Duration::from_secs(86_400)).await?.id)
}

/// Dispatches a job before and after another mutation that dispatches one, which may fail.
#[forge::mutation(public)]
pub async fn order_around(ctx: &MutationContext, label: String, inner_fails: bool, outer_fails: bool) -> Result<()> {
    ctx.dispatch_job(orders(&label, "before")).await?;
    let inner = ctx.mutate(order, Order { orders: orders(&label, "inner"), delay_ms: 0, fail: inner_fails }).await;
    assert_eq!(inner.is_err(), inner_fails);
    ctx.dispatch_job(orders(&label, "after")).await?;
    if outer_fails { Err(Error::app("AS_TOLD", 409, "it fails after all")) } else { Ok(()) }
}

/// Calls the one above, which calls another one.
#[forge::mutation(public)]
pub async fn order_deep(ctx: &MutationContext, label: String, middle_fails: bool) -> Result<()> {
    let middle = OrderAround { label: label.clone(), inner_fails: false, outer_fails: middle_fails };
    assert_eq!(ctx.mutate(order_around, middle).await.is_err(), middle_fails);
    ctx.dispatch_job(orders(&label, "last")).await.map(drop)
}

/// Dispatches two jobs and takes one of them back.
#[forge::mutation(public)]
pub async fn order_and_take_back(ctx: &MutationContext, label: String) -> Result<bool> {
    let one = ctx.dispatch_job(orders(&label, "taken back")).await?;
    ctx.dispatch_job(orders(&label, "stays")).await?;
    ctx.cancel_job(one.id, "not wanted").await
}

static INSIDE: Notify = Notify::const_new();

/// Counts and dispatches a job, and then does not end.
#[forge::mutation(public)]
pub async fn never_ends(ctx: &MutationContext, label: String) -> Result<()> {
    ctx.mutate(bump, label.clone()).await?;
    ctx.dispatch_job(orders(&label, "job")).await?;
    INSIDE.notify_one();
    std::future::pending().await
}

/// Calls the one above, and goes on without waiting for it.
#[forge::mutation(public)]
pub async fn leaves_it_half_done(ctx: &MutationContext, label: String) -> Result<()> {
    tokio::select! {
        done = ctx.mutate(never_ends, label) => done,
        () = INSIDE.notified() => Ok(()),
    }
}

/// Dispatches a job and then fails over a broken rule of its own.
#[forge::mutation(public)]
pub async fn count_and_order_poison(ctx: &MutationContext, name: String) -> Result<()> {
    ctx.mutate(increment, name.clone()).await?;
    ctx.dispatch_job(orders(&name, "poison")).await.map(drop)
}
