//! What the attributes of jobs and crons make runs the function that was written.

use forge::prelude::*;
use forge::{ForgeCron, ForgeJob, Job, JobInput};

use crate::crons::daily_digest;
use crate::jobs::other::Draft;
use crate::jobs::{Cleanup, NotifyWatchers, TidyUp};

async fn run<I: JobInput>(input: I, attempt: u32) -> Result<<I::Job as Job>::Output>
where
    I::Job: ForgeJob<JobContext>,
{
    let ctx = JobContext::new(Uuid::nil(), attempt);
    <I::Job as ForgeJob<JobContext>>::execute(&ctx, input).await
}

#[tokio::test]
async fn jobs_run_with_their_input() {
    assert_eq!(run(NotifyWatchers { card_id: Uuid::nil(), word: Some("a".into()) }, 1).await.unwrap(), "a of 1");
    let again = run(NotifyWatchers { card_id: Uuid::nil(), word: None }, 2).await.unwrap_err();
    assert_eq!(again.wish(), Some(forge::__rt::job::Wish::Cancel));
    assert_eq!(run(TidyUp { days: 3, words: vec!["a".into()] }, 1).await.unwrap(), 3);
    run(Cleanup, 1).await.unwrap();
    assert_eq!(run(Draft { title: "t".into() }, 1).await.unwrap(), "t");
}

#[tokio::test]
async fn jobs_run_with_json() {
    let app = Forge::new().app().unwrap();
    let ctx = JobContext::new(Uuid::nil(), 1);
    let run = |kind: &str, input: &'static [u8]| app.jobs().run(kind, &ctx, input);
    assert_eq!(run("tidy", br#"{"days":7,"words":[]}"#).unwrap().await.unwrap(), br#""7""#);
    let refused = run("tidy", br#"{"days":0,"words":[]}"#).unwrap().await.unwrap_err();
    assert_eq!(refused.code(), "VALIDATION_ERROR");
    assert!(run("none", b"{}").is_none());
}

#[tokio::test]
async fn crons_run() {
    let app = Forge::new().app().unwrap();
    let epoch = CronContext::new("daily_digest", Timestamp::UNIX_EPOCH);
    app.crons().run("daily_digest", &epoch).unwrap().await.unwrap();
    let other = CronContext::new("daily_digest", Timestamp::MAX);
    let failed = <daily_digest as ForgeCron<CronContext>>::execute(&other).await.unwrap_err();
    assert_eq!(failed.message(), "daily_digest");
}
