//! The queue under faults: who executed what, under which lease, and whose word counted.
//!
//! Each job writes down that it was begun, by which node and under whose claim, and that it ended. At the end the record is judged: every job is in
//! the history once, was acknowledged by a node that had it and came to its end there, and no attempt was spent that nobody spent.

mod deaths;
mod deploys;
mod outages;

use std::time::Duration;

use forge::prelude::*;
use forge::testing::{TestCluster, TestClusterBuilder, TestNode};
use pipeline::order_to_endure;
use tokio_postgres::Client;

use crate::support::{count, until_within};

/// How long a crowd of jobs may take on a busy machine.
const DONE_WITHIN: Duration = Duration::from_secs(120);

fn cluster() -> TestClusterBuilder {
    TestCluster::of(env!("CARGO_BIN_EXE_pipeline"))
}

/// What the database's clock says, in seconds.
async fn now(sql: &Client) -> f64 {
    sql.query_one("SELECT extract(epoch FROM clock_timestamp())::float8", &[]).await.unwrap().get(0)
}

/// Waits until the nodes all see each other at work.
async fn until_known(sql: &Client, nodes: &[TestNode]) {
    // Each has beaten since the last session of theirs began.
    let text = "SELECT count(*) FROM forge_nodes WHERE status = 'active' \
                AND last_heartbeat > (SELECT max(backend_start) FROM forge_nodes WHERE status = 'active')";
    let wanted = i64::try_from(nodes.len()).unwrap();
    until_within(DONE_WITHIN, "the nodes know each other", async || count(sql, text).await >= wanted).await;
}

/// Many jobs of one name.
struct Crowd<'a> {
    sql: &'a Client,
    label: String,
    size: i64,
}

/// What became of a crowd.
#[derive(Debug)]
struct Record {
    /// How often one was begun.
    executions: i64,
    /// How many were taken from a node that was gone.
    taken_over: i64,
    /// How many needed more than one attempt.
    repeated: i64,
}

impl<'a> Crowd<'a> {
    /// Dispatches it at a node; each takes so long.
    async fn dispatch(sql: &'a Client, at: &TestNode, label: &str, size: u32, takes_ms: u64) -> Result<Self> {
        at.anonymous().call(order_to_endure, (label.to_owned(), size, takes_ms)).await?;
        Ok(Self { sql, label: label.to_owned(), size: i64::from(size) })
    }

    async fn number(&self, text: &str) -> i64 {
        self.sql.query_one(text, &[&self.label]).await.unwrap().get(0)
    }

    /// How many have been begun by a node.
    async fn begun_by(&self, node: Uuid) -> i64 {
        let text = "SELECT count(DISTINCT job) FROM executions WHERE label = $1 AND lease = $2";
        self.sql.query_one(text, &[&self.label, &node]).await.unwrap().get(0)
    }

    /// How many a node has claimed, begun or not.
    async fn held_by(&self, node: Uuid) -> i64 {
        let text = "SELECT count(*) FROM forge_jobs WHERE input ->> 'label' = $1 AND worker = $2";
        self.sql.query_one(text, &[&self.label, &node]).await.unwrap().get(0)
    }

    /// How many are in the history.
    async fn done(&self) -> i64 {
        self.number("SELECT count(*) FROM forge_jobs_done WHERE input ->> 'label' = $1").await
    }

    /// Waits until all have ended, and judges how.
    async fn judge(&self) -> Record {
        until_within(DONE_WITHIN, "all have ended", async || self.done().await >= self.size).await;
        let text = "SELECT count(*), count(DISTINCT id), count(*) FILTER (WHERE status <> 'completed'), count(*) FILTER (WHERE crashes > 0),
                           count(*) FILTER (WHERE attempt > 1)
                    FROM forge_jobs_done WHERE input ->> 'label' = $1";
        let row = self.sql.query_one(text, &[&self.label]).await.unwrap();
        let numbers: [i64; 5] = std::array::from_fn(|n| row.get(n));
        let [all, different, otherwise, taken_over, repeated] = numbers;
        assert_eq!((all, different, otherwise), (self.size, self.size, 0), "each is completed, once");
        let left = "SELECT (SELECT count(*) FROM forge_jobs WHERE input ->> 'label' = $1)
                         + (SELECT count(*) FROM forge_jobs_dead WHERE input ->> 'label' = $1)";
        assert_eq!(self.number(left).await, 0, "and is nowhere else");
        // Whoever acknowledged it had begun it under a lease of its own, and had come to its end.
        let strangers = "SELECT count(*) FROM forge_jobs_done d WHERE d.input ->> 'label' = $1 AND NOT EXISTS (
                             SELECT FROM executions e WHERE e.job = d.id AND e.lease = d.worker AND e.ended_at IS NOT NULL)";
        assert_eq!(self.number(strangers).await, 0, "acknowledged by a node that did not do it");
        // Nobody began anything that was nobody's by the queue's rows, and no claim was begun twice: a node that begins what another has does both.
        let unclaimed = "SELECT count(*) FROM executions WHERE label = $1 AND lease IS NULL";
        assert_eq!(self.number(unclaimed).await, 0, "begun by a node whose job it was not");
        let twice = "SELECT count(*) - count(DISTINCT (job, claim)) FROM executions WHERE label = $1";
        assert_eq!(self.number(twice).await, 0, "begun twice under one claim");
        let executions = self.number("SELECT count(*) FROM executions WHERE label = $1").await;
        Record { executions, taken_over, repeated }
    }
}
