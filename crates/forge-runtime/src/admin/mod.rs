//! Operating what runs, from outside: what all features' `admin.rs` share.
//!
//! ```text
//!  `forge jobs …`, a page ─▶ /_api: the guard says who ─▶ a feature's admin.rs ─┬─ looks: a read-only transaction, ten seconds at most
//!                                                                             └─ acts: the change and its row in the audit, one commit
//! ```
//!
//! Promises: nothing is changed that the audit does not tell of, and nothing is told that was not changed, as both are in one transaction;
//! a look sees one state of the database; no statement changes more than [`BATCH`] rows, so that none holds up what runs.
//!
//! Statements go over the connections of functions, not over the queue's: a slow look is not to keep a worker from claiming.

mod audit;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forge_core::function::Isolation;
use forge_core::{Error, ErrorKind, Result};
use serde_json::Value;
use uuid::Uuid;

use crate::db::transaction::{Purpose, Transaction};
use crate::db::{Answer, Database, Params, Pool, Shape, new_uuid};

pub(crate) use audit::sweep;

/// How many rows one statement changes at most.
pub(crate) const BATCH: i64 = 1000;

/// How many things one page of a list has at most, and when nothing is said.
pub(crate) const PAGE: (i64, i64) = (500, 50);

/// How long a look may take.
const LOOK_MAX: Duration = Duration::from_secs(10);

/// How long one batch of an action may take.
const ACT_MAX: Duration = Duration::from_secs(30);

/// Whoever does something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Actor {
    /// As the audit has it.
    pub(crate) who: String,
    pub(crate) request_id: Option<String>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) trace_id: String,
}

impl Actor {
    /// The app itself.
    pub(crate) fn app() -> Self {
        Self { who: "app".into(), request_id: None, address: None, trace_id: String::new() }
    }
}

/// What was done, for the audit.
#[derive(Debug)]
pub(crate) struct Done<'a> {
    pub(crate) action: &'static str,
    pub(crate) target: Option<&'a str>,
    pub(crate) count: i64,
    pub(crate) details: Option<Value>,
}

/// Where admin statements are run. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    pool: Pool,
    side: Pool,
}

impl Admin {
    pub(crate) fn of(database: &Database) -> Self {
        Self { pool: database.primary().clone(), side: database.side().clone() }
    }

    /// A look at one state of the database.
    pub(crate) async fn look(&self) -> Result<Look> {
        let limit = Instant::now() + LOOK_MAX;
        Ok(Look(Transaction::new(self.pool.get().await?, Purpose::Snapshot, limit, false)))
    }

    /// The beginning of an action.
    pub(crate) async fn act(&self, actor: &Actor) -> Result<Act> {
        let purpose = Purpose::Write {
            isolation: Isolation::ReadCommitted,
            user_id: actor.who.clone(),
            function: "forge_admin",
            trace_id: actor.trace_id.clone(),
        };
        let transaction = Transaction::new(self.pool.get().await?, purpose, Instant::now() + ACT_MAX, false);
        Ok(Act { transaction, actor: actor.clone(), side: self.side.clone() })
    }
}

/// A look. Dropped or ended, it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Look(Transaction);

impl Look {
    pub(crate) async fn run(&self, shape: &Arc<Shape>, params: Params<'_>) -> Result<Answer> {
        self.0.query(shape, params).await.map_err(|why| match why.kind() {
            ErrorKind::Timeout => {
                let text = format!(
                    "there is too much to look through within {} seconds; narrow it down, with `since` for example",
                    LOOK_MAX.as_secs()
                );
                Error::timeout(text).with_source(why)
            }
            _ => why,
        })
    }

    /// Gives the connection back.
    pub(crate) async fn end(self) {
        self.0.rollback().await;
    }
}

/// An action that has begun. Dropped before it is [`done`](Self::done), nothing has happened.
#[derive(Debug)]
pub(crate) struct Act {
    transaction: Transaction,
    actor: Actor,
    side: Pool,
}

impl Act {
    pub(crate) async fn run(&self, shape: &Arc<Shape>, params: Params<'_>) -> Result<Answer> {
        self.transaction.query(shape, params).await
    }

    /// Writes down what was done, and commits both.
    pub(crate) async fn done(self, done: &Done<'_>) -> Result<()> {
        self.batch_done(new_uuid(), done).await
    }

    /// As [`done`](Self::done), for one batch of many, which are one row: their counts are added up.
    pub(crate) async fn batch_done(self, entry: Uuid, done: &Done<'_>) -> Result<()> {
        let details = done.details.as_ref().map(Value::to_string);
        let address = self.actor.address.map(|address| address.to_string());
        let params: Params<'_> =
            &[&entry, &self.actor.who, &done.action, &done.target, &done.count, &details, &self.actor.request_id, &address];
        self.transaction.commit(Some((&*audit::ADD, params)), &self.side).await?;
        tracing::info!(
            who = self.actor.who,
            action = done.action,
            target = done.target.unwrap_or_default(),
            count = done.count,
            request_id = self.actor.request_id.as_deref().unwrap_or_default(),
            "an admin action"
        );
        Ok(())
    }

    /// Nothing is to be changed after all.
    pub(crate) async fn undo(self) {
        self.transaction.rollback().await;
    }
}
