//! Runs a function from its arguments to its answer.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use forge_core::auth::AuthContext;
use forge_core::function::{Function, FunctionKind};
use forge_core::human::format_duration;
use forge_core::request::TraceContext;
use forge_core::wire;
use forge_core::{Error, ErrorKind, Result};
use futures_util::FutureExt as _;
use rand::RngExt as _;
use tokio::sync::Semaphore;

use super::context::{ActionContext, Caller, MutationContext, QueryContext, World};
use super::http::HttpClient;
use super::idempotency::MutationId;
use super::position::Written;
use super::registry::{Entry, Run, RunIn};
use super::router::FunctionRouter;
use crate::auth::{SessionChange, SessionSlot};
use crate::cache::{CacheUse, QueryCache};
use crate::config::FunctionConfig;
use crate::db::transaction::{Purpose, Transaction};
use crate::db::{Database, Db, Recorder, WriteDb, error};
use crate::feed::{EventNote, Note, TELL};
use crate::jobs::Dispatched;
use crate::mail::Mailer;
use crate::realtime::{Acknowledge, Live, Pledge};

/// How often a mutation is run again when others got in its way.
const RETRIES_MAX: u32 = 3;

/// A call, as a door hands it in.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    /// The function's name.
    pub(crate) function: &'a str,
    /// The arguments as JSON.
    pub(crate) args: &'a [u8],
    /// Who calls.
    pub(crate) caller: Arc<Caller>,
    /// The id under which a mutation takes effect once.
    pub(crate) mutation_id: Option<String>,
    /// Whom to tell, in the frame that shows it, that a mutation has taken effect.
    pub(crate) acknowledge: Option<Acknowledge>,
}

/// What comes of a call.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The result as JSON.
    pub(crate) json: Vec<u8>,
    /// What the call did to its caller's session.
    pub(crate) session: Option<SessionChange>,
    /// Where what was written stands, where replicas or results that are kept make that matter.
    pub(crate) position: Option<Written>,
    /// What the query cache had to do with it, when the function has one.
    pub(crate) cache: Option<CacheUse>,
}

impl Answer {
    pub(super) fn of(json: Vec<u8>) -> Self {
        Self { json, session: None, position: None, cache: None }
    }
}

/// Runs functions. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FunctionExecutor(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    router: FunctionRouter,
    pub(super) database: Database,
    pub(super) world: Arc<World>,
    config: FunctionConfig,
    max_json_depth: usize,
    http: HttpClient,
    room: Semaphore,
    live: Live,
    pub(super) cache: QueryCache,
}

impl FunctionExecutor {
    /// An executor for these functions on this database.
    ///
    /// # Errors
    /// When the HTTP client of actions cannot be set up.
    pub(crate) fn new(
        router: FunctionRouter,
        database: Database,
        world: World,
        config: FunctionConfig,
        max_json_depth: u32,
        live: Live,
    ) -> Result<Self> {
        let follows = router.registry().infos().any(|info| info.cache.is_some_and(|cache| cache.follow));
        let cache = QueryCache::new(database.clone(), config.cache_size, follows);
        let room = Semaphore::new(config.max_concurrent as usize);
        let max_json_depth = max_json_depth as usize;
        Ok(Self(Arc::new(Inner {
            router,
            database,
            world: Arc::new(world),
            config,
            max_json_depth,
            http: HttpClient::new()?,
            room,
            live,
            cache,
        })))
    }

    /// Sends mail.
    pub(crate) fn mail(&self) -> &Mailer {
        &self.0.world.mail
    }

    /// What every context is made with.
    pub(super) fn world(&self) -> Arc<World> {
        self.0.world.clone()
    }

    /// The query cache.
    pub(crate) fn cache(&self) -> &QueryCache {
        &self.0.cache
    }

    /// The database.
    pub(crate) fn database(&self) -> &Database {
        &self.0.database
    }

    /// A client for the outside world, as part of a trace.
    pub(crate) fn http(&self, trace: TraceContext) -> HttpClient {
        self.0.http.in_trace(trace)
    }

    /// The functions.
    pub fn router(&self) -> &FunctionRouter {
        &self.0.router
    }

    /// Runs a call.
    pub(crate) async fn call(&self, call: Call<'_>) -> Result<Answer> {
        let entry = self.0.router.route(call.function, &call.caller.principal.auth)?;
        let Ok(_room) = self.0.room.try_acquire() else {
            return Err(Error::rate_limited("the server runs as many calls as it may; try again", 1));
        };
        let deadline = Instant::now() + entry.info.timeout.unwrap_or(self.0.config.timeout);
        self.run(entry, call, deadline).await
    }

    /// Runs a call from Rust in the same way, within the time that the outer call has left.
    pub(crate) async fn call_typed<F: Function>(
        &self,
        args: F::Args,
        caller: &Arc<Caller>,
        deadline: Instant,
    ) -> Result<F::Output> {
        if !self.0.router.registry().has::<F>() {
            let name = F::INFO.name;
            return Err(Error::internal(format!(
                "the function `{name}` is called but not registered in this app; add `.function({name})` where the app is put together, or leave `register = false` out of its attribute"
            )));
        }
        let entry = self.0.router.route(F::INFO.name, &caller.principal.auth)?;
        let deadline = deadline.min(Instant::now() + entry.info.timeout.unwrap_or(self.0.config.timeout));
        let mut json = Vec::new();
        wire::write_json(&args, &mut json)?;
        let call =
            Call { function: F::INFO.name, args: &json, caller: caller.clone(), mutation_id: None, acknowledge: None };
        let answer = self.run(entry, call, deadline).await?;
        if let Some(written) = &answer.position {
            caller.wrote.add(written);
        }
        wire::read_answer(&answer.json)
    }

    async fn run(&self, entry: &Arc<Entry>, call: Call<'_>, deadline: Instant) -> Result<Answer> {
        let began = Instant::now();
        let running = entry.metrics.running();
        self.check_args(call.args)?;
        let result = match entry.run {
            Run::Query(_) => self.query(entry, &call, deadline).await,
            // On the heap: it is several times as large as a query, which would otherwise carry that room around.
            Run::Mutation(run) => Box::pin(self.mutation(entry, run, &call, deadline)).await,
            Run::Action(run) => {
                let http = self.0.http.in_trace(call.caller.request.trace);
                let ctx = ActionContext::new(self.clone(), self.world(), call.caller.clone(), http, deadline);
                let json = within(entry, deadline, run(&ctx, call.args)).await;
                json.map(|json| Answer { position: call.caller.wrote.told(), ..Answer::of(json) })
            }
        };
        drop(running);
        entry.metrics.finished(began.elapsed(), result.as_ref().err());
        if result.as_ref().is_err_and(|why| why.kind() == ErrorKind::OutcomeUnknown) && self.0.database.has_replicas() {
            // Whoever looks whether it was written is not to look at a replica.
            call.caller.wrote.add(&Written::until_now());
        }
        let answer = result?;
        Ok(Answer { json: self.fitting(entry, answer.json)?, ..answer })
    }

    /// A result, if it is not larger than it may be.
    pub(crate) fn fitting(&self, entry: &Entry, json: Vec<u8>) -> Result<Vec<u8>> {
        let max = self.0.config.max_result_size;
        if json.len() as u64 <= max {
            return Ok(json);
        }
        let advice = if entry.info.kind == FunctionKind::Query { "return fewer rows, in pages" } else { "return less" };
        let (name, bytes) = (entry.info.name, json.len());
        Err(Error::payload_too_large(format!(
            "`{name}` returned {bytes} bytes, more than function.max_result_size = {max}; {advice}"
        )))
    }

    fn check_args(&self, args: &[u8]) -> Result<()> {
        if args.len() as u64 > self.0.config.max_args_size {
            let max = self.0.config.max_args_size;
            return Err(Error::payload_too_large(format!(
                "the arguments are larger than function.max_args_size = {max} bytes"
            )));
        }
        check_depth(args, self.0.max_json_depth)
    }

    /// Runs a live query inside of a snapshot, and has noted what it asked for.
    pub(crate) async fn run_live(
        &self,
        entry: &Entry,
        args: &[u8],
        caller: Arc<Caller>,
        snapshot: Arc<Transaction>,
        recorder: Arc<Recorder>,
    ) -> Result<Vec<u8>> {
        let Run::Query(run) = entry.run else { return Err(not_a_query(entry)) };
        let deadline = Instant::now() + self.live_limit(entry);
        let (began, running) = (Instant::now(), entry.metrics.running());
        let db = Db::read_in(snapshot, deadline).recorded(recorder);
        let ctx = QueryContext::new(self.world(), caller, db, deadline);
        let result = within(entry, deadline, run(&ctx, args)).await;
        drop(running);
        entry.metrics.finished(began.elapsed(), result.as_ref().err());
        self.fitting(entry, result?)
    }

    /// A session that somebody had signed in to has ended, perhaps on another node.
    pub(crate) fn signed_out(&self, session: uuid::Uuid) {
        self.0.world.accounts.revocations.ended(session);
    }

    /// How long a live query may run.
    pub(crate) fn live_limit(&self, entry: &Entry) -> Duration {
        entry.info.timeout.unwrap_or(self.0.config.timeout)
    }

    /// The function that a subscription names, if the caller may call it and it is a query, and its arguments in canonical form.
    pub(crate) fn subscribable(&self, name: &str, args: &[u8], auth: &AuthContext) -> Result<(Arc<Entry>, Arc<[u8]>)> {
        let entry = self.0.router.route(name, auth)?;
        if !matches!(entry.run, Run::Query(_)) {
            return Err(not_a_query(entry));
        }
        self.check_args(args)?;
        Ok((entry.clone(), (entry.canonical)(args)?))
    }

    /// Says an event in a transaction of its own.
    pub(crate) async fn tell(&self, event: EventNote) -> Result<()> {
        let text = serde_json::to_string(&Note::Event(event))?;
        let lease = self.0.database.primary().get().await?;
        lease.query(&TELL, &[&text]).await.map_err(error::from_driver)?;
        self.0.live.committed();
        Ok(())
    }

    async fn mutation(
        &self,
        entry: &Entry,
        run: RunIn<MutationContext>,
        call: &Call<'_>,
        deadline: Instant,
    ) -> Result<Answer> {
        let id = call.mutation_id.as_deref().map(|id| MutationId::new(id, entry, call)).transpose()?;
        let (mut attempt, mut fresh) = (0, false);
        loop {
            // After several conflicts the last attempt has the function to itself on this node, so that a key that everybody
            // writes cannot starve anybody.
            let lane = async {
                Ok(if attempt < RETRIES_MAX {
                    (Some(entry.lane.read().await), None)
                } else {
                    (None, Some(entry.lane.write().await))
                })
            };
            let (_shared, _alone) = within(entry, deadline, lane).await?;
            let attempted = self.attempt(entry, run, call, id.as_ref(), deadline, fresh).await;
            drop((_shared, _alone));
            match attempted {
                Attempt::Ended(result) => return result,
                Attempt::Conflict { why, stale } => {
                    attempt += 1;
                    fresh = stale;
                    entry.metrics.conflicted();
                    if attempt > RETRIES_MAX || Instant::now() >= deadline {
                        return Err(why);
                    }
                    let pause_us = rand::rng().random_range(0..2_000_u64 << attempt);
                    tokio::time::sleep(Duration::from_micros(pause_us)).await;
                }
            }
        }
    }

    async fn attempt(
        &self,
        entry: &Entry,
        run: RunIn<MutationContext>,
        call: &Call<'_>,
        id: Option<&MutationId>,
        deadline: Instant,
        fresh: bool,
    ) -> Attempt {
        let database = &self.0.database;
        let purpose = Purpose::Write {
            isolation: entry.info.isolation,
            user_id: call.caller.principal.auth.user_id().unwrap_or_default().to_owned(),
            function: entry.info.name,
            trace_id: format!("{:032x}", call.caller.request.trace.trace_id),
        };
        let transaction = Arc::new(database.mutation(purpose, deadline, fresh));
        if let Some(id) = id {
            let earlier = within(entry, deadline, id.earlier_answer(&transaction)).await;
            if !matches!(earlier, Ok(None)) {
                transaction.rollback().await;
            }
            match earlier {
                Ok(None) => {}
                Ok(Some(json)) => {
                    if let Some(acknowledge) = &call.acknowledge {
                        // It took effect before this attempt began, but perhaps after the snapshot of a round that is under way.
                        acknowledge.expect(transaction.xid().unwrap_or(0)).kept();
                        self.0.live.committed();
                    }
                    // Perhaps on another node. Whoever sees that this attempt has ended sees what the first one wrote.
                    self.0.cache.committed();
                    let position = self.position(transaction.xid()).await;
                    return Attempt::Ended(Ok(Answer { position, ..Answer::of(json) }));
                }
                Err(why) if transaction.is_conflict() => return Attempt::Conflict { why, stale: transaction.is_stale() },
                Err(why) => return Attempt::Ended(Err(why)),
            }
        }
        let (slot, dispatched) = (SessionSlot::default(), Dispatched::default());
        let body = async {
            let db = WriteDb::new(transaction.clone(), deadline);
            let slots = (slot.clone(), dispatched.clone());
            let ctx = MutationContext::new(self.world(), slots, call.caller.clone(), db, deadline);
            run(&ctx, call.args).await
        };
        let json = match within(entry, deadline, body).await {
            Ok(json) => json,
            Err(why) if why.kind() == ErrorKind::Timeout => {
                // Whatever still runs is cancelled with the connection.
                return Attempt::Ended(Err(why));
            }
            Err(why) => {
                transaction.rollback().await;
                let again = transaction.is_conflict() || self.answered_meanwhile(id).await;
                let stale = transaction.is_stale();
                return if again { Attempt::Conflict { why, stale } } else { Attempt::Ended(Err(why)) };
            }
        };
        let json = match self.fitting(entry, json) {
            Ok(json) => json,
            Err(why) => {
                transaction.rollback().await;
                return Attempt::Ended(Err(why));
            }
        };
        let session = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        if session.is_some() && call.acknowledge.is_some() {
            transaction.rollback().await;
            return Attempt::Ended(Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("`{}` begins or ends a session, which needs cookies: call it over HTTP", entry.info.name),
            )
            .with_code("USE_HTTP")));
        }
        // An answer with tokens in it is not kept: secrets do not lie in a table. A repeat signs in once more.
        let id = if session.is_some() { None } else { id };
        // One that never began has no effect to be shown: its acknowledgement may come at once.
        let pledge = call.acknowledge.as_ref().map(|acknowledge| acknowledge.expect(transaction.xid().unwrap_or(0)));
        let committed = self.commit(&transaction, id, &json, &dispatched, call.acknowledge.is_none()).await;
        // Also when it is not known how that ended.
        self.0.cache.committed();
        match committed {
            Ok(xid) => {
                pledge.into_iter().for_each(Pledge::kept);
                self.0.live.committed();
                self.0.world.jobs.committed(&dispatched);
                let position = self.position(xid).await;
                Attempt::Ended(Ok(Answer { session, position, ..Answer::of(json) }))
            }
            // Another call with this id was faster: its answer is the answer, found at the next attempt.
            Err(why) if transaction.is_conflict() || self.answered_meanwhile(id).await => {
                Attempt::Conflict { why, stale: transaction.is_stale() }
            }
            Err(why) => Attempt::Ended(Err(why)),
        }
    }

    /// Where a transaction that has ended stands, when somebody may have to know.
    async fn position(&self, xid: Option<u64>) -> Option<Written> {
        let database = &self.0.database;
        let xid = if self.0.cache.follows() { xid } else { None };
        let lsn = if database.has_replicas() { database.position().await.unwrap_or(u64::MAX) } else { 0 };
        Written::by(lsn, xid)
    }

    /// Whether a call with the same id that ran beside this one has taken effect. Then this one failed because of that, say over a
    /// unique value that the other has just taken, and the other's answer is the answer of both.
    async fn answered_meanwhile(&self, id: Option<&MutationId>) -> bool {
        match id {
            // When that cannot be found out, the failure stands.
            Some(id) => id.is_kept(self.0.database.side()).await.unwrap_or(false),
            None => false,
        }
    }
}

enum Attempt {
    Ended(Result<Answer>),
    /// It may succeed when run again.
    Conflict {
        why: Error,
        /// A table had changed under a statement.
        stale: bool,
    },
}

/// Runs a body until the deadline. Dropping it is what stops it: a lease that is dropped in the middle of a statement cancels
/// that on the server. A panic ends the call, not the process.
pub(super) async fn within<T>(entry: &Entry, deadline: Instant, body: impl Future<Output = Result<T>>) -> Result<T> {
    let guarded = AssertUnwindSafe(body).catch_unwind();
    match tokio::time::timeout_at(deadline.into(), guarded).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => {
            let text = panic_text(&*panic);
            Err(Error::internal(format!("{} `{}` panicked: {text}", entry.info.kind.as_str(), entry.info.name)))
        }
        Err(_) => {
            let limit =
                entry.info.timeout.map(|t| format!(" its {}", format_duration(t))).unwrap_or_else(|| " it may".into());
            Err(Error::timeout(format!("{} `{}` took longer than{limit}", entry.info.kind.as_str(), entry.info.name)))
        }
    }
}

/// What a panic says.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a value that is not text")
}

pub(super) fn not_a_query(entry: &Entry) -> Error {
    Error::invalid_argument(format!(
        "`{}` is a {}; only queries can be subscribed to",
        entry.info.name,
        entry.info.kind.as_str()
    ))
}

/// Refuses JSON that is nested too deep, before anything recursive looks at it.
fn check_depth(json: &[u8], max: usize) -> Result<()> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                if depth > max {
                    return Err(Error::payload_too_large(format!("the arguments are nested deeper than {max} levels")));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_outside_of_strings() {
        assert!(check_depth(br#"{"a": "[[[[[[\"[[["}"#, 2).is_ok());
        assert!(check_depth(b"[[[]]]", 3).is_ok());
        assert_eq!(check_depth(b"[[[[]]]]", 3).unwrap_err().code(), "PAYLOAD_TOO_LARGE");
        assert!(check_depth(b"]]]]]", 1).is_ok());
    }
}
