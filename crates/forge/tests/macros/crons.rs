use std::time::Duration;

use forge::prelude::*;
use forge::{Cron, Overlap, Priority, RetryPolicy};
use serde_json::json;

/// What happened since yesterday.
#[forge::cron(
    "0 9 * * 1-5",
    timezone = "Asia/Colombo",
    catch_up = true,
    catch_up_limit = 3,
    overlap = "skip",
    timeout = "10m",
    retry(max_attempts = 2),
    queue = "mail",
    priority = "low",
    capability = "media"
)]
pub async fn daily_digest(ctx: &CronContext) -> Result<()> {
    if ctx.scheduled_time() == Timestamp::UNIX_EPOCH { Ok(()) } else { Err(Error::conflict(ctx.cron_name())) }
}

#[forge::cron(every = "5m", name = "sweep")]
async fn sweep_up(_ctx: &CronContext) -> Result<(), forge::Error> {
    Ok(())
}

#[forge::cron(daily_at = "23:30")]
#[timezone = "Europe/Berlin"]
#[catch_up]
async fn at_night(_ctx: &CronContext) -> Result<()> {
    Ok(())
}

#[forge::cron("@hourly", register = false, overlap = "allow")]
async fn by_hand(_ctx: &CronContext) -> Result<()> {
    Ok(())
}

#[forge::cron("0 0 * * *", timezone = "Mars/Olympus", register = false)]
async fn elsewhere(_ctx: &CronContext) -> Result<()> {
    Ok(())
}

#[test]
fn what_a_cron_says_about_itself() {
    let info = daily_digest::INFO;
    assert_eq!((info.name, info.doc), ("daily_digest", "What happened since yesterday."));
    assert_eq!((info.expression, info.timezone), ("0 9 * * 1-5", "Asia/Colombo"));
    assert_eq!((info.catch_up, info.catch_up_limit, info.overlap), (true, 3, Overlap::Skip));
    assert_eq!((info.timeout, info.retry.max_attempts), (Duration::from_secs(600), 2));
    assert_eq!((info.queue, info.priority, info.capability), ("mail", Priority::Low, "media"));
    assert!(info.file.ends_with("crons.rs") && info.line > 5 && info.module.ends_with("crons"));
}

#[test]
fn what_is_not_said_has_a_default() {
    let info = sweep_up::INFO;
    assert_eq!((info.name, info.expression, info.timezone), ("sweep", "0 */5 * * * *", "UTC"));
    assert_eq!((info.catch_up, info.catch_up_limit, info.overlap), (false, 10, Overlap::Skip));
    assert_eq!((info.timeout, info.retry), (Duration::from_secs(3600), RetryPolicy::DEFAULT));
    assert_eq!((info.queue, info.priority, info.capability), ("default", Priority::Normal, "general"));

    let info = at_night::INFO;
    assert_eq!((info.expression, info.timezone), ("0 30 23 * * *", "Europe/Berlin"));
    // Who catches up waits.
    assert_eq!((info.catch_up, info.overlap), (true, Overlap::Queue));
    assert_eq!(by_hand::INFO.overlap, Overlap::Allow);
}

#[test]
fn an_app_has_the_crons_that_are_linked_and_those_that_are_named() {
    let app = Forge::new().cron(by_hand).app().unwrap();
    let crons: Vec<(&str, &str)> = app.crons().iter().map(|(info, due)| (info.name, due.expression())).collect();
    assert_eq!(
        crons,
        [
            ("at_night", "0 30 23 * * *"),
            ("by_hand", "@hourly"),
            ("daily_digest", "0 9 * * 1-5"),
            ("sweep", "0 */5 * * * *"),
        ]
    );
    let twice = Forge::new().cron(at_night).app().unwrap_err();
    assert!(twice.code() == "FUNCTION_TWICE" && twice.message().contains("the cron `at_night`"), "{twice}");
    let unknown = Forge::new().cron(elsewhere).app().unwrap_err();
    assert_eq!(unknown.code(), "CRON_INVALID");
    assert!(unknown.message().contains("crons.rs") && unknown.message().contains("`Mars/Olympus`"), "{unknown}");
}

#[test]
fn the_manifest_describes_crons() {
    let manifest = serde_json::to_value(Forge::new().app().unwrap().manifest().unwrap()).unwrap();
    assert_eq!(
        manifest["crons"][1],
        json!({
            "name": "daily_digest",
            "doc": "What happened since yesterday.",
            "expression": "0 9 * * 1-5",
            "timezone": "Asia/Colombo",
            "catchUpLimit": 3,
            "overlap": "skip",
            "queue": "mail",
            "priority": "low",
            "timeout": "10m",
            "capability": "media",
            "retry": { "maxAttempts": 2, "backoff": "exponential", "initial": "1s", "maxBackoff": "5m", "jitter": true },
        })
    );
    assert_eq!(manifest["crons"][2].get("catchUpLimit"), None);
}
