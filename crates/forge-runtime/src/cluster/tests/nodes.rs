//! Who is there, who is not any more, and who only looks as if.

use std::time::{Duration, Instant};

use super::{PATIENCE, Place};
use crate::app::Stage;
use crate::cluster::{LIVING, NodeRole, NodeStatus, Standing};
use crate::config::ClusterConfig;

/// A beat every so many milliseconds, and a minute until silence is death.
fn every(ms: u64) -> ClusterConfig {
    ClusterConfig { heartbeat_interval: Duration::from_millis(ms), dead_threshold: Duration::from_secs(60) }
}

#[tokio::test]
async fn a_node_joins_works_drains_and_leaves() {
    let place = Place::make().await;
    let mut node = place.node();
    node.stage.send_replace(Stage::Starting);
    assert_eq!(node.cluster.takes_as(), None);
    node.beats().await;
    let id = node.id();
    assert_eq!((place.status(id).await.as_str(), node.cluster.takes_as()), ("joining", None));
    node.stage.send_replace(Stage::Ready);
    node.cluster.set_jobs(3, 50);
    node.cluster.set_capabilities(vec!["general".into(), "gpu".into()]);
    node.beats().await;
    assert_eq!((place.status(id).await.as_str(), node.cluster.takes_as()), ("active", Some(id)));
    let info = node.cluster.info();
    let me = info.node(id).unwrap();
    assert_eq!((me.status, me.jobs, me.jobs_max, me.version.as_str()), (NodeStatus::Active, 3, 50, "1.2.3"));
    assert_eq!(
        (me.roles.clone(), me.capabilities.len(), me.address.as_deref()),
        (NodeRole::all(), 2, Some("127.0.0.1:8080"))
    );
    let other = place.node();
    let row = place
        .text(&format!("SELECT (jobs, jobs_max, capabilities, hostname <> '') FROM forge_nodes WHERE id = '{id}'"))
        .await;
    assert_eq!(row, r#"(3,50,"{general,gpu}",t)"#);
    assert!(other.cluster.info().nodes().is_empty() && info.seen_at().is_some());
    // Told to stop, it goes on beating until everything else has ended.
    node.stage.send_replace(Stage::Stopping);
    node.beats().await;
    assert_eq!(place.status(id).await, "draining");
    assert_eq!(*node.cluster.standing().borrow(), Standing::Draining(id));
    node.heart.leave().await;
    assert_eq!(place.text("SELECT count(*) FROM forge_nodes").await, "0");
    place.database.remove().await.unwrap();
}

/// Which nodes are said to have been cut off only.
async fn cut_off(place: &Place) -> String {
    place.text("SELECT coalesce(string_agg(id::text, ' ' ORDER BY id), '')::text FROM forge_nodes WHERE cut_off").await
}

#[tokio::test]
async fn whoever_an_outage_cuts_off_has_not_gone_down() {
    let place = Place::make().await;
    let (mut one, mut two, mut three) = (place.node(), place.node(), place.node());
    for node in [&mut one, &mut two, &mut three] {
        node.beats().await;
    }
    let (first, second) = (one.id(), two.id());
    // Nobody has reached the database for hours, but for the third; the first comes back before the second.
    place.age(&one, 7200).await;
    place.age(&two, 7200).await;
    place.sql.execute("UPDATE forge_nodes SET status = 'dead' WHERE id = $1", &[&first]).await.unwrap();
    assert_eq!(cut_off(&place).await, "", "nobody knows");
    one.beats().await;
    one.beats().await;
    assert_ne!(one.id(), first);
    let mut both = [first.to_string(), second.to_string()];
    both.sort();
    assert_eq!(cut_off(&place).await, both.join(" "), "an outage is everybody's");
    // Who dies while others reach the database has gone down.
    let third = three.id();
    place.age(&three, 16).await;
    one.beats().await;
    assert_eq!(place.status(third).await, "dead");
    assert_eq!(cut_off(&place).await, both.join(" "));
    place.database.remove().await.unwrap();
}

#[tokio::test]
async fn a_silent_node_is_dead_and_comes_back_as_another() {
    let place = Place::make().await;
    let (mut one, mut two) = (place.node(), place.node());
    one.beats().await;
    two.beats().await;
    let (old, mut deaths) = (two.id(), one.cluster.died());
    // Late, but not late enough.
    place.age(&two, 14).await;
    one.beats().await;
    assert_eq!(place.status(old).await, "active");
    place.age(&two, 2).await;
    one.beats().await;
    assert_eq!((place.status(old).await.as_str(), deaths.try_recv().unwrap()), ("dead", old));
    assert_eq!(one.cluster.info().node(old).unwrap().status, NodeStatus::Dead, "shown by the same beat");
    // It lives after all, but its id does not.
    assert_eq!(two.cluster.takes_as(), Some(old), "it does not know yet");
    let (mut standing, mut own) = (two.cluster.standing(), two.cluster.died());
    standing.mark_unchanged();
    two.beats().await;
    assert_eq!((*standing.borrow_and_update(), two.cluster.takes_as()), (Standing::CutOff, None));
    two.beats().await;
    let new = two.id();
    assert!(new != old && two.cluster.takes_as() == Some(new));
    assert_eq!(own.try_recv().unwrap(), old, "its own work is given back, too");
    assert_eq!((place.status(old).await.as_str(), place.status(new).await.as_str()), ("dead", "active"));
    one.beats().await;
    assert!(deaths.try_recv().is_err(), "nobody dies twice");
    assert_eq!(one.cluster.info().active().count(), 2);
    let living = format!("SELECT count(*) FROM ({LIVING}) AS living");
    assert_eq!(place.text(&living).await, "2", "what belongs to none of them is free");
    // People see it for an hour.
    place
        .sql
        .execute("UPDATE forge_nodes SET last_heartbeat = now() - interval '61 min' WHERE status = 'dead'", &[])
        .await
        .unwrap();
    one.beats().await;
    assert_eq!(place.status(old).await, "");
    place.database.remove().await.unwrap();
}

#[tokio::test]
async fn who_is_asked_to_drain_hears_of_it_with_a_beat_also_under_another_id() {
    let place = Place::make().await;
    let (mut one, mut two, mut three) = (place.node(), place.node(), place.node());
    for node in [&mut one, &mut two, &mut three] {
        node.beats().await;
    }
    let (asked, old) = (two.id(), three.id());
    let ask = "INSERT INTO forge_node_drains (node_id) SELECT unnest($1::uuid[])";
    place.sql.execute(ask, &[&vec![asked, old]]).await.unwrap();
    one.beats().await;
    let seen: Vec<_> = one.cluster.info().nodes().iter().filter(|node| node.drain_asked).map(|node| node.id).collect();
    assert_eq!(seen, [asked, old]);
    assert!(!two.cluster.asked_to_drain().is_cancelled());
    two.beats().await;
    let heard = |node: &super::Node| node.cluster.asked_to_drain().is_cancelled();
    assert!(heard(&two) && !heard(&one));
    // Taken for dead before it could hear of it, it is asked still.
    place.age(&three, 16).await;
    one.beats().await;
    assert_eq!(place.status(old).await, "dead");
    three.beats().await;
    assert!(!heard(&three));
    three.beats().await;
    assert!(heard(&three) && three.id() != old);
    // What was asked of a node goes with its row.
    let left = "SELECT string_agg(node_id::text, ' ' ORDER BY node_id) FROM forge_node_drains";
    two.heart.leave().await;
    one.beats().await;
    assert_eq!(place.text(left).await, format!("{old} {}", three.id()));
    assert_eq!(place.text("SELECT DISTINCT queues FROM forge_nodes").await, "{default,mail}");
    place.database.remove().await.unwrap();
}

#[tokio::test]
async fn a_node_whose_session_has_ended_is_dead_after_one_interval_and_a_quarter() {
    let place = Place::make().await;
    let (mut one, mut two) = (place.node(), place.node());
    let config = every(1_000);
    one.heart.config = config.clone();
    one.beats().await;
    two.beats().await;
    place.cut(&two).await;
    let cut = Instant::now();
    // It may be about to come back, and is looked at again exactly when it may not any more.
    let mut next = one.heart.run_once().await.unwrap();
    assert_eq!(place.status(two.id()).await, "active");
    while place.status(two.id()).await == "active" {
        tokio::time::sleep_until(next.into()).await;
        next = one.heart.run_once().await.unwrap();
    }
    let took = cut.elapsed();
    assert!(took > config.heartbeat_interval && took < config.heartbeat_interval * 2, "{took:?}");
    place.database.remove().await.unwrap();
}

#[tokio::test]
async fn a_node_that_came_back_with_another_session_lives() {
    let place = Place::make().await;
    let (mut one, mut two) = (place.node(), place.node());
    let config = every(100);
    one.heart.config = config.clone();
    one.beats().await;
    two.beats().await;
    let id = two.id();
    place.cut(&two).await;
    two.heart.lose_session();
    two.beats().await;
    assert_eq!(two.id(), id);
    // Silent for long enough, if its session had ended.
    tokio::time::sleep(config.reconnect_within() * 2).await;
    one.beats().await;
    assert_eq!(place.status(id).await, "active");
    place.database.remove().await.unwrap();
}

#[tokio::test]
async fn what_has_cut_everybody_kills_nobody() {
    let place = Place::make().await;
    let (mut one, mut two) = (place.node(), place.node());
    one.beats().await;
    two.beats().await;
    // The server went away and came back: the first one that is connected again does not judge the others.
    place.cut(&two).await;
    place.cut(&one).await;
    one.heart.lose_session();
    place.age(&two, 10).await;
    one.beats().await;
    assert_eq!(place.status(two.id()).await, "active");
    // Unless that takes too long.
    place.age(&two, 10).await;
    one.beats().await;
    assert_eq!(place.status(two.id()).await, "dead");
    place.database.remove().await.unwrap();
}

#[tokio::test]
async fn a_clock_that_is_set_is_not_taken_for_silence() {
    let place = Place::make().await;
    let (mut one, mut two) = (place.node(), place.node());
    one.beats().await;
    two.beats().await;
    // As if the database's clock had been set a minute ahead.
    place.age(&one, 60).await;
    place.age(&two, 60).await;
    one.beats().await;
    assert_eq!(place.status(two.id()).await, "active");
    // One that does not beat from then on is dead as ever.
    one.beats().await;
    assert_eq!(place.status(two.id()).await, "dead");
    place.database.remove().await.unwrap();
}

#[tokio::test]
async fn two_that_take_each_other_for_dead_do_not_both_go() {
    let place = Place::make().await;
    let (mut one, mut two) = (place.node(), place.node());
    for _ in 0..20 {
        one.beats().await;
        two.beats().await;
        one.beats().await;
        two.beats().await;
        // Both look silent, and to neither as if a clock had been set.
        for node in [&mut one, &mut two] {
            place.age(node, 16).await;
            node.heart.last = Instant::now().checked_sub(Duration::from_secs(60));
        }
        let (first, second) = tokio::join!(one.heart.run_once(), two.heart.run_once());
        first.unwrap();
        second.unwrap();
        let living = place.text("SELECT count(*) FROM forge_nodes WHERE status <> 'dead'").await;
        assert_ne!(living, "0");
    }
    place.database.remove().await.unwrap();
}

#[tokio::test]
async fn a_node_lets_go_by_its_own_clock_while_a_beat_hangs() {
    let place = Place::make().await;
    let mut node = place.node();
    let options =
        ClusterConfig { heartbeat_interval: Duration::from_millis(100), dead_threshold: Duration::from_millis(600) };
    node.heart.config = options.clone();
    node.beats().await;
    let id = node.id();
    // Somebody has its row, so its beats hang.
    let holder = super::connect(place.database.url()).await;
    holder.batch_execute(&format!("BEGIN; UPDATE forge_nodes SET jobs = 7 WHERE id = '{id}'")).await.unwrap();
    let (prepared, stop) = (tokio_util::sync::CancellationToken::new(), tokio_util::sync::CancellationToken::new());
    prepared.cancel();
    let mut standing = node.cluster.standing();
    let began = Instant::now();
    let running = tokio::spawn(node.heart.run(prepared, stop.clone()));
    let cut_off = standing.wait_for(|standing| *standing == Standing::CutOff);
    drop(tokio::time::timeout(PATIENCE, cut_off).await.unwrap().unwrap());
    let took = began.elapsed();
    assert!(took < options.dead_threshold, "{took:?}");
    holder.batch_execute("ROLLBACK").await.unwrap();
    let back = standing.wait_for(|standing| standing.takes_as().is_some_and(|new| new != id));
    drop(tokio::time::timeout(PATIENCE, back).await.unwrap().unwrap());
    assert_eq!(place.status(id).await, "dead");
    stop.cancel();
    running.await.unwrap();
    assert_eq!(place.text("SELECT count(*) FROM forge_nodes WHERE status <> 'dead'").await, "0");
    place.database.remove().await.unwrap();
}
