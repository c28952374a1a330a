//! What became of a transaction whose answer to COMMIT was lost.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use forge_core::{Error, ErrorKind, Result};
use tokio_postgres::error::SqlState;

use super::Transaction;
use crate::db::{Lease, Pool, Shape, error};

static XACT_STATUS: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of("SELECT pg_xact_status($1::text::xid8)"));

/// The connection was lost and so was the transaction.
pub(super) fn nothing_written(lost: tokio_postgres::Error) -> Error {
    Error::database_unavailable("the connection was lost and nothing was written; try again").with_source(lost)
}

/// Nobody knows.
pub(super) fn outcome_unknown(lost: tokio_postgres::Error) -> Error {
    Error::new(
        ErrorKind::OutcomeUnknown,
        "the answer to the commit was lost, and whether it was written could not be found out; look before you repeat it",
    )
    .with_source(lost)
}

impl Transaction {
    /// Finds out what became of it when the answer to COMMIT was lost, or does not tell.
    pub(super) async fn fate(&self, side: &Pool) -> Fate {
        /// A server that was restarted is usually back within this time.
        const ASK_FOR: Duration = Duration::from_secs(10);
        let began = Instant::now();
        let mut pause = Duration::from_millis(50);
        while began.elapsed() < ASK_FOR {
            side.clear();
            // Otherwise the old server process has not noticed yet, or the server is not back.
            if let Ok(Some(fate)) = self.ask(side).await {
                return fate;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
        Fate::Unknown
    }

    /// Whether the server has been restarted since the transaction's connection was made.
    pub(crate) async fn server_restarted(&self, side: &Pool) -> Result<bool> {
        self.in_other_life(&side.get().await?).await
    }

    async fn in_other_life(&self, lease: &Lease) -> Result<bool> {
        let life = lease.life().await.map_err(error::from_driver)?;
        Ok(life != self.lease().await?.life().await.map_err(error::from_driver)?)
    }

    /// None when that is not known yet.
    async fn ask(&self, side: &Pool) -> Result<Option<Fate>> {
        let Some(xid) = self.xid.get() else { return Ok(Some(Fate::Unknown)) };
        let lease = side.get().await?;
        let same_life = !self.in_other_life(&lease).await?;
        let answer = match lease.query(&XACT_STATUS, &[xid]).await {
            Ok(answer) => answer,
            // The server has forgotten in a crash that it ever gave out this number.
            Err(why) if why.code() == Some(&SqlState::INVALID_PARAMETER_VALUE) => return Ok(Some(Fate::Lost)),
            Err(why) => return Err(error::from_driver(why)),
        };
        Ok(match answer.rows.first().and_then(|row| row.try_get::<_, Option<String>>(0).ok().flatten()).as_deref() {
            Some("committed") if same_life => Some(Fate::Committed),
            // Or it has forgotten, and given the number to somebody else since.
            Some("committed") => Some(Fate::Unknown),
            Some("aborted") => Some(Fate::Lost),
            _ => None,
        })
    }
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    Committed,
    /// Nothing of it was written.
    Lost,
    /// And never will be known.
    Unknown,
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use crate::db::connect::{Connector, Params};
    use crate::db::transaction::Purpose;
    use crate::db::{Route, Shape};
    use crate::realtime::differential::{Place, config, on_one_thread};

    use super::*;

    #[test]
    fn a_commit_behind_an_answer_that_does_not_fit_any_more_is_found_out() {
        on_one_thread(async {
            let place = Place::make().await;
            place.client.batch_execute("CREATE TABLE public.told (n int)").await.unwrap();
            let config = config(&place.url).database;
            let route = Route::default();
            assert_eq!(route.is_pooled(async { Ok::<_, Infallible>(true) }).await, Ok(true));
            let connector = Connector::new(config.url.as_ref().unwrap(), "tests", &[], &config, &route).unwrap();
            let pool = Pool::new(connector, 1, Duration::from_secs(30));
            let last = Shape::of("INSERT INTO told VALUES (1) RETURNING n");
            let commit = async || {
                let limit = Instant::now() + Duration::from_secs(60);
                let transaction = Transaction::lazy(&pool, Purpose::Own, limit, false);
                transaction.client().await.unwrap();
                let params: Params<'_> = &[];
                let answers = transaction.commit([(&last, params)], place.database.side()).await;
                let rows: i64 = place.client.query_one("SELECT count(*) FROM told", &[]).await.unwrap().get(0);
                (answers.map(|answers| answers.len()).ok(), transaction.is_stale(), rows)
            };
            assert_eq!(commit().await, (Some(1), false, 1));
            place.client.batch_execute("ALTER TABLE told ALTER n TYPE bigint").await.unwrap();
            assert_eq!(commit().await, (Some(0), false, 2), "it has been committed, and must not be run again");
            assert_eq!(commit().await, (Some(1), false, 3));
            place.client.batch_execute("ALTER TABLE told RENAME n TO m").await.unwrap();
            assert_eq!(commit().await, (None, true, 3), "the server has refused it");
            drop(pool);
            place.remove().await;
        });
    }
}
