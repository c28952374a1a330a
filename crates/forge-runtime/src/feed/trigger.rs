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
        format!("5 {kind} {whole} {} {}", self.table.attributes, columns.collect::<Vec<_>>().join(","))
    }

    /// The functions' texts, but for the sink, in the order of [`EVENTS`].
    pub(super) fn bodies(&self) -> [String; 4] {
        [self.came_or_went("forge_new"), self.updated(), self.came_or_went("forge_old"), self.truncated()]
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

    /// What every change of the table begins with, up to its columns, as a literal.
    fn head(&self, more: &str) -> String {
        let keys = serde_json::Value::from_iter(self.keys.iter().map(String::as_str));
        literal(&format!("{{\"t\":{},\"s\":{},\"k\":{keys},\"c\":{more}", self.table.oid, self.table.shape))
    }

    /// Any row, any column.
    fn anything(&self) -> String {
        self.head("null,\"r\":null}")
    }

    /// A function. `one` sets `forge_said` by a query INTO STRICT, for a single row; `several` does it for more. Both leave it empty when nothing
    /// has changed.
    ///
    /// That a query finds another row is an error that is caught, which costs the few who write many rows: to ask beforehand would cost all others a
    /// fifth of the function. Nothing is written where errors are caught: it would have a transaction id of its own.
    fn function(&self, one: &str, several: &str) -> String {
        let anything = self.anything();
        let begin = if Fault::Cascade.is_planted() { NAMED_ONLY } else { "" };
        let (oid, attributes) = (self.table.oid, self.table.attributes);
        // Values of these types may be of any length.
        let long = |column: &String| {
            self.table.column(column).is_none_or(|column| matches!(column.key, None | Some(KeyKind::Text)))
        };
        let bounded = match self.keys.iter().any(long) {
            true => format!(
                "IF pg_catalog.octet_length(forge_said) > {} THEN
        forge_said := {anything};
    END IF;",
                BYTES_MAX + anything.len()
            ),
            false => String::new(),
        };
        format!(
            r"
DECLARE
    forge_columns text;
    forge_rows text;
    forge_count bigint;
    forge_said text;
    forge_at pg_lsn;
BEGIN
    {begin}
    BEGIN
        {one}
    EXCEPTION
        WHEN no_data_found THEN
            RETURN NULL;
        WHEN too_many_rows THEN
            BEGIN
                {several}
            EXCEPTION WHEN {ALTERED} OR {TOO_LARGE} THEN
                forge_said := {anything};
            END;
        WHEN {ALTERED} OR {TOO_LARGE} THEN
            -- The table was changed under this function, or its values are too large to be compared. The writer is not to suffer.
            forge_said := {anything};
    END;
    IF forge_said IS NULL THEN
        IF EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = {oid} AND c.relnatts = {attributes}) THEN
            RETURN NULL;
        END IF;
        -- It has a column that is not known here.
        forge_said := {anything};
    END IF;
    {bounded}
    {SINK}
    RETURN NULL;
END
"
        )
    }

    fn truncated(&self) -> String {
        format!(
            r"
DECLARE
    forge_said text := {anything};
    forge_at pg_lsn;
BEGIN
    {SINK}
    RETURN NULL;
END
",
            anything = self.anything()
        )
    }

    fn came_or_went(&self, transition: &str) -> String {
        let (head, row) = (self.head("null,\"r\":["), self.row("forge_r"));
        let one =
            format!("SELECT pg_catalog.concat({head}, {row}, ']}}') INTO STRICT forge_said FROM {transition} forge_r;");
        let several = format!(
            r"IF EXISTS (SELECT FROM {transition} OFFSET {LOOKED_AT_MAX}) THEN
                    forge_said := {anything};
                ELSE
                    SELECT pg_catalog.string_agg(forge_d.forge_row, ','), pg_catalog.count(*) INTO forge_rows, forge_count
                    FROM ({rows_of_them}) forge_d;
                    forge_said := {head} || 'null,' || {rows};
                END IF;",
            anything = self.anything(),
            head = self.head(""),
            rows_of_them = self.rows_of(&[transition]),
            rows = rows_of_several(),
        );
        self.function(&one, &several)
    }

    /// A row that moves to another partition may be dropped on its way, by a trigger of that one: then rows are not in pairs.
    fn in_pairs(&self, one: &str, several: &str) -> String {
        if self.table.family.len() == 1 || Fault::DroppedRow.is_planted() {
            return self.function(one, several);
        }
        let anything = self.anything();
        let one = format!(
            r"IF (SELECT pg_catalog.count(*) FROM forge_old) <> (SELECT pg_catalog.count(*) FROM forge_new) THEN
            forge_said := {anything};
        ELSE
            {one}
        END IF;"
        );
        self.function(&one, several)
    }

    fn updated(&self) -> String {
        let oid = self.table.oid;
        // Those who have partitions or heirs share their function with them, and a heir may have more columns.
        let own = (self.table.family.len() > 1).then(|| format!("TG_RELID = {oid}"));
        // What is written of the columns that differ, and what of it belongs to the text that follows. It is NULL when none does, unless
        // there may be others than are known here.
        let columns = |differing: &str| match (&own, self.whole) {
            (None, true) => (format!("'[' || nullif({differing}, '')"), "\"\"],"),
            (Some(own), true) => {
                (format!("CASE WHEN {own} THEN '[' || nullif({differing}, '') || '\"\"],' ELSE 'null,' END"), "")
            }
            (_, false) => ("'null,'".to_owned(), ""),
        };
        let (old, new) = (self.row("forge_o"), self.row("forge_n"));
        let both = match (Fault::OldValues.is_planted(), Fault::NewValues.is_planted()) {
            (true, _) => new,
            (_, true) => old,
            _ => format!("{old}, ',', {new}"),
        };
        let head = self.head("");
        let (of_one, then) = columns(&self.differing(true));
        let one = format!(
            r#"SELECT {head} || {of_one} || pg_catalog.concat('{then}"r":[', {both}, ']}}') INTO STRICT forge_said
        FROM forge_old forge_o, forge_new forge_n;"#
        );
        let (of_several, then) = columns("forge_columns");
        let several = format!(
            r"-- Old and new rows come in the same order, so a column differs when all its values together do.
                SELECT forge_o.forge_count, {differing} INTO forge_count, forge_columns
                FROM {all_old} forge_o, {all_new} forge_n;
                IF forge_count > {LOOKED_AT_MAX} THEN
                    forge_said := {anything};
                ELSE
                    SELECT pg_catalog.string_agg(forge_d.forge_row, ','), pg_catalog.count(*) INTO forge_rows, forge_count
                    FROM ({rows_of_both}) forge_d;
                    forge_said := {head} || {of_several} || '{then}' || {rows};
                END IF;",
            differing = self.differing(false),
            all_old = self.together("forge_old"),
            all_new = self.together("forge_new"),
            anything = self.anything(),
            rows_of_both = self.rows_of(match (Fault::OldValues.is_planted(), Fault::NewValues.is_planted()) {
                (true, _) => &["forge_new"],
                (_, true) => &["forge_old"],
                _ => &["forge_old", "forge_new"],
            }),
            rows = rows_of_several(),
        );
        self.in_pairs(&one, &several)
    }

    /// The values of a row of `of`.
    fn values(&self, of: &str) -> Vec<String> {
        self.keys.iter().filter_map(|column| self.table.column(column)).map(|column| column.written(of)).collect()
    }

    /// The same as JSON.
    fn row(&self, of: &str) -> String {
        format!("pg_catalog.json_build_array({})", self.values(of).join(", "))
    }

    /// A query for the different rows of one or two transition tables as JSON, and for one more than are written down when there are so many.
    fn rows_of(&self, transitions: &[&str]) -> String {
        let values = self.values("forge_r");
        if values.is_empty() {
            return "SELECT '[]'::pg_catalog.text AS forge_row".to_owned();
        }
        let named = values.iter().enumerate().map(|(n, value)| format!("{value} COLLATE pg_catalog.\"C\" AS forge_{n}"));
        let named = named.collect::<Vec<_>>().join(", ");
        let one = |transition: &&str| format!("SELECT {named} FROM {transition} forge_r");
        let all = transitions.iter().map(one).collect::<Vec<_>>().join(" UNION ");
        // UNION makes the rows of two different, and DISTINCT those of one.
        let distinct = if transitions.len() == 1 { all.replacen("SELECT", "SELECT DISTINCT", 1) } else { all };
        let names: Vec<String> = (0..values.len()).map(|n| format!("forge_k.forge_{n}")).collect();
        format!(
            "SELECT pg_catalog.json_build_array({})::pg_catalog.text AS forge_row FROM ({distinct} LIMIT {}) forge_k",
            names.join(", "),
            ROWS_MAX + 1
        )
    }

    /// The columns that differ, as items of a JSON array with a comma behind each. (What ends the array is a column without a name.) In a pair of
    /// rows, or in the values of several, `together`.
    fn differing(&self, pair: bool) -> String {
        let column = |column: &Column| {
            let (name, item) = (quoted(&column.name), literal(&format!("{},", serde_json::Value::from(&*column.name))));
            let (cast, guard) = match (pair, column.bytewise) {
                (true, true) => ("", format!(" OR (false AND {})", column.guard("forge_o"))),
                (true, false) => (AS_TEXT, String::new()),
                (false, _) => ("", String::new()),
            };
            format!("CASE WHEN forge_o.{name}{cast} IS DISTINCT FROM forge_n.{name}{cast}{guard} THEN {item} END")
        };
        let columns: Vec<String> = self.table.columns.iter().map(column).collect();
        // A function takes a hundred arguments.
        let parts: Vec<String> = columns.chunks(90).map(|part| format!("pg_catalog.concat({})", part.join(", "))).collect();
        if parts.is_empty() { "''".to_owned() } else { parts.join(" || ") }
    }

    /// All values of each column, as far as rows are looked at, and how many rows those are.
    fn together(&self, transition: &str) -> String {
        let column = |column: &Column| {
            let (name, cast) = (quoted(&column.name), if column.bytewise { "" } else { AS_TEXT });
            format!("pg_catalog.array_agg(forge_r.{name}{cast}) AS {name}, ")
        };
        let columns: String = self.table.columns.iter().map(column).collect();
        let limit = LOOKED_AT_MAX + 1;
        format!(
            "(SELECT {columns}pg_catalog.count(*) AS forge_count FROM (SELECT * FROM {transition} LIMIT {limit}) forge_r)"
        )
    }
}

/// The end of what is written of several rows: their JSON, when there are not too many.
fn rows_of_several() -> String {
    let many = if Fault::RowsCap.is_planted() { "false".to_owned() } else { format!("forge_count > {ROWS_MAX}") };
    format!(
        r#"CASE WHEN {many} OR pg_catalog.octet_length(forge_rows) > {BYTES_MAX} THEN '"r":null}}' ELSE '"r":[' || forge_rows || ']}}' END"#
    )
}

/// How values are compared that are equal in more than one way of writing them.
const AS_TEXT: &str = "::pg_catalog.text COLLATE pg_catalog.\"C\"";

/// What a function stumbles over when its table was altered.
const ALTERED: &str = "undefined_column OR undefined_table OR datatype_mismatch OR undefined_function";

/// What it stumbles over when all the values of a column together are more than PostgreSQL holds at once, 1 GB; some of its own checks say that
/// as an internal error.
const TOO_LARGE: &str = "program_limit_exceeded OR out_of_memory OR internal_error";

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
