//! A transaction of a function, from its first statement to its commit.
//!
//! ```text
//!  new ──first statement──▶ open ──commit──▶ committed
//!   │    (BEGIN, audit and       │ └─error──▶ rolled back
//!   │     it: one round trip)    └─dropped──▶ cancelled on the server, connection discarded
//!   └──never used──▶ nothing was sent; a mutation's has not even taken a connection
//! ```
//!
//! A statement whose answer nobody waits for has an unknown end, and COMMIT behind one that failed is a ROLLBACK that says nothing: a
//! transaction that writes is not committed then.
//!
//! What is to be written at the very end goes along with COMMIT, in its round trip.
//!
//! What it promises: nothing of it is visible before `commit` returned `Ok`, everything is after. When the answer to
//! COMMIT is lost, or does not tell whether it was one, the outcome is asked for by transaction id; only when that fails too, or when
//! the server was restarted in between and may have given the id to another transaction, it is `OUTCOME_UNKNOWN`.

mod alone;
mod begin;
mod end;
mod nested;
mod outcome;
mod statements;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use forge_core::function::Isolation;
use forge_core::{Error, ErrorKind, Result};
use futures_util::FutureExt as _;
use postgres_types::Type;
use tokio_postgres::error::SqlState;

pub(crate) use self::alone::read_alone;
use self::statements::{EXPORT, NOTHING, SET_READ};
use super::connect::{Answer, Params, mapped};
use super::error;
use super::pool::{Lease, Pool};
use super::statement::Shape;
use super::stream::Seats;

/// What a transaction is for.
#[derive(Debug, Clone)]
pub(crate) enum Purpose {
    /// A mutation. The audit context is set in the transaction, for triggers and for people who look.
    Write {
        /// How it is isolated.
        isolation: Isolation,
        /// `forge.user_id`: empty when nobody is signed in.
        user_id: String,
        /// `forge.function_name`.
        function: &'static str,
        /// `forge.trace_id`.
        trace_id: String,
    },
    /// What FORGE writes by itself, on nobody's behalf.
    Own,
    /// A query over one snapshot.
    Snapshot,
}

/// A statement that goes along with COMMIT, and its arguments.
pub(crate) type Last<'a> = (&'a Arc<Shape>, Params<'a>);

/// A transaction.
#[derive(Debug)]
pub(crate) struct Transaction {
    /// Its connection, once it has one.
    lease: tokio::sync::OnceCell<Lease>,
    /// Where that comes from, when it is not there from the start.
    pool: Option<Pool>,
    purpose: Purpose,
    /// When a statement of it has to end, seen from its begin.
    limit: Instant,
    begun: AtomicBool,
    /// COMMIT or ROLLBACK was sent; a statement now would run on its own.
    ended: AtomicBool,
    /// A statement failed because of other transactions: the whole may succeed when run again.
    conflict: AtomicBool,
    /// A statement failed, so PostgreSQL will turn COMMIT into ROLLBACK without calling it an error.
    failed: AtomicBool,
    /// Somebody stopped waiting for a statement, which may still run.
    unheard: AtomicBool,
    /// A statement was sent whose answer nobody reads.
    forgotten: AtomicBool,
    /// A statement failed because a table had changed under its plan.
    stale: AtomicBool,
    /// Nothing that was prepared before the transaction began is used.
    fresh: bool,
    /// Set when each statement has a savepoint of its own, so that one that fails harms no other; they take turns then.
    guarded: Option<tokio::sync::Mutex<()>>,
    /// The cursors that streams have open in it.
    pub(in crate::db) cursors: Seats,
    /// The transaction's id, once begun: what is asked for when the answer to COMMIT is lost.
    xid: std::sync::OnceLock<String>,
}

impl Transaction {
    /// A transaction on a connection of its own. Nothing is sent yet. `fresh` is for another attempt after one that was
    /// [stale](Self::is_stale): its statements are prepared inside of it, where no table can change before they run.
    pub(crate) fn new(lease: Lease, purpose: Purpose, limit: Instant, fresh: bool) -> Self {
        if fresh {
            lease.forget_statements();
        }
        Self::of(tokio::sync::OnceCell::new_with(Some(lease)), None, purpose, limit, fresh)
    }

    /// The same, with a connection that is taken from the pool once there is something to send.
    pub(crate) fn lazy(pool: &Pool, purpose: Purpose, limit: Instant, fresh: bool) -> Self {
        Self::of(tokio::sync::OnceCell::new(), Some(pool.clone()), purpose, limit, fresh)
    }

    fn of(lease: tokio::sync::OnceCell<Lease>, pool: Option<Pool>, purpose: Purpose, limit: Instant, fresh: bool) -> Self {
        Self {
            lease,
            pool,
            purpose,
            limit,
            begun: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            conflict: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            unheard: AtomicBool::new(false),
            forgotten: AtomicBool::new(false),
            stale: AtomicBool::new(false),
            fresh,
            guarded: None,
            cursors: Seats::default(),
            xid: std::sync::OnceLock::new(),
        }
    }

    /// A transaction that sees what another one does, which has to be open still: `snapshot` is from its [`export`](Self::export). A
    /// statement that fails in it harms no other one.
    ///
    /// # Errors
    /// When the database is away, or the other transaction has ended.
    pub(crate) async fn import(lease: Lease, snapshot: &str, limit: Instant) -> Result<Self> {
        let timeout = remaining_ms(limit);
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '{}'; SET LOCAL statement_timeout = {timeout}",
            snapshot.replace('\'', "''")
        );
        lease.busy();
        lease.client().batch_execute(&begin).await.map_err(error::from_driver)?;
        let mut transaction = Self::new(lease, Purpose::Snapshot, limit, false);
        transaction.begun = AtomicBool::new(true);
        transaction.guarded = Some(tokio::sync::Mutex::default());
        Ok(transaction)
    }

    /// Its connection.
    ///
    /// # Errors
    /// `DATABASE_UNAVAILABLE` when none is to be had. Then nothing of it can be kept, also when whoever asked goes on.
    async fn lease(&self) -> Result<&Lease> {
        let taking = self.lease.get_or_try_init(async || {
            let pool = self.pool.as_ref().ok_or_else(|| Error::internal("a transaction without a connection"))?;
            let lease = pool.get().await?;
            if self.fresh {
                lease.forget_statements();
            }
            Ok(lease)
        });
        let taken = taking.await;
        if taken.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        taken
    }

    /// Whether nothing was done with it: not even its connection is taken.
    pub(crate) fn is_untouched(&self) -> bool {
        self.lease.get().is_none() && !self.has_failed()
    }

    /// What other transactions need to see the same.
    pub(crate) async fn export(&self) -> Result<String> {
        let answer = self.query(&EXPORT, &[]).await?;
        answer.rows.first().ok_or_else(|| Error::internal("no snapshot"))?.try_get(0).map_err(error::from_driver)
    }

    /// Limits what each of its later statements may take.
    pub(crate) async fn limit_statements(&self, to: Duration) -> Result<()> {
        let timeout = to.as_millis().clamp(1, i32::MAX as u128).to_string();
        self.query(&SET_READ, &[&timeout]).await.map(drop)
    }

    /// Runs a statement in the transaction; the first one takes BEGIN and the audit context along in its round trip.
    pub(crate) async fn query(&self, shape: &Arc<Shape>, params: Params<'_>) -> Result<Answer> {
        if self.ended.load(Ordering::Acquire) {
            return Err(Error::internal("the transaction has ended; ctx.db() cannot be used after the function returned"));
        }
        self.heard(self.query_once(shape, params)).await
    }

    async fn query_once(&self, shape: &Arc<Shape>, params: Params<'_>) -> Result<Answer> {
        let lease = self.lease().await?;
        match &self.guarded {
            None => self.query_inner(lease, shape, params).await.map_err(|why| self.failed(why, shape)),
            Some(turn) => {
                let _turn = turn.lock().await;
                self.guarded_query(lease, shape, params).await
            }
        }
    }

    /// Prepares a statement that is for this transaction only, on behalf of another one.
    pub(in crate::db) async fn prepare(&self, text: &str, of: &Shape) -> Result<tokio_postgres::Statement> {
        let preparing = async { self.lease().await?.client().prepare(text).await.map_err(|why| self.failed(why, of)) };
        self.heard(preparing).await
    }

    /// Runs a statement from [`prepare`](Self::prepare).
    pub(in crate::db) async fn run(
        &self,
        prepared: &tokio_postgres::Statement,
        of: &Shape,
    ) -> Result<Vec<tokio_postgres::Row>> {
        let running = async { self.lease().await?.run(prepared, &[]).await.map_err(|why| self.failed(why, of)) };
        Ok(self.heard(running).await?.rows)
    }

    /// Sends a statement whose answer nobody waits for. What is sent later on this connection runs after it, and tells whether it failed.
    pub(in crate::db) fn send_and_forget(&self, text: &str) {
        if !self.ended.load(Ordering::Acquire)
            && !self.failed.load(Ordering::Relaxed)
            && let Some(lease) = self.lease.get()
        {
            self.forgotten.store(true, Ordering::Relaxed);
            // Being polled once sends it; the driver reads the answer and drops it.
            let _ = lease.client().batch_execute(text).now_or_never();
        }
    }

    /// Notes what a failed statement means for the transaction.
    pub(in crate::db) fn failed(&self, why: tokio_postgres::Error, shape: &Shape) -> Error {
        let failed_before = self.failed.swap(true, Ordering::Relaxed);
        if error::is_stale_plan(&why) {
            // The whole transaction is run again; by then the connection knows the new schema.
            if let Some(lease) = self.lease.get() {
                lease.forget_statements();
            }
            self.stale.store(true, Ordering::Relaxed);
            self.conflict.store(true, Ordering::Relaxed);
        }
        if error::is_conflict(&why) {
            self.conflict.store(true, Ordering::Relaxed);
        }
        if self.is_conflict() && why.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION) {
            // The function went on after the statement that met the conflict.
            return error::conflict_with_others().with_source(why);
        }
        if failed_before && why.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION) {
            // What is to be known about it was said of the statement that failed first.
            return Error::new(ErrorKind::Database, "an earlier statement of the transaction failed").with_source(why);
        }
        mapped(why, shape)
    }

    /// Which life of the server it runs in.
    pub(crate) async fn life(&self) -> Result<String> {
        self.lease().await?.life().await.map(str::to_owned).map_err(error::from_driver)
    }

    fn writes(&self) -> bool {
        !matches!(self.purpose, Purpose::Snapshot)
    }

    /// The types of a statement's parameters.
    pub(crate) async fn parameters(&self, shape: &Arc<Shape>) -> Result<Vec<Type>> {
        let preparing = async { self.lease().await?.prepare(shape).await.map_err(|why| self.failed(why, shape)) };
        Ok(self.heard(preparing).await?.params().to_vec())
    }

    /// The id under which a mutation writes, once it has begun.
    pub(crate) fn xid(&self) -> Option<u64> {
        self.xid.get().and_then(|xid| xid.parse().ok())
    }

    /// Whether a statement failed, after which nothing can be read or written in it.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// The client, inside of the transaction: begins it when nothing did yet.
    pub(crate) async fn client(&self) -> Result<&tokio_postgres::Client> {
        if !self.begun.load(Ordering::Relaxed) {
            self.query(&NOTHING, &[]).await?;
        }
        Ok(self.lease().await?.client())
    }

    /// Notes that something done through [`client`](Self::client) failed.
    pub(crate) fn failed_with(&self, why: &Error) {
        self.failed.store(true, Ordering::Relaxed);
        if error::driver_of(why).is_some_and(error::is_conflict) {
            self.conflict.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the transaction failed for a reason that may be gone when it is run again from its start.
    pub(crate) fn is_conflict(&self) -> bool {
        self.conflict.load(Ordering::Relaxed)
    }

    /// Whether it failed because a table had changed: the next attempt is to be fresh.
    pub(crate) fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Relaxed)
    }
}

/// What is left until the deadline as PostgreSQL takes it, at least a millisecond (0 would mean: no limit).
pub(super) fn remaining_ms(deadline: Instant) -> String {
    deadline.saturating_duration_since(Instant::now()).as_millis().clamp(1, i32::MAX as u128).to_string()
}
