//! One leads, and only one: by the lock while sessions live, by the lease when they do not end, by the term whatever anybody believes.

use forge_core::Result;

use super::{Node, PATIENCE, Place};
use crate::app::Stage;
use crate::cluster::{LEADS, LeaderGuard, LeaderRole};
use crate::realtime::differential::until;

/// Sessions that have the lock.
const HELD: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 1179603527
                    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

impl Node {
    fn guard(&self) -> Option<LeaderGuard> {
        self.cluster.election(LeaderRole::Scheduler).guard()
    }

    fn term(&self) -> Option<i64> {
        self.guard().map(|guard| guard.term())
    }
}

impl Place {
    /// Two nodes, the first of which leads in the first term.
    async fn led() -> (Self, Node, Node) {
        let place = Self::make().await;
        let (mut one, mut two) = (place.node(), place.node());
        one.beats().await;
        two.beats().await;
        assert_eq!((one.term(), two.term()), (Some(1), None));
        place.sql.batch_execute("CREATE TABLE slots (name text, term bigint)").await.unwrap();
        (place, one, two)
    }

    /// Makes it look as if the leader had not renewed its lease for its whole length.
    async fn expire(&self) {
        self.sql.execute("UPDATE forge_leaders SET lease_until = now() - interval '1 s'", &[]).await.unwrap();
    }

    /// A write of a leader's, fenced as it has to be. Returns how many rows were written.
    async fn write(&self, sql: &tokio_postgres::Client, name: &str, term: i64) -> u64 {
        let text = format!("WITH leads AS ({LEADS}) INSERT INTO slots SELECT $3, term FROM leads");
        sql.execute(&text, &[&"scheduler", &term, &name]).await.unwrap()
    }
}

#[tokio::test]
async fn the_leader_keeps_leading_and_everybody_knows() {
    let (place, mut one, mut two) = Place::led().await;
    for _ in 0..3 {
        one.beats().await;
        two.beats().await;
    }
    assert_eq!((one.term(), two.term()), (Some(1), None));
    for node in [&one, &two] {
        let info = node.cluster.info();
        let leader = info.scheduler_leader().unwrap();
        assert_eq!((leader.node, leader.term), (one.id(), 1));
    }
    assert_eq!(place.write(&place.sql, "a", 1).await, 1);
    let guard = one.guard().unwrap();
    assert!(guard.fence(&place.sql).await.unwrap());
    assert!(guard.statement_timeout() < one.heart.config.lease(), "nobody writes for longer than it leads");
    place.database.remove().await.unwrap();
}

#[tokio::test]
async fn a_leader_whose_session_ends_is_followed_at_once() {
    let (place, mut one, mut two) = Place::led().await;
    let guard = one.guard().unwrap();
    place.cut(&one).await;
    // Long before its lease is over, and before anybody takes its node for dead.
    two.beats().await;
    assert_eq!(two.term(), Some(2));
    assert_eq!(place.write(&place.sql, "late", guard.term()).await, 0, "fenced");
    assert!(!guard.fence(&place.sql).await.unwrap());
    assert!(guard.holds(), "it does not know yet");
    one.heart.lose_session();
    tokio::time::timeout(PATIENCE, guard.revoked()).await.unwrap();
    one.beats().await;
    assert_eq!((one.term(), two.term()), (None, Some(2)));
    assert_eq!(one.cluster.info().scheduler_leader().unwrap().node, two.id());
    place.database.remove().await.unwrap();
}

#[tokio::test]
async fn a_leader_that_is_cut_off_but_not_gone_loses_its_session() {
    let (place, mut one, mut two) = Place::led().await;
    // Its lease still holds: nobody touches it.
    two.beats().await;
    assert_eq!(two.term(), None);
    place.expire().await;
    two.beats().await;
    until("the session that has the lock is ended", async || place.text(HELD).await == "0").await;
    two.beats().await;
    assert_eq!(two.term(), Some(2));
    assert!(one.heart.run_once().await.is_err(), "its session is gone");
    place.database.remove().await.unwrap();
}

#[tokio::test]
async fn a_leader_whose_row_or_lock_was_taken_lets_go() {
    let (place, mut one, mut two) = Place::led().await;
    let first = one.guard().unwrap();
    place.sql.execute("UPDATE forge_leaders SET term = term + 1, node_id = $1", &[&two.id()]).await.unwrap();
    one.beats().await;
    assert!(!first.holds());
    // It has the lock still, so nobody else can lead: it does, in a term of its own.
    assert_eq!(one.term(), Some(3));
    // The lock is looked at with every beat: leading without it ends.
    let second = one.guard().unwrap();
    let unlock = "SELECT pg_advisory_unlock((1179603527::int8 << 32) + 'forge_leaders'::regclass::oid::int8)";
    one.heart.session.as_ref().unwrap().client().batch_execute(unlock).await.unwrap();
    two.beats().await;
    assert_eq!(two.term(), Some(4));
    one.beats().await;
    assert!(!second.holds());
    assert_eq!(one.term(), None);
    assert_eq!(place.write(&place.sql, "late", second.term()).await, 0);
    place.database.remove().await.unwrap();
}

#[tokio::test]
async fn who_is_told_to_stop_hands_over() {
    let (place, mut one, mut two) = Place::led().await;
    let guard = one.guard().unwrap();
    one.stage.send_replace(Stage::Stopping);
    one.beats().await;
    assert!(!guard.holds());
    two.beats().await;
    assert_eq!(two.term(), Some(2));
    one.beats().await;
    assert_eq!(one.term(), None, "who drains does not lead");
    one.heart.leave().await;
    two.heart.leave().await;
    assert_eq!(place.text("SELECT (node_id IS NULL, term) FROM forge_leaders").await, "(t,2)");
    place.database.remove().await.unwrap();
}

#[tokio::test]
async fn a_write_that_has_begun_is_waited_for_and_one_that_begins_later_is_refused() -> Result<()> {
    let (place, mut one, mut two) = Place::led().await;
    let (early, late) = (super::connect(place.database.url()).await, super::connect(place.database.url()).await);
    early.batch_execute("BEGIN").await.unwrap();
    assert_eq!(place.write(&early, "early", 1).await, 1);
    // Its own beats leave the row alone meanwhile, and it goes on leading.
    one.beats().await;
    assert_eq!(one.term(), Some(1));
    place.cut(&one).await;
    // Whoever follows does not lead while somebody still writes under the old term.
    let config = two.heart.config.clone();
    let waited = std::time::Instant::now();
    two.beats().await;
    assert_eq!(two.term(), None);
    assert!(waited.elapsed() < config.beat_within(), "it does not wait for long either");
    early.batch_execute("COMMIT").await.unwrap();
    // And this one begins while the row is being taken: it waits, and then sees that it has been.
    let taking = super::connect(place.database.url()).await;
    taking.batch_execute("BEGIN; UPDATE forge_leaders SET term = term + 1").await.unwrap();
    let pid: i32 = late.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let writing = place.write(&late, "late", 1);
    let committing = async {
        let waits = format!("SELECT count(*) FROM pg_locks WHERE pid = {pid} AND NOT granted");
        until("it waits for the row", async || place.text(&waits).await != "0").await;
        taking.batch_execute("COMMIT").await.unwrap();
    };
    let both = async { tokio::join!(writing, committing) };
    assert_eq!(tokio::time::timeout(PATIENCE, both).await.unwrap().0, 0);
    assert_eq!(place.text("SELECT string_agg(name, ' ') FROM slots").await, "early");
    two.beats().await;
    assert_eq!(two.term(), Some(3));
    place.database.remove().await.unwrap();
    Ok(())
}
