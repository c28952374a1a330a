//! Triggers that write down what changed.
//!
//! One function and four triggers per watched table, made when the first live query reads it. When a function is to write down another
//! column, or to another sink, it is replaced, which locks nobody out. Until then changes lack that column, and match every query.

use std::collections::BTreeSet;

use forge_core::{Error, Result};
use postgres_types::Type;
use tokio_postgres::Client;

use super::sink::{LOCK, Sink};
use super::trigger::{KEYS_MAX, Trigger};
use crate::db::error::from_driver;
use crate::read_set::{Fault, Table};

/// Makes sure that changes of a table are written down.
#[derive(Debug)]
pub(crate) struct Capture<'a> {
    pub(crate) table: &'a Table,
    /// The columns whose values are needed.
    pub(crate) keys: &'a BTreeSet<String>,
}

impl Capture<'_> {
    /// Once this returns, every change that commits later is in the feed; true when that was not so before. A new trigger waits for open
    /// writers of the table, for two seconds at most.
    ///
    /// # Errors
    /// When the table cannot be locked in time, which may be tried again, or the database user may not make triggers on it.
    pub(crate) async fn ensure(&self, client: &Client) -> Result<bool> {
        let result = self.make(client).await;
        if result.is_err() {
            // On a connection that is gone there is nothing to roll back.
            let _ = client.batch_execute("ROLLBACK").await;
        }
        result
    }

    async fn make(&self, client: &Client) -> Result<bool> {
        let step = |why: tokio_postgres::Error| {
            let text = format!("changes of {} cannot be followed yet", self.table.name);
            if why.code() == Some(&tokio_postgres::error::SqlState::LOCK_NOT_AVAILABLE) {
                return Error::database_unavailable(format!("{text}: somebody has been writing to it for too long"))
                    .with_source(why);
            }
            let ours = from_driver(why);
            if ours.is_retryable() {
                ours
            } else {
                Error::internal(format!("{text}: a trigger on it cannot be made")).with_source(ours)
            }
        };
        client.batch_execute("BEGIN; SET LOCAL lock_timeout = '2s'").await.map_err(step)?;
        // The sink stays what it is until the function that writes to it is there.
        client.batch_execute(&format!("SELECT pg_advisory_xact_lock_shared({LOCK})")).await.map_err(step)?;
        // Two nodes take turns.
        let lock = "SELECT pg_advisory_xact_lock(hashtext('forge_watches'), $1::oid::int)";
        client.query_typed(lock, &[(&self.table.oid, Type::OID)]).await.map_err(step)?;
        let state =
            client.query_typed_one(include_str!("sql/watch.sql"), &[(&self.table.oid, Type::OID)]).await.map_err(step)?;
        let schema: String = state.try_get("schema").map_err(step)?;
        let written: Option<Vec<String>> = state.try_get("keys").map_err(step)?;
        let triggers: Vec<u32> = state.try_get("triggers").map_err(step)?;
        let watched = |oid: u32| triggers.contains(&oid) || (oid != self.table.oid && Fault::Partition.is_planted());
        let missing: Vec<_> = self.table.family.iter().filter(|(oid, _)| !watched(*oid)).collect();
        let mut keys: BTreeSet<String> = written.clone().unwrap_or_default().into_iter().collect();
        keys.retain(|column| self.table.column(column).is_some());
        keys.extend(self.keys.iter().cloned());
        let keys: BTreeSet<String> = keys.into_iter().take(KEYS_MAX).collect();
        // Whoever read the table's columns may have done so before one was added.
        let attributes: i32 = state.try_get("attributes").map_err(step)?;
        let trigger = Trigger { table: self.table, keys: &keys, whole: attributes == self.table.attributes };
        let shape = trigger.shape();
        let sink: String = state.try_get("sink").map_err(step)?;
        let same: bool = state.try_get::<_, Option<String>>("shape").map_err(step)? == Some(shape.clone())
            && written.is_some_and(|written| written.into_iter().eq(keys.iter().cloned()));
        if !same {
            let bodies = trigger.bodies();
            client.batch_execute(&Sink::named(&sink)?.functions(&schema, self.table.oid, &bodies)).await.map_err(step)?;
            let keys: Vec<&String> = keys.iter().collect();
            let upsert = "INSERT INTO forge_watches (table_oid, keys, shape, bodies) VALUES ($1, $2, $3, $4)
                          ON CONFLICT (table_oid) DO UPDATE
                          SET keys = excluded.keys, shape = excluded.shape, bodies = excluded.bodies";
            let params: [(&(dyn postgres_types::ToSql + Sync), Type); 4] = [
                (&self.table.oid, Type::OID),
                (&keys, Type::TEXT_ARRAY),
                (&shape, Type::TEXT),
                (&&bodies[..], Type::TEXT_ARRAY),
            ];
            client.query_typed(upsert, &params).await.map_err(step)?;
        }
        for (_, member) in &missing {
            client.batch_execute(&trigger.triggers(&schema, member)).await.map_err(step)?;
        }
        client.batch_execute("COMMIT").await.map_err(step)?;
        Ok(!missing.is_empty())
    }
}
