//! What the feed does when it is not sure of having read everything: each case by itself, on a real server.

use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use tokio_postgres::Client;

use super::sink::{self, Sink};
use super::wal::Arrived;
use super::{Batch, Change, ChangeFeed};
use crate::config::CaptureMode;
use crate::db::Database;
use crate::realtime::differential::{Place, config, connect, on_one_thread, until};

/// How long to wait for what comes by itself within a second or so.
const PATIENCE: Duration = Duration::from_secs(30);

/// A change of a table that is not there, as a trigger would have it written down.
const CHANGE: &str = r#"{"t":7,"k":[],"c":null,"r":null}"#;

fn in_the_log(text: &str) -> String {
    format!("SELECT pg_logical_emit_message(true, 'forge', '{text}')")
}

/// Another program.
struct Other(Client);

impl Other {
    async fn of(place: &Place) -> Self {
        Self(connect(&place.url).await)
    }

    async fn run(&self, text: &str) {
        self.0.batch_execute(text).await.unwrap();
    }

    async fn change_sink(&self, to: Sink) {
        // Nobody objects.
        self.run("DELETE FROM forge_feed_objections").await;
        sink::publish(&self.0).await.unwrap();
        assert_eq!(sink::change(&self.0, to, "for the test").await.unwrap().sink, to);
    }
}

async fn read(feed: &mut ChangeFeed, database: &Database) -> Batch {
    let snapshot = database.begin_live(false).await.unwrap();
    let batch = feed.read(&snapshot).await.unwrap();
    snapshot.rollback().await;
    batch
}

/// Waits until the feed says by itself that there may be something new. What it is told concerns nobody.
async fn stirred(feed: &ChangeFeed, why: &str) {
    tokio::time::timeout(PATIENCE, feed.stirred(|_| false)).await.unwrap_or_else(|_| panic!("never looked: {why}"));
}

/// Reads until nothing is in doubt any more: the log is read, and what was open when the sink was decided has ended, also that of other tests.
async fn calm(feed: &mut ChangeFeed, database: &Database) {
    let is_calm = async || !read(feed, database).await.gap && feed.settling.is_none() && feed.invisible.is_none();
    until("nothing is in doubt any more", is_calm).await;
}

/// Waits until the feed will ask again whether those who may still write to the old sink have ended.
async fn until_asked_again(feed: &ChangeFeed) {
    let next = feed.settling.as_ref().expect("somebody may still write to the old sink").next_look();
    tokio::time::sleep_until(next.into()).await;
}

/// A place whose changes are in the log, or are rows, and nothing is in doubt.
async fn place(capture: CaptureMode) -> Place {
    let mut place = Place::with(capture).await;
    calm(&mut place.feed, &place.database).await;
    place
}

#[test]
fn whoever_only_reads_the_log_is_told_that_changes_are_written_elsewhere() {
    on_one_thread(async {
        let mut place = place(CaptureMode::Wal).await;
        assert!(place.feed.stirred(|_| true).now_or_never().is_none(), "nothing has happened");
        // Nobody writes anything else, so that this is all that there is in the log.
        Other::of(&place).await.change_sink(Sink::Changelog).await;
        stirred(&place.feed, "the sink has changed").await;
        assert!(read(&mut place.feed, &place.database).await.gap);
        assert_eq!(place.feed.shared.sink(), Some(Sink::Changelog));
        place.remove().await;
    });
}

#[test]
fn a_sink_that_was_another_one_for_a_while_is_a_gap() {
    on_one_thread(async {
        let mut place = place(CaptureMode::Changelog).await;
        let other = Other::of(&place).await;
        // It is the same again, and so long ago that nobody can still write to the other one; but that one was not looked at.
        other.change_sink(Sink::Wal).await;
        other.run(&in_the_log(CHANGE)).await;
        other.change_sink(Sink::Changelog).await;
        other.run("UPDATE forge_feed SET changed_at = now() - interval '2 hours'").await;
        assert!(read(&mut place.feed, &place.database).await.gap);
        calm(&mut place.feed, &place.database).await;
        other.run(&format!("INSERT INTO forge_changes (change) VALUES ('{CHANGE}')")).await;
        assert_eq!(read(&mut place.feed, &place.database).await.changes.len(), 1);
        place.remove().await;
    });
}

#[test]
fn who_wrote_to_the_old_sink_and_has_not_committed_is_waited_for() {
    on_one_thread(async {
        let mut place = place(CaptureMode::Wal).await;
        let other = Other::of(&place).await;
        let straggler = connect(&place.url).await;
        straggler.batch_execute(&format!("BEGIN; {}", in_the_log(CHANGE))).await.unwrap();
        other.change_sink(Sink::Changelog).await;
        assert!(read(&mut place.feed, &place.database).await.gap);
        // Each time it is asked whether it has ended.
        for _ in 0..3 {
            stirred(&place.feed, "somebody may still write to the log").await;
            let batch = read(&mut place.feed, &place.database).await;
            assert!(batch.changes.is_empty(), "{batch:?}");
            assert!(place.feed.settling.is_some(), "it has not ended");
            until_asked_again(&place.feed).await;
        }
        // When the sink changes once more, there are others to wait for.
        other.change_sink(Sink::Wal).await;
        other.change_sink(Sink::Changelog).await;
        straggler.batch_execute("COMMIT").await.unwrap();
        let late = connect(&place.url).await;
        late.batch_execute(&format!("BEGIN; {}", in_the_log(CHANGE))).await.unwrap();
        until_asked_again(&place.feed).await;
        assert!(read(&mut place.feed, &place.database).await.gap);
        assert!(place.feed.settling.is_some(), "what was waited for has ended, but not this one");
        late.batch_execute("COMMIT").await.unwrap();
        let shown = async {
            while read(&mut place.feed, &place.database).await.changes.is_empty() {
                stirred(&place.feed, "something was written to the log").await;
            }
        };
        tokio::time::timeout(PATIENCE, shown).await.expect("what it wrote to the log");
        calm(&mut place.feed, &place.database).await;
        place.remove().await;
    });
}

#[test]
fn while_the_log_is_not_read_everything_counts_as_changed_again_and_again() {
    on_one_thread(async {
        let place = place(CaptureMode::Wal).await;
        // One whose reader does not run.
        let mut blind = crate::feed::feed(&place.database, &config(&place.url).reactivity).0;
        let settled = async {
            while read(&mut blind, &place.database).await.gap && blind.settling.is_some() {
                stirred(&blind, "the sink was decided a moment ago").await;
            }
        };
        tokio::time::timeout(PATIENCE * 2, settled).await.expect("nobody can write to the old sink");
        for _ in 0..2 {
            stirred(&blind, "nothing will tell it").await;
            assert!(read(&mut blind, &place.database).await.gap);
        }
        drop(blind);
        place.remove().await;
    });
}

#[test]
fn what_has_arrived_and_is_not_visible_is_looked_at_again() {
    on_one_thread(async {
        let mut place = place(CaptureMode::Wal).await;
        let slow = connect(&place.url).await;
        slow.batch_execute("BEGIN").await.unwrap();
        let xid = slow.query_one("SELECT pg_current_xact_id()::text::bigint & 4294967295", &[]).await.unwrap();
        let xid = u32::try_from(xid.get::<_, i64>(0)).unwrap();
        // As if its commit were in the log, and waited for a standby.
        let change: Change = serde_json::from_str(CHANGE).unwrap();
        let arrived = Arrived { xid, changes: vec![change], bytes: CHANGE.len(), committed: SystemTime::now() };
        let arrivals = place.feed.shared.arrivals.clone();
        arrivals.arrive(Some(arrived), arrivals.position());
        for _ in 0..3 {
            let batch = read(&mut place.feed, &place.database).await;
            assert!(batch.changes.is_empty(), "{batch:?}");
            stirred(&place.feed, "it may have become visible").await;
        }
        slow.batch_execute("COMMIT").await.unwrap();
        assert_eq!(read(&mut place.feed, &place.database).await.changes.len(), 1);
        assert!(read(&mut place.feed, &place.database).await.changes.is_empty(), "once");
        place.remove().await;
    });
}

#[test]
fn what_is_not_understood_is_a_gap_and_over_then() {
    on_one_thread(async {
        for (capture, write) in [
            (CaptureMode::Changelog, "INSERT INTO forge_changes (change) VALUES ('what?')".to_owned()),
            (
                CaptureMode::Changelog,
                r#"INSERT INTO forge_changes (change) VALUES ('{"n":{"unheard":1},"at":1}')"#.to_owned(),
            ),
            (CaptureMode::Wal, in_the_log("what?")),
            (CaptureMode::Wal, in_the_log(r#"{"t":"seven"}"#)),
        ] {
            let mut place = place(capture).await;
            let other = Other::of(&place).await;
            // Beside what is understood.
            let known = match capture {
                CaptureMode::Wal => in_the_log(CHANGE),
                _ => format!("INSERT INTO forge_changes (change) VALUES ('{CHANGE}')"),
            };
            other.run(&format!("BEGIN; {known}; {write}; COMMIT")).await;
            assert!(read(&mut place.feed, &place.database).await.gap, "{write}");
            calm(&mut place.feed, &place.database).await;
            other.run(&known).await;
            let batch = read(&mut place.feed, &place.database).await;
            assert_eq!(batch.changes.len(), 1, "{write}");
            place.remove().await;
        }
    });
}
