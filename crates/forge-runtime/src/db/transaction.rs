//! A transaction of a function, from its first statement to its commit.
//!
//! ```text
//!  lent ──first statement──▶ open ──commit──▶ committed
//!   │    (BEGIN, audit and        │ └─error──▶ rolled back
//!   │     it: one round trip)     └─dropped──▶ cancelled on the server, connection discarded
//!   └──never used──▶ nothing was sent
//! ```
//!
//! What it promises: nothing of it is visible before `commit` returned `Ok`, everything is after. When the answer to
//! COMMIT is lost, the outcome is asked for by transaction id; only when that fails too, or when the server was restarted in
//! between and may have given the id to another transaction, it is `OUTCOME_UNKNOWN`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use forge_core::function::Isolation;
use forge_core::{Error, ErrorKind, Result};
use futures_util::FutureExt as _;
use postgres_types::Type;
use tokio_postgres::error::SqlState;

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
    /// A query over one snapshot.
    Snapshot,
}

/// A transaction.
#[derive(Debug)]
pub(crate) struct Transaction {
    lease: Lease,
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
    xid: std::sync::OnceLock<String>,
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
    SET_READ = "SELECT set_config('statement_timeout', $1, true)";
    BEGIN_READ = "BEGIN READ ONLY";
    NOTHING = "SELECT";
    COMMIT = "COMMIT";
    ROLLBACK = "ROLLBACK";
    SAVEPOINT = "SAVEPOINT forge_nested";
    RELEASE = "RELEASE SAVEPOINT forge_nested";
    ROLLBACK_TO = "ROLLBACK TO SAVEPOINT forge_nested";
    EXPORT = "SELECT pg_export_snapshot()";
    XACT_STATUS = "SELECT pg_xact_status($1::text::xid8)";
}

impl Transaction {
    /// A transaction on a connection of its own. Nothing is sent yet. `fresh` is for another attempt after one that was
    /// [stale](Self::is_stale): its statements are prepared inside of it, where no table can change before they run.
    pub(crate) fn new(lease: Lease, purpose: Purpose, limit: Instant, fresh: bool) -> Self {
        if fresh {
            lease.forget_statements();
        }
        Self {
            lease,
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
        match &self.guarded {
            None => self.query_inner(shape, params).await.map_err(|why| self.failed(why, shape)),
            Some(turn) => {
                let _turn = turn.lock().await;
                self.guarded_query(shape, params).await
            }
        }
    }

    /// A statement with a savepoint of its own.
    async fn guarded_query(&self, shape: &Arc<Shape>, params: Params<'_>) -> Result<Answer> {
        let control =
            async |shape: &Arc<Shape>| self.lease.query(shape, &[]).await.map(drop).map_err(|why| self.failed(why, shape));
        control(&SAVEPOINT).await?;
        match self.lease.query(shape, params).await {
            Ok(answer) => control(&RELEASE).await.map(|()| answer),
            Err(why) => {
                let why = self.failed(why, shape);
                control(&ROLLBACK_TO).await?;
                self.failed.store(false, Ordering::Relaxed);
                Err(why)
            }
        }
    }

    async fn query_inner(&self, shape: &Arc<Shape>, params: Params<'_>) -> Result<Answer, tokio_postgres::Error> {
        if self.begun.load(Ordering::Relaxed) {
            return self.lease.query(shape, params).await;
        }
        // Preparing needs no transaction. Doing it first means that BEGIN and the statement leave together.
        if !self.fresh {
            self.lease.prepare(shape).await?;
        }
        let (begin_shape, set_shape) = match &self.purpose {
            Purpose::Write { isolation: Isolation::Serializable, .. } => (&BEGIN_SERIALIZABLE, &SET_WRITE),
            Purpose::Write { isolation: Isolation::ReadCommitted, .. } => (&BEGIN_READ_COMMITTED, &SET_WRITE),
            Purpose::Snapshot => (&BEGIN_SNAPSHOT, &SET_READ),
        };
        if matches!(self.purpose, Purpose::Write { .. }) && !self.lease.knows_life() {
            Box::pin(self.lease.life()).await?;
        }
        let begin = self.lease.prepare(begin_shape).await?;
        let set = self.lease.prepare(set_shape).await?;
        if self.begun.swap(true, Ordering::AcqRel) {
            return self.lease.query(shape, params).await;
        }
        self.lease.busy();
        let timeout = remaining_ms(self.limit);
        // Polled in this order, the three are sent in this order; nothing else is sent on this connection meanwhile.
        let (begun, set, rows) = match &self.purpose {
            Purpose::Write { user_id, function, trace_id, .. } => {
                let audit: Params<'_> = &[&timeout, user_id, function, trace_id];
                futures_util::join!(
                    self.lease.run(&begin, &[]),
                    self.lease.run(&set, audit),
                    self.lease.query(shape, params)
                )
            }
            Purpose::Snapshot => {
                let settings: Params<'_> = &[&timeout];
                futures_util::join!(
                    self.lease.run(&begin, &[]),
                    self.lease.run(&set, settings),
                    self.lease.query(shape, params)
                )
            }
        };
        begun?;
        let set = set?;
        if matches!(self.purpose, Purpose::Write { .. })
            && let Some(xid) = set.rows.first().and_then(|row| row.try_get::<_, String>(0).ok())
        {
            // Set once: `begun` lets only one caller come here.
            let _ = self.xid.set(xid);
        }
        rows
    }

    /// Prepares a statement that is for this transaction only, on behalf of another one.
    pub(super) async fn prepare(&self, text: &str, of: &Shape) -> Result<tokio_postgres::Statement> {
        self.lease.client().prepare(text).await.map_err(|why| self.failed(why, of))
    }

    /// Runs a statement from [`prepare`](Self::prepare).
    pub(super) async fn run(&self, prepared: &tokio_postgres::Statement, of: &Shape) -> Result<Vec<tokio_postgres::Row>> {
        Ok(self.lease.run(prepared, &[]).await.map_err(|why| self.failed(why, of))?.rows)
    }

    /// Sends a statement whose answer nobody waits for. What is sent later on this connection runs after it.
    pub(super) fn send_and_forget(&self, text: &str) {
        if !self.ended.load(Ordering::Acquire) && !self.failed.load(Ordering::Relaxed) {
            // Being polled once sends it; the driver reads the answer and drops it.
            let _ = self.lease.client().batch_execute(text).now_or_never();
        }
    }

    /// Notes what a failed statement means for the transaction.
    fn failed(&self, why: tokio_postgres::Error, shape: &Shape) -> Error {
        let failed_before = self.failed.swap(true, Ordering::Relaxed);
        if error::is_stale_plan(&why) {
            // The whole transaction is run again; by then the connection knows the new schema.
            self.lease.forget_statements();
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
        self.lease.life().await.map(str::to_owned).map_err(error::from_driver)
    }

    /// The types of a statement's parameters.
    pub(crate) async fn parameters(&self, shape: &Arc<Shape>) -> Result<Vec<Type>> {
        let prepared = self.lease.prepare(shape).await.map_err(|why| self.failed(why, shape))?;
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
        Ok(self.lease.client())
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

    /// Runs a nested mutation: what it wrote is undone when it fails, and the outer one may go on. Savepoints of one name stack, so
    /// this nests; two side by side must take turns, which their context sees to.
    pub(crate) async fn nested<T>(&self, body: impl Future<Output = Result<T>>) -> Result<T> {
        self.query(&SAVEPOINT, &[]).await?;
        match body.await {
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

    /// Runs a last statement, if there is one, and commits, in one round trip. `side` is where the outcome is asked for when the
    /// answer gets lost.
    pub(crate) async fn commit(&self, last: Option<(&Arc<Shape>, Params<'_>)>, side: &Pool) -> Result<()> {
        if self.failed.load(Ordering::Relaxed) {
            self.rollback().await;
            return Err(Error::internal(
                "a statement of the transaction failed and its error was dropped, so nothing of it can be kept; return the error, or run what may fail in a mutation of its own with ctx.mutate",
            ));
        }
        if let Some((shape, params)) = last
            && !self.begun.load(Ordering::Relaxed)
        {
            // Nothing ran before: the last statement is also the first, and brings BEGIN.
            self.query(shape, params).await?;
            return self.finish(None, side).await;
        }
        if !self.begun.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.finish(last, side).await
    }

    async fn finish(&self, last: Option<(&Arc<Shape>, Params<'_>)>, side: &Pool) -> Result<()> {
        let commit = self.lease.prepare(&COMMIT).await.map_err(|why| self.failed(why, &COMMIT))?;
        let prepared = match last {
            Some((shape, _)) => Some(self.lease.prepare(shape).await.map_err(|why| self.failed(why, shape))?),
            None => None,
        };
        // From here on the commit is on its way. A call that is dropped now leaves it alone: it is not cancelled, and the
        // connection is not used again.
        self.ended.store(true, Ordering::Release);
        self.lease.committing();
        let (last_result, committed) = match (last, &prepared) {
            (Some((_, params)), Some(prepared)) => {
                futures_util::join!(async { Some(self.lease.run(prepared, params).await) }, self.lease.run(&commit, &[]))
            }
            _ => (None, self.lease.run(&commit, &[]).await),
        };
        match (last_result, last) {
            // The COMMIT behind it became a ROLLBACK. When the connection was lost, nobody knows that: the outcome is asked for.
            (Some(Err(why)), Some((shape, _))) if !error::is_disconnect(&why) => {
                if committed.is_ok() {
                    self.lease.clean();
                }
                return Err(self.failed(why, shape));
            }
            _ => {}
        }
        match committed {
            Ok(_) => {
                self.lease.clean();
                Ok(())
            }
            Err(why) if error::is_disconnect(&why) => {
                // The lease stays marked as committing: its connection is closed, never used again.
                Box::pin(self.outcome(side, why)).await
            }
            Err(why) => {
                // A deferred constraint or a serialization failure: the transaction has ended, the connection is fine.
                self.lease.clean();
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
            && let Ok(Ok(_)) = tokio::time::timeout(ANSWER_MAX, self.lease.query(&ROLLBACK, &[])).await
        {
            self.lease.clean();
        }
    }

    /// Finds out what became of it when the answer to COMMIT was lost.
    async fn outcome(&self, side: &Pool, lost: tokio_postgres::Error) -> Result<()> {
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
        Ok(life != self.lease.life().await.map_err(error::from_driver)?)
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
fn remaining_ms(deadline: Instant) -> String {
    deadline.saturating_duration_since(Instant::now()).as_millis().clamp(1, i32::MAX as u128).to_string()
}
