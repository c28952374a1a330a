//! The text of the triggers: what a statement changed, said in as little time as possible.
//!
//! A function is called once per statement of whoever writes, inside of their transaction, so it is written for its cost. One row is one query
//! and nothing else; a few rows are compared; of many it only says so. Every further expression would cost every transaction its preparation.
//!
//! It names the table's columns, and those whose values are written down are the ones that some live query matches rows by. Names of its
//! own begin with `forge_`, and everything it calls is named with its schema, as it may run under anybody's search path.

use std::collections::BTreeSet;

use crate::read_set::{Column, Fault, KeyKind, Table};

/// Of how many rows the values are written down; more are "all rows".
const ROWS_MAX: usize = 100;
/// How large they may be together, in bytes.
const BYTES_MAX: usize = 16 * 1024;
/// How many changed rows are looked at; a statement that changes more may have changed any column of any row.
const LOOKED_AT_MAX: usize = 1000;
/// How many columns' values are written down; a function takes 100 arguments. Changes without a column match every query.
pub(super) const KEYS_MAX: usize = 90;

/// Stands in a function's text where the change, `forge_said`, is written to the sink.
pub(super) const SINK: &str = "/* to the sink */";

/// Each has a trigger and a function of its own: with what it changed, under which names.
pub(super) const EVENTS: [(&str, &str); 4] = [
    ("insert", "REFERENCING NEW TABLE AS forge_new"),
    ("update", "REFERENCING OLD TABLE AS forge_old NEW TABLE AS forge_new"),
    ("delete", "REFERENCING OLD TABLE AS forge_old"),
    ("truncate", ""),
];

/// The triggers of a table.
#[derive(Debug)]
pub(super) struct Trigger<'a> {
    pub(super) table: &'a Table,
    /// The columns whose values are written down.
    pub(super) keys: &'a BTreeSet<String>,
    /// The table has no other columns than those that are known here. Else any column may change.
    pub(super) whole: bool,
}

impl Trigger<'_> {
    /// What the functions were written for. When this differs, they are written anew; the number counts the versions of their text.
    pub(super) fn shape(&self) -> String {
        let columns = self.table.columns.iter().map(|column| format!("{}:{}", column.name, column.type_name));
        let kind = if self.table.family.len() > 1 { "family" } else { "table" };
        let whole = if self.whole { "whole" } else { "part" };
        format!("3 {kind} {whole} {} {}", self.table.attributes, columns.collect::<Vec<_>>().join(","))
    }

    /// The functions' texts, but for the sink, in the order of [`EVENTS`].
    pub(super) fn bodies(&self) -> [String; 4] {
        let truncated = format!("forge_said := {};", self.anything());
        [
            self.function(&self.came_or_went("forge_new")),
            self.function(&self.in_pairs(&self.updated())),
            self.function(&self.came_or_went("forge_old")),
            self.function(&truncated),
        ]
    }

    /// The statements that put the triggers on a table.
    pub(super) fn triggers(&self, schema: &str, member: &str) -> String {
        let oid = self.table.oid;
        let one = |(event, transition): (&str, &str)| {
            format!(
                "CREATE TRIGGER forge_capture_{oid}_{event} AFTER {event} ON {member} {transition} FOR EACH STATEMENT \
                 EXECUTE FUNCTION {schema}.forge_capture_{oid}_{event}();\n"
            )
        };
        let mut all = EVENTS.map(one);
        if Fault::Truncate.is_planted() {
            all[3] = all[3].replace("FOR EACH STATEMENT", "FOR EACH STATEMENT WHEN (false)");
        }
        all.concat()
    }

    /// What a change is written as, from expressions for the JSON of its columns and of its rows.
    fn said(&self, columns: &str, rows: &str) -> String {
        let keys = serde_json::Value::from_iter(self.keys.iter().map(String::as_str));
        let head = literal(&format!("{{\"t\":{},\"s\":{},\"k\":{keys},\"c\":", self.table.oid, self.table.shape));
        format!("{head} || {columns} || ',\"r\":' || {rows} || '}}'")
    }

    /// Any row, any column.
    fn anything(&self) -> String {
        self.said("'null'", "'null'")
    }

    /// A function: `look` sets `forge_said`, or returns when nothing has changed.
    fn function(&self, look: &str) -> String {
        let anything = self.anything();
        let begin = if Fault::Cascade.is_planted() { NAMED_ONLY } else { "" };
        format!(
            r"
DECLARE
    -- Whether there is one row (1), or more (2); of one that was updated, also whether nothing of it has changed (0).
    forge_case int;
    forge_columns text;
    forge_rows text;
    forge_count bigint;
    forge_said text;
    forge_at pg_lsn;
BEGIN
    {begin}
    BEGIN
        {look}
    EXCEPTION WHEN undefined_column OR undefined_table OR datatype_mismatch OR undefined_function THEN
        -- The table was changed under this function. The writer is not to suffer.
        forge_said := {anything};
    END;
    {SINK}
    RETURN NULL;
END
"
        )
    }

    fn came_or_went(&self, transition: &str) -> String {
        format!(
            r"SELECT CASE WHEN EXISTS (SELECT FROM {transition} OFFSET 1) THEN 2 ELSE 1 END, {one}
        INTO forge_case, forge_said
        FROM (SELECT {row} AS forge_rows FROM {transition} forge_r LIMIT 1) forge_d;
        IF forge_case IS DISTINCT FROM 1 THEN
            IF forge_case IS NULL THEN
                RETURN NULL;
            ELSIF EXISTS (SELECT FROM {transition} OFFSET {LOOKED_AT_MAX}) THEN
                forge_said := {anything};
            ELSE
                SELECT pg_catalog.string_agg(forge_d.forge_row, ','), pg_catalog.count(*) INTO forge_rows, forge_count
                FROM (SELECT DISTINCT {row} AS forge_row FROM {transition} forge_r LIMIT {limit}) forge_d;
                forge_said := {several};
            END IF;
        END IF;",
            one = self.said("'null'", &bounded("forge_d.forge_rows", "1")),
            several = self.said("'null'", &bounded("forge_rows", "forge_count")),
            anything = self.anything(),
            row = self.row("forge_r"),
            limit = ROWS_MAX + 1,
        )
    }

    /// A row that moves to another partition may be dropped on its way, by a trigger of that one: then rows are not in pairs.
    fn in_pairs(&self, look: &str) -> String {
        if self.table.family.len() == 1 || Fault::DroppedRow.is_planted() {
            return look.to_owned();
        }
        let anything = self.anything();
        format!(
            r"IF (SELECT pg_catalog.count(*) FROM forge_old) <> (SELECT pg_catalog.count(*) FROM forge_new) THEN
            forge_said := {anything};
        ELSE
        {look}
        END IF;"
        )
    }

    fn updated(&self) -> String {
        let (oid, attributes) = (self.table.oid, self.table.attributes);
        // Those who have partitions or heirs share their function with them, and a heir may have more columns.
        let this = if self.table.family.len() > 1 { format!("TG_RELID = {oid}") } else { "true".to_owned() };
        let columns = |text: &str| match self.whole {
            true if this == "true" => format!("'[' || {text} || ']'"),
            true => format!("CASE WHEN {this} THEN '[' || {text} || ']' ELSE 'null' END"),
            false => "'null'".to_owned(),
        };
        let same = if self.whole { format!("{{}} = '' AND {this}") } else { "false".to_owned() };
        let both = match (Fault::OldValues.is_planted(), Fault::NewValues.is_planted()) {
            (true, _) => "forge_d.forge_new",
            (_, true) => "forge_d.forge_old",
            _ => {
                "CASE WHEN forge_d.forge_old = forge_d.forge_new THEN forge_d.forge_old \
                 ELSE forge_d.forge_old || ',' || forge_d.forge_new END"
            }
        };
        format!(
            r"SELECT CASE WHEN EXISTS (SELECT FROM forge_new OFFSET 1) THEN 2 WHEN {same_one} THEN 0 ELSE 1 END, {one}
        INTO forge_case, forge_said
        FROM (
            SELECT {differing} AS forge_columns, {old} AS forge_old, {new} AS forge_new
            FROM forge_old forge_o, forge_new forge_n LIMIT 1
        ) forge_d;
        IF forge_case IS DISTINCT FROM 1 THEN
            IF forge_case IS NULL THEN
                RETURN NULL;
            ELSIF forge_case = 2 THEN
                IF EXISTS (SELECT FROM forge_new OFFSET {LOOKED_AT_MAX}) THEN
                    forge_said := {anything};
                ELSE
                    -- Old and new rows come in the same order.
                    SELECT {any_differing} INTO forge_columns
                    FROM (SELECT pg_catalog.row_number() OVER () AS forge_row, r.* FROM forge_old r) forge_o
                    JOIN (SELECT pg_catalog.row_number() OVER () AS forge_row, r.* FROM forge_new r) forge_n USING (forge_row);
                    IF {same_several} THEN
                        forge_case := 0;
                    ELSE
                        SELECT pg_catalog.string_agg(forge_d.forge_row, ','), pg_catalog.count(*) INTO forge_rows, forge_count
                        FROM (
                            {all} LIMIT {limit}
                        ) forge_d;
                        forge_said := {several};
                    END IF;
                END IF;
            END IF;
            IF forge_case = 0 THEN
                IF EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = {oid} AND c.relnatts = {attributes}) THEN
                    RETURN NULL;
                END IF;
                -- It has a column that is not known here.
                forge_said := {anything};
            END IF;
        END IF;",
            same_one = same.replace("{}", "forge_d.forge_columns"),
            same_several = same.replace("{}", "forge_columns"),
            one = self.said(&columns("forge_d.forge_columns"), &bounded(&format!("({both})"), "1")),
            several = self.said(&columns("forge_columns"), &bounded("forge_rows", "forge_count")),
            anything = self.anything(),
            differing = self.differing(""),
            all = both_of(&self.row("forge_o"), &self.row("forge_n")),
            any_differing = self.differing("pg_catalog.bool_or"),
            old = self.row("forge_o"),
            new = self.row("forge_n"),
            limit = ROWS_MAX + 1,
        )
    }

    /// The values of a row of `of`, as JSON.
    fn row(&self, of: &str) -> String {
        let values: Vec<String> =
            self.keys.iter().filter_map(|column| self.table.column(column)).map(|column| column.written(of)).collect();
        format!("pg_catalog.json_build_array({})::pg_catalog.text", values.join(", "))
    }

    /// The columns that differ, as the items of a JSON array: in one pair of rows, or (`wrap`) in any of several.
    fn differing(&self, wrap: &str) -> String {
        let column = |column: &Column| {
            let (name, item) = (quoted(&column.name), literal(&serde_json::Value::from(&*column.name).to_string()));
            let cast = if column.bytewise { "" } else { "::pg_catalog.text COLLATE pg_catalog.\"C\"" };
            let guard =
                if column.bytewise { format!(" OR (false AND {})", column.guard("forge_o")) } else { String::new() };
            format!("CASE WHEN {wrap}(forge_o.{name}{cast} IS DISTINCT FROM forge_n.{name}{cast}{guard}) THEN {item} END")
        };
        let columns: Vec<String> = self.table.columns.iter().map(column).collect();
        format!("pg_catalog.array_to_string(ARRAY[{}]::pg_catalog.text[], ',')", columns.join(", "))
    }
}

/// The JSON of rows, when there are not too many and they are not too large.
fn bounded(rows: &str, count: &str) -> String {
    let few = if count == "1" || Fault::RowsCap.is_planted() { String::new() } else { format!("{count} > {ROWS_MAX} OR ") };
    format!("CASE WHEN {few}pg_catalog.octet_length({rows}) > {BYTES_MAX} THEN 'null' ELSE '[' || {rows} || ']' END")
}

/// The old and new values of several rows.
fn both_of(old: &str, new: &str) -> String {
    let old = format!("SELECT {old} AS forge_row FROM forge_old forge_o");
    let new = format!("SELECT {new} AS forge_row FROM forge_new forge_n");
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
                format!("extract(epoch FROM {of}.{name})::pg_catalog.text")
            }
            _ => format!("{of}.{name}::pg_catalog.text"),
        };
        if self.key.is_none() {
            return text;
        }
        format!("coalesce(CASE WHEN false THEN ({})::pg_catalog.text END, {text})", self.guard(of))
    }

    /// An expression that PostgreSQL refuses when the column has another type than it had: arrays are equal to those of their own type only.
    /// It is never evaluated.
    fn guard(&self, of: &str) -> String {
        if Fault::ColumnType.is_planted() {
            return "true".to_owned();
        }
        format!("ARRAY[{of}.{}] OPERATOR(pg_catalog.=) NULL::{}[]", quoted(&self.name), self.type_name)
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    // A backslash means itself only in a string that says so.
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}
