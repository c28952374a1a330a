//! A few connections that all short reads share.
//!
//! Statements of many callers are pipelined over them: no checkout, and several statements per system call on both
//! sides. What makes that safe: the sessions are read-only, every statement is autocommitted, only statements measured
//! as short come here, and the session's `statement_timeout` is so short that a slow one cannot hold its neighbours up
//! for long. A statement that runs into it is run again elsewhere, and stays away for a while.
//!
//! Behind a pooler there are none: everything runs elsewhere.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio_postgres::error::SqlState;

use super::connect::{Answer, Connection, Connector, Params};
use super::error;
use super::statement::Shape;

/// The shared connections.
#[derive(Debug, Clone)]
pub(crate) struct SharedReads(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connector: Connector,
    limit: Duration,
    seats: Vec<Seat>,
    next: AtomicUsize,
}

#[derive(Debug, Default)]
struct Seat {
    connection: RwLock<Option<Arc<Connection>>>,
    connecting: AtomicBool,
}

/// What came of a statement on a shared connection.
pub(crate) enum Outcome {
    /// It ran.
    Done(Result<Answer, tokio_postgres::Error>),
    /// It has to run on a connection of its own.
    Elsewhere,
}

impl SharedReads {
    /// `count` connections that are opened when they are first wanted. `limit` is the sessions' `statement_timeout`.
    pub(crate) fn new(connector: Connector, count: usize, limit: Duration) -> Self {
        let seats = (0..count).map(|_| Seat::default()).collect();
        Self(Arc::new(Inner { connector, limit, seats, next: AtomicUsize::new(0) }))
    }

    /// Runs a read, if it may run here and a connection is there.
    pub(crate) async fn query(&self, shape: &Arc<Shape>, params: Params<'_>) -> Outcome {
        let inner = &self.0;
        if inner.seats.is_empty() || inner.connector.route().known_pooled() || !shape.fits_shared(inner.limit) {
            return Outcome::Elsewhere;
        }
        let Some(connection) = self.connection() else { return Outcome::Elsewhere };
        match connection.query(shape, params).await {
            Ok(answer) => Outcome::Done(Ok(answer)),
            Err(why) if why.code() == Some(&SqlState::QUERY_CANCELED) => {
                shape.too_slow();
                Outcome::Elsewhere
            }
            Err(why) if error::is_stale_plan(&why) => {
                connection.forget_statements();
                Outcome::Elsewhere
            }
            // It only reads, so it may simply be asked again; the pool then finds out whether the server is away.
            Err(why) if error::is_disconnect(&why) => Outcome::Elsewhere,
            Err(why) => Outcome::Done(Err(why)),
        }
    }

    /// The next connection in turn. One that has ended is opened anew in the background; meanwhile the pool serves.
    fn connection(&self) -> Option<Arc<Connection>> {
        let turn = self.0.next.fetch_add(1, Ordering::Relaxed) % self.0.seats.len();
        let seat = &self.0.seats[turn];
        let connection = seat.connection.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(connection) = connection
            && !connection.is_closed()
        {
            return Some(connection);
        }
        if !seat.connecting.swap(true, Ordering::AcqRel) {
            let shared = self.0.clone();
            tokio::spawn(async move {
                let seat = &shared.seats[turn];
                match shared.connector.connect().await {
                    // What makes sharing safe are settings of the session, and a pooler has no sessions.
                    Ok(connection) if connection.is_pooled() => {}
                    Ok(connection) => {
                        *seat.connection.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(connection));
                    }
                    // The pool meets the same trouble and reports it; this seat is tried again a little later.
                    Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
                }
                seat.connecting.store(false, Ordering::Release);
            });
        }
        None
    }

    /// Connections that are open, now.
    pub(crate) fn open(&self) -> usize {
        let open = |seat: &&Seat| {
            seat.connection.read().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(|c| !c.is_closed())
        };
        self.0.seats.iter().filter(open).count()
    }
}
