//! The text of the triggers: what a statement changed, said in as little time as possible.
//!
//! The function is called once per statement of whoever writes, inside of their transaction, so it is written for its cost. A statement
//! that changes one row asks the database once. One that changes a few compares old and new rows. One that changes many only says so.
//!
//! It names the table's columns, and those whose values are written down are the ones that some live query matches rows by. Names of its
//! own begin with `forge_`, and everything it uses is named with its schema, as it may run under anybody's search path.

use std::collections::BTreeSet;

use crate::read_set::{Column, Table};

/// Of how many rows the values are written down; more are "all rows".
const ROWS_MAX: usize = 100;
/// How large they may be together, in bytes.
const BYTES_MAX: usize = 16 * 1024;
/// How many changed rows are looked at; a statement that changes more may have changed any column of any row.
const LOOKED_AT_MAX: usize = 1000;
/// How many columns' values are written down; a function takes 100 arguments. Changes without a column match every query.
pub(super) const KEYS_MAX: usize = 90;

/// Stands in the function's text where the change, `forge_said`, is written to the sink.
pub(super) const SINK: &str = "/* to the sink */";

/// The triggers of a table.
#[derive(Debug)]
pub(super) struct Trigger<'a> {
    pub(super) table: &'a Table,
    /// The columns whose values are written down.
    pub(super) keys: &'a BTreeSet<String>,
}

impl Trigger<'_> {
    /// What the function was written for. When this differs, it is written anew; the number counts the versions of its text.
    pub(super) fn shape(&self) -> String {
        let columns = self.table.columns.iter().map(|column| format!("{}:{}", column.name, column.ty));
        format!("2 {} {}", self.table.attributes, columns.collect::<Vec<_>>().join(","))
    }

    /// The values of a row of `of`, as JSON.
    fn row(&self, of: &str) -> String {
        let values: Vec<String> =
            self.keys.iter().map(|column| format!("{of}.{}::pg_catalog.text", quoted(column))).collect();
        format!("pg_catalog.json_build_array({})::pg_catalog.text", values.join(", "))
    }

    /// The columns that differ, as the items of a JSON array: in one pair of rows, or (`wrap`) in any of several.
    fn differing(&self, wrap: &str) -> String {
        let column = |column: &Column| {
            let (name, item) = (quoted(&column.name), literal(&serde_json::Value::from(&*column.name).to_string()));
            let cast = if column.bytewise { "" } else { "::pg_catalog.text COLLATE pg_catalog.\"C\"" };
            format!("CASE WHEN {wrap}(forge_o.{name}{cast} IS DISTINCT FROM forge_n.{name}{cast}) THEN {item} END")
        };
        let columns: Vec<String> = self.table.columns.iter().map(column).collect();
        format!("pg_catalog.array_to_string(ARRAY[{}]::pg_catalog.text[], ',')", columns.join(", "))
    }

    /// Reads one of the transition tables of rows that came or went.
    fn came_or_went(&self, transition: &str) -> String {
        format!(
            "SELECT {count}, {row} INTO forge_count, forge_rows FROM {transition} forge_r LIMIT 1;
            IF forge_count IS NULL THEN
                RETURN NULL;
            ELSIF forge_count = 2 THEN
                SELECT pg_catalog.string_agg(forge_d.forge_row, ','), pg_catalog.count(*) INTO forge_rows, forge_count
                FROM (SELECT DISTINCT {row} AS forge_row FROM {transition} forge_r LIMIT {limit}) forge_d;
            END IF;",
            count = count(transition),
            row = self.row("forge_r"),
            limit = ROWS_MAX + 1,
        )
    }

    /// The function's text, but for the sink.
    pub(super) fn body(&self) -> String {
        let keys: Vec<&String> = self.keys.iter().collect();
        let keys = serde_json::Value::from_iter(keys.into_iter().map(String::as_str));
        format!(
            r#"
DECLARE
    -- How many rows there are: one, a few (then: how many different ones), or {LOOKED_AT_MAX} and more.
    forge_count bigint;
    -- Values of rows; of an updated row, before and after.
    forge_rows text;
    forge_after text;
    forge_columns text;
    -- Whether the table has exactly the columns that are named here.
    forge_known boolean := true;
    forge_said text;
    forge_at pg_lsn;
BEGIN
    BEGIN
        IF TG_OP = 'UPDATE' THEN
            SELECT {count}, {differing}, {old}, {new},
                   TG_RELID = {oid} AND (SELECT c.relnatts = {attributes} FROM pg_catalog.pg_class c WHERE c.oid = {oid})
            INTO forge_count, forge_columns, forge_rows, forge_after, forge_known
            FROM forge_old forge_o, forge_new forge_n LIMIT 1;
            IF forge_count IS NULL THEN
                RETURN NULL;
            ELSIF forge_count = 1 THEN
                IF forge_after <> forge_rows THEN
                    forge_rows := forge_rows || ',' || forge_after;
                END IF;
            ELSIF forge_count = 2 THEN
                -- Old and new rows come in the same order.
                SELECT {any_differing} INTO forge_columns
                FROM (SELECT pg_catalog.row_number() OVER () AS forge_row, r.* FROM forge_old r) forge_o
                JOIN (SELECT pg_catalog.row_number() OVER () AS forge_row, r.* FROM forge_new r) forge_n USING (forge_row);
                IF forge_columns <> '' OR forge_known IS NOT TRUE THEN
                    SELECT pg_catalog.string_agg(forge_d.forge_row, ','), pg_catalog.count(*) INTO forge_rows, forge_count
                    FROM (
                        SELECT {old} AS forge_row FROM forge_old forge_o UNION SELECT {new} FROM forge_new forge_n LIMIT {limit}
                    ) forge_d;
                END IF;
            ELSE
                forge_known := false;
            END IF;
            IF forge_known IS NOT TRUE THEN
                forge_columns := NULL;
            ELSIF forge_columns = '' THEN
                RETURN NULL;
            END IF;
        ELSIF TG_OP = 'INSERT' THEN
            {inserted}
        ELSIF TG_OP = 'DELETE' THEN
            {deleted}
        END IF;
    EXCEPTION WHEN undefined_column OR undefined_table OR datatype_mismatch OR undefined_function THEN
        -- The table was changed under this function. The writer is not to suffer: anything may have changed.
        forge_columns := NULL;
        forge_rows := NULL;
    END;
    IF forge_count > {ROWS_MAX} OR pg_catalog.octet_length(forge_rows) > {BYTES_MAX} THEN
        forge_rows := NULL;
    END IF;
    forge_said := {head} || coalesce('[' || forge_columns || ']', 'null') || ',"r":' || coalesce('[' || forge_rows || ']', 'null') || '}}';
    {SINK}
    RETURN NULL;
END
"#,
            oid = self.table.oid,
            count = count("forge_new"),
            differing = self.differing(""),
            any_differing = self.differing("pg_catalog.bool_or"),
            old = self.row("forge_o"),
            new = self.row("forge_n"),
            attributes = self.table.attributes,
            limit = ROWS_MAX + 1,
            inserted = self.came_or_went("forge_new"),
            deleted = self.came_or_went("forge_old"),
            head = literal(&format!("{{\"t\":{},\"k\":{keys},\"c\":", self.table.oid)),
        )
    }

    /// The statements that put the triggers on a table.
    pub(super) fn triggers(&self, schema: &str, member: &str) -> String {
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
            one("TRUNCATE", ""),
        ]
        .concat()
    }
}

/// Whether a transition table has one row, a few (2), or more than are looked at (which is more than are written down).
fn count(transition: &str) -> String {
    format!(
        "CASE WHEN NOT EXISTS (SELECT FROM {transition} OFFSET 1) THEN 1 \
              WHEN NOT EXISTS (SELECT FROM {transition} OFFSET {LOOKED_AT_MAX}) THEN 2 \
              ELSE {LOOKED_AT_MAX} END"
    )
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    // A backslash means itself only in a string that says so.
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}
