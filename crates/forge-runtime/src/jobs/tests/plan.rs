//! How claims are planned, and what they touch, however much waits, and however much is dead and cannot be cleaned up. And that what is said again and
//! again reads no table of jobs from end to end.

use serde_json::Value;
use tokio_postgres::Client;

use super::super::store::{CANCEL, CLAIM, COMPLETE, LOOK, STATUS, TAKE_OVER, TRACK};
use crate::realtime::differential::{Place, connect, on_one_thread};

/// How many queues there are, each with a kind of its own.
const QUEUES: usize = 100;

/// How many jobs wait in each of them.
const WAITING: usize = 300;

/// How many a claim takes.
const TAKEN: usize = 50;

/// How many blocks a claim may touch for each job that it takes: the two versions of its row and the entries of its indexes.
const BLOCKS_PER_JOB: f64 = 20.0;

const FILL: &str = "
    INSERT INTO forge_jobs (id, kind, queue, input, trace)
    SELECT gen_random_uuid(), 'kind' || n % 100, 'queue' || n % 100, '{\"n\":1}', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
    FROM generate_series(1, $1::int8) AS n";

/// A worker's claims from one lane, planned when the table was empty, as in a process that has just been started.
struct Claims {
    client: Client,
    worker: &'static str,
    start: String,
}

impl Claims {
    async fn new(place: &Place) -> Self {
        let client = connect(&place.url).await;
        let prepare = format!("PREPARE claim (uuid, text[], text[], int2[], timestamptz[], int4[]) AS {}", CLAIM.text);
        client.batch_execute("SET plan_cache_mode = force_generic_plan").await.unwrap();
        client.batch_execute(&prepare).await.unwrap();
        Self { client, worker: "018f2f6e-7f00-7000-8000-000000000001", start: "epoch".to_owned() }
    }

    /// The plan of the next claim, which is carried out, and the blocks that it touched for each job.
    async fn next(&mut self, kind: usize) -> (Value, f64) {
        let Self { worker, start, .. } = self;
        let explain = format!(
            "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE claim ('{worker}', '{{kind{kind}}}', '{{queue{kind}}}', '{{50}}', '{{\"{start}\"}}', '{{{TAKEN}}}')"
        );
        let mut plan: Value = self.client.query_one(&explain, &[]).await.unwrap().get(0);
        let root = plan[0]["Plan"].take();
        let touched =
            ["Shared Hit Blocks", "Shared Read Blocks"].iter().map(|key| root[key].as_f64().unwrap_or(0.0)).sum::<f64>();
        let at = "SELECT max(ready_at)::text, count(*) FROM forge_jobs WHERE state = 2 AND kind = $1";
        let row = self.client.query_one(at, &[&format!("kind{kind}")]).await.unwrap();
        self.start = row.get(0);
        assert_eq!(row.get::<_, i64>(1) % TAKEN as i64, 0, "{root:#}");
        (root, touched / TAKEN as f64)
    }

    async fn end(&self) {
        self.client.batch_execute("DELETE FROM forge_jobs WHERE state = 2").await.unwrap();
    }
}

/// All nodes of a plan, as `Seq Scan forge_jobs`.
fn nodes(plan: &Value, found: &mut Vec<String>) {
    let word = |key: &str| plan[key].as_str().unwrap_or_default();
    found.push(format!("{} {} {}", word("Node Type"), word("Relation Name"), word("Index Name")));
    plan["Plans"].as_array().into_iter().flatten().for_each(|plan| nodes(plan, found));
}

fn assert_by_lane(plan: &Value, per_job: f64) {
    let mut found = Vec::new();
    nodes(plan, &mut found);
    assert!(found.iter().any(|node| node == "Index Scan forge_jobs forge_jobs_ready"), "{found:?}");
    assert!(!found.iter().any(|node| node.starts_with("Seq Scan forge_jobs ") || node.starts_with("Sort")), "{found:?}");
    assert!(per_job < BLOCKS_PER_JOB, "{per_job} blocks for each job: {plan:#}");
}

#[test]
fn a_claim_reads_its_lane_and_nothing_else_however_much_waits() {
    on_one_thread(async {
        let place = Place::make().await;
        let client = connect(&place.url).await;
        client.batch_execute("ALTER TABLE forge_jobs SET (autovacuum_enabled = off)").await.unwrap();
        let mut claims = Claims::new(&place).await;
        client.execute(FILL, &[&i64::try_from(QUEUES * WAITING).unwrap()]).await.unwrap();
        for _ in 0..WAITING / TAKEN {
            let (plan, per_job) = claims.next(7).await;
            assert_by_lane(&plan, per_job);
        }
        place.remove().await;
    });
}

#[test]
fn a_claim_does_not_walk_over_what_is_dead() {
    on_one_thread(async {
        let place = Place::make().await;
        let client = connect(&place.url).await;
        client.batch_execute("ALTER TABLE forge_jobs SET (autovacuum_enabled = off)").await.unwrap();
        let pin = connect(&place.url).await;
        pin.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM forge_jobs").await.unwrap();
        let mut claims = Claims::new(&place).await;
        let mut costs = Vec::new();
        for _ in 0..20 {
            // Some come, are claimed, and are gone; none of what is dead can be cleaned up.
            client.execute(FILL, &[&i64::try_from(QUEUES * TAKEN).unwrap()]).await.unwrap();
            let (plan, per_job) = claims.next(7).await;
            assert_by_lane(&plan, per_job);
            costs.push(per_job);
            claims.end().await;
        }
        let (first, last) = (costs[1], costs[costs.len() - 1]);
        assert!(last < first * 1.5, "blocks for each job, claim by claim: {costs:?}");
        pin.batch_execute("COMMIT").await.unwrap();
        place.remove().await;
    });
}

/// History and dead letters, of which a look by id reads all partitions.
const FILL_ENDED: &str = "
    INSERT INTO forge_jobs_done (id, kind, queue, status, priority, attempt, crashes, input, created_at)
    SELECT gen_random_uuid(), 'kind', 'queue', 'completed', 50, 1, 0, 'null', now() FROM generate_series(1, 30000);
    INSERT INTO forge_jobs_dead (id, kind, queue, priority, attempt, crashes, input, created_at, expires_at)
    SELECT gen_random_uuid(), 'kind', 'queue', 50, 1, 0, 'null', now(), now() FROM generate_series(1, 30000);
    ANALYZE forge_jobs_done; ANALYZE forge_jobs_dead";

#[test]
fn what_is_said_again_and_again_reads_no_table_from_end_to_end() {
    const NOBODY: &str = "'018f2f6e-7f00-7000-8000-000000000001'";
    let decide = include_str!("../../cron/sql/decide.sql");
    // Each with the types of its parameters, and parameters.
    let said: [(&str, &str, &str, String); 7] = [
        ("look", &LOOK.text, "text[], int2[], int8, uuid", format!("'{{kind1}}', '{{50}}', 0, {NOBODY}")),
        ("complete", &COMPLETE.text, "uuid, uuid[], int4, jsonb, jsonb", format!("{NOBODY}, '{{}}', 1, NULL, NULL")),
        ("take_over", &TAKE_OVER.text, "int4, int8, text, jsonb", "3, 1, 'JOB_POISON', '{}'".to_owned()),
        ("status", &STATUS.text, "uuid[]", "'{}'".to_owned()),
        ("cancel", &CANCEL.text, "uuid, text", format!("{NOBODY}, 'why'")),
        ("track", &TRACK.text, "uuid[]", "'{}'".to_owned()),
        (
            "decide",
            decide,
            "text, int8, text, timestamptz, uuid, text, bool, text, int2, text",
            format!("'scheduler', 1, 'kind1', now(), {NOBODY}, 'null', true, 'queue', 50, ''"),
        ),
    ];
    on_one_thread(async {
        let place = Place::make().await;
        let client = connect(&place.url).await;
        client.batch_execute("ALTER TABLE forge_jobs SET (autovacuum_enabled = off)").await.unwrap();
        client.batch_execute(FILL_ENDED).await.unwrap();
        client.execute(FILL, &[&i64::try_from(QUEUES * WAITING).unwrap()]).await.unwrap();
        // As a process finds it whose database has never been looked at by the planner's collector, and as one finds it later.
        for before in ["SET plan_cache_mode = force_generic_plan", "ANALYZE forge_jobs"] {
            client.batch_execute(before).await.unwrap();
            for (name, text, types, params) in &said {
                client.batch_execute(&format!("PREPARE {name} ({types}) AS {text}")).await.unwrap();
                let explain = format!("EXPLAIN (FORMAT JSON) EXECUTE {name} ({params})");
                let plan: Value = client.query_one(&explain, &[]).await.unwrap().get(0);
                let mut found = Vec::new();
                nodes(&plan[0]["Plan"], &mut found);
                // Partitions that are empty have nothing that could be long to read.
                let today = jiff::Timestamp::now().strftime("forge_jobs_done_%Y%m%d").to_string();
                let large = ["forge_jobs", "forge_jobs_dead", today.as_str()];
                let whole = large.map(|table| format!("Seq Scan {table} "));
                assert!(found.iter().any(|node| node.contains("forge_jobs")), "{name}: {found:?}");
                assert!(!found.iter().any(|node| whole.contains(node)), "{name}, {before}: {found:?}");
                client.batch_execute(&format!("DEALLOCATE {name}")).await.unwrap();
            }
        }
        place.remove().await;
    });
}
