//! A pool of connections, each lent to one user at a time.
//!
//! What is lent comes back clean or not at all: a lease that is dropped while something may still run on its
//! connection cancels that and discards the connection, whose place is free once it has ended, so that many who stop waiting at once
//! do not become more connections than the pool may have. There is no test on checkout (it would cost a round trip, and
//! says nothing about the next moment); a connection that has ended is simply not lent.

use std::ops::Deref;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use forge_core::{Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::Statement as Prepared;

use super::connect::{Answer, Connection, Connector, Params};
use super::statement::Shape;

/// After a failed attempt to connect, further ones fail at once for so long: a server that is away is not hammered,
/// and callers get their 503 without waiting.
const FAIL_FAST_FOR: Duration = Duration::from_millis(200);

/// A pool.
#[derive(Debug, Clone)]
pub(crate) struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connector: Connector,
    size: usize,
    wait_max: Duration,
    slots: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
    failed_at: Mutex<Option<Instant>>,
}

impl Pool {
    /// A pool of at most `size` connections; whoever waits longer than `wait_max` for one gets a 503.
    pub(crate) fn new(connector: Connector, size: usize, wait_max: Duration) -> Self {
        Self(Arc::new(Inner {
            connector,
            size,
            wait_max,
            slots: Arc::new(Semaphore::new(size)),
            idle: Mutex::default(),
            failed_at: Mutex::default(),
        }))
    }

    /// Lends a connection.
    ///
    /// # Errors
    /// `DATABASE_UNAVAILABLE` when none is free in time, or none can be made.
    pub(crate) async fn get(&self) -> Result<Lease> {
        let pool = &self.0;
        let slot = match pool.slots.clone().try_acquire_owned() {
            Ok(slot) => slot,
            Err(_) => match tokio::time::timeout(pool.wait_max, pool.slots.clone().acquire_owned()).await {
                Ok(Ok(slot)) => slot,
                Ok(Err(_)) => return Err(Error::database_unavailable("the server is shutting down")),
                Err(_) => {
                    return Err(Error::database_unavailable(format!(
                        "all {} database connections were busy for {:?}",
                        pool.size, pool.wait_max
                    )));
                }
            },
        };
        if let Some(connection) = self.idle_connection() {
            return Ok(self.lease(connection, slot));
        }
        let failed_at = *pool.failed_at.lock().unwrap_or_else(PoisonError::into_inner);
        if failed_at.is_some_and(|at| at.elapsed() < FAIL_FAST_FOR) {
            return Err(Error::database_unavailable("the database cannot be reached"));
        }
        Ok(self.lease(self.connect().await?, slot))
    }

    async fn connect(&self) -> Result<Connection> {
        let connected = self.0.connector.connect().await;
        *self.0.failed_at.lock().unwrap_or_else(PoisonError::into_inner) = connected.is_err().then(Instant::now);
        connected
    }

    /// Opens a connection, whatever became of the last attempt, and keeps it.
    ///
    /// # Errors
    /// Those of [`Connector::connect`].
    pub(crate) async fn open_one(&self) -> Result<()> {
        let slot = self.0.slots.clone().acquire_owned().await;
        let slot = slot.map_err(|_| Error::database_unavailable("the server is shutting down"))?;
        let connection = self.connect().await?;
        drop(self.lease(connection, slot));
        Ok(())
    }

    /// The last one that came back, as its caches are the warmest.
    fn idle_connection(&self) -> Option<Connection> {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(connection) = idle.pop() {
            if !connection.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    fn lease(&self, connection: Connection, slot: OwnedSemaphorePermit) -> Lease {
        Lease {
            connection: Some(connection),
            state: AtomicU8::new(CLEAN),
            running: AtomicU32::new(0),
            pool: self.0.clone(),
            slot: Some(slot),
        }
    }

    /// Closes the idle connections: after a failover they may all be dead without knowing it.
    pub(crate) fn clear(&self) {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Connections lent and connections idle, now.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).len();
        (self.0.size - self.0.slots.available_permits(), idle)
    }
}

const CLEAN: u8 = 0;
const BUSY: u8 = 1;
const COMMITTING: u8 = 2;

/// A connection on loan.
#[derive(Debug)]
pub(crate) struct Lease {
    connection: Option<Connection>,
    state: AtomicU8,
    /// How much it was asked, outside of a transaction, that nobody has had the answer of.
    running: AtomicU32,
    pool: Arc<Inner>,
    slot: Option<OwnedSemaphorePermit>,
}

impl Lease {
    /// Runs a statement and collects what comes back. Whoever stops waiting for it stops it: it is cancelled, and the connection discarded with the
    /// lease, so that nobody finds it in the middle of something.
    pub(crate) async fn query(&self, shape: &Arc<Shape>, params: Params<'_>) -> Result<Answer, tokio_postgres::Error> {
        self.whole(self.deref().query(shape, params)).await
    }

    /// The statement, prepared; as [`query`](Self::query) when nobody waits for it any more.
    pub(crate) async fn prepare(&self, shape: &Arc<Shape>) -> Result<Prepared, tokio_postgres::Error> {
        self.whole(self.deref().prepare(shape)).await
    }

    /// Waits for something that the connection is asked by itself. In a transaction it is busy already, for as long as that goes on.
    async fn whole<T>(&self, asked: impl Future<Output = T>) -> T {
        if self.state.load(Ordering::Relaxed) != CLEAN {
            return asked.await;
        }
        self.running.fetch_add(1, Ordering::Relaxed);
        let answer = asked.await;
        self.running.fetch_sub(1, Ordering::Relaxed);
        answer
    }

    /// From here on the connection is in the middle of something: if the lease is dropped now, that is cancelled and the
    /// connection discarded.
    pub(crate) fn busy(&self) {
        self.state.store(BUSY, Ordering::Relaxed);
    }

    /// A COMMIT has been sent: if the lease is dropped now, the connection is closed once that has been answered, and
    /// nothing is cancelled.
    pub(crate) fn committing(&self) {
        self.state.store(COMMITTING, Ordering::Relaxed);
    }

    /// The connection is as it was when it was lent.
    pub(crate) fn clean(&self) {
        self.state.store(CLEAN, Ordering::Relaxed);
    }

    /// Takes the connection out of the pool for good. It counts as lent for as long as the permit lives.
    pub(crate) fn detach(mut self) -> Option<(Connection, Option<OwnedSemaphorePermit>)> {
        self.connection.take().map(|connection| (connection, self.slot.take()))
    }
}

impl Deref for Lease {
    type Target = Connection;

    #[allow(clippy::expect_used)]
    fn deref(&self) -> &Connection {
        // Only `detach` and `drop` take it, and they end the lease.
        self.connection.as_ref().expect("a lease has a connection until it ends")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let running = self.running.load(Ordering::Relaxed) > 0;
        match self.state.load(Ordering::Relaxed) {
            BUSY => connection.cancel_and_discard(self.slot.take()),
            CLEAN if running => connection.cancel_and_discard(self.slot.take()),
            CLEAN if !connection.is_closed() => {
                self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            }
            _ => connection.discard(self.slot.take()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::realtime::differential::{Place, on_one_thread, until};

    /// Whose connection it is, on the server.
    async fn backend(lease: &Lease) -> i32 {
        lease.query(&Shape::of("SELECT pg_backend_pid()"), &[]).await.unwrap().rows[0].get(0)
    }

    #[test]
    fn a_statement_that_nobody_waits_for_is_cancelled_and_its_connection_not_lent_again() {
        on_one_thread(async {
            let place = Place::make().await;
            let pool = place.database.jobs().clone();
            let lease = pool.get().await.unwrap();
            let first = backend(&lease).await;
            drop(lease);
            let lease = pool.get().await.unwrap();
            assert_eq!(backend(&lease).await, first, "what has been answered leaves the connection as it was");
            let active =
                "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND query LIKE '%pg_sleep%' AND state = 'active'";
            let is_active = async || place.client.query_one(active, &[&first]).await.unwrap().get::<_, i64>(0) == 1;
            let slow = Shape::of("SELECT pg_sleep(600)");
            tokio::select! {
                answer = lease.query(&slow, &[]) => panic!("{answer:?}"),
                () = until("it is under way", &is_active) => {}
            }
            drop(lease);
            assert_eq!(pool.counts().0, 1, "its place is free although it has not ended");
            let lease = pool.get().await.unwrap();
            let next = tokio::time::timeout(Duration::from_secs(30), backend(&lease)).await;
            assert_ne!(next.expect("it is in the middle of something"), first);
            until("it is cancelled", async || !is_active().await).await;
            // In a transaction it is the transaction that says when the connection is as it was.
            lease.busy();
            let answered = backend(&lease).await;
            lease.clean();
            drop(lease);
            assert_eq!(backend(&pool.get().await.unwrap()).await, answered);
            place.remove().await;
        });
    }
}
