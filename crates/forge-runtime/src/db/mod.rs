//! The database, as functions see it.
//!
//! A context hands out a [`Db`]. What it is differs by the kind of function, how it is used does not:
//!
//! - in a **query**, reads go over a few shared, pipelined connections when they are known to be short, else on a
//!   connection of their own inside a read-only transaction; with `snapshot` all of them see one state of the data;
//! - in a **mutation**, everything happens in the mutation's one transaction.
//!
//! Whichever it is, a statement and its arguments pass through [`Db::run`] (or [`Db::open`], when its result is [streamed](Rows)) and
//! nowhere else.
//!
//! Round trips: a short read 1; a read of its own 1 (BEGIN, setting, statement and ROLLBACK leave together); a mutation
//! 1 per statement, the first of which takes BEGIN and the audit context along, and 1 for COMMIT, which takes along what is written
//! last: the jobs that were dispatched, and the answer under the mutation's id. A statement's first use on a connection costs 1 more, to
//! prepare it.
//!
//! Not here: which function may do what (see [`crate::function`]), and the schema of the framework's own tables (see
//! [`crate::migrate`]).

mod check;
mod check_models;
mod connect;
mod database;
pub(crate) mod error;
pub(crate) mod lexer;
mod model;
mod nulls;
mod pool;
mod pooler;
mod query;
mod raw;
mod replication;
mod row;
mod shared;
mod sql;
mod statement;
mod stream;
mod tls;
pub(crate) mod transaction;
mod unnamed;
mod write;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use forge_core::{Error, Result};
use tokio_postgres::Row;

pub use check::check_these;
pub use database::{Database, DatabaseHealth};
pub use model::{Column, Model, PgEnum, Plain, Unique, UniqueColumn, Value, new_uuid};
pub use query::{Assignment, Condition, Delete, Insert, Order, Page, Paginated, Query, Update, Upsert};
pub use raw::RawClient;
pub use row::{Field, FromRow, RowView, Scalar};
pub use sql::{CheckedSql, Sql};
pub use statement::{Param, Statement};
pub use stream::Rows;
pub use write::WriteDb;

pub(crate) use check::{check_statements, statements_fingerprint};
pub(crate) use check_models::check_models;
pub(crate) use connect::{Answer, Connection, Connector, Params};
pub(crate) use database::{Replica, no_url, not_direct};
pub(crate) use pool::{Lease, Pool};
pub(crate) use pooler::Route;
pub(crate) use replication::{Failure, Replication, Told};
pub(crate) use statement::{Shape, Verb};
use stream::Cursor;
use transaction::Transaction;

use crate::read_set::{self, Argument};

/// The database, as any function may use it: from `ctx.db()` of a query, and what the [`WriteDb`] of a mutation is as well.
///
/// A helper that only reads takes `&Db`, and is then of use to queries and mutations alike.
#[derive(Debug)]
pub struct Db {
    access: Access,
    deadline: Instant,
    /// Set while a live query runs.
    recorder: Option<Arc<Recorder>>,
}

/// Statements with their arguments.
pub(crate) type Asked = Vec<(Arc<Shape>, Vec<Argument>)>;

/// What a live query has asked for.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    seen: Mutex<Asked>,
    stumbled: AtomicBool,
}

impl Recorder {
    /// What was asked for, and whether something of it failed by itself.
    pub(crate) fn take(&self) -> (Asked, bool) {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        (seen, self.stumbled.load(Ordering::Relaxed))
    }

    fn note(&self, shape: &Arc<Shape>, arguments: Vec<Argument>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.iter().any(|(one, with)| one.id == shape.id && *with == arguments) {
            seen.push((shape.clone(), arguments));
        }
    }
}

#[derive(Debug)]
enum Access {
    /// Autocommitted reads on the primary or a replica.
    Read { database: Database, replica: Option<Arc<Replica>> },
    /// Reads within a transaction: a snapshot, or a query called from a mutation.
    ReadIn(Arc<Transaction>),
    /// A mutation's transaction. The lock is held by a mutation called from this one, from its savepoint to its release, so that two
    /// of them never interleave.
    Write(Arc<Transaction>, tokio::sync::Mutex<()>),
}

impl Db {
    /// For a query.
    pub(crate) fn read(database: Database, replica: Option<Arc<Replica>>, deadline: Instant) -> Self {
        Self { access: Access::Read { database, replica }, deadline, recorder: None }
    }

    /// For a query that runs in a transaction.
    pub(crate) fn read_in(transaction: Arc<Transaction>, deadline: Instant) -> Self {
        Self { access: Access::ReadIn(transaction), deadline, recorder: None }
    }

    /// The same, with everything noted that it asks for.
    pub(crate) fn recorded(mut self, recorder: Arc<Recorder>) -> Self {
        self.recorder = Some(recorder);
        self
    }

    /// For a mutation: what a [`WriteDb`] is made of.
    fn write(transaction: Arc<Transaction>, deadline: Instant) -> Self {
        Self { access: Access::Write(transaction, tokio::sync::Mutex::default()), deadline, recorder: None }
    }

    /// The one place that sees every statement of an app together with its arguments.
    pub(crate) async fn run(&self, shape: &Arc<Shape>, params: Params<'_>) -> Result<Answer> {
        self.permit(shape)?;
        let began = Instant::now();
        let result = match &self.access {
            Access::Read { database, replica } => database.read(replica.as_deref(), shape, params, self.deadline).await,
            Access::ReadIn(transaction) | Access::Write(transaction, _) => transaction.query(shape, params).await,
        };
        crate::observability::statement_ran(shape, began.elapsed(), result.is_ok());
        // One that failed has read something as well.
        let noted = self.note(shape, params).await;
        if let (Some(recorder), Err(why)) = (&self.recorder, &result)
            && !error::follows_a_failure(why)
        {
            recorder.stumbled.store(true, Ordering::Relaxed);
        }
        let answer = result?;
        noted?;
        Ok(answer)
    }

    /// For a live query: this is one of the things that it asked for.
    async fn note(&self, shape: &Arc<Shape>, params: Params<'_>) -> Result<()> {
        if let (Some(recorder), Access::ReadIn(transaction)) = (&self.recorder, &self.access) {
            // Prepared a moment ago, so this usually asks nobody.
            recorder.note(shape, read_set::capture(params, &transaction.parameters(shape).await?));
        }
        Ok(())
    }

    /// As [`run`](Self::run), for a result that is read bit by bit.
    pub(crate) async fn open(&self, shape: &Arc<Shape>, params: Params<'_>) -> Result<Cursor> {
        self.permit(shape)?;
        match &self.access {
            Access::Read { database, replica } => database.open(replica.as_deref(), shape, params, self.deadline).await,
            Access::ReadIn(transaction) | Access::Write(transaction, _) => {
                self.note(shape, params).await?;
                Cursor::open(transaction.clone(), false, shape, params).await
            }
        }
    }

    fn permit(&self, shape: &Shape) -> Result<()> {
        match (shape.verb, &self.access) {
            (Verb::Control, _) => Err(Error::internal(format!(
                "transactions and session settings belong to FORGE; this statement cannot be run through ctx.db(): {}",
                shape.text
            ))),
            (Verb::Write, Access::Read { .. } | Access::ReadIn(_)) => Err(Error::new(
                forge_core::ErrorKind::Database,
                format!(
                    "a query only reads; make the function a mutation, or move this statement into one: {}",
                    shape.text
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Runs a statement whose text was made at run time. Values belong into `params`, never into the text.
    ///
    /// # Errors
    /// As any statement.
    pub async fn query_dyn(&self, text: &str, params: &[&(dyn postgres_types::ToSql + Sync)]) -> Result<Vec<Row>> {
        Ok(self.run(&Shape::of(text), params).await?.rows)
    }

    /// The driver's own client, for what is not covered here: COPY, LISTEN, anything. It has a connection of its own,
    /// read-only, that is closed when it is dropped, whatever runs on it then. A statement of it ends with the call, and within
    /// `database.statement_timeout`, unless it sets another `statement_timeout` itself. What is read through it is not tracked, so a
    /// live query that depends on it would not notice a change. Behind a pooler it goes past it, to `database.direct_url`, where at
    /// most 4 are lent at a time.
    ///
    /// # Errors
    /// Not in a mutation: there a client could end the mutation's transaction behind its back. `DATABASE_UNAVAILABLE` when
    /// no connection can be had, `DATABASE_NOT_DIRECT` when there is only a pooler.
    pub async fn raw(&self) -> Result<RawClient> {
        match &self.access {
            Access::Read { database, .. } => RawClient::new(database.session().await?, database.limit(self.deadline)).await,
            Access::ReadIn(_) | Access::Write(..) => Err(Error::internal(
                "ctx.db().raw() is not available inside a transaction (of a mutation, or of a query that says `snapshot` or `cache` or is live): the driver's client could commit or abort it behind its back; read with a query that is called on its own, or use ctx.db().query_dyn(..)",
            )),
        }
    }

    /// The same transaction, for a query that is called from a mutation.
    pub(crate) fn reading(&self) -> Self {
        let access = match &self.access {
            Access::Read { database, replica } => Access::Read { database: database.clone(), replica: replica.clone() },
            Access::ReadIn(transaction) | Access::Write(transaction, _) => Access::ReadIn(transaction.clone()),
        };
        Self { access, deadline: self.deadline, recorder: self.recorder.clone() }
    }

    /// Runs a mutation that is called from this one; it gets a database of its own in the same transaction.
    pub(crate) async fn nested<T>(&self, body: impl AsyncFnOnce(WriteDb) -> Result<T>) -> Result<T> {
        match &self.access {
            Access::Write(transaction, turn) => {
                let _turn = turn.lock().await;
                transaction.nested(body(WriteDb::new(transaction.clone(), self.deadline))).await
            }
            Access::Read { .. } | Access::ReadIn(_) => Err(Error::internal("a query cannot call a mutation")),
        }
    }

    /// Runs what must not be left half done: dropped before its end, it takes a mutation's whole transaction with it.
    pub(crate) async fn whole<T>(&self, body: impl Future<Output = T>) -> T {
        match &self.access {
            Access::Write(transaction, _) => transaction.whole(body).await,
            Access::Read { .. } | Access::ReadIn(_) => body.await,
        }
    }

    /// The driver's client inside the mutation's transaction, for the framework's own statements.
    pub(crate) async fn client(&self) -> Result<&tokio_postgres::Client> {
        match &self.access {
            Access::Write(transaction, _) => transaction.client().await,
            Access::Read { .. } | Access::ReadIn(_) => Err(Error::internal("this needs a mutation")),
        }
    }

    /// Waits for something that is done through [`client`](Self::client), and notes when it failed or was not waited for.
    pub(crate) async fn watch<T>(&self, done: impl Future<Output = Result<T>>) -> Result<T> {
        let result = match &self.access {
            Access::Write(transaction, _) => transaction.heard(done).await,
            Access::Read { .. } | Access::ReadIn(_) => done.await,
        };
        if let (Err(why), Access::Write(transaction, _)) = (&result, &self.access) {
            transaction.failed_with(why);
        }
        result
    }
}
