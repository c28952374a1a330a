//! What is told arrives, together, and whoever may have missed something is told to look.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{PATIENCE, Place};
use crate::cluster::{Bus, BusReceiver, Heard};

async fn next(receiver: &mut BusReceiver) -> Heard {
    tokio::time::timeout(PATIENCE, receiver.recv()).await.expect("nothing is heard")
}

fn told(values: &[(&str, i64)]) -> Heard {
    let values: BTreeMap<String, i64> = values.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect();
    Heard::Told(values.into())
}

#[tokio::test]
async fn what_is_told_arrives_everywhere_and_a_cut_is_told_as_such() {
    let place = Place::make().await;
    let stop = CancellationToken::new();
    let (one, two) = (Bus::new(), Bus::new());
    let running =
        [&one, &two].map(|bus| tokio::spawn(bus.clone().run(place.reached_at(place.database.url()), stop.clone())));
    let (mut first, mut second) = (one.subscribe("forge_test"), two.subscribe("forge_test"));
    for receiver in [&mut first, &mut second] {
        assert_eq!(next(receiver).await, Heard::Everything, "what was before is not known");
    }
    // Before the sender has had a chance: one notification.
    one.tell("forge_test", "mail", 7, i64::min);
    one.tell("forge_test", "mail", 3, i64::min);
    one.tell("forge_other", "mail", 1, i64::min);
    one.tell("forge_test", "report", 5, i64::min);
    for receiver in [&mut first, &mut second] {
        assert_eq!(next(receiver).await, told(&[("mail", 3), ("report", 5)]));
    }
    // A thousand in a row are a few.
    for n in 0..1_000 {
        two.tell("forge_test", "count", n, i64::max);
        tokio::task::yield_now().await;
    }
    let mut notifications = 0;
    loop {
        notifications += 1;
        let Heard::Told(values) = next(&mut first).await else { panic!("nothing was missed") };
        if values["count"] == 999 {
            break;
        }
    }
    assert!(notifications < 100, "{notifications}");
    // A second channel joins the same session.
    let mut other = one.subscribe("forge_other");
    assert_eq!(next(&mut other).await, Heard::Everything);
    let sessions =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE '%listening'";
    assert_eq!(place.text(sessions).await, "2");
    while next(&mut second).await != told(&[("count", 999)]) {}
    // Cut, both for hearing and for telling.
    let cut = "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity \
               WHERE datname = current_database() AND application_name ~ '(listening|telling)$'";
    assert_eq!(place.text(cut).await, "4");
    two.tell("forge_test", "late", 1, i64::min);
    assert_eq!(next(&mut other).await, Heard::Everything);
    for receiver in [&mut first, &mut second] {
        // What was told while nobody listened is among everything, or arrives.
        assert_eq!(next(receiver).await, Heard::Everything);
    }
    two.tell("forge_test", "again", 1, i64::min);
    for receiver in [&mut first, &mut second] {
        loop {
            match next(receiver).await {
                Heard::Told(values) if values.contains_key("again") => break,
                Heard::Told(_) | Heard::Everything => {}
            }
        }
    }
    stop.cancel();
    for task in running {
        task.await.unwrap();
    }
    place.database.remove().await.unwrap();
}

#[tokio::test]
async fn nobody_who_listens_and_nothing_to_tell_is_no_session() {
    let place = Place::make().await;
    let stop = CancellationToken::new();
    let bus = Bus::new();
    let running = tokio::spawn(bus.clone().run(place.reached_at(place.database.url()), stop.clone()));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let sessions =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'forge %'";
    assert_eq!(place.text(sessions).await, "0");
    // What is told last is told before the end.
    let mut heard = bus.subscribe("forge_test");
    assert_eq!(next(&mut heard).await, Heard::Everything);
    let other = Bus::new();
    other.tell("forge_test", "last", 1, i64::min);
    let stopped = CancellationToken::new();
    stopped.cancel();
    other.run(place.reached_at(place.database.url()), stopped).await;
    assert_eq!(next(&mut heard).await, told(&[("last", 1)]));
    stop.cancel();
    running.await.unwrap();
    place.database.remove().await.unwrap();
}
