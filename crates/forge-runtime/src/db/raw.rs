//! The driver's own client, lent out.

use std::ops::Deref;
use std::time::Instant;

use forge_core::Result;
use tokio_postgres::Client;

use super::error;
use super::pool::Lease;
use super::transaction::remaining_ms;

/// The driver's own client on a connection of its own, read-only. When it is dropped, whatever it was asked is cancelled on the server, and
/// the connection closed: it counts as one of the pool's until then.
pub struct RawClient(Lease);

impl RawClient {
    /// Whatever is asked of it may run until `limit`, seen from now.
    pub(super) async fn new(lease: Lease, limit: Instant) -> Result<Self> {
        // For good, as nobody knows what it is used for.
        lease.busy();
        let settings = format!(
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY; SET statement_timeout = {}",
            remaining_ms(limit)
        );
        lease.client().batch_execute(&settings).await.map_err(error::from_driver)?;
        Ok(Self(lease))
    }
}

impl Deref for RawClient {
    type Target = Client;
    fn deref(&self) -> &Client {
        self.0.client()
    }
}

impl std::fmt::Debug for RawClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RawClient")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::db::Db;
    use crate::realtime::differential::{Place, on_one_thread, until};

    #[test]
    fn what_is_asked_of_it_has_a_limit_and_ends_with_it() {
        on_one_thread(async {
            let place = Place::make().await;
            let db = Db::read(place.database.clone(), None, std::time::Instant::now() + Duration::from_secs(20));
            let raw = db.raw().await.unwrap();
            let about = "SELECT pg_backend_pid(), setting::int FROM pg_settings WHERE name = 'statement_timeout'";
            let row = raw.query_one(about, &[]).await.unwrap();
            let (backend, limit): (i32, i32) = (row.get(0), row.get(1));
            assert!((1..=20_000).contains(&limit), "it may take {limit} ms");
            assert!(raw.execute("CREATE TABLE written ()", &[]).await.is_err(), "it reads");

            let running = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND query LIKE '%pg_sleep%'";
            let is_running = async || place.client.query_one(running, &[&backend]).await.unwrap().get::<_, i64>(0) == 1;
            raw.batch_execute("SET statement_timeout = 0").await.unwrap();
            tokio::select! {
                answer = raw.query_one("SELECT pg_sleep(600)", &[]) => panic!("{answer:?}"),
                () = until("it runs", &is_running) => {}
            }
            drop(raw);
            assert_eq!(place.database.primary().counts().0, 1, "its place is free although it has not ended");
            until("it is cancelled", async || !is_running().await).await;
            place.remove().await;
        });
    }
}
