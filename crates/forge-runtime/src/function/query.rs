//! How queries run: alone, or on behalf of everybody who may share the result.

use std::sync::Arc;
use std::time::Instant;

use forge_core::{Error, ErrorKind, Result};

use super::context::{Caller, QueryContext};
use super::executor::{Answer, Call, FunctionExecutor, not_a_query, within};
use super::registry::{Entry, Run};
use crate::cache::CacheUse;
use crate::db::transaction::{Purpose, Transaction};
use crate::db::{Asked, Db, Recorder};
use crate::feed::Snapshot;
use crate::observability;

/// A run of a query, and what it was.
#[derive(Debug)]
pub(crate) struct Noted {
    pub(crate) json: Vec<u8>,
    /// In which it read.
    pub(crate) snapshot: Snapshot,
    /// Its statements with their arguments.
    pub(crate) asked: Asked,
    /// One of them failed, which the function has made do with. What that one read is not among them.
    pub(crate) stumbled: bool,
    /// A table had changed under a statement.
    pub(crate) stale: bool,
}

/// A run that has begun: what it sees, where, and who notes what it asks for.
type Begun = (Snapshot, Arc<Transaction>, Arc<Recorder>);

impl FunctionExecutor {
    pub(super) async fn query(&self, entry: &Arc<Entry>, call: &Call<'_>, deadline: Instant) -> Result<Answer> {
        let Some(policy) = entry.info.cache else {
            return self.run_alone(entry, call.args, &call.caller, deadline).await.map(Answer::of);
        };
        // On the heap: queries without a cache do not carry that room around.
        let kept = Box::pin(self.0.cache.answer(self, entry, policy, call.args, &call.caller));
        let (answer, used) = match within(entry, deadline, kept).await? {
            Some((json, used)) => (Answer::of(json.to_vec()), used),
            None => {
                let json = self.run_alone(entry, call.args, &call.caller, deadline).await?;
                (Answer::of(json), CacheUse::Bypass)
            }
        };
        observability::query_cache().called(entry.info.name, used.as_str());
        Ok(Answer { cache: Some(used), ..answer })
    }

    /// Runs a query for one caller.
    pub(crate) async fn run_alone(
        &self,
        entry: &Entry,
        args: &[u8],
        caller: &Arc<Caller>,
        deadline: Instant,
    ) -> Result<Vec<u8>> {
        let Run::Query(run) = entry.run else { return Err(not_a_query(entry)) };
        if entry.info.snapshot {
            return self.in_snapshot(entry, args, caller, deadline, None).await.map(|(json, _)| json);
        }
        let database = &self.0.database;
        let replica = if database.has_replicas() { database.replica(caller.position()) } else { None };
        let db = Db::read(database.clone(), replica, deadline);
        let ctx = QueryContext::new(self.world(), caller.clone(), db, deadline);
        within(entry, deadline, run(&ctx, args)).await
    }

    /// Runs a query in one snapshot, and has noted what it asked for.
    pub(crate) async fn run_noted(
        &self,
        entry: &Entry,
        args: &[u8],
        caller: &Arc<Caller>,
        deadline: Instant,
    ) -> Result<Noted> {
        let mut noted = None;
        let (json, stale) = self.in_snapshot(entry, args, caller, deadline, Some(&mut noted)).await?;
        let (snapshot, transaction, recorder) = noted.ok_or_else(|| Error::internal("a snapshot was not noted"))?;
        let (asked, stumbled) = recorder.take();
        Ok(Noted { json, snapshot, asked, stumbled: stumbled || transaction.has_failed(), stale })
    }

    /// Runs a query in one snapshot; once more when a table has changed under one of its statements, which is then told.
    async fn in_snapshot(
        &self,
        entry: &Entry,
        args: &[u8],
        caller: &Arc<Caller>,
        deadline: Instant,
        mut noted: Option<&mut Option<Begun>>,
    ) -> Result<(Vec<u8>, bool)> {
        let Run::Query(run) = entry.run else { return Err(not_a_query(entry)) };
        let mut fresh = false;
        loop {
            let begin = self.0.database.begin(Purpose::Snapshot, deadline, fresh);
            let snapshot = Arc::new(within(entry, deadline, begin).await?);
            let mut db = Db::read_in(snapshot.clone(), deadline);
            if let Some(noted) = &mut noted {
                let recorder = Arc::new(Recorder::default());
                let at = within(entry, deadline, Snapshot::of(&snapshot)).await?;
                **noted = Some((at, snapshot.clone(), recorder.clone()));
                db = db.recorded(recorder);
            }
            let ctx = QueryContext::new(self.world(), caller.clone(), db, deadline);
            let result = within(entry, deadline, run(&ctx, args)).await;
            // After a timeout something may still run; it is cancelled with the connection.
            if result.as_ref().err().is_none_or(|why| why.kind() != ErrorKind::Timeout) {
                snapshot.rollback().await;
            }
            if fresh || !snapshot.is_stale() {
                return result.map(|json| (json, fresh));
            }
            fresh = true;
        }
    }
}
