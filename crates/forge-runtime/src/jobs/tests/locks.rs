//! What happens at the same time: a statement finds that others have their hands on its rows, and waits, or goes on without them.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::join;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::super::admin::{Bulk, Filter, Verb};
use super::super::maintain::{self, Cleaned, keep_clean};
use super::super::store::{NewJob, RATE, RELEASE, Way};
use super::super::wake::{CHANNEL, Wake};
use super::super::write::enqueue;
use super::super::{JobRegistry, Jobs};
use crate::admin::{Actor, Admin};
use crate::cluster::{Cluster, Heard};
use crate::config::JobsConfig;
use crate::realtime::differential::{Place, connect, on_one_thread, until};

/// How long anything here may take that is not held up; what is, takes for ever.
const AT_ONCE: Duration = Duration::from_secs(30);

const HOUR: Duration = Duration::from_secs(3600);

/// A queue as a node has it, on a database with nothing in it.
struct Node {
    place: Place,
    jobs: Jobs,
}

impl Node {
    async fn new() -> Self {
        crate::install_crypto();
        let place = Place::make().await;
        let jobs = queue(&place, u64::MAX);
        Self { place, jobs }
    }

    /// A session of somebody else.
    async fn other(&self) -> Client {
        connect(&self.place.url).await
    }

    /// Writes jobs down: their ids, and what more is said of each, as columns and values.
    async fn fill(&self, ids: impl IntoIterator<Item = u128>, columns: &str, values: &str) {
        for id in ids {
            let text =
                format!("INSERT INTO forge_jobs (id, kind, queue, {columns}) VALUES ('{}', 'k', 'q', {values})", uuid(id));
            self.place.client.batch_execute(&text).await.unwrap();
        }
    }

    /// Waits until so many statements wait for a lock.
    async fn until_wait(&self, n: i64) {
        let text = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        until(&format!("{n} wait for a lock"), async || self.number(text).await == n).await;
    }

    async fn number(&self, text: &str) -> i64 {
        self.place.client.query_one(text, &[]).await.unwrap().get(0)
    }

    async fn text(&self, text: &str) -> String {
        let found: Option<String> = self.place.client.query_one(text, &[]).await.unwrap().get(0);
        found.unwrap_or_default()
    }
}

fn queue(place: &Place, max_pending: u64) -> Jobs {
    let config = JobsConfig { max_pending };
    Jobs::new(JobRegistry::default(), &config, place.database.jobs().clone(), Cluster::new())
}

fn uuid(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn new_job(id: u128, unique_key: Option<&str>) -> NewJob {
    NewJob {
        id: uuid(id),
        kind: "k",
        queue: "q",
        priority: 50,
        delay: Duration::ZERO,
        at: None,
        input: "null".into(),
        owner: None,
        trace: None,
        parent: None,
        unique_key: unique_key.map(Into::into),
        concurrency_key: None,
    }
}

const CLAIM_ONE: &str = "BEGIN; UPDATE forge_jobs SET state = 2, worker = id, attempt = attempt + 1 WHERE id = '00000000-0000-0000-0000-000000000001'";
const GIVE_BACK: &str =
    "BEGIN; UPDATE forge_jobs SET state = 0, worker = NULL WHERE id = '00000000-0000-0000-0000-000000000001'";
const STANDS: &str = "SELECT string_agg(format('%s %s %s', state, cancel_requested, coalesce(unique_key, '-')), ', ' ORDER BY id) FROM forge_jobs";

#[test]
fn a_job_that_is_claimed_while_it_is_cancelled_is_told_to_end() {
    on_one_thread(async {
        let node = Node::new().await;
        node.fill([1], "unique_key", "'u'").await;
        let worker = node.other().await;
        worker.batch_execute(CLAIM_ONE).await.unwrap();
        let (cancelled, ()) = join!(node.jobs.cancel(uuid(1), "why"), async {
            node.until_wait(1).await;
            worker.batch_execute("COMMIT").await.unwrap();
        });
        assert!(cancelled.unwrap());
        // What it was to do may be dispatched anew.
        assert_eq!(node.text(STANDS).await, "2 t -");
        // And one that is handed back meanwhile ends at once.
        node.place.client.batch_execute("UPDATE forge_jobs SET cancel_requested = false").await.unwrap();
        worker.batch_execute(GIVE_BACK).await.unwrap();
        let (cancelled, ()) = join!(node.jobs.cancel(uuid(1), "why"), async {
            node.until_wait(1).await;
            worker.batch_execute("COMMIT").await.unwrap();
        });
        assert!(cancelled.unwrap());
        assert_eq!(node.text("SELECT string_agg(status, ' ') FROM forge_jobs_done").await, "cancelled");
        assert_eq!(node.number("SELECT count(*) FROM forge_jobs").await, 0);
        node.place.remove().await;
    });
}

#[test]
fn none_of_many_is_passed_over_as_it_is_claimed_while_they_are_cancelled() {
    on_one_thread(async {
        let node = Node::new().await;
        let fill = "INSERT INTO forge_jobs (id, kind, queue) SELECT lpad(to_hex(n), 32, '0')::uuid, 'k', 'q' FROM generate_series(1, 1500) n";
        node.place.client.batch_execute(fill).await.unwrap();
        let (admin, actor) = (Admin::of(&node.place.database), Actor::app());
        let filter = Filter { kind: Some("k".into()), ..Filter::default() };
        let bulk = Bulk { verb: Verb::Cancel, filter, after: None, reason: "why".into() };
        let worker = node.other().await;
        worker.batch_execute(CLAIM_ONE).await.unwrap();
        let (done, ()) = join!(node.jobs.do_bulk(&admin, &actor, &bulk), async {
            node.until_wait(1).await;
            worker.batch_execute("COMMIT").await.unwrap();
        });
        let done = done.unwrap();
        assert_eq!((done.changed, done.skipped, done.next), (1500, 0, None));
        assert_eq!(node.text(STANDS).await, "2 t -");
        // Of one by itself it is said what has become of it, and it is in the audit.
        node.place
            .client
            .batch_execute("UPDATE forge_jobs SET cancel_requested = false, state = 0, worker = NULL")
            .await
            .unwrap();
        worker.batch_execute(CLAIM_ONE).await.unwrap();
        let (became, ()) = join!(node.jobs.do_one(&admin, &actor, Verb::Cancel, uuid(1), "why"), async {
            node.until_wait(1).await;
            worker.batch_execute("COMMIT").await.unwrap();
        });
        assert_eq!(became.unwrap(), "cancelling");
        assert_eq!(node.text(STANDS).await, "2 t -");
        assert_eq!(node.number("SELECT sum(count)::int8 FROM forge_admin_audit").await, 1501);
        node.place.remove().await;
    });
}

#[test]
fn what_a_job_was_to_do_that_is_told_to_end_is_done_by_another_one() {
    on_one_thread(async {
        let node = Node::new().await;
        node.fill([1], "state, worker, unique_key", "2, '00000000-0000-0000-0000-000000000009', 'u'").await;
        assert!(node.jobs.cancel(uuid(1), "moved").await.unwrap());
        let again = enqueue(Way::Alone(node.jobs.pool()), &[new_job(2, Some("u"))], 0).await.unwrap();
        assert_eq!((again[0].id, again[0].new), (uuid(2), true));
        node.place.remove().await;
    });
}

#[test]
fn unique_keys_are_taken_in_their_order_whatever_order_they_come_in() {
    on_one_thread(async {
        let node = Node::new().await;
        let other = node.other().await;
        let take = |id: u128, key: &str| {
            format!("INSERT INTO forge_jobs (id, kind, queue, unique_key) VALUES ('{}', 'k', 'q', '{key}')", uuid(id))
        };
        other.batch_execute(&format!("BEGIN; {}", take(1, "a"))).await.unwrap();
        let both = [new_job(2, Some("b")), new_job(3, Some("a"))];
        let (written, ()) = join!(enqueue(Way::Alone(node.jobs.pool()), &both, 0), async {
            node.until_wait(1).await;
            // It waits for the first of its keys and has not taken the second: were it otherwise, each would wait for the other now.
            other.batch_execute(&take(4, "b")).await.unwrap();
            other.batch_execute("COMMIT").await.unwrap();
        });
        let ids: Vec<Uuid> = written.unwrap().iter().map(|one| one.id).collect();
        assert_eq!(ids, [uuid(4), uuid(1)]);
        node.place.remove().await;
    });
}

#[test]
fn who_lets_jobs_in_does_not_wait_for_those_that_others_have_their_hands_on() {
    on_one_thread(async {
        let node = Node::new().await;
        node.fill([1, 2], "state, concurrency_key", "3, 'c'").await;
        let other = node.other().await;
        other
            .batch_execute("BEGIN; SELECT FROM forge_jobs WHERE id = '00000000-0000-0000-0000-000000000001' FOR UPDATE")
            .await
            .unwrap();
        let lease = node.jobs.pool().get().await.unwrap();
        let released = tokio::time::timeout(AT_ONCE, lease.query(&RELEASE, &[&"k", &"c", &1_i64])).await;
        assert_eq!(released.expect("it waits").unwrap().rows.len(), 1);
        assert_eq!(node.text("SELECT id::text FROM forge_jobs WHERE state = 0").await, uuid(2).to_string());
        drop(lease);
        other.batch_execute("ROLLBACK").await.unwrap();
        node.place.remove().await;
    });
}

#[test]
fn who_follows_jobs_does_not_wait_for_one_that_a_transaction_has() {
    on_one_thread(async {
        let node = Node::new().await;
        node.fill([1, 2], "state", "0").await;
        let other = node.other().await;
        other.batch_execute(CLAIM_ONE).await.unwrap();
        let both = [uuid(1), uuid(2), uuid(3)];
        let later = tokio::time::timeout(AT_ONCE, node.jobs.track(&both)).await.expect("it waits").unwrap();
        assert_eq!(later, [uuid(1)]);
        assert_eq!(node.text("SELECT id::text FROM forge_jobs WHERE tracked").await, uuid(2).to_string());
        other.batch_execute("COMMIT").await.unwrap();
        assert_eq!(node.jobs.track(&later).await.unwrap(), Vec::<Uuid>::new());
        assert_eq!(node.number("SELECT count(*) FROM forge_jobs WHERE tracked").await, 2);
        node.place.remove().await;
    });
}

#[test]
fn a_key_that_an_open_transaction_has_holds_up_no_dispatch_without_one() {
    on_one_thread(async {
        let node = Node::new().await;
        let other = node.other().await;
        let take = "BEGIN; INSERT INTO forge_jobs (id, kind, queue, unique_key) VALUES (gen_random_uuid(), 'k', 'q', 'u')";
        other.batch_execute(take).await.unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(node.jobs.clone().run(stop.clone()));
        // As many as are written at a time.
        let mut waiting = Vec::new();
        for id in [1, 2] {
            let jobs = node.jobs.clone();
            waiting.push(tokio::spawn(async move { jobs.enqueue(vec![new_job(id, Some("u"))]).await }));
            node.until_wait(i64::try_from(id).unwrap()).await;
        }
        let plain = tokio::time::timeout(AT_ONCE, node.jobs.enqueue(vec![new_job(3, None)])).await;
        assert!(plain.expect("it waits").unwrap()[0].new);
        other.batch_execute("COMMIT").await.unwrap();
        for one in waiting {
            assert!(!one.await.unwrap().unwrap()[0].new);
        }
        stop.cancel();
        running.await.unwrap();
        node.place.remove().await;
    });
}

#[test]
fn history_that_somebody_reads_keeps_nothing_else_from_being_looked_after() {
    on_one_thread(async {
        let node = Node::new().await;
        let days = async || -> HashSet<String> {
            let text = "SELECT relname::text FROM pg_class WHERE relname ~ '^forge_jobs_done_[0-9]+$' AND relkind = 'r'";
            node.place.client.query(text, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
        };
        // One is old, one is missing, and a letter has been dead for long enough.
        let prepare = "SELECT forge_jobs_done_partition('2020-01-01');
            INSERT INTO forge_jobs_dead (id, kind, queue, priority, attempt, crashes, input, created_at, expires_at)
            VALUES (gen_random_uuid(), 'k', 'q', 50, 1, 0, 'null', now(), now() - interval '1 hour')";
        node.place.client.batch_execute(prepare).await.unwrap();
        let tomorrow = (jiff::Timestamp::now() + 24 * HOUR).strftime("forge_jobs_done_%Y%m%d").to_string();
        node.place.client.batch_execute(&format!("DROP TABLE {tomorrow}")).await.unwrap();
        let reader = node.other().await;
        reader.batch_execute("BEGIN; SELECT FROM forge_jobs_done_20200101").await.unwrap();
        let why = keep_clean(&node.jobs).await.unwrap_err();
        assert!(why.message().contains("a lock could not be had in time"), "{why:?}");
        let there = days().await;
        assert!(there.contains(&tomorrow) && there.contains("forge_jobs_done_20200101"), "{there:?}");
        assert_eq!(node.number("SELECT count(*) FROM forge_jobs_dead").await, 0);
        reader.batch_execute("COMMIT").await.unwrap();
        assert_eq!(keep_clean(&node.jobs).await.unwrap(), Cleaned { dropped: 1, ..Cleaned::default() });
        assert!(!days().await.contains("forge_jobs_done_20200101"));
        // What no day has ends as well.
        let rest = "INSERT INTO forge_jobs_done (id, kind, queue, status, priority, attempt, crashes, input, created_at, finished_at)
            SELECT gen_random_uuid(), 'k', 'q', 'completed', 50, 1, 0, 'null', now(), now() - n * interval '1 day' FROM unnest('{1, 300}'::int[]) n";
        node.place.client.batch_execute(rest).await.unwrap();
        keep_clean(&node.jobs).await.unwrap();
        assert_eq!(node.number("SELECT count(*) FROM forge_jobs_done").await, 1);
        node.place.remove().await;
    });
}

#[test]
fn one_node_counts_for_all_and_what_it_found_holds_until_somebody_counts_again() {
    on_one_thread(async {
        let node = Node::new().await;
        let other = queue(&node.place, u64::MAX);
        node.fill([1, 2, 3], "state", "0").await;
        let depth = async |jobs: &Jobs| -> Vec<(String, i64, i64, i64)> {
            let queues = jobs.depths().await.unwrap();
            queues.into_iter().map(|queue| (queue.queue, queue.waiting, queue.running, queue.ready)).collect()
        };
        let three = vec![("q".to_owned(), 3, 0, 3)];
        assert_eq!(depth(&node.jobs).await, three);
        // Long ago, by now, and nobody has counted since; somebody is at it.
        node.fill([4], "state", "1").await;
        let age = "UPDATE forge_job_counts SET good_until = now() + interval '1 hour'; UPDATE forge_job_queues SET counted_at = now() - interval '1 day'";
        node.place.client.batch_execute(age).await.unwrap();
        assert_eq!(depth(&other).await, three, "it is still good");
        let counting = node.other().await;
        let due = "UPDATE forge_job_counts SET good_until = '-infinity'";
        counting.batch_execute(due).await.unwrap();
        counting.batch_execute("BEGIN; SELECT FROM forge_job_counts FOR UPDATE").await.unwrap();
        let meanwhile = tokio::time::timeout(AT_ONCE, depth(&other)).await;
        assert_eq!(meanwhile.expect("it waits"), three);
        counting.batch_execute("ROLLBACK").await.unwrap();
        assert_eq!(depth(&other).await, [("q".to_owned(), 4, 0, 3)]);
        // It was written down before the clock was put back.
        node.fill([5], "state", "0").await;
        node.place
            .client
            .batch_execute("UPDATE forge_job_counts SET good_until = now() + interval '2 days'")
            .await
            .unwrap();
        assert_eq!(depth(&other).await, [("q".to_owned(), 5, 0, 4)]);
        assert_eq!(node.number("SELECT (good_until > clock_timestamp())::int::int8 FROM forge_job_counts").await, 1);
        // What has emptied is not left full.
        node.place.client.batch_execute("DELETE FROM forge_jobs").await.unwrap();
        node.place.client.batch_execute(due).await.unwrap();
        assert_eq!((depth(&node.jobs).await, depth(&other).await), (vec![], vec![]));
        node.place.remove().await;
    });
}

#[test]
fn a_window_of_starts_that_has_not_begun_as_the_clock_was_put_back_is_over() {
    on_one_thread(async {
        let node = Node::new().await;
        let took = async || -> i32 {
            let lease = node.jobs.pool().get().await.unwrap();
            let answer = lease.query(&RATE, &[&"k", &3_i32, &4_i32, &3_600_000_000_i64]).await.unwrap();
            answer.rows[0].get(0)
        };
        let begin = "INSERT INTO forge_job_rates (kind, window_began, taken) VALUES ('k', now() + interval '1 day', 4)";
        node.place.client.batch_execute(begin).await.unwrap();
        assert_eq!((took().await, took().await, took().await), (3, 1, 0));
        node.place.remove().await;
    });
}

#[test]
fn who_works_no_more_leaves_to_others_what_it_was_woken_for() {
    on_one_thread(async {
        let node = Node::new().await;
        let (stop, bus) = (CancellationToken::new(), node.jobs.cluster().bus().clone());
        let mut heard = bus.subscribe(CHANNEL);
        let running = tokio::spawn(bus.run(node.place.database.clone(), stop.clone()));
        assert_eq!(heard.recv().await, Heard::Everything);
        let held = |key: &str| Wake::Held { kind: "k".into(), key: key.into() };
        let told = async |heard: &mut crate::cluster::BusReceiver, wake: &Wake| {
            let heard = tokio::time::timeout(AT_ONCE, heard.recv()).await.expect("nobody is told");
            assert!(matches!(&heard, Heard::Told(told) if told.contains_key(&wake.told().0)), "{heard:?}");
        };
        node.jobs.worked_here(["k"]);
        node.jobs.wake(held("before"));
        node.jobs.leave_to_others();
        told(&mut heard, &held("before")).await;
        node.jobs.wake(held("after"));
        told(&mut heard, &held("after")).await;
        assert_eq!(node.jobs.waker().take(), []);
        stop.cancel();
        running.await.unwrap();
        node.place.remove().await;
    });
}

#[test]
fn a_queue_is_full_also_while_there_is_no_worker() {
    on_one_thread(async {
        let node = Node::new().await;
        let jobs = queue(&node.place, 3);
        node.fill([1, 2, 3], "state", "0").await;
        let stop = CancellationToken::new();
        let running = tokio::spawn(jobs.clone().run(stop.clone()));
        let mut refused = None;
        until("somebody has counted", async || {
            refused = jobs.admit(&[new_job(4, None)]).err();
            refused.is_some()
        })
        .await;
        assert_eq!(refused.unwrap().code(), "QUEUE_FULL");
        stop.cancel();
        running.await.unwrap();
        node.place.remove().await;
    });
}

#[test]
fn what_has_ended_goes_at_once_however_much_it_is() {
    on_one_thread(async {
        let node = Node::new().await;
        let dead = "INSERT INTO forge_jobs_dead (id, kind, queue, priority, attempt, crashes, input, created_at, expires_at)
            SELECT gen_random_uuid(), 'k', 'q', 50, 1, 0, 'null', now(), now() - interval '1 hour' FROM generate_series(1, 2500)";
        node.place.client.batch_execute(dead).await.unwrap();
        let stop = CancellationToken::new();
        let maintaining = tokio::spawn(maintain::run(node.jobs.clone(), stop.clone()));
        until("none is left", async || node.number("SELECT count(*) FROM forge_jobs_dead").await == 0).await;
        stop.cancel();
        maintaining.await.unwrap();
        node.place.remove().await;
    });
}
