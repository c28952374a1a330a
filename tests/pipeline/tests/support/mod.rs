//! What the tests of this folder share: a plain HTTP client, tokens, and waiting with a deadline.
#![allow(dead_code, reason = "no test program uses all of it")]

pub(crate) mod balancer;
pub(crate) mod http;
pub(crate) mod live;
pub(crate) mod pgbouncer;
pub(crate) mod process;
pub(crate) mod server;
pub(crate) mod sse;
pub(crate) mod token;

use std::time::{Duration, Instant};

/// How long anything may take that happens at once on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Looks until it is so, and fails when it does not become so in time.
pub(crate) async fn until(what: &str, condition: impl AsyncFnMut() -> bool) {
    until_within(PATIENCE, what, condition).await;
}

/// The same with a time of its own.
pub(crate) async fn until_within(patience: Duration, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < patience, "not within {patience:?}: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The number that a counting statement gives.
pub(crate) async fn count(sql: &tokio_postgres::Client, statement: &str) -> i64 {
    sql.query_one(statement, &[]).await.unwrap().get(0)
}

/// How many sessions of this database wait for a table. Another test's database may be a copy of the same, and its table have the same number.
pub(crate) async fn waiting_for(sql: &tokio_postgres::Client, table: &str) -> i64 {
    let text = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = $1::text::regclass \
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    sql.query_one(text, &[&table]).await.unwrap().get(0)
}

/// Holds an advisory lock until it is dropped (its connection ends) or released: a gate that is shut.
pub(crate) struct Gate {
    sql: tokio_postgres::Client,
    number: i64,
}

impl Gate {
    /// Shuts a gate.
    pub(crate) async fn shut(sql: tokio_postgres::Client, number: i64) -> Self {
        sql.execute("SELECT pg_advisory_lock($1)", &[&number]).await.unwrap();
        Self { sql, number }
    }

    /// How many sessions wait at it.
    pub(crate) async fn waiting(&self) -> i64 {
        let text = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
                    AND (classid::int8 << 32) + objid::int8 = $1 \
                    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        self.sql.query_one(text, &[&self.number]).await.unwrap().get(0)
    }

    /// Waits until so many sessions wait at it.
    pub(crate) async fn until_waiting(&self, wanted: i64) {
        until(&format!("{wanted} wait at gate {}", self.number), async || self.waiting().await == wanted).await;
    }

    /// Opens it for good.
    pub(crate) async fn open(self) {
        self.sql.execute("SELECT pg_advisory_unlock($1)", &[&self.number]).await.unwrap();
    }
}
