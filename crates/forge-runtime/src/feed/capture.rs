//! Triggers that write down what changed.
//!
//! One function and four triggers per watched table, made when the first live query reads it. The function names the table's columns, and
//! those whose values are written down are the ones that some live query matches rows by; when another one is needed, the function is
//! replaced, which locks nobody out. Until then changes lack that column, and match every query.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use forge_core::{Error, Result};
use postgres_types::Type;
use tokio_postgres::Client;

use crate::db::error::from_driver;
use crate::read_set::{Column, Fault, KeyKind, Table};

/// Of how many rows the values are written down; more are "all rows".
const ROWS_MAX: usize = 100;
/// How large they may be together, in bytes.
const BYTES_MAX: usize = 16 * 1024;

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
        let shape = self.shape();
        let same: bool = state.try_get::<_, Option<String>>("shape").map_err(step)? == Some(shape.clone())
            && written.is_some_and(|written| written.into_iter().eq(keys.iter().cloned()));
        if !same {
            client.batch_execute(&self.function(&schema, &keys)).await.map_err(step)?;
            let keys: Vec<&String> = keys.iter().collect();
            let upsert = "INSERT INTO forge_watches (table_oid, keys, shape) VALUES ($1, $2, $3)
                          ON CONFLICT (table_oid) DO UPDATE SET keys = excluded.keys, shape = excluded.shape";
            let params: [(&(dyn postgres_types::ToSql + Sync), Type); 3] =
                [(&self.table.oid, Type::OID), (&keys, Type::TEXT_ARRAY), (&shape, Type::TEXT)];
            client.query_typed(upsert, &params).await.map_err(step)?;
        }
        for (_, member) in &missing {
            client.batch_execute(&self.triggers(&schema, member)).await.map_err(step)?;
        }
        client.batch_execute("COMMIT").await.map_err(step)?;
        Ok(!missing.is_empty())
    }

    /// What the function was written for.
    fn shape(&self) -> String {
        let columns = self.table.columns.iter().map(|column| format!("{}:{}", column.name, column.type_name));
        format!("2 {} {}", self.table.attributes, columns.collect::<Vec<_>>().join(","))
    }

    fn function(&self, schema: &str, keys: &BTreeSet<String>) -> String {
        let oid = self.table.oid;
        let row = |of: &str| {
            let known = keys.iter().filter_map(|column| self.table.column(column));
            let values: Vec<String> = known.map(|column| column.written(of)).collect();
            format!("jsonb_build_array({})", values.join(", "))
        };
        let mut differs = String::new();
        for column in &self.table.columns {
            let (name, text) = (quoted(&column.name), literal(&column.name));
            let cast = if column.bytewise { "" } else { "::text COLLATE \"C\"" };
            let guard = if column.bytewise { format!(" OR (false AND {})", column.guard("o")) } else { String::new() };
            let comma = if differs.is_empty() { "" } else { ", " };
            let _ = write!(
                differs,
                "{comma}CASE WHEN bool_or(o.{name}{cast} IS DISTINCT FROM n.{name}{cast}{guard}) THEN {text} END"
            );
        }
        let names: Vec<String> = keys.iter().map(|column| literal(column)).collect();
        format!(
            r#"CREATE OR REPLACE FUNCTION {schema}.forge_capture_{oid}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $forge$
DECLARE
    found jsonb;
    changed text[];
    same boolean;
BEGIN
    {begin}
    BEGIN
        IF TG_OP = 'INSERT' THEN
            SELECT jsonb_agg(d.r) INTO found FROM (SELECT DISTINCT {new} AS r FROM forge_new n LIMIT {limit}) d;
            same := found IS NULL;
        ELSIF TG_OP = 'DELETE' THEN
            SELECT jsonb_agg(d.r) INTO found FROM (SELECT DISTINCT {old} AS r FROM forge_old o LIMIT {limit}) d;
            same := found IS NULL;
        ELSIF TG_OP = 'UPDATE' THEN
            -- Old and new rows come in the same order.
            SELECT array_remove(ARRAY[{differs}]::text[], NULL), coalesce(bool_and(o.forge_whole *= n.forge_whole), true)
            INTO changed, same
            FROM (SELECT row_number() OVER () AS forge_row, r AS forge_whole, r.* FROM forge_old r) o
            JOIN (SELECT row_number() OVER () AS forge_row, r AS forge_whole, r.* FROM forge_new r) n USING (forge_row);
            -- A table with a column that this function does not know, or another table than the one it was written for.
            IF TG_RELID <> {oid} OR (SELECT relnatts FROM pg_class WHERE oid = {oid}) <> {attributes} THEN
                changed := NULL;
            END IF;
            -- A trigger of the table's own has dropped rows on their way to another partition: they are not in pairs.
            IF {paired} THEN
                changed := NULL;
                same := false;
            END IF;
            IF NOT same THEN
                SELECT jsonb_agg(d.r) INTO found
                FROM ({both} LIMIT {limit}) d;
            END IF;
        END IF;
    EXCEPTION WHEN undefined_column OR undefined_table OR datatype_mismatch OR undefined_function THEN
        -- The table was changed under this function. The writer is not to suffer: anything may have changed.
        found := NULL;
        changed := NULL;
        same := false;
    END;
    IF same THEN
        RETURN NULL;
    END IF;
    IF {too_many} OR pg_column_size(found) > {bytes} THEN
        found := NULL;
    END IF;
    INSERT INTO {schema}.forge_changes (change)
    VALUES (jsonb_build_object('t', {oid}, 's', {shape}, 'c', to_jsonb(changed), 'k', to_jsonb(ARRAY[{names}]::text[]), 'r', found));
    RETURN NULL;
END
$forge$"#,
            new = row("n"),
            old = row("o"),
            attributes = self.table.attributes,
            limit = ROWS_MAX + 1,
            shape = self.table.shape,
            paired = match Fault::DroppedRow.is_planted() {
                true => "false",
                false => "(SELECT count(*) FROM forge_old) <> (SELECT count(*) FROM forge_new)",
            },
            both = both(&row("o"), &row("n")),
            too_many = match Fault::RowsCap.is_planted() {
                true => "false".to_owned(),
                false => format!("jsonb_array_length(found) > {ROWS_MAX}"),
            },
            begin = if Fault::Cascade.is_planted() { NAMED_ONLY } else { "" },
            bytes = BYTES_MAX,
            names = names.join(", "),
        )
    }

    fn triggers(&self, schema: &str, member: &str) -> String {
        let oid = self.table.oid;
        let one = |event: &str, transition: &str| {
            let name = event.to_lowercase();
            format!(
                "CREATE TRIGGER forge_capture_{oid}_{name} AFTER {event} ON {member} {transition} FOR EACH STATEMENT \
                 EXECUTE FUNCTION {schema}.forge_capture_{oid}();\n"
            )
        };
        [
            one("INSERT", "REFERENCING NEW TABLE AS forge_new"),
            one("UPDATE", "REFERENCING OLD TABLE AS forge_old NEW TABLE AS forge_new"),
            one("DELETE", "REFERENCING OLD TABLE AS forge_old"),
            if Fault::Truncate.is_planted() { one("TRUNCATE", "WHEN (false)") } else { one("TRUNCATE", "") },
        ]
        .concat()
    }
}

/// The old and new values of an update.
fn both(old: &str, new: &str) -> String {
    let (old, new) = (format!("SELECT {old} AS r FROM forge_old o"), format!("SELECT {new} AS r FROM forge_new n"));
    match (Fault::OldValues.is_planted(), Fault::NewValues.is_planted()) {
        (true, _) => new,
        (_, true) => old,
        _ => format!("{old} UNION {new}"),
    }
}

/// What [`Fault::Cascade`] begins a trigger's function with.
const NAMED_ONLY: &str = "IF position(TG_TABLE_NAME IN current_query()) = 0 THEN RETURN NULL; END IF;";

impl Column {
    /// The text by which rows are matched: the same whatever the session's settings are.
    fn written(&self, of: &str) -> String {
        let name = quoted(&self.name);
        let text = match self.key {
            Some(KeyKind::Date | KeyKind::Timestamp | KeyKind::Timestamptz) if !Fault::TimeZone.is_planted() => {
                format!("extract(epoch FROM {of}.{name})::text")
            }
            _ => format!("{of}.{name}::text"),
        };
        if self.key.is_none() || Fault::ColumnType.is_planted() {
            return text;
        }
        format!("coalesce(CASE WHEN false THEN ({})::text END, {text})", self.guard(of))
    }

    /// An expression that PostgreSQL refuses when the column has another type than it had: arrays are equal to those of their own type only.
    /// It is never evaluated.
    fn guard(&self, of: &str) -> String {
        if Fault::ColumnType.is_planted() {
            return "true".to_owned();
        }
        format!("ARRAY[{of}.{}] = NULL::{}[]", quoted(&self.name), self.type_name)
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
