//! The sink in force: one recorded decision for all nodes and all triggers of a database.
//!
//! It is changed in one transaction, under a lock, together with the functions of all triggers, and then has another epoch. A statement that
//! began before may still write to the old sink: see [`settling`](super::settling). A node learns of it in the snapshot of its next round, and
//! whoever reads the log is woken there.

use forge_core::{Error, Result};
use tokio_postgres::Client;
use uuid::Uuid;

use super::trigger::{EVENTS, SINK};
use super::wal::{PREFIX, PUBLICATION};
use crate::db::Database;
use crate::db::error::from_driver;

/// The lock of the decision, as arguments of the functions for advisory locks. Held alone by whoever changes it, and by many who only need
/// it to stay.
pub(super) const LOCK: &str = "hashtext('forge_feed'), 0";

/// What the message begins with that tells of a change.
pub(super) const EPOCH: &str = "{\"epoch\":";

/// What the message is that tells of a row to look at.
pub(super) const LOOK: &str = "{\"look\":true}";

/// Where triggers write changes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sink {
    /// Rows of `forge_changes`.
    Changelog,
    /// Logical messages in the write-ahead log.
    Wal,
}

/// The decision, as a snapshot has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) sink: Sink,
    pub(crate) epoch: i64,
}

impl Sink {
    pub(crate) fn named(name: &str) -> Result<Self> {
        match name {
            "changelog" => Ok(Self::Changelog),
            "wal" => Ok(Self::Wal),
            other => Err(Error::internal(format!(
                "changes are written to `{other}`, which this version does not know; was it set by a newer version?"
            ))),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Changelog => "changelog",
            Self::Wal => "wal",
        }
    }

    /// The statements that make the functions of a table's triggers with this sink.
    pub(super) fn functions(self, schema: &str, table: u32, bodies: &[String]) -> String {
        let (rights, write) = match self {
            // The writer need not have any right to the table of changes, nor know where it is.
            Self::Changelog => (
                "SECURITY DEFINER SET search_path = pg_catalog, pg_temp",
                format!("INSERT INTO {schema}.forge_changes (change) VALUES (forge_said);"),
            ),
            // Anybody may write a message. Without other rights and settings a call costs less.
            Self::Wal => ("", format!("forge_at := pg_catalog.pg_logical_emit_message(true, '{PREFIX}', forge_said);")),
        };
        let one = |((event, _), body): (&(&str, &str), &String)| {
            let mut quote = "$forge$".to_owned();
            while body.contains(&quote) {
                quote.insert(quote.len() - 1, '_');
            }
            let body = body.replace(SINK, &write);
            format!(
                "CREATE OR REPLACE FUNCTION {schema}.forge_capture_{table}_{event}() RETURNS trigger LANGUAGE plpgsql {rights} \
                 AS {quote}{body}{quote};\n"
            )
        };
        EVENTS.iter().zip(bodies).map(one).collect()
    }
}

/// What is recorded now.
pub(super) async fn recorded(client: &Client) -> Result<Recorded> {
    let row = client.query_typed_one("SELECT sink, epoch FROM forge_feed", &[]).await.map_err(from_driver)?;
    let sink: String = row.try_get(0).map_err(from_driver)?;
    Ok(Recorded { sink: Sink::named(&sink)?, epoch: row.try_get(1).map_err(from_driver)? })
}

/// Changes the sink, and every trigger with it. To the log only when nobody objects. Returns what holds afterwards.
///
/// # Errors
/// When the database is away, the lock is not to be had within two seconds, or a function or the publication cannot be made.
pub(super) async fn change(client: &Client, to: Sink, why: &str) -> Result<Recorded> {
    let changed = change_in(client, to, why).await;
    if changed.is_err() {
        // On a connection that is gone there is nothing to roll back.
        let _ = client.batch_execute("ROLLBACK").await;
    }
    changed
}

async fn change_in(client: &Client, to: Sink, why: &str) -> Result<Recorded> {
    let begin = format!("BEGIN; SET LOCAL lock_timeout = '2s'; SELECT pg_advisory_xact_lock({LOCK})");
    client.batch_execute(&begin).await.map_err(from_driver)?;
    let now = recorded(client).await?;
    if now.sink == to || (to == Sink::Wal && objection(client).await?.is_some()) {
        client.batch_execute("ROLLBACK").await.map_err(from_driver)?;
        return Ok(now);
    }
    let ask = "SELECT quote_ident(s.nspname), w.table_oid, w.bodies FROM pg_class c
               JOIN pg_namespace s ON s.oid = c.relnamespace CROSS JOIN forge_watches w WHERE c.oid = 'forge_watches'::regclass";
    for row in client.query_typed(ask, &[]).await.map_err(from_driver)? {
        let (schema, table, bodies): (String, u32, Vec<String>) = (
            row.try_get(0).map_err(from_driver)?,
            row.try_get(1).map_err(from_driver)?,
            row.try_get(2).map_err(from_driver)?,
        );
        client.batch_execute(&to.functions(&schema, table, &bodies)).await.map_err(from_driver)?;
    }
    let update = "UPDATE forge_feed SET sink = $1, epoch = epoch + 1, why = $2, changed_at = now(), xid = pg_current_xact_id() RETURNING epoch";
    let row = client.query_one(update, &[&to.name(), &why]).await.map_err(from_driver)?;
    let epoch: i64 = row.try_get(0).map_err(from_driver)?;
    let tell = format!("SELECT pg_logical_emit_message(true, '{PREFIX}', '{EPOCH}{epoch}}}'); COMMIT");
    client.batch_execute(&tell).await.map_err(from_driver)?;
    Ok(Recorded { sink: to, epoch })
}

/// Makes the publication that the log is read with, which no table is ever put in.
///
/// # Errors
/// When the database user may not make one.
pub(super) async fn publish(client: &Client) -> Result<()> {
    let ask = "SELECT EXISTS (SELECT FROM pg_publication WHERE pubname = $1)";
    let row = client.query_one(ask, &[&PUBLICATION]).await.map_err(from_driver)?;
    if row.try_get(0).map_err(from_driver)? {
        return Ok(());
    }
    match client.batch_execute(&format!("CREATE PUBLICATION {PUBLICATION}")).await {
        // Another node was faster.
        Err(why) if matches!(why.code().map(|code| code.code()), Some("42710" | "23505")) => Ok(()),
        made => made.map_err(from_driver),
    }
}

/// Records that a node cannot read the log, or is not to, for as long as said.
pub(super) async fn object(client: &Client, node: Uuid, why: &str, seconds: f64) -> Result<()> {
    let upsert = "INSERT INTO forge_feed_objections (node, why, until) VALUES ($1, $2, now() + make_interval(secs => $3))
                  ON CONFLICT (node) DO UPDATE SET why = excluded.why, until = excluded.until";
    client.execute(upsert, &[&node, &why, &seconds]).await.map(drop).map_err(from_driver)
}

/// Takes a node's objection back, and sweeps those away that nobody has renewed.
pub(super) async fn withdraw(client: &Client, node: Uuid) -> Result<()> {
    let delete = "DELETE FROM forge_feed_objections WHERE node = $1 OR until < now()";
    client.execute(delete, &[&node]).await.map(drop).map_err(from_driver)
}

/// One of the objections that hold now.
pub(super) async fn objection(client: &Client) -> Result<Option<String>> {
    let ask = "SELECT why FROM forge_feed_objections WHERE until > now() ORDER BY until DESC LIMIT 1";
    let row = client.query_opt(ask, &[]).await.map_err(from_driver)?;
    row.map(|row| row.try_get(0)).transpose().map_err(from_driver)
}

/// The decision as people want to know it.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) sink: String,
    pub(crate) why: String,
    /// Why nodes object to the log.
    pub(crate) objections: Vec<String>,
}

/// The decision, when the database is migrated.
///
/// # Errors
/// When the database is away.
pub(crate) async fn told(database: &Database) -> Result<Option<Told>> {
    let lease = database.side().get().await?;
    let ask = "SELECT to_regclass('forge_feed_objections') IS NOT NULL";
    if !lease.client().query_one(ask, &[]).await.and_then(|row| row.try_get(0)).map_err(from_driver)? {
        return Ok(None);
    }
    let ask = "SELECT sink, why, ARRAY(SELECT o.why FROM forge_feed_objections o WHERE o.until > now()) FROM forge_feed";
    let row = lease.client().query_one(ask, &[]).await.map_err(from_driver)?;
    let get = |at| row.try_get(at).map_err(from_driver);
    Ok(Some(Told { sink: get(0)?, why: get(1)?, objections: row.try_get(2).map_err(from_driver)? }))
}
