use std::time::Duration;

use forge::__rt::Access;
use forge::__rt::job::{Concurrency, RateLimit};
use forge::prelude::*;
use forge::{Backoff, Job, JobInfo, JobInput, Priority, RetryPolicy};
use serde_json::json;

use crate::{described, read, refused, written};

#[forge::input]
pub struct NotifyWatchers {
    pub card_id: Uuid,
    #[validate(length(max = 5))]
    pub word: Option<String>,
}

/// Tells whoever watches.
#[forge::job(
    queue = "mail",
    priority = "high",
    timeout = "5m",
    capability = "media",
    retry(max_attempts = 5, backoff = "linear", initial = "2s", max_backoff = "1m", jitter = false, on = ["TIMEOUT", "APP_X"]),
    idempotent(key = "card_id"),
    concurrency(limit = 10, key = ["card_id", "word"]),
    rate_limit(requests = 100, per = "minute"),
    retain = "1d",
    dead_letter(retain = "30d"),
    role = "admin"
)]
pub async fn notify_watchers(ctx: &JobContext, input: NotifyWatchers) -> Result<String> {
    if ctx.attempt() > 1 {
        return Err(Error::cancel("once is enough"));
    }
    Ok(format!("{} of {}", input.word.unwrap_or_default(), ctx.attempt()))
}

#[forge::job]
pub async fn cleanup(_ctx: &JobContext) -> Result<()> {
    Ok(())
}

#[forge::job(name = "tidy")]
#[priority = 0]
#[worker_capability = "disk"]
#[idempotent]
#[rate_limit(count = 2, per = "1h30m")]
#[retry(max_attempts = 1)]
#[role = ["a", "b"]]
pub(crate) async fn tidy_up(
    _ctx: &JobContext,
    #[validate(range(min = 1))] days: i32,
    mut words: Vec<String>,
) -> Result<i64, forge::Error> {
    words.clear();
    Ok(i64::from(days))
}

#[forge::job(concurrency(limit = 1), idempotent(key = "card_id"))]
async fn single(_ctx: &JobContext, card_id: Uuid) -> Result<Uuid> {
    Ok(card_id)
}

pub(crate) mod other {

    #[forge::input]
    pub(crate) struct Draft {
        pub(crate) title: String,
    }
}

/// The input may be of any name and stand in any module of the crate.
#[forge::job(register = false)]
pub(crate) async fn publish(_ctx: &JobContext, draft: other::Draft) -> Result<String> {
    Ok(draft.title)
}

/// The job that an input names.
fn kind_of<I: JobInput>(_: &I) -> &'static str {
    <I::Job as Job>::INFO.name
}

#[test]
fn what_a_job_says_about_itself() {
    let info = notify_watchers::INFO;
    assert_eq!((info.name, info.doc), ("notify_watchers", "Tells whoever watches."));
    assert_eq!((info.queue, info.priority, info.capability), ("mail", Priority::High, "media"));
    assert_eq!(info.timeout, Duration::from_secs(300));
    let retry = RetryPolicy {
        max_attempts: 5,
        backoff: Backoff::Linear,
        initial: Duration::from_secs(2),
        max_backoff: Duration::from_secs(60),
        jitter: false,
        on: &["TIMEOUT", "APP_X"],
    };
    assert_eq!(info.retry, retry);
    assert!(info.idempotent);
    assert_eq!(info.concurrency, Some(Concurrency { limit: 10, key: true }));
    assert_eq!(info.rate_limit, Some(RateLimit { count: 100, per: Duration::from_secs(60) }));
    assert_eq!(info.retain, Duration::from_secs(86_400));
    assert_eq!(info.dead_letter_retain, Duration::from_secs(30 * 86_400));
    assert_eq!(info.track, Access::AnyRole(&["admin"]));
    assert!(info.file.ends_with("jobs.rs") && info.line > 10 && info.module.ends_with("jobs"));
}

#[test]
fn what_is_not_said_has_a_default() {
    let info = cleanup::INFO;
    assert_eq!(
        (info.name, info.queue, info.priority, info.capability),
        ("cleanup", "default", Priority::Normal, "general")
    );
    assert_eq!((info.timeout, info.retry), (Duration::from_secs(3600), RetryPolicy::DEFAULT));
    assert_eq!((info.idempotent, info.concurrency, info.rate_limit), (false, None, None));
    let week = Duration::from_secs(7 * 86_400);
    assert_eq!((info.retain, info.dead_letter_retain, info.track), (week, week, JobInfo::NOBODY));

    let info = tidy_up::INFO;
    assert_eq!((info.name, info.priority, info.capability), ("tidy", Priority::Background, "disk"));
    assert_eq!(info.rate_limit, Some(RateLimit { count: 2, per: Duration::from_secs(5400) }));
    assert_eq!(info.retry, RetryPolicy { max_attempts: 1, ..RetryPolicy::DEFAULT });
    assert_eq!(info.track, Access::AnyRole(&["a", "b"]));
    assert_eq!(single::INFO.concurrency, Some(Concurrency { limit: 1, key: false }));
}

#[test]
fn an_input_names_its_job() {
    assert_eq!(kind_of(&NotifyWatchers { card_id: Uuid::nil(), word: None }), "notify_watchers");
    assert_eq!(kind_of(&Cleanup), "cleanup");
    assert_eq!(kind_of(&TidyUp { days: 1, words: vec![] }), "tidy");
    assert_eq!(kind_of(&Single { card_id: Uuid::nil() }), "single");
    assert_eq!(kind_of(&other::Draft { title: String::new() }), "publish");
}

#[test]
fn inputs_are_objects_on_the_wire() {
    assert_eq!(written(&Cleanup), json!({}));
    let _: Cleanup = read(json!({}));
    let _: Cleanup = read(json!(null));
    assert!(refused::<Cleanup>(json!({ "a": 1 })).contains("unknown field `a`"));
    assert_eq!(described::<Cleanup>(), json!({ "type": { "kind": "null" }, "types": [] }));

    assert_eq!(written(&TidyUp { days: 1, words: vec![] }), json!({ "days": 1, "words": [] }));
    assert!(refused::<TidyUp>(json!({ "days": 0, "words": [] })).contains("at least 1"));
    assert_eq!(written(&Single { card_id: Uuid::nil() }), json!({ "cardId": Uuid::nil() }));
    assert!(refused::<NotifyWatchers>(json!({ "cardId": Uuid::nil(), "word": "longer" })).contains("at most 5"));
}

#[test]
fn keys_are_made_of_the_fields_that_are_named() {
    let input = |word: Option<&str>| NotifyWatchers { card_id: Uuid::nil(), word: word.map(str::to_owned) };
    let id = "\"00000000-0000-0000-0000-000000000000\"";
    assert_eq!(notify_watchers::idempotency_key(&input(Some("a"))).as_deref(), Some(id));
    assert_eq!(notify_watchers::concurrency_key(&input(Some("a|b"))), Some(format!("{id}|\"a|b\"")));
    assert_eq!(notify_watchers::concurrency_key(&input(None)), Some(format!("{id}|null")));
    assert_eq!(single::idempotency_key(&Single { card_id: Uuid::nil() }).as_deref(), Some(id));
    assert_eq!(single::concurrency_key(&Single { card_id: Uuid::nil() }), None);
    assert_eq!(cleanup::idempotency_key(&Cleanup), None);

    let whole = |days: i32| tidy_up::idempotency_key(&TidyUp { days, words: vec![] });
    assert!(whole(1).unwrap().starts_with('#'));
    assert_eq!(whole(1), whole(1));
    assert_ne!(whole(1), whole(2));
}

#[test]
fn an_app_has_the_jobs_that_are_linked_and_those_that_are_named() {
    let app = Forge::new().app().unwrap();
    let kinds: Vec<&str> = app.jobs().infos().map(|info| info.name).collect();
    assert_eq!(kinds, ["cleanup", "notify_watchers", "single", "tidy"]);
    assert_eq!(app.jobs().info("tidy").unwrap().priority, Priority::Background);
    assert!(app.jobs().info("tidy_up").is_none());
    assert!(Forge::new().job(publish).app().unwrap().jobs().info("publish").is_some());
    let twice = Forge::new().job(cleanup).app().unwrap_err();
    assert_eq!(twice.code(), "FUNCTION_TWICE");
    assert!(twice.message().contains("the job `cleanup`") && twice.message().contains("`.job(..)`"), "{twice}");
}

#[test]
fn the_manifest_describes_jobs() {
    let app = Forge::new().app().unwrap();
    let manifest = serde_json::to_value(app.manifest().unwrap()).unwrap();
    let job = &manifest["jobs"][1];
    assert_eq!(
        *job,
        json!({
            "name": "notify_watchers",
            "doc": "Tells whoever watches.",
            "input": { "kind": "named", "name": "NotifyWatchers" },
            "output": { "kind": "string" },
            "queue": "mail",
            "priority": "high",
            "timeout": "5m",
            "capability": "media",
            "retry": {
                "maxAttempts": 5, "backoff": "linear", "initial": "2s", "maxBackoff": "1m", "jitter": false,
                "on": ["TIMEOUT", "APP_X"],
            },
            "idempotent": true,
            "roles": ["admin"],
        })
    );
    assert_eq!(manifest["jobs"][0]["input"], json!({ "kind": "null" }));
    assert!(manifest["types"].as_array().unwrap().iter().any(|ty| ty["name"] == "NotifyWatchers"));
}

#[forge::input]
struct SignUp {
    password: Secret,
}

#[forge::job(register = false)]
async fn sign_up(_ctx: &JobContext, input: SignUp) -> Result<()> {
    drop(input);
    Ok(())
}

#[forge::job(register = false)]
async fn make_password(_ctx: &JobContext) -> Result<Option<Secret>> {
    Ok(None)
}

#[test]
fn no_secret_lies_in_a_queue_or_leaves_it() {
    let stored = Forge::new().job(sign_up).app().unwrap_err();
    assert_eq!(stored.code(), "SECRET_STORED");
    assert!(stored.message().contains("the job `sign_up`") && stored.message().contains("password"), "{stored}");
    assert_eq!(Forge::new().job(make_password).app().unwrap_err().code(), "SECRET_ANSWERED");
}
