//! What became of a transaction whose answer to COMMIT was lost.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use forge_core::{Error, ErrorKind, Result};
use tokio_postgres::error::SqlState;

use super::Transaction;
use crate::db::{Lease, Pool, Shape, error};

static XACT_STATUS: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of("SELECT pg_xact_status($1::text::xid8)"));

impl Transaction {
    /// Finds out what became of it when the answer to COMMIT was lost.
    pub(super) async fn outcome(&self, side: &Pool, lost: tokio_postgres::Error) -> Result<()> {
        /// A server that was restarted is usually back within this time.
        const ASK_FOR: Duration = Duration::from_secs(10);
        let began = Instant::now();
        let mut pause = Duration::from_millis(50);
        while began.elapsed() < ASK_FOR {
            side.clear();
            match self.ask(side).await {
                Ok(Fate::Committed) => return Ok(()),
                Ok(Fate::Lost) => {
                    return Err(Error::database_unavailable("the connection was lost and nothing was written; try again")
                        .with_source(lost));
                }
                Ok(Fate::NeverKnown) => break,
                // The old server process has not noticed yet, or the server is not back.
                Ok(Fate::NotKnownYet) | Err(_) => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
        Err(Error::new(
            ErrorKind::OutcomeUnknown,
            "the connection was lost during the commit, and whether it was written could not be found out; look before you repeat it",
        )
        .with_source(lost))
    }

    /// Whether the server has been restarted since the transaction's connection was made.
    pub(crate) async fn server_restarted(&self, side: &Pool) -> Result<bool> {
        self.in_other_life(&side.get().await?).await
    }

    async fn in_other_life(&self, lease: &Lease) -> Result<bool> {
        let life = lease.life().await.map_err(error::from_driver)?;
        Ok(life != self.lease().await?.life().await.map_err(error::from_driver)?)
    }

    async fn ask(&self, side: &Pool) -> Result<Fate> {
        let Some(xid) = self.xid.get() else { return Ok(Fate::NeverKnown) };
        let lease = side.get().await?;
        let same_life = !self.in_other_life(&lease).await?;
        let answer = match lease.query(&XACT_STATUS, &[xid]).await {
            Ok(answer) => answer,
            // The server has forgotten in a crash that it ever gave out this number.
            Err(why) if why.code() == Some(&SqlState::INVALID_PARAMETER_VALUE) => return Ok(Fate::Lost),
            Err(why) => return Err(error::from_driver(why)),
        };
        Ok(match answer.rows.first().and_then(|row| row.try_get::<_, Option<String>>(0).ok().flatten()).as_deref() {
            Some("committed") if same_life => Fate::Committed,
            // Or it has forgotten, and given the number to somebody else since.
            Some("committed") => Fate::NeverKnown,
            Some("aborted") => Fate::Lost,
            _ => Fate::NotKnownYet,
        })
    }
}

/// What became of a transaction.
enum Fate {
    Committed,
    /// Nothing of it was written.
    Lost,
    NotKnownYet,
    NeverKnown,
}
