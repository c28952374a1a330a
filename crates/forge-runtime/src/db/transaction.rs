//! A transaction of a function, from its first statement to its commit.
//!
//! ```text
//!  new ──first statement──▶ open ──commit──▶ committed
//!   │    (BEGIN, audit and       │ └─error──▶ rolled back
//!   │     it: one round trip)    └─dropped──▶ cancelled on the server, connection discarded
//!   └──never used──▶ nothing was sent; a mutation's has not even taken a connection
//! ```
//!
//! What is to be written at the very end goes along with COMMIT, in its round trip.
//!
//! What it promises: nothing of it is visible before `commit` returned `Ok`, everything is after. When the answer to
//! COMMIT is lost, or does not tell whether it was one, the outcome is asked for by transaction id; only when that fails too, or when the server was restarted in
//! between and may have given the id to another transaction, it is `OUTCOME_UNKNOWN`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use forge_core::function::Isolation;
use forge_core::{Error, ErrorKind, Result};
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use postgres_types::Type;
use tokio_postgres::error::SqlState;

use super::connect::{Answer, Params, mapped};
use super::error;
use super::outcome::{Fate, nothing_written, outcome_unknown};
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
    pub(super) lease: tokio::sync::OnceCell<Lease>,
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
    /// A statement failed because a table had changed under its plan.
    stale: AtomicBool,
    /// Nothing that was prepared before the transaction began is used.
    fresh: bool,
    /// Set when each statement has a savepoint of its own, so that one that fails harms no other; they take turns then.
    guarded: Option<tokio::sync::Mutex<()>>,
    /// The cursors that streams have open in it.
    pub(super) cursors: Seats,
    /// The transaction's id, once begun: what is asked for when the answer to COMMIT is lost.
    pub(super) xid: std::sync::OnceLock<String>,
}

macro_rules! statements {
    ($($name:ident = $text:expr;)*) => {
        $(static $name: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of($text));)*
    };
}

statements! {
    BEGIN_SERIALIZABLE = "BEGIN ISOLATION LEVEL SERIALIZABLE";
    BEGIN_READ_COMMITTED = "BEGIN ISOLATION LEVEL READ COMMITTED";
    BEGIN_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    // Assigning the id here costs nothing: the first write of the mutation would assign it.
    SET_WRITE = "SELECT pg_current_xact_id()::text, set_config('statement_timeout', $1, true), set_config('forge.user_id', $2, true), \
                 set_config('forge.function_name', $3, true), set_config('forge.trace_id', $4, true)";
    SET_OWN = "SELECT pg_current_xact_id()::text, set_config('statement_timeout', $1, true)";
    SET_READ = "SELECT set_config('statement_timeout', $1, true)";
    BEGIN_READ = "BEGIN READ ONLY";
    NOTHING = "SELECT";
    COMMIT = "COMMIT";
    ROLLBACK = "ROLLBACK";
    SAVEPOINT = "SAVEPOINT forge_nested";
    RELEASE = "RELEASE SAVEPOINT forge_nested";
    ROLLBACK_TO = "ROLLBACK TO SAVEPOINT forge_nested";
    EXPORT = "SELECT pg_export_snapshot()";
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
    pub(super) async fn lease(&self) -> Result<&Lease> {
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
        let lease = self.lease().await?;
        match &self.guarded {
            None => self.query_inner(lease, shape, params).await.map_err(|why| self.failed(why, shape)),
            Some(turn) => {
                let _turn = turn.lock().await;
                self.guarded_query(lease, shape, params).await
            }
        }
    }

    /// A statement with a savepoint of its own.
    async fn guarded_query(&self, lease: &Lease, shape: &Arc<Shape>, params: Params<'_>) -> Result<Answer> {
        let control =
            async |shape: &Arc<Shape>| lease.query(shape, &[]).await.map(drop).map_err(|why| self.failed(why, shape));
        control(&SAVEPOINT).await?;
        match lease.query(shape, params).await {
            Ok(answer) => control(&RELEASE).await.map(|()| answer),
            Err(why) => {
                let why = self.failed(why, shape);
                control(&ROLLBACK_TO).await?;
                self.failed.store(false, Ordering::Relaxed);
                Err(why)
            }
        }
    }

    async fn query_inner(
        &self,
        lease: &Lease,
        shape: &Arc<Shape>,
        params: Params<'_>,
    ) -> Result<Answer, tokio_postgres::Error> {
        if self.begun.load(Ordering::Relaxed) {
            return lease.query(shape, params).await;
        }
        // Preparing needs no transaction. Doing it first means that BEGIN and the statement leave together.
        if !self.fresh {
            lease.prepare(shape).await?;
        }
        let (begin_shape, set_shape) = match &self.purpose {
            Purpose::Write { isolation: Isolation::Serializable, .. } => (&BEGIN_SERIALIZABLE, &SET_WRITE),
            Purpose::Write { isolation: Isolation::ReadCommitted, .. } => (&BEGIN_READ_COMMITTED, &SET_WRITE),
            Purpose::Own => (&BEGIN_READ_COMMITTED, &SET_OWN),
            Purpose::Snapshot => (&BEGIN_SNAPSHOT, &SET_READ),
        };
        let writes = !matches!(self.purpose, Purpose::Snapshot);
        if writes && !lease.knows_life() {
            Box::pin(lease.life()).await?;
        }
        let begin = lease.prepare(begin_shape).await?;
        let set = lease.prepare(set_shape).await?;
        if self.begun.swap(true, Ordering::AcqRel) {
            return lease.query(shape, params).await;
        }
        lease.busy();
        let timeout = remaining_ms(self.limit);
        // Polled in this order, the three are sent in this order; nothing else is sent on this connection meanwhile.
        let (begun, set, rows) = match &self.purpose {
            Purpose::Write { user_id, function, trace_id, .. } => {
                let audit: Params<'_> = &[&timeout, user_id, function, trace_id];
                futures_util::join!(lease.run(&begin, &[]), lease.run(&set, audit), lease.query(shape, params))
            }
            Purpose::Own | Purpose::Snapshot => {
                let settings: Params<'_> = &[&timeout];
                futures_util::join!(lease.run(&begin, &[]), lease.run(&set, settings), lease.query(shape, params))
            }
        };
        begun?;
        let set = set?;
        if writes && let Some(xid) = set.rows.first().and_then(|row| row.try_get::<_, String>(0).ok()) {
            // Set once: `begun` lets only one caller come here.
            let _ = self.xid.set(xid);
        }
        rows
    }

    /// Prepares a statement that is for this transaction only, on behalf of another one.
    pub(super) async fn prepare(&self, text: &str, of: &Shape) -> Result<tokio_postgres::Statement> {
        self.lease().await?.client().prepare(text).await.map_err(|why| self.failed(why, of))
    }

    /// Runs a statement from [`prepare`](Self::prepare).
    pub(super) async fn run(&self, prepared: &tokio_postgres::Statement, of: &Shape) -> Result<Vec<tokio_postgres::Row>> {
        Ok(self.lease().await?.run(prepared, &[]).await.map_err(|why| self.failed(why, of))?.rows)
    }

    /// Sends a statement whose answer nobody waits for. What is sent later on this connection runs after it.
    pub(super) fn send_and_forget(&self, text: &str) {
        if !self.ended.load(Ordering::Acquire)
            && !self.failed.load(Ordering::Relaxed)
            && let Some(lease) = self.lease.get()
        {
            // Being polled once sends it; the driver reads the answer and drops it.
            let _ = lease.client().batch_execute(text).now_or_never();
        }
    }

    /// Notes what a failed statement means for the transaction.
    pub(super) fn failed(&self, why: tokio_postgres::Error, shape: &Shape) -> Error {
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

    /// The types of a statement's parameters.
    pub(crate) async fn parameters(&self, shape: &Arc<Shape>) -> Result<Vec<Type>> {
        let prepared = self.lease().await?.prepare(shape).await.map_err(|why| self.failed(why, shape))?;
        Ok(prepared.params().to_vec())
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

    /// Runs what must not be left half done: dropped before its end, it takes the whole transaction with it.
    pub(crate) async fn whole<T>(&self, body: impl Future<Output = T>) -> T {
        struct Unfinished<'a>(&'a AtomicBool);
        impl Drop for Unfinished<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let unfinished = Unfinished(&self.failed);
        let done = body.await;
        std::mem::forget(unfinished);
        done
    }

    /// Runs a nested mutation: what it wrote is undone when it fails, and the outer one may go on. Savepoints of one name stack, so
    /// this nests; two side by side must take turns, which their context sees to.
    pub(crate) async fn nested<T>(&self, body: impl Future<Output = Result<T>>) -> Result<T> {
        self.query(&SAVEPOINT, &[]).await?;
        match self.whole(body).await {
            Ok(value) => {
                self.query(&RELEASE, &[]).await?;
                Ok(value)
            }
            Err(why) => {
                // A conflict stays one: a savepoint does not bring a new snapshot.
                if !self.is_conflict() && self.query(&ROLLBACK_TO, &[]).await.is_ok() {
                    self.failed.store(false, Ordering::Relaxed);
                }
                Err(why)
            }
        }
    }

    /// Runs last statements and commits, in one round trip, and returns their answers: none at all when those were lost, but it is
    /// known that it was committed. `side` is where that is asked for.
    pub(crate) async fn commit<'l>(&self, last: impl IntoIterator<Item = Last<'l>>, side: &Pool) -> Result<Vec<Answer>> {
        let last: Vec<Last<'l>> = last.into_iter().collect();
        if self.failed.load(Ordering::Relaxed) {
            self.rollback().await;
            return Err(Error::internal(
                "a statement of the transaction failed or was not waited for, and the function went on, so nothing of it can be kept; return the error, or run what may fail in a mutation of its own with ctx.mutate",
            ));
        }
        if self.begun.load(Ordering::Relaxed) {
            return self.finish(&last, side).await;
        }
        let Some(((shape, params), others)) = last.split_first() else { return Ok(Vec::new()) };
        // Nothing ran before: the first of them brings BEGIN, and the transaction's number is known before COMMIT is sent.
        let first = self.query(shape, params).await?;
        let mut answers = self.finish(others, side).await?;
        answers.insert(0, first);
        Ok(answers)
    }

    async fn finish(&self, last: &[Last<'_>], side: &Pool) -> Result<Vec<Answer>> {
        let lease = self.lease().await?;
        let commit = lease.prepare(&COMMIT).await.map_err(|why| self.failed(why, &COMMIT))?;
        let mut prepared = Vec::with_capacity(last.len());
        for (shape, _) in last {
            prepared.push(lease.prepare(shape).await.map_err(|why| self.failed(why, shape))?);
        }
        // From here on the commit is on its way. A call that is dropped now leaves it alone: it is not cancelled, and the
        // connection is not used again.
        self.ended.store(true, Ordering::Release);
        lease.committing();
        // They are sent in the order in which they are polled first: this one, COMMIT last.
        let running = join_all(last.iter().zip(&prepared).map(|((_, params), prepared)| lease.run(prepared, params)));
        let (results, committed) = futures_util::join!(running, lease.run(&commit, &[]));
        let mut answers = Vec::with_capacity(results.len());
        for (result, (shape, _)) in results.into_iter().zip(last) {
            match result {
                Ok(answer) => answers.push(answer),
                // When the connection was lost, nobody knows what became of COMMIT: the outcome is asked for.
                Err(why) if error::is_disconnect(&why) => break,
                // Behind a pooler that is seen by its answer: the server may have run it, and kept it.
                Err(why) if committed.is_ok() && lease.is_pooled() && error::is_stale_plan(&why) => {
                    lease.clean();
                    return match Box::pin(self.fate(side)).await {
                        Fate::Committed => {
                            lease.forget_statements();
                            Ok(Vec::new())
                        }
                        Fate::Lost => Err(self.failed(why, shape)),
                        Fate::Unknown => Err(outcome_unknown(why)),
                    };
                }
                // The COMMIT behind it became a ROLLBACK.
                Err(why) => {
                    if committed.is_ok() {
                        lease.clean();
                    }
                    return Err(self.failed(why, shape));
                }
            }
        }
        match committed {
            Ok(_) => {
                lease.clean();
                Ok(answers)
            }
            Err(why) if error::is_disconnect(&why) => {
                // The lease stays marked as committing: its connection is closed, never used again.
                match Box::pin(self.fate(side)).await {
                    Fate::Committed => Ok(Vec::new()),
                    Fate::Lost => Err(nothing_written(why)),
                    Fate::Unknown => Err(outcome_unknown(why)),
                }
            }
            Err(why) => {
                // A deferred constraint or a serialization failure: the transaction has ended, the connection is fine.
                lease.clean();
                Err(self.failed(why, &COMMIT))
            }
        }
    }

    /// Ends the transaction without keeping anything.
    pub(crate) async fn rollback(&self) {
        if !self.begun.load(Ordering::Relaxed) {
            return;
        }
        /// A server that does not answer gets no more time; the connection is then discarded.
        const ANSWER_MAX: Duration = Duration::from_secs(5);
        if !self.ended.swap(true, Ordering::AcqRel)
            && let Some(lease) = self.lease.get()
            && let Ok(Ok(_)) = tokio::time::timeout(ANSWER_MAX, lease.query(&ROLLBACK, &[])).await
        {
            lease.clean();
        }
    }
}

/// Runs a read on a connection of its own, inside a read-only transaction that is always rolled back, so that nothing
/// the statement did to its session outlives it. One round trip; one more when it is `fresh`, as in [`Transaction::new`].
pub(crate) async fn read_alone(
    lease: &Lease,
    shape: &Arc<Shape>,
    params: Params<'_>,
    deadline: Instant,
    fresh: bool,
) -> Result<Answer, tokio_postgres::Error> {
    let statement = if fresh { None } else { Some(lease.prepare(shape).await?) };
    let begin = lease.prepare(&BEGIN_READ).await?;
    let set = lease.prepare(&SET_READ).await?;
    let rollback = lease.prepare(&ROLLBACK).await?;
    lease.busy();
    let timeout = remaining_ms(deadline);
    let settings: Params<'_> = &[&timeout];
    let (begin, set) = (lease.run(&begin, &[]), lease.run(&set, settings));
    let (begun, set, rows, ended) = match &statement {
        Some(statement) => futures_util::join!(begin, set, lease.run(statement, params), lease.run(&rollback, &[])),
        None => {
            let (begun, set, rows) = futures_util::join!(begin, set, lease.query(shape, params));
            (begun, set, rows, lease.run(&rollback, &[]).await)
        }
    };
    if ended.is_ok() {
        lease.clean();
    }
    // When an earlier one failed, a later one says only that the transaction is aborted.
    begun?;
    set?;
    rows
}

/// What is left until the deadline as PostgreSQL takes it, at least a millisecond (0 would mean: no limit).
pub(super) fn remaining_ms(deadline: Instant) -> String {
    deadline.saturating_duration_since(Instant::now()).as_millis().clamp(1, i32::MAX as u128).to_string()
}
