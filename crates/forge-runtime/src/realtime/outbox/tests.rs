//! What waits for a session, and what becomes of it when the session is slow or changes its mind.

use serde_json::{Value, json};

use super::*;
use crate::realtime::events::EVENTS_MAX;
use crate::realtime::version::Versions;

fn told(json: Vec<u8>, before: Option<&Told>) -> Arc<Told> {
    Arc::new(Told::new(json, before, &Versions::new(None)))
}

fn list(n: usize, last: &str) -> Vec<u8> {
    let mut rows: Vec<Value> = (0..n).map(|id| json!({"id": id, "title": "a title of some length"})).collect();
    rows.push(json!({"id": "last", "title": last}));
    Value::Array(rows).to_string().into_bytes()
}

fn news(news: Vec<(u64, News)>) -> Delivery {
    Delivery { news: news.into_iter().collect(), ..Delivery::default() }
}

fn frame(outbox: &Outbox) -> Value {
    serde_json::from_str(&outbox.take().frame.unwrap()).unwrap()
}

#[test]
fn a_client_gets_the_newest_as_a_patch_to_what_it_has() {
    let outbox = Outbox::new();
    let put = |told: &Arc<Told>| outbox.put(7, news(vec![(3, News::Result(told.clone()))]));
    let first = told(list(9, "x"), None);
    let second = told(list(9, "y"), Some(&first));
    let third = told(list(9, "missed"), Some(&second));
    let fourth = told(list(9, "z"), Some(&third));
    put(&first);
    let whole = frame(&outbox);
    assert_eq!((&whole["results"][0]["data"][9]["title"], &whole["position"]), (&json!("x"), &json!("7")));
    put(&second);
    let brief = second.version.brief();
    let patched = format!(r#"{{"type":"frame","results":[[3,"{brief}",9,"title","y"]]}}"#);
    assert_eq!(outbox.take().frame.as_ref(), Some(&patched));
    assert!(patched.len() - r#""y""#.len() <= 60, "{patched}");
    // Slower than the rounds: what it misses in between makes the patch useless, so it gets the whole.
    put(&third);
    put(&fourth);
    assert_eq!(frame(&outbox)["results"][0]["data"][9]["title"], "z");
    put(&fourth);
    assert_eq!(frame(&outbox)["results"][0]["current"], true);
    assert!(outbox.take().frame.is_none());
}

#[test]
fn of_a_job_the_newest_counts_and_nothing_of_one_that_had_its_number_before() {
    let outbox = Outbox::new();
    let stands = |text: &str| JobNews::Stands { text: text.to_owned(), over: false };
    let texts = |outbox: &Outbox| -> Vec<String> {
        let jobs = outbox.take().jobs.into_iter();
        jobs.map(|(id, _, news)| match news {
            JobNews::Stands { text, .. } => format!("{id} {text}"),
            JobNews::Failed(why) => format!("{id} {}", why.code()),
        })
        .collect()
    };
    let (first, other) = (outbox.follow(4), outbox.follow(2));
    outbox.job(4, first, stands("10 %"));
    outbox.job(4, first, stands("20 %"));
    outbox.job(2, other, JobNews::Failed(Arc::new(Error::not_found("x"))));
    assert_eq!(texts(&outbox), ["2 NOT_FOUND", "4 20 %"]);
    assert!(outbox.is_empty() && texts(&outbox).is_empty());
    let second = outbox.follow(4);
    outbox.job(4, first, stands("late"));
    assert!(outbox.is_empty(), "it is about another one now");
    outbox.job(4, second, stands("new"));
    outbox.forget(4);
    outbox.job(4, second, stands("forgotten"));
    assert!(texts(&outbox).is_empty());
    let third = outbox.follow(4);
    outbox.job(4, third, stands("secret"));
    outbox.end(End::SIGNED_OUT);
    assert!(texts(&outbox).is_empty(), "whoever is signed out is shown nothing more");
}

#[test]
fn a_client_that_says_what_it_holds_gets_what_makes_the_newest_of_it() {
    let first = told(list(9, "x"), None);
    let second = told(list(9, "y"), Some(&first));
    let (old, new) = (first.version.brief().to_string(), second.version.brief().to_string());
    let told_to = |held: Option<&str>| {
        let outbox = Outbox::new();
        outbox.holds(1, Some(&old));
        outbox.holds(1, held);
        outbox.put(7, news(vec![(1, News::Result(second.clone()))]));
        frame(&outbox)["results"][0].clone()
    };
    assert_eq!(told_to(Some(&new))["current"], true);
    assert_eq!(told_to(Some(&old)), json!([1, new, 9, "title", "y"]));
    for unknown in [None, Some("AAAAAAAA"), Some("")] {
        assert_eq!(told_to(unknown)["data"][9]["title"], "y", "{unknown:?}");
    }
}

#[test]
fn acknowledgements_come_with_the_round_that_shows_them() {
    let outbox = Outbox::new();
    let told = told(b"1".to_vec(), None);
    outbox.put(9, Delivery { acks: vec!["m\"1".into()], ..news(vec![(1, News::Result(told))]) });
    let frame = frame(&outbox);
    assert_eq!((frame["acks"][0].as_str(), frame["results"][0]["data"].as_i64()), (Some("m\"1"), Some(1)));
    assert_eq!(frame["position"], "9");
}

#[test]
fn nothing_is_said_of_what_was_given_up() {
    let outbox = Outbox::new();
    let told = told(b"1".to_vec(), None);
    outbox.put(9, news(vec![(1, News::Result(told))]));
    outbox.forget(1);
    assert!(outbox.take().frame.is_none());
}

fn moved(number: usize) -> Events {
    let mut events = Events::default();
    events.push(1, Arc::new(Event { name: "moved".into(), data: number.to_string() }));
    events
}

#[test]
fn events_come_after_the_frame_and_the_oldest_of_too_many_go() {
    let outbox = Outbox::new();
    let told = told(b"1".to_vec(), None);
    outbox.put(9, Delivery { events: moved(0), ..news(vec![(1, News::Result(told))]) });
    for number in 1..EVENTS_MAX + 3 {
        outbox.put(9, Delivery { events: moved(number), ..Delivery::default() });
    }
    let outgoing = outbox.take();
    assert!(outgoing.frame.is_some());
    assert_eq!(outgoing.events.len(), EVENTS_MAX);
    assert_eq!(outgoing.events[0], r#"{"type":"event","id":1,"name":"moved","data":3,"missed":3}"#);
    assert_eq!(outgoing.events[1], r#"{"type":"event","id":1,"name":"moved","data":4}"#);
}

#[test]
fn however_much_happens_what_waits_for_a_client_that_does_not_read_is_a_slot_for_each_thing_it_follows() {
    const ROUNDS: usize = 2_000;
    let outbox = Outbox::new();
    let turn = outbox.follow(9);
    let mut before = None;
    for round in 0..ROUNDS {
        let now = told(list(3, &round.to_string()), before.as_deref());
        let all = (1..=3).map(|id| (id, News::Result(now.clone()))).collect();
        outbox.put(round as u64, Delivery { events: moved(round), ..news(all) });
        outbox.job(9, turn, JobNews::Stands { text: format!("{round}"), over: false });
        before = Some(now);
    }
    let outgoing = outbox.take();
    assert_eq!((outgoing.said.len(), outgoing.events.len(), outgoing.jobs.len()), (0, EVENTS_MAX, 1));
    let frame: Value = serde_json::from_str(&outgoing.frame.unwrap()).unwrap();
    let last: Vec<&Value> = frame["results"].as_array().unwrap().iter().map(|one| &one["data"][3]["title"]).collect();
    assert_eq!(last, vec![&json!((ROUNDS - 1).to_string()); 3], "the newest of each, once");
    assert!(outbox.is_empty());
}

#[test]
fn of_a_subscription_that_failed_or_ended_no_event_is_told() {
    let outbox = Outbox::new();
    outbox.put(9, Delivery { events: moved(0), ..Delivery::default() });
    outbox.put(10, news(vec![(1, News::Failed(Arc::new(Error::forbidden("not any more"))))]));
    let outgoing = outbox.take();
    assert_eq!((outgoing.failures.len(), outgoing.events.len()), (1, 0));
    outbox.put(9, Delivery { events: moved(0), ..Delivery::default() });
    outbox.forget(1);
    assert!(outbox.take().events.is_empty());
}

#[test]
fn whoever_does_not_read_answers_is_too_slow_and_whoever_has_ended_is_shown_nothing() {
    let outbox = Outbox::new();
    let told = told(b"1".to_vec(), None);
    outbox.put(9, Delivery { events: moved(0), ..news(vec![(1, News::Result(told))]) });
    (0..=ANSWERS_MAX).for_each(|_| outbox.say("{}".into()));
    let outgoing = outbox.take();
    assert_eq!((outgoing.said.len(), outgoing.end), (ANSWERS_MAX, Some(End::SLOW)));
    assert!(outgoing.frame.is_none() && outgoing.events.is_empty());
}
