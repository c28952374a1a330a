//! What mutations dispatch: written with their COMMIT, or by one that they share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::super::store::NewJob;
use super::super::wake::Wake;
use super::super::{Dispatched, JobRegistry, Jobs};
use crate::cluster::Cluster;
use crate::config::JobsConfig;
use crate::db::transaction::{Purpose, Transaction};
use crate::db::{Shape, WriteDb, new_uuid};
use crate::realtime::differential::Place;

const HOUR: Duration = Duration::from_secs(3600);

fn job(input: &str) -> NewJob {
    NewJob {
        id: new_uuid(),
        kind: "noted",
        queue: "default",
        priority: 50,
        delay: Duration::ZERO,
        at: None,
        input: input.into(),
        owner: None,
        trace: None,
        parent: None,
        unique_key: None,
        concurrency_key: None,
    }
}

fn queue(place: &Place) -> Jobs {
    let jobs = Jobs::new(JobRegistry::default(), &JobsConfig::default(), place.database.jobs().clone(), Cluster::new());
    jobs.worked_here(["noted"]);
    jobs
}

/// The places of all jobs in their lane.
async fn places(place: &Place) -> Vec<(String, Timestamp)> {
    let text = "SELECT input::text, (extract(epoch FROM ready_at) * 1000000)::int8 FROM forge_jobs ORDER BY input::text";
    let rows = place.client.query(text, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), Timestamp::from_microsecond(row.get(1)).unwrap())).collect()
}

fn mutation(place: &Place) -> (Arc<Transaction>, WriteDb) {
    let deadline = Instant::now() + HOUR;
    let transaction = Arc::new(Transaction::lazy(place.database.primary(), Purpose::Own, deadline, false));
    (transaction.clone(), WriteDb::new(transaction, deadline))
}

#[tokio::test]
async fn what_is_noted_is_written_with_the_commit_and_told_of() {
    let place = Place::make().await;
    let jobs = queue(&place);
    let (transaction, db) = mutation(&place);
    let dispatched = Dispatched::default();
    dispatched.dispatch(&jobs, &db, vec![job("1")]).await.unwrap();
    dispatched.dispatch(&jobs, &db, vec![NewJob { delay: HOUR, ..job("2") }]).await.unwrap();
    assert!(transaction.is_untouched(), "it costs no round trip");
    db.run(&Shape::of("SELECT 1"), &[]).await.unwrap();
    let noted = dispatched.take_jobs();
    assert!(noted[1].delay < HOUR, "a delay begins with the dispatch");
    let writing = jobs.writing(&noted).unwrap();
    let answers =
        transaction.commit(Some((writing.shape(), writing.params().as_slice())), place.database.side()).await.unwrap();
    dispatched.written(&writing, answers.first());
    jobs.committed(&dispatched);
    let places = places(&place).await;
    assert_eq!(places.len(), 2);
    let wakes = jobs.waker().next().await;
    assert_eq!(wakes[0], Wake::Ready { kind: "noted".into(), priority: 50, at: places[0].1 });
    assert!(matches!(wakes[1..], [Wake::Due { at }] if at > places[0].1 + HOUR / 2), "{wakes:?}");

    // When the answer was lost, all that is known is that there is something.
    dispatched.written(&writing, None);
    assert_eq!(dispatched.take().wakes, [Wake::Look]);
    place.remove().await;
}

#[tokio::test]
async fn many_are_written_on_the_way() {
    let place = Place::make().await;
    let jobs = queue(&place);
    let (transaction, db) = mutation(&place);
    let dispatched = Dispatched::default();
    for n in 0..1001 {
        dispatched.dispatch(&jobs, &db, vec![job(&n.to_string())]).await.unwrap();
    }
    assert_eq!(dispatched.take_jobs().len(), 1, "a thousand have been written");
    let large = format!("\"{}\"", "x".repeat(700_000));
    dispatched.dispatch(&jobs, &db, vec![job(&large)]).await.unwrap();
    dispatched.dispatch(&jobs, &db, vec![job(&large)]).await.unwrap();
    assert_eq!(dispatched.take_jobs().len(), 1);
    transaction.commit(None, place.database.side()).await.unwrap();
    assert_eq!(places(&place).await.len(), 1001);
    place.remove().await;
}

#[tokio::test]
async fn what_must_not_be_left_half_done_takes_all_with_it() {
    let place = Place::make().await;
    let (transaction, db) = mutation(&place);
    db.run(&Shape::of("CREATE TABLE half (n int)"), &[]).await.unwrap();
    tokio::select! {
        biased;
        () = db.whole(std::future::pending()) => {}
        () = std::future::ready(()) => {}
    }
    assert_eq!(transaction.commit(None, place.database.side()).await.unwrap_err().code(), "INTERNAL_ERROR");
    let there = place.client.query_one("SELECT to_regclass('half') IS NOT NULL", &[]).await.unwrap();
    assert!(!there.get::<_, bool>(0));
    place.remove().await;
}

#[tokio::test]
async fn mutations_that_only_dispatch_share_a_commit_and_no_failure() {
    let place = Place::make().await;
    let jobs = queue(&place);
    let stop = CancellationToken::new();
    // Handed in before anybody writes, they are all there for the first batch.
    let (one, two, three, ()) = tokio::join!(
        biased;
        jobs.commit(vec![job("1")]),
        jobs.commit(vec![job("2"), job("3")]),
        jobs.enqueue(vec![job("4")]),
        async { drop(tokio::spawn(jobs.clone().run(stop.clone()))) }
    );
    let xid = one.unwrap();
    assert!(xid.is_some() && two.unwrap() == xid && three.unwrap().len() == 1);
    let places = places(&place).await;
    assert_eq!(places.len(), 4);
    let wakes = jobs.waker().next().await;
    // Many follow their statement's moment, a microsecond each.
    let first = places[0].1;
    assert!(
        matches!(wakes[..], [Wake::Ready { at, .. }] if at <= first && at + Duration::from_millis(1) > first),
        "{wakes:?}"
    );

    let rule = "ALTER TABLE forge_jobs ADD CONSTRAINT no_poison CHECK (input::text <> '13')";
    place.client.batch_execute(rule).await.unwrap();
    let (good, bad, other) =
        tokio::join!(jobs.commit(vec![job("5")]), jobs.commit(vec![job("6"), job("13")]), jobs.commit(vec![job("7")]));
    assert!(good.is_ok() && other.is_ok());
    assert_eq!(bad.unwrap_err().code(), "VALIDATION_ERROR");
    let inputs: Vec<String> = self::places(&place).await.into_iter().map(|(input, _)| input).collect();
    assert_eq!(inputs, ["1", "2", "3", "4", "5", "7"]);
    stop.cancel();
    place.remove().await;
}
