//! The app whose queue is measured: jobs that do nothing, and functions that dispatch them in each of the ways there are and say how long
//! it took. Everything goes through what an app has: mutations, actions, `dispatch_job`, a worker with default settings.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use forge::prelude::*;
use tokio::sync::Notify;

/// When the first job began.
static FIRST: OnceLock<Instant> = OnceLock::new();
/// How many have.
static BEGUN: AtomicU64 = AtomicU64::new(0);
/// When those began whose start is waited for.
static STARTS: Mutex<Option<HashMap<i32, Instant>>> = Mutex::new(None);
static STARTED: Notify = Notify::const_new();

fn begun() {
    FIRST.get_or_init(Instant::now);
    BEGUN.fetch_add(1, Ordering::Relaxed);
}

/// Whose history is kept.
#[forge::input]
pub struct Kept {
    /// Which one it is.
    pub n: i32,
}

/// Nothing is kept of it.
#[forge::input]
pub struct Dropped {
    /// Which one it is.
    pub n: i32,
}

/// Nobody here can do it.
#[forge::input]
pub struct Elsewhere {
    /// Which one it is.
    pub n: i32,
}

/// Its start is waited for.
#[forge::input]
pub struct Timed {
    /// Which one it is.
    pub n: i32,
}

/// Does nothing, and is kept.
#[forge::job]
pub async fn kept(_ctx: &JobContext, input: Kept) -> Result<()> {
    let _ = input.n;
    begun();
    Ok(())
}

/// Does nothing, and is gone.
#[forge::job(retain = "0s")]
pub async fn dropped(_ctx: &JobContext, input: Dropped) -> Result<()> {
    let _ = input.n;
    begun();
    Ok(())
}

/// Waits for a worker that can do it.
#[forge::job(capability = "elsewhere")]
pub async fn elsewhere(_ctx: &JobContext, input: Elsewhere) -> Result<()> {
    let _ = input.n;
    Ok(())
}

/// Says when it began.
#[forge::job]
pub async fn timed(_ctx: &JobContext, input: Timed) -> Result<()> {
    let now = Instant::now();
    STARTS.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().insert(input.n, now);
    STARTED.notify_one();
    Ok(())
}

/// Dispatches one job, in its transaction.
#[forge::mutation(public)]
pub async fn enqueue_one(ctx: &MutationContext, n: i32) -> Result<()> {
    ctx.dispatch_job(Elsewhere { n }).await?;
    Ok(())
}

/// Writes a row and dispatches a job: what most mutations that dispatch do.
#[forge::mutation(public)]
pub async fn write_and_enqueue(ctx: &MutationContext, n: i32) -> Result<()> {
    sql!("INSERT INTO bench_rows (n) VALUES ({n})").execute(ctx.db()).await?;
    ctx.dispatch_job(Elsewhere { n }).await?;
    Ok(())
}

/// One caller who does that again and again.
#[forge::action(public, timeout = "5m")]
pub async fn beside_rows(ctx: &ActionContext, count: i32) -> Result<()> {
    for n in 0..count {
        ctx.mutate(write_and_enqueue, WriteAndEnqueue { n }).await?;
    }
    Ok(())
}

/// One caller who dispatches by a mutation each.
#[forge::action(public, timeout = "5m")]
pub async fn single(ctx: &ActionContext, count: i32) -> Result<()> {
    for n in 0..count {
        ctx.mutate(enqueue_one, EnqueueOne { n }).await?;
    }
    Ok(())
}

/// One caller who dispatches outside of transactions, each time waiting for the commit.
#[forge::action(public, timeout = "5m")]
pub async fn coalesced(ctx: &ActionContext, count: i32) -> Result<()> {
    for n in 0..count {
        ctx.dispatch_job(Elsewhere { n }).await?;
    }
    Ok(())
}

/// One caller who dispatches a thousand at a time.
#[forge::action(public, timeout = "5m")]
pub async fn bulk(ctx: &ActionContext, batches: i32) -> Result<()> {
    for _ in 0..batches {
        ctx.dispatch_jobs((0..1000).map(|n| Elsewhere { n }).collect()).await?;
    }
    Ok(())
}

/// Writes down what is to be worked off.
#[forge::action(public, timeout = "5m")]
pub async fn fill_kept(ctx: &ActionContext, batches: i32) -> Result<()> {
    for _ in 0..batches {
        ctx.dispatch_jobs((0..1000).map(|n| Kept { n }).collect()).await?;
    }
    Ok(())
}

/// The same of what is not kept.
#[forge::action(public, timeout = "5m")]
pub async fn fill_dropped(ctx: &ActionContext, batches: i32) -> Result<()> {
    for _ in 0..batches {
        ctx.dispatch_jobs((0..1000).map(|n| Dropped { n }).collect()).await?;
    }
    Ok(())
}

/// Many jobs by one transaction, that begin when it has committed.
#[forge::mutation(public, timeout = "5m")]
pub async fn load(ctx: &MutationContext, count: i32) -> Result<()> {
    ctx.dispatch_jobs((0..count).map(|n| Kept { n }).collect()).await?;
    Ok(())
}

/// Whether the end of every job that can be done here is written down.
#[forge::query(public, timeout = "5m")]
pub async fn all_ended(ctx: &QueryContext) -> Result<bool> {
    sql!(bool, "SELECT NOT EXISTS (SELECT FROM forge_jobs WHERE kind <> 'elsewhere')").fetch_one(ctx.db()).await
}

/// Waits until so many jobs have begun since the node was started, and, if they are all there are, have ended. Says for how many
/// milliseconds it has worked.
#[forge::action(public, timeout = "5m")]
pub async fn worked(ctx: &ActionContext, count: i64, all: bool) -> Result<f64> {
    while i64::try_from(BEGUN.load(Ordering::Relaxed)).unwrap_or(i64::MAX) < count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    while all && !ctx.query(all_ended, ()).await? {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(FIRST.get().map_or(0.0, |first| first.elapsed().as_secs_f64() * 1e3))
}

/// Loads and works off, again and again. Says how many jobs a second were worked off after each load.
#[forge::action(public, timeout = "5m")]
pub async fn cycles(ctx: &ActionContext, count: i32, times: i32) -> Result<Vec<f64>> {
    let mut rates = Vec::new();
    for _ in 0..times {
        ctx.mutate(load, Load { count }).await?;
        let began = Instant::now();
        while !ctx.query(all_ended, ()).await? {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        rates.push(f64::from(count) / began.elapsed().as_secs_f64());
    }
    Ok(rates)
}

/// Dispatches one job after the other on an idle node. Says for each how many milliseconds passed until it began.
#[forge::action(public, timeout = "5m")]
pub async fn latency(ctx: &ActionContext, count: i32) -> Result<Vec<f64>> {
    let mut took = Vec::new();
    for n in 0..count {
        let began = Instant::now();
        ctx.dispatch_job(Timed { n }).await?;
        let start = loop {
            let known = STARTS.lock().unwrap_or_else(PoisonError::into_inner).as_mut().and_then(|starts| starts.remove(&n));
            match known {
                Some(start) => break start,
                None => STARTED.notified().await,
            }
        };
        took.push(start.duration_since(began).as_secs_f64() * 1e3);
        // Neither in step with anything nor busy: between ten and thirty milliseconds.
        tokio::time::sleep(Duration::from_millis(10 + u64::from(n.unsigned_abs()) * 7919 % 20)).await;
    }
    Ok(took)
}

/// A job of a queue of its own, for each name.
macro_rules! crowd {
    ($($name:ident $input:ident $queue:literal,)*) => {
        $(
            /// See the job.
            #[forge::input]
            pub struct $input {
                /// Which one it is.
                pub n: i32,
            }

            /// Does nothing, in a queue of its own.
            #[forge::job(queue = $queue)]
            pub async fn $name(_ctx: &JobContext, input: $input) -> Result<()> {
                let _ = input.n;
                begun();
                Ok(())
            }
        )*

        /// Writes down what is to be worked off, in all queues in turn.
        #[forge::action(public, timeout = "5m")]
        pub async fn fill_crowd(ctx: &ActionContext, batches: i32) -> Result<()> {
            let mut left = batches;
            while left > 0 {
                $(
                    if left > 0 {
                        ctx.dispatch_jobs((0..1000).map(|n| $input { n }).collect()).await?;
                        left -= 1;
                    }
                )*
            }
            Ok(())
        }
    };
}

crowd! {
    q00 Q00 "q00", q01 Q01 "q01", q02 Q02 "q02", q03 Q03 "q03", q04 Q04 "q04", q05 Q05 "q05", q06 Q06 "q06", q07 Q07 "q07", q08 Q08 "q08", q09 Q09 "q09",
    q10 Q10 "q10", q11 Q11 "q11", q12 Q12 "q12", q13 Q13 "q13", q14 Q14 "q14", q15 Q15 "q15", q16 Q16 "q16", q17 Q17 "q17", q18 Q18 "q18", q19 Q19 "q19",
    q20 Q20 "q20", q21 Q21 "q21", q22 Q22 "q22", q23 Q23 "q23", q24 Q24 "q24", q25 Q25 "q25", q26 Q26 "q26", q27 Q27 "q27", q28 Q28 "q28", q29 Q29 "q29",
    q30 Q30 "q30", q31 Q31 "q31", q32 Q32 "q32", q33 Q33 "q33", q34 Q34 "q34", q35 Q35 "q35", q36 Q36 "q36", q37 Q37 "q37", q38 Q38 "q38", q39 Q39 "q39",
    q40 Q40 "q40", q41 Q41 "q41", q42 Q42 "q42", q43 Q43 "q43", q44 Q44 "q44", q45 Q45 "q45", q46 Q46 "q46", q47 Q47 "q47", q48 Q48 "q48", q49 Q49 "q49",
    q50 Q50 "q50", q51 Q51 "q51", q52 Q52 "q52", q53 Q53 "q53", q54 Q54 "q54", q55 Q55 "q55", q56 Q56 "q56", q57 Q57 "q57", q58 Q58 "q58", q59 Q59 "q59",
    q60 Q60 "q60", q61 Q61 "q61", q62 Q62 "q62", q63 Q63 "q63", q64 Q64 "q64", q65 Q65 "q65", q66 Q66 "q66", q67 Q67 "q67", q68 Q68 "q68", q69 Q69 "q69",
    q70 Q70 "q70", q71 Q71 "q71", q72 Q72 "q72", q73 Q73 "q73", q74 Q74 "q74", q75 Q75 "q75", q76 Q76 "q76", q77 Q77 "q77", q78 Q78 "q78", q79 Q79 "q79",
    q80 Q80 "q80", q81 Q81 "q81", q82 Q82 "q82", q83 Q83 "q83", q84 Q84 "q84", q85 Q85 "q85", q86 Q86 "q86", q87 Q87 "q87", q88 Q88 "q88", q89 Q89 "q89",
    q90 Q90 "q90", q91 Q91 "q91", q92 Q92 "q92", q93 Q93 "q93", q94 Q94 "q94", q95 Q95 "q95", q96 Q96 "q96", q97 Q97 "q97", q98 Q98 "q98", q99 Q99 "q99",
}

#[tokio::main]
async fn main() -> forge::Result<()> {
    Forge::new().run().await
}
