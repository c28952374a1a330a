//! What a function is given: who calls, from where, and the parts of the world it may touch.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use forge_core::Result;
use forge_core::auth::{AuthContext, AuthUser};
use forge_core::function::{Access, ForgeAction, ForgeMutation, ForgeQuery};
use forge_core::job::JobInput;
use forge_core::request::RequestMetadata;
use forge_core::validate::Violations;
use forge_core::wire::WireType;

use uuid::Uuid;

use super::executor::FunctionExecutor;
use super::http::HttpClient;
use super::position::{Written, Wrote};
use crate::auth::{Accounts, Claims, IssuedToken, PasswordAccess, Principal, SessionAccess, SessionSlot, SessionView};
use crate::cluster::{Cluster, ClusterInfo};
use crate::db::{Db, WriteDb};
use crate::feed::{Note, TELL};
use crate::jobs::{Dispatch, Dispatched, JobHandle, JobResult, Jobs, Place, many as dispatch_many};
use crate::mail::Mailer;
use crate::realtime::event_note;

/// Who calls, and what is known about the call. Shared by everything that one call sets off.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) principal: Arc<Principal>,
    pub(crate) request: Arc<RequestMetadata>,
    /// What the caller has written, as far as it says so: its reads must not fall behind that.
    pub(crate) written: Written,
    /// And what the call itself has written since.
    pub(crate) wrote: Wrote,
    /// What the functions have looked at of all this.
    pub(crate) looked: Looked,
}

impl Caller {
    /// The place in the log that its reads must not fall behind.
    pub(crate) fn position(&self) -> u64 {
        self.written.lsn.max(self.wrote.lsn())
    }
}

/// What all functions of a node have in common.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) jobs: Jobs,
    pub(crate) mail: Mailer,
}

/// What a call has looked at of its caller: who may share a live query's result follows from that.
#[derive(Debug, Default)]
pub(crate) struct Looked(AtomicU8);

impl Looked {
    /// Who calls.
    pub(crate) const AT_CALLER: u8 = 1;
    /// From where, with which ids.
    pub(crate) const AT_REQUEST: u8 = 2;

    fn note(&self, what: u8) {
        // Read only once the call has ended.
        self.0.fetch_or(what, Ordering::Relaxed);
    }

    pub(crate) fn at(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! common {
    ($context:ident) => {
        impl $context {
            /// Who is calling.
            pub fn auth(&self) -> &AuthContext {
                self.caller.looked.note(Looked::AT_CALLER);
                &self.caller.principal.auth
            }

            /// The user who is calling.
            ///
            /// # Errors
            /// `UNAUTHORIZED` when nobody is signed in; that happens only in `public` functions.
            pub fn require_user(&self) -> Result<&AuthUser> {
                self.auth().require_user()
            }

            /// The id of the user who is calling, if somebody is signed in.
            pub fn user_id(&self) -> Option<&str> {
                self.auth().user_id()
            }

            /// Issues an access token for whomever the claims name, say for a device or another service: signed with the app's own
            /// secret, for `security.auth.access_token_ttl` unless the claims say how long. It belongs to no session unless the
            /// claims name one, so nothing ends it before its time. To sign somebody in, see `ctx.sessions()` of a mutation.
            ///
            /// # Errors
            /// `CONFIG_AUTH_ISSUER` when the app has no key to sign with, `INTERNAL_ERROR` when the claims are ones that nobody would
            /// accept (see [`TokenIssuer::issue`](crate::auth::TokenIssuer::issue)).
            pub fn issue_token(&self, claims: &Claims) -> Result<IssuedToken> {
                self.caller.looked.note(Looked::AT_REQUEST);
                self.world.accounts.issue(claims)
            }

            /// The request: its ids, its trace, where it comes from.
            pub fn request(&self) -> &RequestMetadata {
                self.caller.looked.note(Looked::AT_REQUEST);
                &self.caller.request
            }

            /// The nodes of the app: who is there, who leads. As this node last saw them, at most `cluster.heartbeat_interval` ago; it costs no
            /// statement. It is not data of the database, so a live query or one with `cache` does not notice when it changes: see
            /// `refresh_every`.
            pub fn cluster(&self) -> ClusterInfo {
                self.world.cluster.info()
            }

            /// When the call has to be finished. What is left is shared by everything it calls.
            pub fn deadline(&self) -> Instant {
                self.deadline
            }
        }
    };
}

/// What a query is given.
#[derive(Debug)]
pub struct QueryContext {
    world: Arc<World>,
    caller: Arc<Caller>,
    db: Db,
    deadline: Instant,
}

/// What a mutation is given.
#[derive(Debug)]
pub struct MutationContext {
    world: Arc<World>,
    session: SessionSlot,
    dispatched: Dispatched,
    caller: Arc<Caller>,
    db: WriteDb,
    deadline: Instant,
}

/// What an action is given.
#[derive(Debug)]
pub struct ActionContext {
    world: Arc<World>,
    executor: FunctionExecutor,
    caller: Arc<Caller>,
    http: HttpClient,
    deadline: Instant,
}

common!(QueryContext);
common!(MutationContext);
common!(ActionContext);

impl QueryContext {
    pub(crate) fn new(world: Arc<World>, caller: Arc<Caller>, db: Db, deadline: Instant) -> Self {
        Self { world, caller, db, deadline }
    }

    /// The caller's sessions, to look at; a mutation may end them.
    pub fn sessions(&self) -> SessionView<'_> {
        // Which of them is the current one differs between two sessions of one caller.
        self.caller.looked.note(Looked::AT_CALLER | Looked::AT_REQUEST);
        SessionView { auth: &self.caller.principal.auth, session: self.caller.principal.session, db: &self.db }
    }

    /// The database: reads only.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// How a job stands: for whoever dispatched it, and for who has one of the roles that it names. A live query is not run again when that
    /// changes; see `refresh_every`.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is none (any more), or it is none of the caller's business.
    pub async fn job(&self, id: Uuid) -> Result<JobResult> {
        self.caller.looked.note(Looked::AT_CALLER);
        self.world.jobs.status_for(id, &self.caller.principal.auth).await
    }

    /// Calls another query: with the same caller, under the same rules, seeing the same data.
    ///
    /// # Errors
    /// Those of the query, and `UNAUTHORIZED` or `FORBIDDEN` when the caller may not call it.
    pub async fn query<F: ForgeQuery<Self>>(&self, function: F, args: impl Into<F::Args>) -> Result<F::Output> {
        let args = prepare(&function, args.into(), &self.caller)?;
        F::execute(self, args).await
    }
}

impl MutationContext {
    pub(super) fn new(
        world: Arc<World>,
        (session, dispatched): (SessionSlot, Dispatched),
        caller: Arc<Caller>,
        db: WriteDb,
        deadline: Instant,
    ) -> Self {
        Self { world, session, dispatched, caller, db, deadline }
    }

    /// Passwords: hashing, checking, counting attempts.
    pub fn passwords(&self) -> PasswordAccess<'_> {
        PasswordAccess { accounts: &self.world.accounts, request: &self.caller.request }
    }

    /// Sessions: signing in and out, in the mutation's transaction.
    pub fn sessions(&self) -> SessionAccess<'_> {
        SessionAccess {
            accounts: &self.world.accounts,
            view: SessionView { auth: &self.caller.principal.auth, session: self.caller.principal.session, db: &self.db },
            request: &self.caller.request,
            slot: &self.session,
        }
    }

    /// The database: the mutation's one transaction.
    pub fn db(&self) -> &WriteDb {
        &self.db
    }

    /// Calls a query inside the mutation's transaction: it sees what the mutation has written.
    ///
    /// # Errors
    /// Those of the query, and `UNAUTHORIZED` or `FORBIDDEN` when the caller may not call it.
    pub async fn query<F: ForgeQuery<QueryContext>>(&self, function: F, args: impl Into<F::Args>) -> Result<F::Output> {
        let args = prepare(&function, args.into(), &self.caller)?;
        let db = self.db.reading();
        let ctx = QueryContext::new(self.world.clone(), self.caller.clone(), db, self.deadline);
        F::execute(&ctx, args).await
    }

    /// Tells everybody who is subscribed to a query with these arguments, and may see it, of something that happened: once this mutation has
    /// committed, right after the result that shows what it did. If it does not commit, it was never said.
    ///
    /// ```ignore
    /// ctx.emit(list_cards, ListCards { column_id }, "moved", Moved { card_id, by }).await?;
    /// ```
    ///
    /// At most once, and only to who is connected at that moment. For what must not be missed, change what the query reads.
    ///
    /// # Errors
    /// `PAYLOAD_TOO_LARGE` when the data are more than 8 KiB as JSON, `INVALID_ARGUMENT` when the name is empty or longer than 64 bytes.
    pub async fn emit<F: ForgeQuery<QueryContext>>(
        &self,
        function: F,
        args: impl Into<F::Args>,
        name: &str,
        data: impl WireType + Send,
    ) -> Result<()> {
        let _ = function;
        let note = Note::Event(event_note::<F>(&args.into(), name, &data)?);
        self.db.run(&TELL, &[&serde_json::to_string(&note)?]).await.map(drop)
    }

    /// Dispatches a job in this mutation's transaction: it exists exactly if that commits. A worker begins it at once then, unless it
    /// says [`delay`](Dispatch::delay) or [`at`](Dispatch::at). It is written down together with the COMMIT, unless it is `idempotent`, so
    /// that this costs no round trip.
    ///
    /// ```ignore
    /// let job = ctx.dispatch_job(NotifyWatchers { card_id }).await?;
    /// ```
    ///
    /// # Errors
    /// `VALIDATION_ERROR` when the input is not valid.
    pub fn dispatch_job<I: JobInput>(&self, input: I) -> Dispatch<'_, I> {
        Dispatch::new(self.place(), &self.caller, input)
    }

    /// Dispatches many jobs of one kind by one statement, in this mutation's transaction: up to 1,000 with the COMMIT, more at once.
    ///
    /// # Errors
    /// As [`dispatch_job`](Self::dispatch_job); then none is dispatched.
    pub async fn dispatch_jobs<I: JobInput>(&self, inputs: Vec<I>) -> Result<Vec<JobHandle>> {
        dispatch_many(self.place(), &self.caller, inputs, None).await
    }

    /// Cancels a job, exactly if this mutation commits: one that waits ends at once, one that runs is asked to. False when there is none
    /// that has not ended. Whether the caller may is for the app to say, as it is when jobs are dispatched.
    ///
    /// # Errors
    /// `DATABASE_UNAVAILABLE`.
    pub async fn cancel_job(&self, id: Uuid, why: &str) -> Result<bool> {
        self.world.jobs.cancel_inside(&self.db, id, why, &self.dispatched).await
    }

    fn place(&self) -> Place<'_> {
        Place::Inside(&self.world.jobs, &self.db, &self.dispatched)
    }

    /// Calls another mutation inside this one's transaction. When it fails, what it wrote is undone, and this one may go on.
    ///
    /// # Errors
    /// Those of the mutation, and `UNAUTHORIZED` or `FORBIDDEN` when the caller may not call it.
    pub async fn mutate<F: ForgeMutation<Self>>(&self, function: F, args: impl Into<F::Args>) -> Result<F::Output> {
        let args = prepare(&function, args.into(), &self.caller)?;
        // What the other one writes, it would undo with its own.
        self.dispatched.write(&self.world.jobs, &self.db).await?;
        let (session, dispatched) = (SessionSlot::default(), Dispatched::default());
        let (slots, caller) = ((session.clone(), dispatched.clone()), self.caller.clone());
        let inner = async |db: WriteDb| {
            let ctx = Self::new(self.world.clone(), slots, caller, db, self.deadline);
            F::execute(&ctx, args).await
        };
        let output = self.db.nested(inner).await?;
        self.dispatched.take_in(&dispatched);
        let changed = session.lock().unwrap_or_else(PoisonError::into_inner).take();
        if changed.is_some() {
            *self.session.lock().unwrap_or_else(PoisonError::into_inner) = changed;
        }
        Ok(output)
    }
}

impl ActionContext {
    pub(crate) fn new(
        executor: FunctionExecutor,
        world: Arc<World>,
        caller: Arc<Caller>,
        http: HttpClient,
        deadline: Instant,
    ) -> Self {
        Self { world, executor, caller, http, deadline }
    }

    /// A client for the outside world. Its requests carry the trace on.
    pub fn http(&self) -> &HttpClient {
        &self.http
    }

    /// Sends mail. From a job it is tried again when it fails; here whoever calls is told.
    pub fn mail(&self) -> &Mailer {
        &self.world.mail
    }

    /// Calls a query. Its answer comes as over the wire: private columns of a model have their type's default in it.
    ///
    /// # Errors
    /// Those of the query, and `UNAUTHORIZED` or `FORBIDDEN` when the caller may not call it.
    pub async fn query<F: ForgeQuery<QueryContext>>(&self, function: F, args: impl Into<F::Args>) -> Result<F::Output> {
        let _ = function;
        self.executor.call_typed::<F>(args.into(), &self.caller, self.deadline).await
    }

    /// Calls a mutation: a transaction of its own, committed when this returns.
    ///
    /// # Errors
    /// Those of the mutation, and `UNAUTHORIZED` or `FORBIDDEN` when the caller may not call it.
    pub async fn mutate<F: ForgeMutation<MutationContext>>(
        &self,
        function: F,
        args: impl Into<F::Args>,
    ) -> Result<F::Output> {
        let _ = function;
        self.executor.call_typed::<F>(args.into(), &self.caller, self.deadline).await
    }

    /// Tells everybody who is subscribed to a query with these arguments, and may see it, of something that happened; see
    /// [`MutationContext::emit`]. It is said when this returns, whatever becomes of the action.
    ///
    /// # Errors
    /// As there, and `DATABASE_UNAVAILABLE`.
    pub async fn emit<F: ForgeQuery<QueryContext>>(
        &self,
        function: F,
        args: impl Into<F::Args>,
        name: &str,
        data: impl WireType + Send,
    ) -> Result<()> {
        let _ = function;
        self.executor.tell(event_note::<F>(&args.into(), name, &data)?).await
    }

    /// Dispatches a job. It is written down when this returns, whatever becomes of the action.
    ///
    /// # Errors
    /// `VALIDATION_ERROR` when the input is not valid, and `DATABASE_UNAVAILABLE`.
    pub fn dispatch_job<I: JobInput>(&self, input: I) -> Dispatch<'_, I> {
        Dispatch::new(Place::Outside(&self.world.jobs), &self.caller, input)
    }

    /// Dispatches many jobs of one kind by one statement.
    ///
    /// # Errors
    /// As [`dispatch_job`](Self::dispatch_job); then none is written down.
    pub async fn dispatch_jobs<I: JobInput>(&self, inputs: Vec<I>) -> Result<Vec<JobHandle>> {
        dispatch_many(Place::Outside(&self.world.jobs), &self.caller, inputs, None).await
    }

    /// Cancels a job; see [`MutationContext::cancel_job`]. It is cancelled when this returns.
    ///
    /// # Errors
    /// `DATABASE_UNAVAILABLE`.
    pub async fn cancel_job(&self, id: Uuid, why: &str) -> Result<bool> {
        self.world.jobs.cancel(id, why).await
    }

    /// Calls another action.
    ///
    /// # Errors
    /// Those of the action, and `UNAUTHORIZED` or `FORBIDDEN` when the caller may not call it.
    pub async fn action<F: ForgeAction<Self>>(&self, function: F, args: impl Into<F::Args>) -> Result<F::Output> {
        let args = prepare(&function, args.into(), &self.caller)?;
        F::execute(self, args).await
    }
}

/// The same checks for a call from Rust as for one from the wire: may the caller, and are the values valid?
fn prepare<F: forge_core::function::Function>(_: &F, args: F::Args, caller: &Caller) -> Result<F::Args> {
    if F::INFO.access != Access::Public {
        // Whether it is permitted depends on who calls.
        caller.looked.note(Looked::AT_CALLER);
    }
    super::router::permit(&F::INFO, &caller.principal.auth)?;
    let mut violations = Violations::default();
    args.validate(&mut violations);
    violations.into_result()?;
    Ok(args)
}
