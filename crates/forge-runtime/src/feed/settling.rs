//! After the sink was changed: statements that began before may still write to the old one.
//!
//! They are told by their virtual transactions: all that are open once the change is known to everybody, and no others. When those have ended,
//! whatever they wrote is visible to the next snapshot.

use std::time::{Duration, Instant};

use forge_core::Result;
use tokio_postgres::Client;

use super::sink::LOCK;
use crate::db::error::from_driver;

/// How often to look, at first and at most.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// The wait for their end.
#[derive(Debug)]
pub(super) struct Settling {
    /// Which ones, once known.
    open: Option<Vec<String>>,
    next: Instant,
    pause: Duration,
}

impl Settling {
    pub(super) fn new() -> Self {
        Self { open: None, next: Instant::now(), pause: LOOK_EVERY.0 }
    }

    /// Whether it is time to look again.
    pub(super) fn is_due(&self) -> bool {
        self.next <= Instant::now()
    }

    /// When that is.
    #[cfg(test)]
    pub(super) fn next_look(&self) -> Instant {
        self.next
    }

    /// Whether all of them have ended.
    ///
    /// # Errors
    /// When the database is away.
    pub(super) async fn look(&mut self, client: &Client) -> Result<bool> {
        self.next = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(LOOK_EVERY.1);
        let open = match self.open.take() {
            Some(open) => open,
            None => open_now(client).await?,
        };
        // A transaction that was prepared goes on under another name; while there is any, it may be one of them.
        let ask = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'virtualxid' AND virtualtransaction = ANY($1))
                   OR EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database())";
        let row = client.query_one(ask, &[&open]).await;
        self.open = Some(open);
        let any: bool = row.and_then(|row| row.try_get(0)).map_err(from_driver)?;
        Ok(!any)
    }
}

/// The virtual transactions that are open now.
async fn open_now(client: &Client) -> Result<Vec<String>> {
    // Whoever changes the sink holds this until everybody has been told to look at the functions anew.
    let begin = format!("BEGIN; SET LOCAL lock_timeout = '2s'; SELECT pg_advisory_xact_lock_shared({LOCK})");
    let asked = async {
        client.batch_execute(&begin).await?;
        let ask = "SELECT coalesce(array_agg(virtualtransaction), '{}') FROM pg_locks
                   WHERE locktype = 'virtualxid' AND granted AND pid <> pg_backend_pid()";
        client.query_typed_one(ask, &[]).await?.try_get(0)
    };
    let open = asked.await.map_err(from_driver);
    // On a connection that is gone there is nothing to roll back.
    let _ = client.batch_execute("ROLLBACK").await;
    open
}
